//! Comparing index and Maildir, and making the index agree (the room's second invariant).

use crate::account::{Inner, Stamp};
use crate::error::{StoreError, at};
use crate::flags::{Flags, Keywords};
use crate::folders::SpecialUse;
use crate::index::Commit;
use crate::maildir::{self, Found};
use crate::messages::{self, Entry};
use crate::name::FolderName;
use crate::types::{FolderId, MessageId, Row, Uid};
use crate::{kept, limits, strayed};
use base::durable;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// File systems stamp directories with the kernel's tick. A directory that changed this shortly before it was read may
/// have changed again without a new stamp, so it is read again next time.
const TICK: Duration = Duration::from_millis(50);

/// Makes the list of folders agree with the directories. `clean` tells whether the stamps in the index can be believed.
pub fn folders(inner: &mut Inner, clean: bool) -> Result<(), StoreError> {
    remove_doomed(inner)?;
    let mut on_disk = maildir::subfolders(&inner.maildir)?;
    on_disk.push(String::new());
    let mut known: Vec<(FolderId, String)> = Vec::new();
    {
        let mut statement = inner.conn.prepare("SELECT id, dir FROM folders")?;
        for row in statement.query_map([], |row| Ok((FolderId(row.get(0)?), row.get(1)?)))? {
            known.push(row?);
        }
    }
    let there: HashSet<&String> = on_disk.iter().collect();
    for (id, dir) in &known {
        if there.contains(dir) {
            inner.load_folder(*id, dir, clean)?;
            maildir::create(&inner.state(*id)?.path.clone(), !dir.is_empty())?;
        } else {
            tracing::warn!("the folder {dir} has gone from {}", inner.maildir.display());
            let gone = inner.folder_by_id(*id)?;
            let entries = inner.entries(*id)?;
            inner.forget_folder(&gone, &entries)?;
        }
    }
    let known: HashSet<String> = known.into_iter().map(|(_, dir)| dir).collect();
    for dir in on_disk.iter().filter(|dir| !known.contains(*dir)) {
        adopt_folder(inner, dir)?;
    }
    Ok(())
}

fn adopt_folder(inner: &mut Inner, dir: &str) -> Result<(), StoreError> {
    let name = match dir {
        "" => Some(FolderName::inbox()),
        dir => FolderName::of_directory(dir),
    };
    let Some(name) = name else {
        tracing::warn!("{} has no name that a folder can have, so it is not shown", inner.maildir.join(dir).display());
        return Ok(());
    };
    let special = SpecialUse::STANDARD.into_iter().find(|special| special.standard_name() == name.as_str());
    maildir::create(&inner.maildir.join(dir), !dir.is_empty())?;
    let taken = "SELECT EXISTS (SELECT 1 FROM folders WHERE special = ?1)";
    let special = match special {
        Some(special) if inner.conn.query_row(taken, [special.attribute()], |row| row.get(0))? => None,
        other => other,
    };
    inner.index_folder(&name, dir, special)?;
    inner.conn.execute("INSERT OR IGNORE INTO subscriptions VALUES (?1)", [name.as_str()])?;
    Ok(())
}

/// Finishes removals of folders that were cut short: their mail is kept back like other removed mail.
fn remove_doomed(inner: &mut Inner) -> Result<(), StoreError> {
    let mut doomed = Vec::new();
    for entry in fs::read_dir(&inner.maildir).map_err(at(&inner.maildir))? {
        let entry = entry.map_err(at(&inner.maildir))?;
        if entry.file_name().to_string_lossy().starts_with(DOOMED) {
            doomed.push(entry.path());
        }
    }
    doomed.iter().try_for_each(|path| kept::keep_folder(inner, path, &FolderName::inbox()))
}

/// Compares a folder if its directories have changed since they were last known to agree. Tells whether it did.
pub fn folder_if_touched(inner: &mut Inner, id: FolderId) -> Result<bool, StoreError> {
    let state = inner.state(id)?;
    if state.stamp.is_some() && maildir::stamp(&state.path) == state.stamp {
        return Ok(false);
    }
    folder(inner, id)?;
    Ok(true)
}

/// What the directory of a folder is called while it is being removed.
pub const DOOMED: &str = "mailstead-deleted-";

/// Whether a directory changed so shortly before that it may change again without a new stamp.
pub fn is_racy(stamp: Stamp) -> bool {
    let fresh = |time: SystemTime| time.elapsed().is_ok_and(|age| age < TICK);
    fresh(stamp.0) || fresh(stamp.1)
}

/// Compares one folder with its files.
pub fn folder(inner: &mut Inner, id: FolderId) -> Result<(), StoreError> {
    let path = inner.state(id)?.path.clone();
    maildir::clean_tmp(&path, limits::TMP_KEPT_SECONDS)?;
    maildir::take_new(&path)?;
    let stamp = maildir::stamp(&path);
    let files = maildir::scan(&path)?;
    let mut known: HashMap<String, Entry> =
        inner.entries(id)?.into_iter().map(|entry| (entry.base.clone(), entry)).collect();
    let (mut fresh, mut changed): (Vec<Found>, Vec<(Row, Flags)>) = (Vec::new(), Vec::new());
    let mut seen = HashSet::new();
    for file in files {
        if !seen.insert(file.base.clone()) {
            tracing::warn!(
                "{} is there twice under one base name; one is shown",
                path.join("cur").join(&file.name).display()
            );
            continue;
        }
        match known.remove(&file.base) {
            Some(entry) => {
                as_we_write_it(&path, &file)?;
                if entry.row.flags != file.flags {
                    changed.push((entry.row, file.flags));
                }
            }
            None => fresh.push(file),
        }
    }
    drop_gone(inner, id, known.into_values().collect())?;
    take_flags(inner, id, changed)?;
    adopt(inner, id, fresh)?;
    let state = inner.state(id)?;
    state.stamp = stamp.filter(|stamp| !is_racy(*stamp));
    state.compared = true;
    Ok(())
}

fn drop_gone(inner: &mut Inner, id: FolderId, gone: Vec<Entry>) -> Result<(), StoreError> {
    if gone.is_empty() {
        return Ok(());
    }
    let modseq = inner.take_modseq()?;
    inner.commit(Commit::Ordinary, |transaction| {
        gone.iter().try_for_each(|entry| {
            strayed::remember(transaction, &entry.base, &entry.row.keywords)?;
            messages::remove(transaction, id, &entry.row, modseq)
        })
    })?;
    let rows: Vec<Row> = gone.into_iter().map(|entry| entry.row).collect();
    inner.note(id, &rows, &[], modseq)
}

fn take_flags(inner: &mut Inner, id: FolderId, changed: Vec<(Row, Flags)>) -> Result<(), StoreError> {
    if changed.is_empty() {
        return Ok(());
    }
    let modseq = inner.take_modseq()?;
    let (old, flags): (Vec<Row>, Vec<Flags>) = changed.into_iter().unzip();
    let new: Vec<Row> = old.iter().zip(flags).map(|(row, flags)| Row { flags, modseq, ..row.clone() }).collect();
    inner.commit(Commit::Ordinary, |transaction| new.iter().try_for_each(|row| messages::reflag(transaction, row)))?;
    inner.note(id, &old, &new, modseq)
}

/// What adopting needs of a file.
struct Fresh {
    base: String,
    flags: Flags,
    received: u32,
    size: u32,
}

/// Makes a file found in `cur/` one that can be adopted; `None` where there is nothing to adopt.
fn prepare(path: &Path, file: Found) -> Result<Option<Fresh>, StoreError> {
    as_we_write_it(path, &file)?;
    let Ok(meta) = fs::metadata(path.join("cur").join(maildir::file_name(&file.base, file.flags))) else {
        return Ok(None);
    };
    let received = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let received = u32::try_from(received.as_secs()).unwrap_or(u32::MAX);
    let size = u32::try_from(meta.len()).unwrap_or(u32::MAX);
    Ok(Some(Fresh { base: file.base, flags: file.flags, received, size }))
}

/// Gives a file's suffix our form where another tool gave it one of its own, since the file is found by it. A file that
/// has that name already is not written over.
fn as_we_write_it(path: &Path, file: &Found) -> Result<(), StoreError> {
    let cur = path.join("cur");
    let (found, wanted) = (cur.join(&file.name), cur.join(maildir::file_name(&file.base, file.flags)));
    if found != wanted && !wanted.exists() {
        match maildir::rename(&found, &wanted) {
            // Gone again meanwhile, which the next comparison finds.
            Err(StoreError::NoMessage) => {}
            other => other?,
        }
    }
    Ok(())
}

/// Gives UIDs to files that the index does not know, oldest first.
fn adopt(inner: &mut Inner, id: FolderId, mut found: Vec<Found>) -> Result<(), StoreError> {
    if found.is_empty() {
        return Ok(());
    }
    let path = inner.state(id)?.path.clone();
    found.sort_by(|a, b| a.base.cmp(&b.base));
    let mut fresh = Vec::with_capacity(found.len());
    for file in found {
        fresh.extend(prepare(&path, file)?);
    }
    // These were written by others, perhaps without a sync; from now on they are ours to keep.
    let cur = path.join("cur");
    durable::sync_dir(&cur).map_err(at(&cur))?;
    if fresh.is_empty() {
        return Ok(());
    }
    let first = inner.take_uids(id, fresh.len())?;
    let modseq = inner.take_modseq()?;
    let saved = messages::now();
    let keywords = fresh.iter().map(|file| strayed::keywords(&inner.conn, id, &file.base));
    let keywords: Vec<Keywords> = keywords.collect::<Result<_, _>>()?;
    let labelled = keywords.iter().any(|keywords| !keywords.is_empty());
    let commit = if labelled { Commit::Synced } else { Commit::Ordinary };
    let rows = inner.commit(commit, |transaction| {
        let mut rows = Vec::with_capacity(fresh.len());
        for ((uid, file), keywords) in (first.0..).map(Uid).zip(&fresh).zip(keywords) {
            strayed::forget(transaction, &file.base)?;
            let row = Row {
                uid,
                flags: file.flags,
                keywords,
                modseq,
                id: MessageId(0),
                size: file.size,
                received: file.received,
                saved,
            };
            rows.push(messages::insert(transaction, id, &file.base, row, None)?);
        }
        Ok(rows)
    })?;
    inner.note(id, &[], &rows, modseq)
}
