//! Messages of one folder: selecting, arrivals, flags, expunging.

use crate::account::{Account, Inner};
use crate::arrivals::{Arrival, Ticket};
use crate::error::{StoreError, at};
use crate::flags::{Flags, Keywords};
use crate::index::Commit;
use crate::name::FolderName;
use crate::types::{Counts, FolderId, MessageId, ModSeq, Row, Selected, Uid, UidValidity};
use crate::{kept, maildir, parsed, reconcile};
use base::durable;
use rusqlite::{OptionalExtension, Transaction};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

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

/// A message's entry.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub base: String,
    pub row: Row,
}

const ENTRY: &str = "SELECT id, base, uid, flags, keywords, modseq, received, size, saved FROM messages";

fn read_entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry { base: row.get(1)?, row: read_row(row)? })
}

fn read_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let small = |value: i64| u32::try_from(value).unwrap_or(if value < 0 { 0 } else { u32::MAX });
    Ok(Row {
        id: MessageId(row.get(0)?),
        uid: Uid::from_sql(row.get(2)?),
        flags: Flags::from_sql(row.get(3)?),
        keywords: Keywords::from_sql(row.get_ref(4)?.as_str()?),
        modseq: ModSeq::from_sql(row.get(5)?),
        received: small(row.get(6)?),
        size: small(row.get(7)?),
        saved: small(row.get(8)?),
    })
}

/// The clock, as rows keep it.
pub(crate) fn now() -> u32 {
    u32::try_from(base::time::now_unix()).unwrap_or(u32::MAX)
}

impl Account {
    /// A folder and all its messages. `claim_recent` makes the recent ones this session's own.
    pub fn select(&self, id: FolderId, claim_recent: bool) -> Result<Selected, StoreError> {
        let mut inner = self.lock()?;
        reconcile::folder_if_touched(&mut inner, id)?;
        self.announce(&inner);
        let folder = inner.folder_by_id(id)?;
        let image = inner.image(id)?;
        let uid_next = inner.uid_next(id)?;
        let sql = "SELECT recent_from FROM folders WHERE id = ?1";
        let recent_from = Uid::from_sql(inner.conn.query_row(sql, [id.0], |row| row.get(0))?);
        if claim_recent && recent_from < uid_next {
            inner.commit(Commit::Ordinary, |transaction| {
                let sql = "UPDATE folders SET recent_from = ?1 WHERE id = ?2";
                Ok(transaction.execute(sql, (uid_next.0, id.0)).map(|_| ())?)
            })?;
        }
        Ok(Selected { folder, uid_next, recent_from, image })
    }

    /// The UIDs of messages removed from a folder after `since` (RFC 7162 §3.2), ascending. `None` when that is longer
    /// ago than removals are remembered.
    pub fn removed_since(&self, id: FolderId, since: ModSeq) -> Result<Option<Vec<Uid>>, StoreError> {
        let reader = self.reader()?;
        let from: i64 = reader.query_row("SELECT expunged_from FROM account", [], |row| row.get(0))?;
        if since < ModSeq::from_sql(from) {
            return Ok(None);
        }
        let sql = "SELECT uid FROM expunged WHERE folder = ?1 AND modseq > ?2 ORDER BY uid";
        let mut statement = reader.prepare_cached(sql)?;
        let removed = statement.query_map((id.0, since.sql()), |row| row.get(0).map(Uid::from_sql))?;
        Ok(Some(removed.collect::<Result<_, _>>()?))
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
        let mut stored = self.deliver_many(folder, std::slice::from_ref(new))?;
        stored.pop().ok_or(StoreError::NoMessage)
    }

    /// Stores several messages, all or none (RFC 3502); durable when it returns.
    ///
    /// Files are written and synced side by side. Who then gets the lock takes in what others wrote meanwhile as well:
    /// one transaction and one sync of the directory serve them all.
    pub fn deliver_many(&self, folder: &FolderName, all: &[New<'_>]) -> Result<Vec<Stored>, StoreError> {
        let (id, validity, path) = {
            let mut inner = self.lock()?;
            let found = inner.find_folder(folder)?.ok_or_else(|| StoreError::NoFolder(folder.clone()))?;
            (found.id, found.validity, inner.state(found.id)?.path.clone())
        };
        let mut arrivals = Vec::with_capacity(all.len());
        for new in all {
            match Arrival::write(&path, new) {
                Ok(arrival) => arrivals.push(arrival),
                Err(why) => {
                    arrivals.iter().for_each(Arrival::withdraw);
                    return Err(why);
                }
            }
        }
        let ticket = self.arrivals().put(id, arrivals);
        let mut inner = match self.lock() {
            Ok(inner) => inner,
            // Taken in by another before the account was retired: it is stored, and said to be.
            Err(_) if ticket.is_done() => return self.stored(&ticket, validity, all.len()),
            Err(why) => {
                self.arrivals().give_up(&ticket);
                return Err(why);
            }
        };
        if !ticket.is_done() {
            self.arrivals().take().into_iter().for_each(|(id, group)| inner.take_in(id, &group));
            self.announce(&inner);
        }
        drop(inner);
        self.stored(&ticket, validity, all.len())
    }

    fn stored(&self, ticket: &Ticket, validity: UidValidity, count: usize) -> Result<Vec<Stored>, StoreError> {
        let first = ticket.outcome()?;
        Ok((first.0..).take(count).map(|uid| Stored { validity, uid: Uid(uid) }).collect())
    }

    /// Changes flags and keywords of messages; those that have gone are passed over.
    pub fn update_flags(&self, id: FolderId, uids: &[Uid], update: &FlagUpdate) -> Result<Changed, StoreError> {
        let mut inner = self.lock()?;
        let changed = inner.touch(id, |inner| inner.update_flags(id, uids, update))?;
        self.announce(&inner);
        Ok(changed)
    }

    /// Removes messages flagged \Deleted: those of `uids`, or all of the folder. Tells which were. They are kept back
    /// for a while, see [`crate::limits::KEPT_SECONDS`].
    pub fn expunge(&self, id: FolderId, uids: Option<&[Uid]>) -> Result<Vec<Uid>, StoreError> {
        let mut inner = self.lock()?;
        let removed = inner.touch(id, |inner| inner.expunge(id, uids))?;
        self.announce(&inner);
        Ok(removed)
    }

    /// A message's bytes, exactly as they were stored.
    pub fn read(&self, id: FolderId, uid: Uid) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        match self.path_now(id, uid)?.map(|path| read_file(&path, 0, &mut bytes)) {
            Some(Ok(())) => Ok(bytes),
            // Renamed at this moment, or by another program: whoever writes is waited for, then it is looked for.
            _ => self.read_after_comparison(id, uid),
        }
    }

    /// The same into a buffer that is used again, for messages whose row is at hand.
    pub fn read_into(&self, id: FolderId, row: &Row, bytes: &mut Vec<u8>) -> Result<(), StoreError> {
        match self.path_now(id, row.uid)?.map(|path| read_file(&path, row.size as usize, bytes)) {
            Some(Ok(())) => {}
            _ => *bytes = self.read_after_comparison(id, row.uid)?,
        }
        Ok(())
    }

    fn path_now(&self, id: FolderId, uid: Uid) -> Result<Option<PathBuf>, StoreError> {
        let conn = self.reader()?;
        let mut statement = conn.prepare_cached(
            "SELECT f.dir, m.base, m.flags FROM messages m JOIN folders f ON f.id = m.folder
            WHERE m.folder = ?1 AND m.uid = ?2",
        )?;
        Ok(statement.query_row((id.0, uid.0), |row| self.path_in(row)).optional()?)
    }

    fn path_in(&self, row: &rusqlite::Row<'_>) -> rusqlite::Result<PathBuf> {
        let (dir, base) = (row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?);
        let name = maildir::file_name(base, Flags::from_sql(row.get(2)?));
        let maildir = self.dir().join("Maildir");
        Ok(if dir.is_empty() { maildir.join("cur").join(name) } else { maildir.join(dir).join("cur").join(name) })
    }

    fn read_after_comparison(&self, id: FolderId, uid: Uid) -> Result<Vec<u8>, StoreError> {
        let mut inner = self.lock()?;
        let found = inner.with_file(id, uid, |path, _| match fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(StoreError::NoMessage),
            other => other.map_err(at(path)),
        })?;
        self.announce(&inner);
        found.map(|(_, bytes)| bytes).ok_or(StoreError::NoMessage)
    }
}

/// Reads a whole file that is probably of this size: then opening, one read and closing is all.
fn read_file(path: &Path, size: usize, bytes: &mut Vec<u8>) -> std::io::Result<()> {
    let mut file = fs::File::open(path)?;
    bytes.clear();
    if size > 0 {
        // One octet more shows the end by itself.
        bytes.resize(size + 1, 0);
        let count = file.read(bytes)?;
        bytes.truncate(count);
        if count == size {
            return Ok(());
        }
    }
    file.read_to_end(bytes).map(|_| ())
}

/// Puts a message into the index, and returns its row with its number.
pub(crate) fn insert(
    transaction: &Transaction<'_>,
    folder: FolderId,
    base: &str,
    row: Row,
    parsed: Option<&parsed::Kept>,
) -> Result<Row, StoreError> {
    let sql = "INSERT INTO messages (folder, uid, base, flags, keywords, modseq, received, size, saved)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let (flags, keywords) = (row.flags.sql(), row.keywords.sql());
    let values = (folder.0, row.uid.0, base, flags, keywords, row.modseq.sql(), row.received, row.size, row.saved);
    transaction.prepare_cached(sql)?.execute(values)?;
    let id = MessageId(transaction.last_insert_rowid());
    if let Some(parsed) = parsed {
        parsed.put(transaction, id)?;
    }
    Ok(Row { id, ..row })
}

/// Takes a message out of the index, remembering that it was there. What was parsed of it is forgotten later.
pub(crate) fn remove(
    transaction: &Transaction<'_>,
    folder: FolderId,
    row: &Row,
    modseq: ModSeq,
) -> Result<(), StoreError> {
    transaction.prepare_cached("DELETE FROM messages WHERE id = ?1")?.execute([row.id.0])?;
    forget(transaction, folder, row.uid, modseq)
}

/// Remembers that a UID was removed.
pub(crate) fn forget(
    transaction: &Transaction<'_>,
    folder: FolderId,
    uid: Uid,
    modseq: ModSeq,
) -> Result<(), StoreError> {
    let sql = "INSERT OR IGNORE INTO expunged VALUES (?1, ?2, ?3)";
    transaction.prepare_cached(sql)?.execute((folder.0, modseq.sql(), uid.0))?;
    Ok(())
}

/// Writes a row's flags, keywords and modification sequence.
pub(crate) fn reflag(transaction: &Transaction<'_>, row: &Row) -> Result<(), StoreError> {
    let sql = "UPDATE messages SET flags = ?1, keywords = ?2, modseq = ?3 WHERE id = ?4";
    let values = (row.flags.sql(), row.keywords.sql(), row.modseq.sql(), row.id.0);
    transaction.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

impl Inner {
    /// Every message of a folder, by ascending UID.
    pub fn rows(&self, id: FolderId) -> Result<Vec<Row>, StoreError> {
        let mut statement = self.conn.prepare_cached(&format!("{ENTRY} WHERE folder = ?1 ORDER BY uid"))?;
        let rows = statement.query_map([id.0], read_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub fn entries(&self, id: FolderId) -> Result<Vec<Entry>, StoreError> {
        let mut statement = self.conn.prepare_cached(&format!("{ENTRY} WHERE folder = ?1 ORDER BY uid"))?;
        let entries = statement.query_map([id.0], read_entry)?;
        Ok(entries.collect::<Result<_, _>>()?)
    }

    /// Counts a folder's messages in the index.
    pub fn count(&self, id: FolderId) -> Result<Counts, StoreError> {
        let sql = "SELECT count(*), coalesce(sum(flags & ?2 = 0), 0), coalesce(sum(flags & ?3 != 0), 0),
                coalesce(sum(size), 0), coalesce(sum(iif(flags & ?3 != 0, size, 0)), 0)
            FROM messages WHERE folder = ?1";
        let values = (id.0, Flags::SEEN.sql(), Flags::DELETED.sql());
        Ok(self.conn.prepare_cached(sql)?.query_row(values, |row| {
            let number = |at| row.get::<_, i64>(at).map(|value| u64::try_from(value).unwrap_or(0));
            Ok(Counts {
                messages: number(0)?,
                unseen: number(1)?,
                deleted: number(2)?,
                bytes: number(3)?,
                deleted_bytes: number(4)?,
            })
        })?)
    }

    pub fn entry(&self, id: FolderId, uid: Uid) -> Result<Option<Entry>, StoreError> {
        let mut statement = self.conn.prepare_cached(&format!("{ENTRY} WHERE folder = ?1 AND uid = ?2"))?;
        Ok(statement.query_row((id.0, uid.0), read_entry).optional()?)
    }

    /// The entries of messages; those that are not there are left out.
    pub fn entries_of(&self, id: FolderId, uids: &[Uid]) -> Result<HashMap<Uid, Entry>, StoreError> {
        let (Some(first), Some(last)) = (uids.iter().min(), uids.iter().max()) else { return Ok(HashMap::new()) };
        // One walk where most of a range is wanted, one look-up for each where few are.
        if uids.len() < 8 || (last.0 - first.0) as usize / uids.len() > 8 {
            let found =
                uids.iter().filter_map(|uid| Some(self.entry(id, *uid).transpose()?.map(|entry| (*uid, entry))));
            return found.collect();
        }
        let wanted: HashSet<Uid> = uids.iter().copied().collect();
        let sql = format!("{ENTRY} WHERE folder = ?1 AND uid BETWEEN ?2 AND ?3");
        let mut statement = self.conn.prepare_cached(&sql)?;
        let mut entries = HashMap::with_capacity(uids.len());
        for entry in statement.query_map((id.0, first.0, last.0), read_entry)? {
            let entry = entry?;
            if wanted.contains(&entry.row.uid) {
                entries.insert(entry.row.uid, entry);
            }
        }
        Ok(entries)
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

    /// Does `work` to messages whose files another program may have renamed. `work` takes a list, does as many as it
    /// finds the files of, commits that and tells how many; only then is the folder compared with its files. A
    /// comparison in the midst of it would take what is done, and not committed yet, for the doing of others.
    pub fn past_missing(
        &mut self,
        id: FolderId,
        uids: &[Uid],
        mut work: impl FnMut(&mut Inner, &[Uid]) -> Result<usize, StoreError>,
    ) -> Result<(), StoreError> {
        let mut rest = uids;
        while !rest.is_empty() {
            let done = work(self, rest)?;
            rest = &rest[done..];
            if let [missing, after @ ..] = rest {
                reconcile::folder(self, id)?;
                // One that is missing still has gone.
                work(self, std::slice::from_ref(missing))?;
                rest = after;
            }
        }
        Ok(())
    }

    fn update_flags(&mut self, id: FolderId, uids: &[Uid], update: &FlagUpdate) -> Result<Changed, StoreError> {
        let mut changed = Changed::default();
        self.past_missing(id, uids, |inner, uids| inner.update_until_missing(id, uids, update, &mut changed))?;
        Ok(changed)
    }

    /// Returns how many were looked at before one whose file is not where the index says.
    fn update_until_missing(
        &mut self,
        id: FolderId,
        uids: &[Uid],
        update: &FlagUpdate,
        changed: &mut Changed,
    ) -> Result<usize, StoreError> {
        let (mut old, mut writes) = (Vec::new(), Vec::new());
        let (mut renamed, mut relabelled, mut done) = (false, false, 0);
        let cur = self.state(id)?.path.join("cur");
        let mut entries = self.entries_of(id, uids)?;
        for uid in uids {
            if let Some(Entry { base, row: before }) = entries.remove(uid) {
                if update.unchanged_since.is_some_and(|since| before.modseq > since) {
                    changed.modified.push(*uid);
                    done += 1;
                    continue;
                }
                let (flags, keywords) = (update.flags_of(before.flags), update.keywords_of(&before.keywords));
                let row = Row { flags, keywords, ..before.clone() };
                if row.flags != before.flags {
                    let names = [before.flags, row.flags].map(|flags| cur.join(maildir::file_name(&base, flags)));
                    match maildir::rename(&names[0], &names[1]) {
                        Err(StoreError::NoMessage) => break,
                        other => other?,
                    }
                    renamed = true;
                }
                relabelled |= row.keywords != before.keywords;
                if row != before {
                    old.push(before);
                    writes.push(changed.rows.len());
                }
                changed.rows.push(row);
            }
            done += 1;
        }
        if renamed {
            durable::sync_dir(&cur).map_err(at(&cur))?;
        }
        if !writes.is_empty() {
            let commit = if relabelled { Commit::Synced } else { Commit::Ordinary };
            self.write_flags(id, &mut changed.rows, &writes, &old, commit)?;
        }
        Ok(done)
    }

    fn write_flags(
        &mut self,
        id: FolderId,
        rows: &mut [Row],
        writes: &[usize],
        old: &[Row],
        commit: Commit,
    ) -> Result<(), StoreError> {
        let modseq = self.take_modseq()?;
        writes.iter().for_each(|index| rows[*index].modseq = modseq);
        self.commit(commit, |transaction| writes.iter().try_for_each(|index| reflag(transaction, &rows[*index])))?;
        let new: Vec<Row> = writes.iter().map(|index| rows[*index].clone()).collect();
        self.note(id, old, &new, modseq)
    }

    fn expunge(&mut self, id: FolderId, uids: Option<&[Uid]>) -> Result<Vec<Uid>, StoreError> {
        let doomed = self.deleted(id, uids)?;
        if doomed.is_empty() {
            return Ok(Vec::new());
        }
        let name = self.folder_by_id(id)?.name;
        let removed = kept::make_directory(self)?;
        let mut gone = Vec::with_capacity(doomed.len());
        for entry in doomed {
            let path = self.path_of(id, &entry)?;
            if let Some(base) = kept::keep_file(&removed, &path, &entry.base)? {
                gone.push(Entry { base, ..entry });
            } else {
                // Renamed by another: the comparison after this finds it again, as a message not deleted.
                self.state(id)?.stamp = None;
            }
        }
        let cur = self.state(id)?.path.join("cur");
        durable::sync_dir(&removed).and_then(|()| durable::sync_dir(&cur)).map_err(at(&cur))?;
        let modseq = self.take_modseq()?;
        self.commit(Commit::Ordinary, |transaction| {
            for entry in &gone {
                kept::record(transaction, &name, entry)?;
                remove(transaction, id, &entry.row, modseq)?;
            }
            Ok(())
        })?;
        let rows: Vec<Row> = gone.into_iter().map(|entry| entry.row).collect();
        self.note(id, &rows, &[], modseq)?;
        Ok(rows.into_iter().map(|row| row.uid).collect())
    }

    fn deleted(&self, id: FolderId, uids: Option<&[Uid]>) -> Result<Vec<Entry>, StoreError> {
        let sql = format!("{ENTRY} WHERE folder = ?1 AND flags & ?2 != 0 ORDER BY uid");
        let mut statement = self.conn.prepare_cached(&sql)?;
        let rows = statement.query_map((id.0, Flags::DELETED.sql()), read_entry)?;
        let mut entries = rows.collect::<Result<Vec<_>, _>>()?;
        if let Some(uids) = uids {
            let wanted: HashSet<Uid> = uids.iter().copied().collect();
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
        if self.keywords.is_empty() && self.change != FlagChange::Replace {
            return old.clone();
        }
        match self.change {
            FlagChange::Replace => self.keywords.clone(),
            FlagChange::Add => old.with(&self.keywords),
            FlagChange::Remove => old.without(&self.keywords),
        }
    }
}
