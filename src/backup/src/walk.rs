//! What goes into an archive, as paths below the root. Only looks.

use crate::BackupError;
use std::path::{Path, PathBuf};

/// Deepest folder that is followed; a Maildir lies five below `mail`.
const MAX_DEPTH: usize = 12;

/// The folders of the owner's data, below the root. Zones, checks and logs are made anew on the next box.
pub const FOLDERS: [&str; 7] = ["directory", "mail", "queue", "filter", "dns", "certs", "tls"];

/// Files with a name that ends like this are not archived as they are.
const LEFT_OUT: [&str; 5] = [".db", ".db-wal", ".db-shm", ".db-journal", ".new"];
/// A consistent copy made by the database's owner; archived under the database's own name.
pub const SNAPSHOT: &str = ".snapshot";

/// Every file and folder below a folder that belongs into an archive: mail folders without a message are the owner's
/// as well. What vanishes while looking is left out.
pub fn entries(folder: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let mut found = Vec::new();
    walk(folder, MAX_DEPTH, &mut found)?;
    Ok(found)
}

fn walk(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), BackupError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(BackupError::file(folder, error)),
    };
    // `new` before `cur`: a message that a client sees for the first time moves that way.
    let mut entries: Vec<_> = entries.filter_map(Result::ok).collect();
    entries.sort_by_key(|entry| (entry.file_name() != "new", entry.file_name()));
    for entry in entries {
        let Ok(kind) = entry.file_type() else { continue };
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if kind.is_dir() && depth > 0 && name != "tmp" {
            found.push(entry.path());
            walk(&entry.path(), depth - 1, found)?;
        } else if kind.is_file() && !LEFT_OUT.iter().any(|ending| name.ends_with(ending)) {
            found.push(entry.path());
        }
    }
    Ok(())
}

/// What a message stays the same by while its flags change: folder and base name, without `:2,FLAGS` and new/cur.
pub fn identity(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let parent = path.parent().unwrap_or(Path::new(""));
    let is_message = parent.file_name().is_some_and(|folder| folder == "new" || folder == "cur");
    match name.split_once(":2,") {
        _ if !is_message => path.to_owned(),
        Some((base, _)) => parent.with_file_name("").join(base),
        None => parent.with_file_name("").join(name),
    }
}
