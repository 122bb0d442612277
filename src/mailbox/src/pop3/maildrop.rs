//! The inbox as it stood when its owner logged in, and what is to be done to it at QUIT.

use crate::blocking;
use crate::login::User;
use base::durable;
use std::sync::Arc;
use store::{Account, FlagChange, FlagUpdate, Flags, FolderId, FolderName, Keywords, StoreError, Uid};

/// A message of the maildrop.
#[derive(Debug, Clone)]
pub struct Item {
    pub uid: Uid,
    /// Octets of the file. Equal to what RETR sends but for files with bare line feeds, which grow on the way.
    pub size: u64,
    pub deleted: bool,
    pub retrieved: bool,
}

pub struct Maildrop {
    account: Arc<Account>,
    folder: FolderId,
    validity: u32,
    pub items: Vec<Item>,
}

impl Maildrop {
    pub async fn open(user: &User) -> Result<Self, StoreError> {
        let account = Arc::clone(&user.account);
        let own = Arc::clone(&account);
        blocking::on(&account, move |account| {
            let inbox = FolderName::inbox();
            let folder = account.folder(&inbox)?.ok_or(StoreError::NoFolder(inbox))?;
            let image = account.select(folder.id, false)?.image;
            let item =
                |row: &store::Row| Item { uid: row.uid, size: row.size.into(), deleted: false, retrieved: false };
            let items = image.rows().map(item).collect();
            Ok(Self { account: own, folder: folder.id, validity: folder.validity.0, items })
        })
        .await
    }

    /// RFC 1939 §7, UIDL: persists across sessions, up to 70 printable characters.
    pub fn unique_id(&self, item: &Item) -> String {
        format!("{}.{}", self.validity, item.uid.0)
    }

    /// Messages that are not marked as deleted, with their numbers from 1 on.
    pub fn listed(&self) -> impl Iterator<Item = (usize, &Item)> {
        self.items.iter().enumerate().filter(|(_, item)| !item.deleted).map(|(index, item)| (index + 1, item))
    }

    pub async fn read(&self, item: &Item) -> Result<Vec<u8>, StoreError> {
        let (folder, uid) = (self.folder, item.uid);
        blocking::on(&self.account, move |account| account.read(folder, uid)).await
    }

    /// RFC 1939 §6, the UPDATE state: removes what was marked, durably, and marks what was retrieved as seen.
    pub async fn update(&self) -> Result<(), StoreError> {
        let chosen = |which: fn(&Item) -> bool| -> Vec<Uid> {
            self.items.iter().filter(|item| which(item)).map(|item| item.uid).collect()
        };
        let (gone, seen) = (chosen(|item| item.deleted), chosen(|item| item.retrieved && !item.deleted));
        let folder = self.folder;
        blocking::on(&self.account, move |account| {
            let add = |flags| FlagUpdate {
                change: FlagChange::Add,
                flags,
                keywords: Keywords::default(),
                unchanged_since: None,
            };
            if !seen.is_empty() {
                account.update_flags(folder, &seen, &add(Flags::SEEN))?;
            }
            if !gone.is_empty() {
                account.update_flags(folder, &gone, &add(Flags::DELETED))?;
                account.expunge(folder, Some(&gone))?;
                let cur = account.dir().join("Maildir/cur");
                durable::sync_dir(&cur).map_err(|source| StoreError::Io { path: cur, source })?;
            }
            Ok(())
        })
        .await
    }
}
