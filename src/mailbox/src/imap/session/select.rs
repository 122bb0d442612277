//! Opening and closing a folder (RFC 3501 §6.3.1, §6.4.1, §6.4.2).

use super::folders::{SEPARATOR, mailbox_id, shown};
use super::view::View;
use super::{Done, Session, Stop};
use std::collections::BTreeSet;
use std::sync::Arc;
use store::{Flags, StoreError};
use tokio::io::{AsyncRead, AsyncWrite};

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn select(&mut self, wire: &[u8], read_only: bool, condstore: bool) -> Done {
        self.user()?;
        // Whatever comes of it, the former folder is closed (RFC 3501 §6.3.1).
        if self.selected.take().is_some() {
            // RFC 9051 §7.1: what follows is of the new mailbox.
            self.say("* OK [CLOSED] the former mailbox is closed");
        }
        self.saved = Arc::default();
        self.condstore |= condstore;
        let name = self.folder_name(wire)?;
        let selected = self
            .on_store(move |account| {
                let folder = account.folder(&name)?.ok_or(StoreError::NoFolder(name))?;
                account.select(folder.id, !read_only)
            })
            .await?;
        let (uid_next, highest) = (selected.uid_next, selected.highest);
        let view = View::new(selected, read_only, !self.modes.rev2);
        let flags = known_flags(&view);
        self.say(&format!("* FLAGS ({flags})"));
        match read_only {
            true => self.say("* OK [PERMANENTFLAGS ()] read only"),
            false => self.say(&format!("* OK [PERMANENTFLAGS ({flags} \\*)] keywords are kept")),
        }
        self.say(&format!("* {} EXISTS", view.rows.len()));
        if !self.modes.rev2 {
            self.say(&format!("* {} RECENT", view.recent_count()));
        }
        if let Some(unseen) = view.rows.iter().position(|row| !row.flags.contains(Flags::SEEN)) {
            self.say(&format!("* OK [UNSEEN {}] first unseen", unseen + 1));
        }
        self.say(&format!("* OK [UIDVALIDITY {}] UIDs valid", view.folder.validity.0));
        self.say(&format!("* OK [UIDNEXT {}] next UID", uid_next.0));
        self.say(&format!("* OK [HIGHESTMODSEQ {}] highest", highest.0));
        self.say(&format!("* OK [MAILBOXID ({})] its lasting name", mailbox_id(&view.folder)));
        if self.modes.rev2 {
            // RFC 9051 §6.3.2.
            self.say(&format!("* LIST () \"{SEPARATOR}\" {}", shown(&view.folder.name, true)));
        }
        self.selected = Some(view);
        Ok(if read_only { "[READ-ONLY] examined" } else { "[READ-WRITE] selected" }.into())
    }

    pub(super) fn unselect(&mut self) -> Done {
        self.view()?;
        self.selected = None;
        Ok("unselected".into())
    }

    /// Expunges in silence, unless the folder was examined.
    pub(super) async fn close(&mut self) -> Done {
        let view = self.view()?;
        let (id, read_only) = (view.folder.id, view.read_only);
        self.selected = None;
        if !read_only {
            self.on_store(move |account| account.expunge(id, None)).await?;
        }
        Ok("closed".into())
    }

    /// Everything is on the disk before it is acknowledged, so there is nothing to do.
    pub(super) fn check(&mut self) -> Done {
        self.view()?;
        Ok("checked".into())
    }

    /// Also the moment to notice what other tools did to the folder's files.
    pub(super) async fn noop(&mut self) -> Done {
        self.look_for_others().await?;
        Ok("done".into())
    }

    pub(super) async fn look_for_others(&mut self) -> Result<(), Stop> {
        match self.selected.as_ref().map(|view| view.folder.id) {
            Some(id) => self.on_store(move |account| account.look_for_others(id)).await,
            None => Ok(()),
        }
    }
}

/// The system flags and the keywords in use.
fn known_flags(view: &View) -> String {
    let keywords: BTreeSet<&str> = view.rows.iter().flat_map(|row| row.keywords.iter()).collect();
    let system = ["\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft"];
    system.into_iter().chain(keywords).collect::<Vec<_>>().join(" ")
}
