//! Folders: listing, making, renaming, removing, subscribing.

use crate::account::{Account, Inner};
use crate::error::{StoreError, at};
use crate::index::Commit;
use crate::name::FolderName;
use crate::types::{Counts, FolderId, ModSeq, Uid, UidValidity};
use crate::{kept, limits, maildir, messages, reconcile};
use base::durable;
use rusqlite::{OptionalExtension, Row};
use std::collections::HashMap;

/// What a folder is for (RFC 6154 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpecialUse {
    Drafts,
    Sent,
    Archive,
    Junk,
    Trash,
}

impl SpecialUse {
    /// The folders that each account is made with.
    pub const STANDARD: [SpecialUse; 5] = [Self::Drafts, Self::Sent, Self::Archive, Self::Junk, Self::Trash];

    /// The attribute in LIST replies.
    pub fn attribute(self) -> &'static str {
        match self {
            Self::Drafts => "\\Drafts",
            Self::Sent => "\\Sent",
            Self::Archive => "\\Archive",
            Self::Junk => "\\Junk",
            Self::Trash => "\\Trash",
        }
    }

    pub(crate) fn standard_name(self) -> &'static str {
        self.attribute().trim_start_matches('\\')
    }

    /// The use that an attribute names, whatever its case.
    pub fn from_attribute(text: &str) -> Option<Self> {
        Self::STANDARD.into_iter().find(|special| special.attribute().eq_ignore_ascii_case(text))
    }
}

/// A folder of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    pub id: FolderId,
    pub name: FolderName,
    pub validity: UidValidity,
    pub special: Option<SpecialUse>,
}

/// What STATUS tells (RFC 3501 §6.3.10, RFC 7162 §3.1.2.1).
#[derive(Debug, Clone)]
pub struct Status {
    pub folder: Folder,
    pub counts: Counts,
    pub recent: u64,
    pub uid_next: Uid,
    pub highest: ModSeq,
}

const COLUMNS: &str = "SELECT id, name, validity, special FROM folders";

fn read_folder(row: &Row<'_>) -> rusqlite::Result<Folder> {
    let special: Option<String> = row.get(3)?;
    Ok(Folder {
        id: FolderId(row.get(0)?),
        name: FolderName::from_index(row.get(1)?),
        validity: UidValidity(row.get(2)?),
        special: special.and_then(|text| SpecialUse::from_attribute(&text)),
    })
}

impl Account {
    /// Every folder, by name.
    pub fn folders(&self) -> Result<Vec<Folder>, StoreError> {
        self.lock()?.all_folders()
    }

    pub fn folder(&self, name: &FolderName) -> Result<Option<Folder>, StoreError> {
        self.lock()?.find_folder(name)
    }

    /// The folder of a special use, if the account still has one.
    pub fn special(&self, special: SpecialUse) -> Result<Option<Folder>, StoreError> {
        let inner = self.lock()?;
        let sql = format!("{COLUMNS} WHERE special = ?1");
        Ok(inner.conn.query_row(&sql, [special.attribute()], read_folder).optional()?)
    }

    /// Makes a folder and the missing ones above it.
    pub fn create_folder(&self, name: &FolderName) -> Result<Folder, StoreError> {
        let mut inner = self.lock()?;
        if inner.find_folder(name)?.is_some() {
            return Err(StoreError::FolderExists(name.clone()));
        }
        if inner.folders.len() + limits::FOLDER_DEPTH > limits::FOLDERS {
            return Err(StoreError::TooManyFolders);
        }
        inner.create_with_parents(name)?;
        inner.changed();
        self.announce(&inner);
        inner.find_folder(name)?.ok_or_else(|| StoreError::NoFolder(name.clone()))
    }

    /// Says what a folder is for (RFC 6154 §3). Tells whether it now is: each use has one folder.
    pub fn dedicate(&self, id: FolderId, special: SpecialUse) -> Result<bool, StoreError> {
        let mut inner = self.lock()?;
        let changed = inner.commit(Commit::Synced, |transaction| {
            let sql = "UPDATE folders SET special = ?1 WHERE id = ?2
                AND NOT EXISTS (SELECT 1 FROM folders WHERE special = ?1)";
            Ok(transaction.execute(sql, (special.attribute(), id.0))?)
        })?;
        Ok(changed > 0)
    }

    /// How far the changes of each folder have come, for who watches many of them.
    pub fn highest(&self) -> Result<HashMap<FolderId, ModSeq>, StoreError> {
        Ok(self.lock()?.folders.iter().map(|(id, state)| (*id, state.highest)).collect())
    }

    /// Removes a folder; folders below it stay. Its messages are kept back for a while.
    pub fn delete_folder(&self, name: &FolderName) -> Result<(), StoreError> {
        if name.is_inbox() {
            return Err(StoreError::Inbox("deleted"));
        }
        let mut inner = self.lock()?;
        let folder = inner.find_folder(name)?.ok_or_else(|| StoreError::NoFolder(name.clone()))?;
        let path = inner.state(folder.id)?.path.clone();
        // Renamed first, so that a removal that is cut short does not come back as a folder with half of its mail.
        let doomed =
            inner.maildir.join(format!("{}{}-{}", reconcile::DOOMED, folder.validity.0, base::time::now_unix()));
        let mut entries = inner.entries(folder.id)?;
        durable::rename(&path, &doomed).map_err(at(&path))?;
        kept::set_apart(&inner, &doomed, &mut entries)?;
        inner.forget_folder(&folder, &entries)?;
        kept::keep_folder(&mut inner, &doomed, name)?;
        self.announce(&inner);
        Ok(())
    }

    /// Renames a folder and those below it. Renaming INBOX moves its messages instead (RFC 3501 §6.3.5).
    pub fn rename_folder(&self, from: &FolderName, to: &FolderName) -> Result<(), StoreError> {
        let mut inner = self.lock()?;
        let folder = inner.find_folder(from)?.ok_or_else(|| StoreError::NoFolder(from.clone()))?;
        if inner.find_folder(to)?.is_some() {
            return Err(StoreError::FolderExists(to.clone()));
        }
        if from.is_inbox() {
            inner.create_with_parents(to)?;
            drop(inner);
            return self.move_everything(from, to);
        }
        if to.is_below(from) {
            return Err(StoreError::BelowItself(from.clone()));
        }
        if let Some(parent) = to.parent() {
            inner.create_with_parents(&parent)?;
        }
        let mut renames = vec![(folder.id, to.clone())];
        for below in inner.all_folders()?.into_iter().filter(|other| other.name.is_below(from)) {
            let moved = below.name.moved(from, to)?;
            if inner.find_folder(&moved)?.is_some() {
                return Err(StoreError::FolderExists(moved));
            }
            renames.push((below.id, moved));
        }
        renames.into_iter().try_for_each(|(id, name)| inner.rename_one(id, &name))?;
        inner.changed();
        self.announce(&inner);
        Ok(())
    }

    fn move_everything(&self, from: &FolderName, to: &FolderName) -> Result<(), StoreError> {
        let gone = |name: &FolderName| StoreError::NoFolder(name.clone());
        let source = self.folder(from)?.ok_or_else(|| gone(from))?;
        let target = self.folder(to)?.ok_or_else(|| gone(to))?;
        let uids: Vec<Uid> = self.select(source.id, false)?.image.rows().map(|row| row.uid).collect();
        self.transfer(source.id, &uids, target.id, true).map(|_| ())
    }

    /// Names that the account's owner subscribed to, whether or not there is such a folder.
    pub fn subscriptions(&self) -> Result<Vec<FolderName>, StoreError> {
        let inner = self.lock()?;
        let mut statement = inner.conn.prepare_cached("SELECT name FROM subscriptions ORDER BY name")?;
        let names = statement.query_map([], |row| row.get(0).map(FolderName::from_index))?;
        Ok(names.collect::<Result<_, _>>()?)
    }

    pub fn subscribe(&self, name: &FolderName, subscribed: bool) -> Result<(), StoreError> {
        let mut inner = self.lock()?;
        let sql = match subscribed {
            true => "INSERT OR IGNORE INTO subscriptions VALUES (?1)",
            false => "DELETE FROM subscriptions WHERE name = ?1",
        };
        inner.commit(Commit::Synced, |transaction| Ok(transaction.execute(sql, [name.as_str()]).map(|_| ())?))?;
        inner.changed();
        self.announce(&inner);
        Ok(())
    }

    /// Counts of a folder, after a look for changes made by others.
    pub fn status(&self, name: &FolderName) -> Result<Status, StoreError> {
        let mut inner = self.lock()?;
        let folder = inner.find_folder(name)?.ok_or_else(|| StoreError::NoFolder(name.clone()))?;
        if reconcile::folder_if_touched(&mut inner, folder.id)? {
            self.announce(&inner);
        }
        let counts = inner.counts(folder.id)?;
        let sql = "SELECT count(*) FROM messages WHERE folder = ?1
            AND uid >= (SELECT recent_from FROM folders WHERE id = ?1)";
        let recent: i64 = inner.conn.prepare_cached(sql)?.query_row([folder.id.0], |row| row.get(0))?;
        let (uid_next, highest) = (inner.uid_next(folder.id)?, inner.state(folder.id)?.highest);
        Ok(Status { folder, counts, recent: u64::try_from(recent).unwrap_or(0), uid_next, highest })
    }

    /// Messages and octets of the whole account.
    pub fn usage(&self) -> Result<(u64, u64), StoreError> {
        let mut inner = self.lock()?;
        let mut total = (0, 0);
        for id in inner.folders.keys().copied().collect::<Vec<_>>() {
            let counts = inner.counts(id)?;
            total = (total.0 + counts.messages, total.1 + counts.bytes);
        }
        Ok(total)
    }
}

impl Inner {
    pub fn all_folders(&self) -> Result<Vec<Folder>, StoreError> {
        let mut statement = self.conn.prepare_cached(&format!("{COLUMNS} ORDER BY name"))?;
        let folders = statement.query_map([], read_folder)?;
        Ok(folders.collect::<Result<_, _>>()?)
    }

    pub fn folder_by_id(&self, id: FolderId) -> Result<Folder, StoreError> {
        let mut statement = self.conn.prepare_cached(&format!("{COLUMNS} WHERE id = ?1"))?;
        statement.query_row([id.0], read_folder).optional()?.ok_or(StoreError::FolderGone)
    }

    pub fn find_folder(&self, name: &FolderName) -> Result<Option<Folder>, StoreError> {
        let mut statement = self.conn.prepare_cached(&format!("{COLUMNS} WHERE name = ?1"))?;
        Ok(statement.query_row([name.as_str()], read_folder).optional()?)
    }

    pub fn create_with_parents(&mut self, name: &FolderName) -> Result<(), StoreError> {
        if let Some(parent) = name.parent() {
            self.create_with_parents(&parent)?;
        }
        if self.find_folder(name)?.is_none() {
            self.add_folder(name, None)?;
        }
        Ok(())
    }

    /// Makes a folder's directories and its entry.
    pub fn add_folder(&mut self, name: &FolderName, special: Option<SpecialUse>) -> Result<(), StoreError> {
        let dir = name.directory();
        maildir::create(&self.maildir.join(&dir), !dir.is_empty())?;
        self.index_folder(name, &dir, special)
    }

    /// Makes the entry of a folder whose directories exist.
    pub fn index_folder(
        &mut self,
        name: &FolderName,
        dir: &str,
        special: Option<SpecialUse>,
    ) -> Result<(), StoreError> {
        let validity = self.take_validity()?;
        let id = self.commit(Commit::Synced, |transaction| {
            let sql = "INSERT INTO folders (name, dir, validity, uid_reserved, recent_from, special)
                VALUES (?1, ?2, ?3, 1, 1, ?4)";
            transaction.execute(sql, (name.as_str(), dir, validity, special.map(SpecialUse::attribute)))?;
            Ok(FolderId(transaction.last_insert_rowid()))
        })?;
        self.load_folder(id, dir, false)
    }

    /// Removes a folder's entry and those of its messages, which are recorded as removed.
    pub fn forget_folder(&mut self, folder: &Folder, entries: &[messages::Entry]) -> Result<(), StoreError> {
        let id = folder.id;
        self.commit(Commit::Synced, |transaction| {
            for entry in entries {
                kept::record(transaction, &folder.name, entry)?;
            }
            for table in ["messages", "expunged", "annotations", "acl"] {
                transaction.execute(&format!("DELETE FROM {table} WHERE folder = ?1"), [id.0])?;
            }
            transaction.execute("DELETE FROM folders WHERE id = ?1", [id.0])?;
            Ok(())
        })?;
        self.folders.remove(&id);
        self.forget_image(id);
        Ok(())
    }

    /// A crash between the two halves makes the folder one with a new UIDVALIDITY at the next opening; no mail is lost.
    fn rename_one(&mut self, id: FolderId, name: &FolderName) -> Result<(), StoreError> {
        let dir = name.directory();
        let (old, new) = (self.state(id)?.path.clone(), self.maildir.join(&dir));
        durable::rename(&old, &new).map_err(at(&old))?;
        self.commit(Commit::Synced, |transaction| {
            let sql = "UPDATE folders SET name = ?1, dir = ?2 WHERE id = ?3";
            Ok(transaction.execute(sql, (name.as_str(), &dir, id.0)).map(|_| ())?)
        })?;
        self.state(id)?.path = new;
        Ok(())
    }
}
