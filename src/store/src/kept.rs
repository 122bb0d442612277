//! Removed mail, kept back for a while: the files lie in `removed/` beside the Maildir under their base names, the index
//! remembers where they came from. Nothing here counts against a quota, and no client sees it.

use crate::account::{Account, Inner};
use crate::error::{StoreError, at};
use crate::flags::{Flags, Keywords};
use crate::index::Commit;
use crate::messages::{self, Entry};
use crate::name::FolderName;
use crate::types::{MessageId, ModSeq, Row, Uid};
use crate::{limits, maildir, mime, parsed, reconcile, strayed};
use base::durable;
use rusqlite::{OptionalExtension, Transaction};
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A message that was removed and can still be brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    base: String,
    /// Where it was.
    pub folder: FolderName,
    pub flags: Flags,
    keywords: Keywords,
    /// Its internal date, in seconds since 1970.
    pub received: u32,
    pub size: u32,
    /// When it was removed, in seconds since 1970.
    pub removed: u32,
}

/// Which removed messages are meant.
#[derive(Debug, Clone, Default)]
pub struct Which {
    /// Only those of this folder.
    pub folder: Option<FolderName>,
    /// Only those removed at or after this time, in seconds since 1970.
    pub since: Option<u64>,
}

impl Which {
    fn fits(&self, removed: &Removed) -> bool {
        self.folder.as_ref().is_none_or(|folder| *folder == removed.folder)
            && self.since.is_none_or(|since| u64::from(removed.removed) >= since)
    }
}

impl Account {
    /// What can be brought back, the latest removed first.
    pub fn removed(&self) -> Result<Vec<Removed>, StoreError> {
        let mut inner = self.lock()?;
        compare(&mut inner)?;
        list(&inner)
    }

    /// The subject of a removed message, for its owner to know it by.
    pub fn removed_subject(&self, removed: &Removed) -> Option<String> {
        let file = fs::File::open(self.dir().join("removed").join(&removed.base)).ok()?;
        let mut head = Vec::new();
        file.take(limits::HEADER_VALUE as u64).read_to_end(&mut head).ok()?;
        let subject = mime::fields(&head).find(|field| field.is("Subject")).map(|field| field.value);
        subject.map(mime::decoded_field)
    }

    /// Messages and octets that are kept back.
    pub fn removed_usage(&self) -> Result<(u64, u64), StoreError> {
        let conn = self.reader()?;
        let sql = "SELECT count(*), coalesce(sum(size), 0) FROM kept";
        let (count, bytes): (i64, i64) = conn.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok((u64::try_from(count).unwrap_or(0), u64::try_from(bytes).unwrap_or(0)))
    }

    /// Brings removed messages back into the folders they were in, which are made again where they have gone. Durable
    /// when it returns; tells how many went where.
    pub fn bring_back(&self, which: &Which) -> Result<BTreeMap<FolderName, usize>, StoreError> {
        let mut inner = self.lock()?;
        compare(&mut inner)?;
        let mut by_folder: BTreeMap<FolderName, Vec<Removed>> = BTreeMap::new();
        for removed in list(&inner)?.into_iter().filter(|removed| which.fits(removed)) {
            by_folder.entry(removed.folder.clone()).or_default().push(removed);
        }
        let mut back = BTreeMap::new();
        for (folder, mut messages) in by_folder {
            messages.sort_by(|a, b| (a.received, &a.base).cmp(&(b.received, &b.base)));
            inner.create_with_parents(&folder)?;
            let id = inner.find_folder(&folder)?.ok_or(StoreError::FolderGone)?.id;
            let count = inner.touch(id, |inner| inner.put_back(id, &messages))?;
            back.insert(folder, count);
        }
        self.announce(&inner);
        Ok(back)
    }

    /// Forgets what was parsed of messages that have gone, a little at a time. To be called now and then.
    pub fn forget_gone(&self) -> Result<(), StoreError> {
        loop {
            let mut inner = self.lock()?;
            let count = inner
                .commit(Commit::Ordinary, |transaction| parsed::forget_gone(transaction, limits::INDEXED_AT_ONCE))?;
            if count == 0 {
                return Ok(());
            }
        }
    }

    /// Removes for good what was removed longer ago than [`limits::KEPT_SECONDS`], and the oldest beyond
    /// [`limits::KEPT_OCTETS`]. Returns how many messages went.
    pub fn purge_removed(&self, now: u64) -> Result<usize, StoreError> {
        let mut inner = self.lock()?;
        compare(&mut inner)?;
        let (mut octets, mut doomed) = (0u64, Vec::new());
        for removed in list(&inner)? {
            octets += u64::from(removed.size);
            let old = now.saturating_sub(u64::from(removed.removed)) > limits::KEPT_SECONDS;
            if old || octets > limits::KEPT_OCTETS {
                doomed.push(removed.base);
            }
        }
        let dir = directory(&inner);
        for base in &doomed {
            let path = dir.join(base);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(at(&path)(error)),
                _ => {}
            }
        }
        drop_records(&mut inner, &doomed)?;
        inner.commit(Commit::Ordinary, |transaction| strayed::purge(transaction, now))?;
        Ok(doomed.len())
    }
}

fn directory(inner: &Inner) -> PathBuf {
    inner.maildir.with_file_name("removed")
}

/// The directory for removed mail, made if it is not there.
pub(crate) fn make_directory(inner: &Inner) -> Result<PathBuf, StoreError> {
    let dir = directory(inner);
    durable::create_dir_all(&dir, 0o700).map_err(at(&dir))?;
    Ok(dir)
}

/// Moves a message's file out of its folder; returns the base name under which it is kept, `None` if it was not there. A
/// sync of `removed` makes it durable.
pub(crate) fn keep_file(removed: &Path, path: &Path, base: &str) -> Result<Option<String>, StoreError> {
    let mut base = base.to_owned();
    if let Ok(other) = fs::metadata(removed.join(&base))
        && let Ok(own) = fs::metadata(path)
        && (own.dev(), own.ino()) != (other.dev(), other.ino())
    {
        // A copy put back by hand, removed once more: the one that is kept already stays what it is.
        base = maildir::new_base(own.len());
    }
    match maildir::rename(path, &removed.join(&base)) {
        Err(StoreError::NoMessage) => Ok(None),
        other => other.map(|()| Some(base)),
    }
}

/// Gives those messages of a folder new names whose names are kept already: copies put back by hand, whose records would
/// take the place of the first ones'. Their files lie in `cur` of `dir`; one that is not there has been renamed by another,
/// and is named when it is kept.
pub(crate) fn set_apart(inner: &Inner, dir: &Path, entries: &mut [Entry]) -> Result<(), StoreError> {
    let removed = directory(inner);
    for entry in entries {
        if removed.join(&entry.base).exists() {
            let base = maildir::new_base(u64::from(entry.row.size));
            let named = |base: &str| dir.join("cur").join(maildir::file_name(base, entry.row.flags));
            match maildir::rename(&named(&entry.base), &named(&base)) {
                Ok(()) => entry.base = base,
                Err(StoreError::NoMessage) => {}
                Err(why) => return Err(why),
            }
        }
    }
    Ok(())
}

/// Remembers where a removed message was.
pub(crate) fn record(transaction: &Transaction<'_>, folder: &FolderName, entry: &Entry) -> Result<(), StoreError> {
    let row = &entry.row;
    put(
        transaction,
        &Removed {
            base: entry.base.clone(),
            folder: folder.clone(),
            flags: row.flags,
            keywords: row.keywords.clone(),
            received: row.received,
            size: row.size,
            removed: messages::now(),
        },
    )
}

fn put(transaction: &Transaction<'_>, removed: &Removed) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO kept VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    transaction.prepare_cached(sql)?.execute((
        &removed.base,
        removed.folder.as_str(),
        removed.flags.sql(),
        removed.keywords.sql(),
        removed.received,
        removed.size,
        removed.removed,
    ))?;
    Ok(())
}

/// Keeps the mail of a folder that is being removed, then its directory goes. Can be repeated after an interruption.
pub(crate) fn keep_folder(inner: &mut Inner, path: &Path, name: &FolderName) -> Result<(), StoreError> {
    let dir = make_directory(inner)?;
    let mut found = Vec::new();
    for part in ["cur", "new"] {
        let part = path.join(part);
        if !part.is_dir() {
            continue;
        }
        for file in maildir::names(&part)? {
            let (base, flags) = maildir::split(&file);
            found.extend(keep_file(&dir, &part.join(&file), base)?.map(|base| (base, flags)));
        }
    }
    durable::sync_dir(&dir).map_err(at(&dir))?;
    let all: Vec<Removed> =
        found.into_iter().filter_map(|(base, flags)| as_found(&dir, base, name, flags).ok()).collect();
    inner.commit(Commit::Synced, |transaction| {
        // What the index remembered of them (keywords) is more than the files tell.
        let known = "SELECT EXISTS (SELECT 1 FROM kept WHERE base = ?1)";
        for removed in all {
            if !transaction.prepare_cached(known)?.query_row([&removed.base], |row| row.get(0))? {
                put(transaction, &removed)?;
            }
        }
        Ok(())
    })?;
    fs::remove_dir_all(path).map_err(at(path))
}

/// What a file in `removed/` tells of itself. Moving it there set its inode's time.
fn as_found(dir: &Path, base: String, folder: &FolderName, flags: Flags) -> Result<Removed, StoreError> {
    let path = dir.join(&base);
    let meta = fs::metadata(&path).map_err(at(&path))?;
    let seconds = |time: i64| u32::try_from(time).unwrap_or(0);
    Ok(Removed {
        base,
        folder: folder.clone(),
        flags,
        keywords: Keywords::default(),
        received: seconds(meta.mtime()),
        size: u32::try_from(meta.len()).unwrap_or(u32::MAX),
        removed: seconds(meta.ctime()),
    })
}

/// Makes the records agree with the files: after a lost index the files are still there.
pub(crate) fn compare(inner: &mut Inner) -> Result<(), StoreError> {
    let (fresh, gone) = differences(inner)?;
    let dir = directory(inner);
    let mut found = Vec::new();
    for base in fresh {
        // A removal that was cut short: the index has the message still where it was.
        let (folder, flags, keywords) = strayed::before_removal(&inner.conn, &base)?;
        let folder = folder.unwrap_or_else(FolderName::inbox);
        if let Ok(removed) = as_found(&dir, base, &folder, flags.unwrap_or(Flags::NONE)) {
            found.push(Removed { keywords, ..removed });
        }
    }
    if !found.is_empty() || !gone.is_empty() {
        inner.commit(Commit::Synced, |transaction| {
            found.iter().try_for_each(|removed| put(transaction, removed))?;
            // Brought back, perhaps, when it was cut short: the file turns up in its folder.
            let mut known = transaction.prepare_cached("SELECT keywords FROM kept WHERE base = ?1")?;
            for base in &gone {
                let text: Option<String> = known.query_row([base], |row| row.get(0)).optional()?;
                strayed::remember(transaction, base, &Keywords::from_sql(&text.unwrap_or_default()))?;
            }
            Ok(())
        })?;
    }
    drop_records(inner, &gone)
}

/// How many records and files have no counterpart.
pub(crate) fn differing(inner: &Inner) -> Result<usize, StoreError> {
    let (fresh, gone) = differences(inner)?;
    Ok(fresh.len() + gone.len())
}

/// Base names of files without a record, and of records without a file.
fn differences(inner: &Inner) -> Result<(Vec<String>, Vec<String>), StoreError> {
    let dir = directory(inner);
    let files: HashSet<String> =
        if dir.is_dir() { maildir::names(&dir)?.into_iter().collect() } else { HashSet::new() };
    let known: HashSet<String> = list(inner)?.into_iter().map(|removed| removed.base).collect();
    Ok((files.difference(&known).cloned().collect(), known.difference(&files).cloned().collect()))
}

fn list(inner: &Inner) -> Result<Vec<Removed>, StoreError> {
    let sql = "SELECT base, folder, flags, keywords, received, size, removed FROM kept ORDER BY removed DESC, base";
    let mut statement = inner.conn.prepare_cached(sql)?;
    let all = statement.query_map([], |row| {
        Ok(Removed {
            base: row.get(0)?,
            folder: FolderName::from_index(row.get(1)?),
            flags: Flags::from_sql(row.get(2)?),
            keywords: Keywords::from_sql(row.get_ref(3)?.as_str()?),
            received: row.get(4)?,
            size: row.get(5)?,
            removed: row.get(6)?,
        })
    })?;
    Ok(all.collect::<Result<_, _>>()?)
}

fn drop_records(inner: &mut Inner, bases: &[String]) -> Result<(), StoreError> {
    if bases.is_empty() {
        return Ok(());
    }
    inner.commit(Commit::Ordinary, |transaction| {
        for base in bases {
            transaction.prepare_cached("DELETE FROM kept WHERE base = ?1")?.execute([base])?;
        }
        Ok(())
    })
}

impl Inner {
    /// Moves removed messages into a folder; returns how many were still there.
    fn put_back(&mut self, id: crate::FolderId, all: &[Removed]) -> Result<usize, StoreError> {
        let (from, cur) = (directory(self), self.state(id)?.path.join("cur"));
        // A copy that was put back by hand has the name already.
        reconcile::folder_if_touched(self, id)?;
        let taken: HashSet<String> = self.entries(id)?.into_iter().map(|entry| entry.base).collect();
        let mut back = Vec::with_capacity(all.len());
        for removed in all {
            let flags = removed.flags.without(Flags::DELETED);
            let base = match taken.contains(&removed.base) {
                true => maildir::new_base(u64::from(removed.size)),
                false => removed.base.clone(),
            };
            match maildir::rename(&from.join(&removed.base), &cur.join(maildir::file_name(&base, flags))) {
                Ok(()) => back.push((removed, base, flags)),
                Err(StoreError::NoMessage) => {}
                Err(why) => return Err(why),
            }
        }
        durable::sync_dir(&cur).and_then(|()| durable::sync_dir(&from)).map_err(at(&cur))?;
        if back.is_empty() {
            return Ok(0);
        }
        let (first, modseq) = (self.take_uids(id, back.len())?, self.take_modseq()?);
        let rows = self.commit(Commit::Synced, |transaction| {
            let mut rows = Vec::with_capacity(back.len());
            for (uid, (removed, base, flags)) in (first.0..).map(Uid).zip(&back) {
                let row = row_of(removed, *flags, uid, modseq);
                rows.push(messages::insert(transaction, id, base, row, None)?);
                transaction.prepare_cached("DELETE FROM kept WHERE base = ?1")?.execute([&removed.base])?;
            }
            Ok(rows)
        })?;
        self.note(id, &[], &rows, modseq)?;
        Ok(rows.len())
    }
}

fn row_of(removed: &Removed, flags: Flags, uid: Uid, modseq: ModSeq) -> Row {
    Row {
        uid,
        flags,
        keywords: removed.keywords.clone(),
        modseq,
        id: MessageId(0),
        size: removed.size,
        received: removed.received,
        saved: messages::now(),
    }
}
