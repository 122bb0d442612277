//! The queue of releases before `queue.db`: a folder for each message. Taken over once, at the first start after.

use super::database::{Content, Database};
use super::entry::Entry;
use std::fs;
use std::io;
use std::path::Path;

/// Takes every whole entry over, durably, before its folder goes. One that cannot be read is left where it is.
pub fn take_over(root: &Path, database: &Database) -> io::Result<()> {
    for half in [".new", ".gone"] {
        match fs::remove_dir_all(root.join(half)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    for folder in fs::read_dir(root)? {
        let path = folder?.path();
        if !path.join("envelope.json").is_file() {
            continue;
        }
        match read(&path) {
            Ok((entry, content)) => {
                if database.number(&entry.id)?.is_none() {
                    database.commit(|database| database.insert(&entry, &content))?;
                    // A large message that was still in the row is no harm: it leaves with its entry.
                }
                fs::remove_dir_all(&path)?;
            }
            Err(error) => {
                tracing::error!("queue entry {} cannot be read: {error}; it is left alone", path.display());
            }
        }
    }
    Ok(())
}

fn read(folder: &Path) -> io::Result<(Entry, Content)> {
    let entry: Entry = serde_json::from_slice(&fs::read(folder.join("envelope.json"))?)?;
    Ok((entry, Content::Row(fs::read(folder.join("message"))?)))
}
