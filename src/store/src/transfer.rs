//! Copying and moving messages between folders of one account.

use crate::account::{Account, Inner};
use crate::error::{StoreError, at};
use crate::index::Commit;
use crate::messages::{self, Entry};
use crate::types::{FolderId, ModSeq, Row, Uid, UidValidity};
use crate::{maildir, parsed};
use base::durable;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

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
        let mut pairs = Vec::with_capacity(uids.len());
        inner.touch(from, |inner| {
            inner.touch(to, |inner| {
                inner.past_missing(from, uids, |inner, uids| match moving {
                    true => inner.move_messages(from, uids, to, &mut pairs),
                    false => inner.copy_messages(from, uids, to, &mut pairs),
                })
            })
        })?;
        self.announce(&inner);
        Ok(Transferred { validity, uids: pairs })
    }
}

impl Inner {
    /// Copies messages up to one whose file is not where the index says; returns how many were looked at.
    fn copy_messages(
        &mut self,
        from: FolderId,
        uids: &[Uid],
        to: FolderId,
        pairs: &mut Vec<(Uid, Uid)>,
    ) -> Result<usize, StoreError> {
        let path = self.state(to)?.path.clone();
        let (mut copies, mut done) = (Vec::<Entry>::with_capacity(uids.len()), 0);
        let mut entries = self.entries_of(from, uids)?;
        for uid in uids {
            if let Some(entry) = entries.remove(uid) {
                let base = maildir::new_base(u64::from(entry.row.size));
                let name = maildir::file_name(&base, entry.row.flags);
                match duplicate(&self.path_of(from, &entry)?, &path, &base, &name, entry.row.received) {
                    Err(StoreError::NoMessage) => break,
                    other => other?,
                }
                copies.push(Entry { base, ..entry });
            }
            done += 1;
        }
        pairs.extend(self.enter(to, &path, &copies, |transaction, entry, uid, modseq| {
            let row = Row { uid, modseq, saved: messages::now(), ..entry.row.clone() };
            let row = messages::insert(transaction, to, &entry.base, row, None)?;
            parsed::copy(transaction, entry.row.id, row.id)?;
            Ok(row)
        })?);
        Ok(done)
    }

    /// Moves messages up to one whose file is not where the index says; returns how many were looked at.
    fn move_messages(
        &mut self,
        from: FolderId,
        uids: &[Uid],
        to: FolderId,
        pairs: &mut Vec<(Uid, Uid)>,
    ) -> Result<usize, StoreError> {
        let path = self.state(to)?.path.clone();
        let source_dir = self.state(from)?.path.join("cur");
        let (mut moved, mut done) = (Vec::<Entry>::with_capacity(uids.len()), 0);
        let mut entries = self.entries_of(from, uids)?;
        for uid in uids {
            if let Some(entry) = entries.remove(uid) {
                let mut base = entry.base.clone();
                let mut target = path.join("cur").join(maildir::file_name(&base, entry.row.flags));
                // A new name when it is taken (a hand-made copy), and within one folder, where it would be a no-op.
                if from == to || target.exists() || self.is_taken(to, &base)? {
                    base = maildir::new_base(u64::from(entry.row.size));
                    target = path.join("cur").join(maildir::file_name(&base, entry.row.flags));
                }
                match maildir::rename(&self.path_of(from, &entry)?, &target) {
                    Err(StoreError::NoMessage) => break,
                    other => other?,
                }
                moved.push(Entry { base, ..entry });
            }
            done += 1;
        }
        let entered = self.enter(to, &path, &moved, |transaction, entry, uid, modseq| {
            let row = Row { uid, modseq, saved: messages::now(), ..entry.row.clone() };
            let sql = "UPDATE messages SET folder = ?1, uid = ?2, base = ?3, modseq = ?4, saved = ?5 WHERE id = ?6";
            let values = (to.0, uid.0, &entry.base, modseq.sql(), row.saved, row.id.0);
            transaction.prepare_cached(sql)?.execute(values)?;
            messages::forget(transaction, from, entry.row.uid, modseq)?;
            Ok(row)
        })?;
        if !entered.is_empty() {
            // Only now that the new names are synced may the old ones be forgotten.
            durable::sync_dir(&source_dir).map_err(at(&source_dir))?;
            let gone: Vec<Row> = moved.into_iter().map(|entry| entry.row).collect();
            let highest = self.state(to)?.highest;
            self.note(from, &gone, &[], highest)?;
        }
        pairs.extend(entered);
        Ok(done)
    }

    /// Whether a message of the folder has this base name, whatever its flags.
    fn is_taken(&self, id: FolderId, base: &str) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM messages WHERE folder = ?1 AND base = ?2)";
        Ok(self.conn.prepare_cached(sql)?.query_row((id.0, base), |row| row.get(0))?)
    }

    /// Syncs the target directory, then gives each entry its new UID in one transaction.
    fn enter(
        &mut self,
        to: FolderId,
        path: &Path,
        entries: &[Entry],
        mut put: impl FnMut(&rusqlite::Transaction<'_>, &Entry, Uid, ModSeq) -> Result<Row, StoreError>,
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
        let rows = self.commit(commit, |transaction| {
            let mut rows = Vec::with_capacity(entries.len());
            for (uid, entry) in (first.0..).map(Uid).zip(entries) {
                rows.push(put(transaction, entry, uid, modseq)?);
            }
            Ok(rows)
        })?;
        self.note(to, &[], &rows, modseq)?;
        Ok(entries.iter().zip(&rows).map(|(entry, row)| (entry.row.uid, row.uid)).collect())
    }
}

/// A second name for the same bytes, which are synced already; where the file system has no links, a synced copy.
fn duplicate(source: &Path, folder: &Path, base: &str, name: &str, received: u32) -> Result<(), StoreError> {
    let target = folder.join("cur").join(name);
    match fs::hard_link(source, &target) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::NoMessage),
        Err(_) => {
            let bytes = fs::read(source).map_err(at(source))?;
            let received = UNIX_EPOCH + Duration::from_secs(u64::from(received));
            let tmp = maildir::write_tmp(folder, base, &bytes, received)?;
            fs::rename(&tmp, &target).map_err(at(&target))
        }
    }
}
