//! The queue on disk.
//!
//! `queue/<id>/` holds `message` (as it will be sent) and `envelope.json`. An entry is made in `queue/.new/<id>/`, its
//! files and folder are synced, and one rename brings it in: a folder under its own name is whole, whatever died when.
//! It goes the same way, by a rename into `queue/.gone/`. What stands in those two folders at the start of the process
//! was never acknowledged, or is done with, and is removed.
//!
//! Everything here blocks; callers run it off the event loop.

use super::entry::Entry;
use crate::message::Message;
use base::durable;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Readable by the MTA alone: it is people's mail.
const FILE: u32 = 0o600;
const FOLDER: u32 = 0o700;

#[derive(Debug, Clone)]
pub struct Spool {
    root: PathBuf,
}

impl Spool {
    /// Opens the folder and clears what a sudden end left half-done.
    pub fn open(root: PathBuf) -> io::Result<Self> {
        let spool = Self { root };
        for folder in [spool.fresh(), spool.gone()] {
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => durable::create_dir_all(&folder, FOLDER)?,
            }
        }
        Ok(spool)
    }

    fn fresh(&self) -> PathBuf {
        self.root.join(".new")
    }

    fn gone(&self) -> PathBuf {
        self.root.join(".gone")
    }

    /// Every entry, oldest first. One that cannot be read is left where it is, for its owner to look at.
    pub fn load(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for folder in fs::read_dir(&self.root)? {
            let folder = folder?;
            let name = folder.file_name();
            if name.to_string_lossy().starts_with('.') {
                continue;
            }
            match read_entry(&folder.path()) {
                Ok(entry) if *entry.id == *name => entries.push(entry),
                Ok(_) => tracing::error!("queue entry {} bears another entry's name; it is left alone", name.display()),
                Err(error) => {
                    tracing::error!("queue entry {} cannot be read: {error}; it is left alone", name.display())
                }
            }
        }
        entries.sort_by_key(|entry| (entry.queued, entry.id.clone()));
        Ok(entries)
    }

    /// Writes a new entry. When this returns, it survives a power cut.
    pub fn insert(&self, entry: &Entry, message: &Message) -> io::Result<()> {
        let folder = self.fresh().join(&entry.id);
        let written = self.write_new(&folder, entry, message);
        if written.is_err() {
            // Not acknowledged, so not wanted; the next start clears it if this does not.
            let _ = fs::remove_dir_all(&folder);
        }
        written
    }

    fn write_new(&self, folder: &Path, entry: &Entry, message: &Message) -> io::Result<()> {
        use io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        durable::create_dir_all(folder, FOLDER)?;
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(FILE).open(folder.join("message"))?;
        file.write_all(&message.head)?;
        file.write_all(&message.body)?;
        file.sync_all()?;
        durable::write_new(&folder.join("envelope.json"), &serde_json::to_vec(entry)?, FILE)?;
        durable::sync_dir(folder)?;
        durable::rename(folder, &self.root.join(&entry.id))
    }

    /// Replaces the state of an entry.
    pub fn update(&self, entry: &Entry) -> io::Result<()> {
        let path = self.root.join(&entry.id).join("envelope.json");
        durable::write(&path, &serde_json::to_vec(entry)?, FILE)
    }

    /// Takes an entry out of the queue.
    pub fn remove(&self, id: &str) -> io::Result<()> {
        let grave = self.gone().join(id);
        durable::rename(&self.root.join(id), &grave)?;
        fs::remove_dir_all(grave)
    }

    /// The message as it is to be sent.
    pub fn message(&self, id: &str) -> io::Result<Vec<u8>> {
        fs::read(self.root.join(id).join("message"))
    }

    /// Octets free for this process on the queue's disk.
    pub fn free(&self) -> io::Result<u64> {
        let stat = nix::sys::statvfs::statvfs(&self.root)?;
        Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
    }
}

fn read_entry(folder: &Path) -> io::Result<Entry> {
    let entry: Entry = serde_json::from_slice(&fs::read(folder.join("envelope.json"))?)?;
    fs::metadata(folder.join("message"))?;
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::entry::{Recipient, State};

    fn entry(id: &str) -> Entry {
        let to = base::Address::parse("b@example.net").unwrap();
        Entry {
            id: id.into(),
            sender: None,
            queued: 5,
            bytes: 9,
            eight_bit: false,
            judged: false,
            account: None,
            needs: Default::default(),
            wish: Default::default(),
            held: false,
            recipients: vec![Recipient::new(to, false, 5)],
        }
    }

    fn message() -> Message {
        Message { head: b"A: 1\r\n".to_vec(), body: b"\r\nhi\r\n".to_vec() }
    }

    #[test]
    fn a_queued_message_is_there_after_a_restart_with_its_state() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path().join("queue")).unwrap();
        let mut one = entry("one");
        spool.insert(&one, &message()).unwrap();
        one.recipients[0].state = State::Failed;
        spool.update(&one).unwrap();
        spool.insert(&entry("two"), &message()).unwrap();
        spool.remove("two").unwrap();
        let again = Spool::open(dir.path().join("queue")).unwrap();
        assert_eq!(again.load().unwrap(), [one]);
        assert_eq!(again.message("one").unwrap(), b"A: 1\r\n\r\nhi\r\n");
    }

    #[test]
    fn a_half_written_entry_is_never_taken_for_whole() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("queue");
        let spool = Spool::open(root.clone()).unwrap();
        fs::create_dir(root.join(".new/half")).unwrap();
        fs::write(root.join(".new/half/message"), b"A: 1").unwrap();
        fs::create_dir(root.join("broken")).unwrap();
        fs::write(root.join("broken/envelope.json"), b"{").unwrap();
        drop(spool);
        let again = Spool::open(root.clone()).unwrap();
        assert_eq!(again.load().unwrap(), []);
        assert!(!root.join(".new/half").exists());
        assert!(root.join("broken").exists());
    }
}
