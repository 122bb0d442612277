//! Copying and moving messages between folders of one account.

use crate::account::{Account, Inner};
use crate::error::{StoreError, at};
use crate::index::Commit;
use crate::maildir;
use crate::messages::{self, Entry};
use crate::types::{FolderId, Uid, UidValidity};
use base::durable;
use std::fs;
use std::io;
use std::path::Path;

/// Where messages went: the pairs of old and new UID, for COPYUID (RFC 4315 §3).
#[derive(Debug, Clone)]
pub struct Transferred {
    pub validity: UidValidity,
    pub uids: Vec<(Uid, Uid)>,
}

impl Account {
    /// Copies messages, or moves them; those that have gone meanwhile are left out. Durable when it returns.
    pub fn transfer(
        &self,
        from: FolderId,
        uids: &[Uid],
        to: FolderId,
        moving: bool,
    ) -> Result<Transferred, StoreError> {
        let mut inner = self.lock()?;
        let validity = inner.folder_by_id(to)?.validity;
        let uids = inner.touch(from, |inner| {
            inner.touch(to, |inner| match moving {
                true => inner.move_messages(from, uids, to),
                false => inner.copy_messages(from, uids, to),
            })
        })?;
        self.announce(&inner);
        Ok(Transferred { validity, uids })
    }
}

impl Inner {
    fn copy_messages(&mut self, from: FolderId, uids: &[Uid], to: FolderId) -> Result<Vec<(Uid, Uid)>, StoreError> {
        let path = self.state(to)?.path.clone();
        let mut copies: Vec<Entry> = Vec::with_capacity(uids.len());
        for uid in uids {
            let copied = self.with_file(from, *uid, |source, entry| {
                let base = maildir::new_base(u64::try_from(entry.size).unwrap_or(0));
                let name = maildir::file_name(&base, entry.row.flags);
                duplicate(source, &path, &base, &name)?;
                Ok(base)
            })?;
            if let Some((entry, base)) = copied {
                copies.push(Entry { base, ..entry });
            }
        }
        self.enter(to, &path, &copies, |transaction, entry, uid, modseq| {
            let row = crate::Row { uid, modseq, ..entry.row.clone() };
            let (base, received, size) = (entry.base.clone(), entry.received, entry.size);
            messages::insert(transaction, to, &Entry { id: 0, base, row, received, size }, None)?;
            let sql = "INSERT INTO parsed SELECT ?1, json FROM parsed WHERE id = ?2";
            transaction.prepare_cached(sql)?.execute((transaction.last_insert_rowid(), entry.id))?;
            Ok(())
        })
    }

    fn move_messages(&mut self, from: FolderId, uids: &[Uid], to: FolderId) -> Result<Vec<(Uid, Uid)>, StoreError> {
        let path = self.state(to)?.path.clone();
        let source_dir = self.state(from)?.path.join("cur");
        let mut moved: Vec<Entry> = Vec::with_capacity(uids.len());
        for uid in uids {
            let outcome = self.with_file(from, *uid, |source, entry| {
                let mut base = entry.base.clone();
                let mut target = path.join("cur").join(maildir::file_name(&base, entry.row.flags));
                // A new name when it is taken (a hand-made copy), and within one folder, where it would be a no-op.
                if from == to || target.exists() {
                    base = maildir::new_base(u64::try_from(entry.size).unwrap_or(0));
                    target = path.join("cur").join(maildir::file_name(&base, entry.row.flags));
                }
                maildir::rename(source, &target)?;
                Ok(base)
            })?;
            if let Some((entry, base)) = outcome {
                moved.push(Entry { base, ..entry });
            }
        }
        let pairs = self.enter(to, &path, &moved, |transaction, entry, uid, modseq| {
            let sql = "UPDATE messages SET folder = ?1, uid = ?2, base = ?3, modseq = ?4 WHERE id = ?5";
            transaction.prepare_cached(sql)?.execute((to.0, uid.0, &entry.base, modseq.sql(), entry.id))?;
            messages::remove(transaction, from, entry.row.uid, modseq)
        })?;
        if !pairs.is_empty() {
            // Only now that the new names are synced may the old ones be forgotten.
            durable::sync_dir(&source_dir).map_err(at(&source_dir))?;
            let highest = self.state(to)?.highest;
            self.state(from)?.highest = highest;
        }
        Ok(pairs)
    }

    /// Syncs the target directory, then gives each entry its new UID in one transaction.
    fn enter(
        &mut self,
        to: FolderId,
        path: &Path,
        entries: &[Entry],
        mut put: impl FnMut(&rusqlite::Transaction<'_>, &Entry, Uid, crate::ModSeq) -> Result<(), StoreError>,
    ) -> Result<Vec<(Uid, Uid)>, StoreError> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let cur = path.join("cur");
        durable::sync_dir(&cur).map_err(at(&cur))?;
        let first = self.take_uids(to, entries.len())?;
        let modseq = self.take_modseq()?;
        let labelled = entries.iter().any(|entry| !entry.row.keywords.is_empty());
        let commit = if labelled { Commit::Synced } else { Commit::Ordinary };
        let pairs = self.commit(commit, |transaction| {
            let mut pairs = Vec::with_capacity(entries.len());
            for (uid, entry) in (first.0..).map(Uid).zip(entries) {
                put(transaction, entry, uid, modseq)?;
                pairs.push((entry.row.uid, uid));
            }
            Ok(pairs)
        })?;
        self.state(to)?.highest = modseq;
        Ok(pairs)
    }
}

/// A second name for the same bytes, which are synced already; where the file system has no links, a synced copy.
fn duplicate(source: &Path, folder: &Path, base: &str, name: &str) -> Result<(), StoreError> {
    let target = folder.join("cur").join(name);
    match fs::hard_link(source, &target) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::NoMessage),
        Err(_) => {
            let bytes = fs::read(source).map_err(at(source))?;
            let tmp = maildir::write_tmp(folder, base, &bytes)?;
            fs::rename(&tmp, &target).map_err(at(&target))
        }
    }
}
