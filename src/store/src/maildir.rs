//! The files: names, directories, writing durably. Knows nothing of the index.
//!
//! A message's file lies in `cur/` and is called `<base>:2,<letters>`; `<base>` is unique and for life.

use crate::error::{StoreError, at};
use crate::flags::Flags;
use base::durable;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

static DELIVERIES: AtomicU64 = AtomicU64::new(0);

/// A file found in `cur/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub base: String,
    /// The whole file name, which another tool may have given another form of suffix.
    pub name: String,
    pub flags: Flags,
}

/// A new base name: time, process, count and chance, and the size as other tools read it (`,S=`).
pub fn new_base(size: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let count = DELIVERIES.fetch_add(1, Ordering::Relaxed);
    let chance: u32 = rand::random();
    let (seconds, micros, process) = (now.as_secs(), now.subsec_micros(), std::process::id());
    format!("{seconds}.M{micros}P{process}Q{count}R{chance:08x}.mailstead,S={size}")
}

pub fn file_name(base: &str, flags: Flags) -> String {
    format!("{base}:2,{}", flags.letters())
}

/// Splits a file name into base and flags; a name without flags has none.
pub fn split(name: &str) -> (&str, Flags) {
    match name.rsplit_once(":2,") {
        Some((base, letters)) => (base, Flags::from_letters(letters)),
        None => (name.split(':').next().unwrap_or(name), Flags::NONE),
    }
}

/// Makes a Maildir's three directories where they are missing.
pub fn create(dir: &Path, is_subfolder: bool) -> Result<(), StoreError> {
    for part in ["tmp", "new", "cur"] {
        let path = dir.join(part);
        durable::create_dir_all(&path, 0o700).map_err(at(&path))?;
    }
    let mark = dir.join("maildirfolder");
    if is_subfolder && !mark.exists() {
        durable::write(&mark, b"", 0o600).map_err(at(&mark))?;
    }
    Ok(())
}

/// Writes and syncs a new file in `tmp/`. Its modification time is the message's internal date, for a rebuild to find.
pub fn write_tmp(dir: &Path, base: &str, bytes: &[u8], received: SystemTime) -> Result<PathBuf, StoreError> {
    let path = dir.join("tmp").join(base);
    let write = || {
        let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(bytes)?;
        // Of use to a rebuild alone, so a file system that refuses it does not stop mail.
        if let Err(error) = file.set_modified(received) {
            tracing::debug!("{}: {error}", path.display());
        }
        file.sync_all()
    };
    match write() {
        Ok(()) => Ok(path),
        Err(error) => {
            // What was half written (a full disk) is of no use to anyone.
            let _ = fs::remove_file(&path);
            Err(at(&path)(error))
        }
    }
}

/// The directories' modification times, by which changes made by others are noticed.
pub fn stamp(dir: &Path) -> Option<(SystemTime, SystemTime)> {
    let modified = |part: &str| fs::metadata(dir.join(part)).and_then(|meta| meta.modified()).ok();
    Some((modified("cur")?, modified("new")?))
}

/// Moves what others delivered into `new/` to `cur/`, durably.
pub fn take_new(dir: &Path) -> Result<(), StoreError> {
    let (new, cur) = (dir.join("new"), dir.join("cur"));
    let mut moved = false;
    for name in names(&new)? {
        let (base, flags) = split(&name);
        let target = cur.join(file_name(base, flags));
        if target.exists() {
            tracing::warn!(
                "{} is left where it is: {} has that name already",
                new.join(&name).display(),
                cur.display()
            );
            continue;
        }
        fs::rename(new.join(&name), &target).map_err(at(&target))?;
        moved = true;
    }
    if moved {
        durable::sync_dir(&cur).map_err(at(&cur))?;
    }
    Ok(())
}

/// Every message file in `cur/`.
pub fn scan(dir: &Path) -> Result<Vec<Found>, StoreError> {
    let found = names(&dir.join("cur"))?.into_iter().map(|name| {
        let (base, flags) = split(&name);
        Found { base: base.to_owned(), flags, name }
    });
    Ok(found.collect())
}

/// Names of plain files that do not begin with a dot. Names that are no UTF-8 are told and left alone.
pub fn names(dir: &Path) -> Result<Vec<String>, StoreError> {
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).map_err(at(dir))? {
        let entry = entry.map_err(at(dir))?;
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        match entry.file_name().into_string() {
            Ok(name) if is_file && !name.starts_with('.') => out.push(name),
            Ok(_) => {}
            Err(name) => tracing::warn!("{}: the name is not UTF-8, so it is not shown", dir.join(name).display()),
        }
    }
    Ok(out)
}

/// Removes what deliveries that died left in `tmp/`.
pub fn clean_tmp(dir: &Path, older_than_seconds: u64) -> Result<(), StoreError> {
    let tmp = dir.join("tmp");
    for name in names(&tmp)? {
        let path = tmp.join(name);
        let age = fs::metadata(&path).and_then(|meta| meta.modified()).ok().and_then(|time| time.elapsed().ok());
        if age.is_some_and(|age| age.as_secs() > older_than_seconds) {
            fs::remove_file(&path).map_err(at(&path))?;
        }
    }
    Ok(())
}

/// The subfolder directories (`.Name`) of a Maildir. The Maildir++ mark alone makes one: what copies only files, as an
/// archive does, leaves out the empty directories of an empty folder.
pub fn subfolders(maildir: &Path) -> Result<Vec<String>, StoreError> {
    let mut out = Vec::new();
    for entry in fs::read_dir(maildir).map_err(at(maildir))? {
        let entry = entry.map_err(at(maildir))?;
        let is_folder = || entry.path().join("cur").is_dir() || entry.path().join("maildirfolder").is_file();
        if let Ok(name) = entry.file_name().into_string()
            && name.starts_with('.')
            && is_folder()
        {
            out.push(name);
        }
    }
    out.sort();
    Ok(out)
}

/// Renames within one file system; that the source has gone is told apart from other failures.
pub fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::NoMessage),
        other => other.map_err(at(from)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_tools_are_understood() {
        assert_eq!(split("123.abc.host:2,FS"), ("123.abc.host", Flags::FLAGGED | Flags::SEEN));
        assert_eq!(split("123.abc.host"), ("123.abc.host", Flags::NONE));
        assert_eq!(split("123.abc.host:2,Sa"), ("123.abc.host", Flags::SEEN));
        assert_eq!(split("123.abc.host:1,x"), ("123.abc.host", Flags::NONE));
    }

    #[test]
    fn base_names_never_repeat() {
        let names: std::collections::HashSet<_> = (0..1000).map(|_| new_base(1)).collect();
        assert_eq!(names.len(), 1000);
    }
}
