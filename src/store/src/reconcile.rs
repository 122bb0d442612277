//! Comparing index and Maildir, and making the index agree (the room's second invariant).

use crate::account::Inner;
use crate::error::{StoreError, at};
use crate::flags::Flags;
use crate::folders::SpecialUse;
use crate::index::Commit;
use crate::maildir::{self, Found};
use crate::name::FolderName;
use crate::types::{FolderId, Uid};
use base::durable;
use std::collections::HashMap;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// File systems stamp directories with the kernel's tick. A directory that changed this shortly before it was read may
/// have changed again without a new stamp, so it is read again next time.
const TICK: Duration = Duration::from_millis(50);

/// Makes the list of folders agree with the directories.
pub fn folders(inner: &mut Inner) -> Result<(), StoreError> {
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
    for (id, dir) in &known {
        if on_disk.contains(dir) {
            inner.load_folder(*id, dir)?;
            maildir::create(&inner.state(*id)?.path.clone(), !dir.is_empty())?;
        } else {
            tracing::warn!("the folder {dir} has gone from {}", inner.maildir.display());
            inner.forget_folder(*id)?;
        }
    }
    for dir in on_disk {
        if !known.iter().any(|(_, other)| *other == dir) {
            adopt_folder(inner, &dir)?;
        }
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
    inner.index_folder(&name, dir, special)?;
    inner.conn.execute("INSERT OR IGNORE INTO subscriptions VALUES (?1)", [name.as_str()])?;
    Ok(())
}

/// Finishes removals of folders that were cut short.
fn remove_doomed(inner: &Inner) -> Result<(), StoreError> {
    for entry in fs::read_dir(&inner.maildir).map_err(at(&inner.maildir))? {
        let entry = entry.map_err(at(&inner.maildir))?;
        if entry.file_name().to_string_lossy().starts_with(DOOMED) {
            fs::remove_dir_all(entry.path()).map_err(at(&entry.path()))?;
        }
    }
    Ok(())
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

struct Known {
    id: i64,
    uid: Uid,
    flags: Flags,
}

/// Compares one folder with its files.
pub fn folder(inner: &mut Inner, id: FolderId) -> Result<(), StoreError> {
    let path = inner.state(id)?.path.clone();
    maildir::take_new(&path)?;
    let stamp = maildir::stamp(&path);
    let files = maildir::scan(&path)?;
    let mut known = known_messages(inner, id)?;
    let (mut fresh, mut changed): (Vec<Found>, Vec<(i64, Flags)>) = (Vec::new(), Vec::new());
    let mut seen = std::collections::HashSet::new();
    for file in files {
        if !seen.insert(file.base.clone()) {
            tracing::warn!(
                "{} is there twice under one base name; one is shown",
                path.join("cur").join(&file.name).display()
            );
            continue;
        }
        match known.remove(&file.base) {
            Some(entry) if entry.flags != file.flags => changed.push((entry.id, file.flags)),
            Some(_) => {}
            None => fresh.push(file),
        }
    }
    drop_gone(inner, id, known.into_values().collect())?;
    take_flags(inner, id, changed)?;
    adopt(inner, id, fresh)?;
    let racy = |time: SystemTime| time.elapsed().is_ok_and(|age| age < TICK);
    let stamp = stamp.filter(|(cur, new)| !racy(*cur) && !racy(*new));
    inner.state(id)?.stamp = stamp;
    Ok(())
}

fn known_messages(inner: &Inner, id: FolderId) -> Result<HashMap<String, Known>, StoreError> {
    let mut statement = inner.conn.prepare_cached("SELECT base, id, uid, flags FROM messages WHERE folder = ?1")?;
    let rows = statement.query_map([id.0], |row| {
        let known = Known { id: row.get(1)?, uid: Uid::from_sql(row.get(2)?), flags: Flags::from_sql(row.get(3)?) };
        Ok((row.get(0)?, known))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn drop_gone(inner: &mut Inner, id: FolderId, gone: Vec<Known>) -> Result<(), StoreError> {
    if gone.is_empty() {
        return Ok(());
    }
    let modseq = inner.take_modseq()?;
    inner.commit(Commit::Ordinary, |transaction| {
        for known in &gone {
            transaction.prepare_cached("DELETE FROM messages WHERE id = ?1")?.execute([known.id])?;
            transaction.prepare_cached("DELETE FROM parsed WHERE id = ?1")?.execute([known.id])?;
            let sql = "INSERT OR IGNORE INTO expunged VALUES (?1, ?2, ?3)";
            transaction.prepare_cached(sql)?.execute((id.0, modseq.sql(), known.uid.0))?;
        }
        Ok(())
    })?;
    inner.state(id)?.highest = modseq;
    Ok(())
}

fn take_flags(inner: &mut Inner, id: FolderId, changed: Vec<(i64, Flags)>) -> Result<(), StoreError> {
    if changed.is_empty() {
        return Ok(());
    }
    let modseq = inner.take_modseq()?;
    inner.commit(Commit::Ordinary, |transaction| {
        for (message, flags) in &changed {
            let sql = "UPDATE messages SET flags = ?1, modseq = ?2 WHERE id = ?3";
            transaction.prepare_cached(sql)?.execute((flags.sql(), modseq.sql(), message))?;
        }
        Ok(())
    })?;
    inner.state(id)?.highest = modseq;
    Ok(())
}

/// Gives UIDs to files that the index does not know, oldest first.
fn adopt(inner: &mut Inner, id: FolderId, mut fresh: Vec<Found>) -> Result<(), StoreError> {
    if fresh.is_empty() {
        return Ok(());
    }
    let cur = inner.state(id)?.path.join("cur");
    let mut rows = Vec::with_capacity(fresh.len());
    fresh.sort_by(|a, b| a.base.cmp(&b.base));
    for file in fresh {
        let path = cur.join(&file.name);
        let Ok(meta) = fs::metadata(&path) else { continue };
        // A suffix of a form that is not ours is made so, for flags to be found by it.
        let wanted = maildir::file_name(&file.base, file.flags);
        if file.name != wanted {
            fs::rename(&path, cur.join(&wanted)).map_err(at(&path))?;
        }
        let received = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        rows.push((file, i64::try_from(received.as_secs()).unwrap_or(0), i64::try_from(meta.len()).unwrap_or(0)));
    }
    // These were written by others, perhaps without a sync; from now on they are ours to keep.
    durable::sync_dir(&cur).map_err(at(&cur))?;
    let first = inner.take_uids(id, rows.len())?;
    let modseq = inner.take_modseq()?;
    inner.commit(Commit::Ordinary, |transaction| {
        for (uid, (file, received, size)) in (first.0..).zip(&rows) {
            let sql = "INSERT INTO messages (folder, uid, base, flags, keywords, modseq, received, size)
                VALUES (?1, ?2, ?3, ?4, '', ?5, ?6, ?7)";
            let values = (id.0, uid, &file.base, file.flags.sql(), modseq.sql(), received, size);
            transaction.prepare_cached(sql)?.execute(values)?;
        }
        Ok(())
    })?;
    inner.state(id)?.highest = modseq;
    Ok(())
}
