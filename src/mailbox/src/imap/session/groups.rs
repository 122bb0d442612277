//! Which folders a group of mailboxes has (RFC 5465 §6, RFC 7377 §2.2). Pure but for the session's state.

use super::{Session, Stop};
use crate::imap::proto::Mailboxes;
use store::{Folder, FolderId, FolderName};
use tokio::io::{AsyncRead, AsyncWrite};

/// A group with its names read.
#[derive(Debug, Clone)]
pub enum FolderGroup {
    /// The selected one, if there is one.
    Selected(Option<FolderId>),
    Inboxes,
    Personal,
    Subscribed,
    Subtree(Vec<FolderName>),
    SubtreeOne(Vec<FolderName>),
    Named(Vec<FolderName>),
}

impl FolderGroup {
    pub fn has(&self, folder: &Folder, subscribed: &[FolderName]) -> bool {
        let name = &folder.name;
        match self {
            FolderGroup::Selected(selected) => *selected == Some(folder.id),
            FolderGroup::Inboxes => name.is_inbox(),
            FolderGroup::Personal => true,
            FolderGroup::Subscribed => subscribed.contains(name),
            FolderGroup::Subtree(roots) => roots.iter().any(|root| root == name || name.is_below(root)),
            FolderGroup::SubtreeOne(roots) => {
                roots.iter().any(|root| root == name || name.parent().as_ref() == Some(root))
            }
            FolderGroup::Named(names) => names.contains(name),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// Reads the names of a group.
    pub(super) fn group(&self, group: &Mailboxes) -> Result<FolderGroup, Stop> {
        let names =
            |wires: &[Vec<u8>]| wires.iter().map(|wire| self.folder_name(wire)).collect::<Result<Vec<_>, Stop>>();
        Ok(match group {
            Mailboxes::Selected | Mailboxes::SelectedDelayed => {
                FolderGroup::Selected(self.selected.as_ref().map(|view| view.folder.id))
            }
            Mailboxes::Inboxes => FolderGroup::Inboxes,
            Mailboxes::Personal => FolderGroup::Personal,
            Mailboxes::Subscribed => FolderGroup::Subscribed,
            Mailboxes::Subtree(wires) => FolderGroup::Subtree(names(wires)?),
            Mailboxes::SubtreeOne(wires) => FolderGroup::SubtreeOne(names(wires)?),
            Mailboxes::Named(wires) => FolderGroup::Named(names(wires)?),
        })
    }
}
