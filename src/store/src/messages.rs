//! Messages of one folder: selecting, arrivals, flags, reading, expunging.

use crate::account::{Account, Inner};
use crate::error::{StoreError, at};
use crate::flags::{Flags, Keywords};
use crate::folders::Folder;
use crate::index::Commit;
use crate::mime::Parsed;
use crate::name::FolderName;
use crate::types::{Changes, FolderId, ModSeq, Row, Selected, Uid, UidValidity};
use crate::{maildir, reconcile};
use base::durable;
use rusqlite::OptionalExtension;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// A message to be stored.
#[derive(Debug, Clone)]
pub struct New<'a> {
    pub bytes: &'a [u8],
    pub flags: Flags,
    pub keywords: Keywords,
    /// The internal date, in seconds since 1970.
    pub received: u64,
}

/// Where a message was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    pub validity: UidValidity,
    pub uid: Uid,
}

/// How flags are changed (RFC 3501 §6.4.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagChange {
    Replace,
    Add,
    Remove,
}

#[derive(Debug, Clone)]
pub struct FlagUpdate {
    pub change: FlagChange,
    pub flags: Flags,
    pub keywords: Keywords,
    /// Messages changed after this are left alone (RFC 7162 §3.1.3).
    pub unchanged_since: Option<ModSeq>,
}

/// What a flag update did.
#[derive(Debug, Clone, Default)]
pub struct Changed {
    /// The messages as they are now, those without a difference included.
    pub rows: Vec<Row>,
    /// Messages that `unchanged_since` protected.
    pub modified: Vec<Uid>,
}

/// What the index keeps of a message.
#[derive(Debug, Clone)]
pub struct Details {
    pub uid: Uid,
    pub size: u64,
    /// Seconds since 1970.
    pub received: u64,
    /// Envelope and structure, when asked for.
    pub parsed: Option<Arc<Parsed>>,
}

/// A message's entry.
pub(crate) struct Entry {
    pub id: i64,
    pub base: String,
    pub row: Row,
    pub received: i64,
    pub size: i64,
}

const ENTRY: &str = "SELECT id, base, uid, flags, keywords, modseq, received, size FROM messages";

fn read_entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        id: row.get(0)?,
        base: row.get(1)?,
        row: Row {
            uid: Uid::from_sql(row.get(2)?),
            flags: Flags::from_sql(row.get(3)?),
            keywords: Keywords::from_sql(row.get(4)?),
            modseq: ModSeq::from_sql(row.get(5)?),
        },
        received: row.get(6)?,
        size: row.get(7)?,
    })
}

impl Account {
    /// A folder and all its messages. `claim_recent` makes the recent ones this session's own.
    pub fn select(&self, id: FolderId, claim_recent: bool) -> Result<Selected, StoreError> {
        let mut inner = self.lock()?;
        if reconcile::folder_if_touched(&mut inner, id)? {
            self.announce(&inner);
        }
        let folder = inner.folder_by_id(id)?;
        let rows = inner.rows_since(id, ModSeq(0))?;
        let (uid_next, highest) = (inner.uid_next(id)?, inner.state(id)?.highest);
        let sql = "SELECT recent_from FROM folders WHERE id = ?1";
        let recent_from = Uid::from_sql(inner.conn.query_row(sql, [id.0], |row| row.get(0))?);
        if claim_recent && recent_from < uid_next {
            inner.commit(Commit::Ordinary, |transaction| {
                let sql = "UPDATE folders SET recent_from = ?1 WHERE id = ?2";
                Ok(transaction.execute(sql, (uid_next.0, id.0)).map(|_| ())?)
            })?;
        }
        Ok(Selected { folder, uid_next, highest, recent_from, rows })
    }

    /// What changed in a folder after `since`.
    pub fn changes(&self, id: FolderId, since: ModSeq) -> Result<Changes, StoreError> {
        let mut inner = self.lock()?;
        let highest = inner.state(id)?.highest;
        if highest <= since {
            return Ok(Changes { highest: since, ..Changes::default() });
        }
        let rows = inner.rows_since(id, since)?;
        let sql = "SELECT uid FROM expunged WHERE folder = ?1 AND modseq > ?2 ORDER BY uid";
        let mut statement = inner.conn.prepare_cached(sql)?;
        let removed = statement.query_map((id.0, since.sql()), |row| row.get(0).map(Uid::from_sql))?;
        Ok(Changes { highest, rows, removed: removed.collect::<Result<_, _>>()? })
    }

    /// Looks whether others changed the folder's files, which the feed cannot tell.
    pub fn look_for_others(&self, id: FolderId) -> Result<(), StoreError> {
        let mut inner = self.lock()?;
        if reconcile::folder_if_touched(&mut inner, id)? {
            self.announce(&inner);
        }
        Ok(())
    }

    /// Stores a message; durable when it returns.
    pub fn deliver(&self, folder: &FolderName, new: &New<'_>) -> Result<Stored, StoreError> {
        let (id, validity, path) = {
            let mut inner = self.lock()?;
            let found = inner.find_folder(folder)?.ok_or_else(|| StoreError::NoFolder(folder.clone()))?;
            (found.id, found.validity, inner.state(found.id)?.path.clone())
        };
        let parsed = Parsed::of(new.bytes).to_json();
        let base = maildir::new_base(new.bytes.len() as u64);
        let tmp = maildir::write_tmp(&path, &base, new.bytes)?;
        let stamped = fs::File::options()
            .write(true)
            .open(&tmp)
            .and_then(|file| file.set_modified(UNIX_EPOCH + Duration::from_secs(new.received)));
        // The time is only of use to a rebuild, so a file system that refuses it does not stop mail.
        if let Err(error) = stamped {
            tracing::debug!("{}: {error}", tmp.display());
        }
        let cur = path.join("cur");
        let target = cur.join(maildir::file_name(&base, new.flags));
        let uid = {
            let mut inner = self.lock()?;
            let uid = inner.touch(id, |inner| {
                let (uid, modseq) = (inner.take_uids(id, 1)?, inner.take_modseq()?);
                fs::rename(&tmp, &target).map_err(at(&target))?;
                let row = Row { uid, flags: new.flags, keywords: new.keywords.clone(), modseq };
                let (size, received) = (new.bytes.len() as i64, i64::try_from(new.received).unwrap_or(i64::MAX));
                let entry = Entry { id: 0, base: base.clone(), row, received, size };
                // Keywords stand in the index alone, so they are synced with it.
                let commit = if new.keywords.is_empty() { Commit::Ordinary } else { Commit::Synced };
                inner.commit(commit, |transaction| insert(transaction, id, &entry, parsed.as_deref()))?;
                inner.state(id)?.highest = modseq;
                Ok(uid)
            })?;
            self.announce(&inner);
            uid
        };
        // Outside of the lock: deliveries at the same time share the file system's one commit.
        durable::sync_dir(&cur).map_err(at(&cur))?;
        Ok(Stored { validity, uid })
    }

    /// Changes flags and keywords of messages; those that have gone are passed over.
    pub fn update_flags(&self, id: FolderId, uids: &[Uid], update: &FlagUpdate) -> Result<Changed, StoreError> {
        let mut inner = self.lock()?;
        let changed = inner.touch(id, |inner| inner.update_flags(id, uids, update))?;
        self.announce(&inner);
        Ok(changed)
    }

    /// Removes messages flagged \Deleted: those of `uids`, or all of the folder. Tells which were.
    pub fn expunge(&self, id: FolderId, uids: Option<&[Uid]>) -> Result<Vec<Uid>, StoreError> {
        let mut inner = self.lock()?;
        let removed = inner.touch(id, |inner| inner.expunge(id, uids))?;
        self.announce(&inner);
        Ok(removed)
    }

    /// What the index keeps of messages; those that have gone are left out.
    pub fn details(&self, id: FolderId, uids: &[Uid], parsed: bool) -> Result<Vec<Details>, StoreError> {
        let mut found = Vec::with_capacity(uids.len());
        let mut unparsed = Vec::new();
        {
            let inner = self.lock()?;
            for uid in uids {
                let Some(entry) = inner.entry(id, *uid)? else { continue };
                let known = if parsed { inner.parsed(entry.id)? } else { None };
                if parsed && known.is_none() {
                    unparsed.push(found.len());
                }
                found.push((entry.id, entry.details(known)));
            }
        }
        // Mail that was adopted is parsed when it is first asked for.
        for index in unparsed {
            let (message, details) = &mut found[index];
            let Ok(bytes) = self.read(id, details.uid) else { continue };
            let fresh = Parsed::of(&bytes);
            if let Some(json) = fresh.to_json() {
                let inner = self.lock()?;
                let sql = "INSERT OR REPLACE INTO parsed SELECT id, ?2 FROM messages WHERE id = ?1";
                inner.conn.prepare_cached(sql)?.execute((*message, json))?;
            }
            details.parsed = Some(Arc::new(fresh));
        }
        Ok(found.into_iter().map(|(_, details)| details).collect())
    }

    /// A message's bytes, exactly as they were stored.
    pub fn read(&self, id: FolderId, uid: Uid) -> Result<Vec<u8>, StoreError> {
        // Others may rename the file at any time, so a second look is taken after a comparison.
        for attempt in 0..2 {
            let path = {
                let mut inner = self.lock()?;
                if attempt > 0 {
                    reconcile::folder(&mut inner, id)?;
                    self.announce(&inner);
                }
                inner.file(id, uid)?
            };
            match fs::read(&path) {
                Ok(bytes) => return Ok(bytes),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(at(&path)(error)),
            }
        }
        Err(StoreError::NoMessage)
    }
}

impl Entry {
    fn details(&self, parsed: Option<Arc<Parsed>>) -> Details {
        Details {
            uid: self.row.uid,
            size: u64::try_from(self.size).unwrap_or(0),
            received: u64::try_from(self.received).unwrap_or(0),
            parsed,
        }
    }
}

/// Puts a message into the index.
pub(crate) fn insert(
    transaction: &rusqlite::Transaction<'_>,
    folder: FolderId,
    entry: &Entry,
    parsed: Option<&[u8]>,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO messages (folder, uid, base, flags, keywords, modseq, received, size)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let row = &entry.row;
    transaction.prepare_cached(sql)?.execute((
        folder.0,
        row.uid.0,
        &entry.base,
        row.flags.sql(),
        row.keywords.sql(),
        row.modseq.sql(),
        entry.received,
        entry.size,
    ))?;
    if let Some(json) = parsed {
        let id = transaction.last_insert_rowid();
        transaction.prepare_cached("INSERT INTO parsed VALUES (?1, ?2)")?.execute((id, json))?;
    }
    Ok(())
}

/// Takes a message out of the index, remembering that it was there.
pub(crate) fn remove(
    transaction: &rusqlite::Transaction<'_>,
    folder: FolderId,
    uid: Uid,
    modseq: ModSeq,
) -> Result<(), StoreError> {
    let sql = "INSERT OR IGNORE INTO expunged VALUES (?1, ?2, ?3)";
    transaction.prepare_cached(sql)?.execute((folder.0, modseq.sql(), uid.0))?;
    Ok(())
}

impl Inner {
    pub fn folder_by_id(&self, id: FolderId) -> Result<Folder, StoreError> {
        self.all_folders()?.into_iter().find(|folder| folder.id == id).ok_or(StoreError::FolderGone)
    }

    fn rows_since(&self, id: FolderId, since: ModSeq) -> Result<Vec<Row>, StoreError> {
        // Without the plus SQLite would walk the index by modseq and sort, also when everything is wanted.
        let sql = match since.0 {
            0 => format!("{ENTRY} WHERE folder = ?1 AND +modseq > ?2 ORDER BY uid"),
            _ => format!("{ENTRY} WHERE folder = ?1 AND modseq > ?2 ORDER BY uid"),
        };
        let mut statement = self.conn.prepare_cached(&sql)?;
        let rows = statement.query_map((id.0, since.sql()), |row| read_entry(row).map(|entry| entry.row))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub fn entry(&self, id: FolderId, uid: Uid) -> Result<Option<Entry>, StoreError> {
        let mut statement = self.conn.prepare_cached(&format!("{ENTRY} WHERE folder = ?1 AND uid = ?2"))?;
        Ok(statement.query_row((id.0, uid.0), read_entry).optional()?)
    }

    fn parsed(&self, message: i64) -> Result<Option<Arc<Parsed>>, StoreError> {
        let mut statement = self.conn.prepare_cached("SELECT json FROM parsed WHERE id = ?1")?;
        let json: Option<Vec<u8>> = statement.query_row([message], |row| row.get(0)).optional()?;
        Ok(json.and_then(|json| Parsed::from_json(&json)).map(Arc::new))
    }

    fn file(&mut self, id: FolderId, uid: Uid) -> Result<PathBuf, StoreError> {
        let entry = self.entry(id, uid)?.ok_or(StoreError::NoMessage)?;
        self.path_of(id, &entry)
    }

    pub fn path_of(&mut self, id: FolderId, entry: &Entry) -> Result<PathBuf, StoreError> {
        Ok(self.state(id)?.path.join("cur").join(maildir::file_name(&entry.base, entry.row.flags)))
    }

    /// Does `work` to a message's file; if it is not where the index says, looks for it and tries once more.
    /// `None` when the message has gone.
    pub fn with_file<T>(
        &mut self,
        id: FolderId,
        uid: Uid,
        mut work: impl FnMut(&PathBuf, &Entry) -> Result<T, StoreError>,
    ) -> Result<Option<(Entry, T)>, StoreError> {
        for attempt in 0..2 {
            let Some(entry) = self.entry(id, uid)? else { return Ok(None) };
            let path = self.path_of(id, &entry)?;
            match work(&path, &entry) {
                Err(StoreError::NoMessage) if attempt == 0 => reconcile::folder(self, id)?,
                Err(StoreError::NoMessage) => {}
                other => return other.map(|value| Some((entry, value))),
            }
        }
        Ok(None)
    }

    fn update_flags(&mut self, id: FolderId, uids: &[Uid], update: &FlagUpdate) -> Result<Changed, StoreError> {
        let mut changed = Changed::default();
        let mut writes = Vec::new();
        let (mut renamed, mut relabelled) = (false, false);
        let cur = self.state(id)?.path.join("cur");
        for uid in uids {
            let Some(entry) = self.entry(id, *uid)? else { continue };
            if update.unchanged_since.is_some_and(|since| entry.row.modseq > since) {
                changed.modified.push(*uid);
                continue;
            }
            let outcome = self.with_file(id, *uid, |path, entry| {
                let flags = update.flags_of(entry.row.flags);
                if flags != entry.row.flags {
                    maildir::rename(path, &cur.join(maildir::file_name(&entry.base, flags)))?;
                }
                Ok(flags)
            })?;
            let Some((mut entry, flags)) = outcome else { continue };
            let keywords = update.keywords_of(&entry.row.keywords);
            renamed |= flags != entry.row.flags;
            relabelled |= keywords != entry.row.keywords;
            let differs = flags != entry.row.flags || keywords != entry.row.keywords;
            (entry.row.flags, entry.row.keywords) = (flags, keywords);
            if differs {
                writes.push((entry.id, changed.rows.len()));
            }
            changed.rows.push(entry.row);
        }
        if renamed {
            durable::sync_dir(&cur).map_err(at(&cur))?;
        }
        if !writes.is_empty() {
            self.write_flags(id, &mut changed.rows, &writes, relabelled)?;
        }
        Ok(changed)
    }

    fn write_flags(
        &mut self,
        id: FolderId,
        rows: &mut [Row],
        writes: &[(i64, usize)],
        relabelled: bool,
    ) -> Result<(), StoreError> {
        let modseq = self.take_modseq()?;
        let commit = if relabelled { Commit::Synced } else { Commit::Ordinary };
        self.commit(commit, |transaction| {
            let sql = "UPDATE messages SET flags = ?1, keywords = ?2, modseq = ?3 WHERE id = ?4";
            let mut statement = transaction.prepare_cached(sql)?;
            for (message, index) in writes {
                let row = &mut rows[*index];
                row.modseq = modseq;
                statement.execute((row.flags.sql(), row.keywords.sql(), modseq.sql(), message))?;
            }
            Ok(())
        })?;
        self.state(id)?.highest = modseq;
        Ok(())
    }

    fn expunge(&mut self, id: FolderId, uids: Option<&[Uid]>) -> Result<Vec<Uid>, StoreError> {
        let doomed = self.deleted(id, uids)?;
        if doomed.is_empty() {
            return Ok(Vec::new());
        }
        let cur = self.state(id)?.path.join("cur");
        for entry in &doomed {
            let path = self.path_of(id, entry)?;
            match fs::remove_file(&path) {
                // Renamed by another: the comparison after this finds it again, as a message not deleted.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => self.state(id)?.stamp = None,
                other => other.map_err(at(&path))?,
            }
        }
        durable::sync_dir(&cur).map_err(at(&cur))?;
        let modseq = self.take_modseq()?;
        self.commit(Commit::Ordinary, |transaction| {
            for entry in &doomed {
                transaction.prepare_cached("DELETE FROM messages WHERE id = ?1")?.execute([entry.id])?;
                transaction.prepare_cached("DELETE FROM parsed WHERE id = ?1")?.execute([entry.id])?;
                remove(transaction, id, entry.row.uid, modseq)?;
            }
            Ok(())
        })?;
        self.state(id)?.highest = modseq;
        Ok(doomed.into_iter().map(|entry| entry.row.uid).collect())
    }

    fn deleted(&self, id: FolderId, uids: Option<&[Uid]>) -> Result<Vec<Entry>, StoreError> {
        let sql = format!("{ENTRY} WHERE folder = ?1 AND flags & ?2 != 0 ORDER BY uid");
        let mut statement = self.conn.prepare_cached(&sql)?;
        let rows = statement.query_map((id.0, Flags::DELETED.sql()), read_entry)?;
        let mut entries = rows.collect::<Result<Vec<_>, _>>()?;
        if let Some(uids) = uids {
            let wanted: std::collections::HashSet<Uid> = uids.iter().copied().collect();
            entries.retain(|entry| wanted.contains(&entry.row.uid));
        }
        Ok(entries)
    }
}

impl FlagUpdate {
    fn flags_of(&self, old: Flags) -> Flags {
        match self.change {
            FlagChange::Replace => self.flags,
            FlagChange::Add => old | self.flags,
            FlagChange::Remove => old.without(self.flags),
        }
    }

    fn keywords_of(&self, old: &Keywords) -> Keywords {
        match self.change {
            FlagChange::Replace => self.keywords.clone(),
            FlagChange::Add => old.with(&self.keywords),
            FlagChange::Remove => old.without(&self.keywords),
        }
    }
}
