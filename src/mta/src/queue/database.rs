//! `queue.db`: the entries and their small messages; large ones are files beside it.
//!
//! `entry` holds what changes, `content` what does not, so that writing down a try does not rewrite the message. A
//! message larger than [`limits::QUEUE_ROW`] is a file `messages/<id>`, written and synced before its entry is, and
//! removed after its entry is. A file without an entry was never acknowledged, or is done with.
//!
//! Everything here blocks. Changes are made by the writer alone, in transactions of its own ([`super::writer`]).

use super::entry::Entry;
use crate::limits;
use crate::message::Message;
use base::durable;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Readable by the MTA alone: it is people's mail.
const FILE: u32 = 0o600;
const FOLDER: u32 = 0o700;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS entry (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, entry TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS content (number INTEGER PRIMARY KEY, message BLOB NOT NULL) STRICT;";

/// A message as it is kept.
#[derive(Debug, Clone)]
pub enum Content {
    Row(Vec<u8>),
    /// In `messages/<id>`, synced; its folder is not yet.
    File,
}

#[derive(Debug)]
pub struct Database {
    connection: Connection,
    folder: PathBuf,
}

impl Database {
    /// Opens or creates the database in the queue's folder `root`.
    pub fn open(root: &Path) -> io::Result<Self> {
        let folder = root.join("messages");
        durable::create_dir_all(&folder, FOLDER)?;
        let connection = Connection::open(root.join("queue.db")).map_err(io::Error::other)?;
        let prepare = || {
            connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            // A commit is synced before it is told.
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "secure_delete", "FAST")?;
            connection.busy_timeout(std::time::Duration::from_secs(10))?;
            connection.set_prepared_statement_cache_capacity(32);
            connection.execute_batch(TABLES)
        };
        prepare().map_err(io::Error::other)?;
        Ok(Self { connection, folder })
    }

    /// Makes a message ready to be inserted: a large one is written and synced here, by whoever brings it.
    pub fn content(root: &Path, id: &str, message: &Message) -> io::Result<Content> {
        if message.size() <= limits::QUEUE_ROW {
            return Ok(Content::Row([message.head.as_slice(), &message.body].concat()));
        }
        let path = root.join("messages").join(id);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(FILE).open(&path)?;
        let written = file.write_all(&message.head).and_then(|()| file.write_all(&message.body));
        if let Err(error) = written.and_then(|()| file.sync_all()) {
            // A full disk, most likely; a piece of a message must not fill it further until the next start.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(Content::File)
    }

    /// Runs `act` as one transaction, synced when this returns `Ok`; nothing of it remains otherwise.
    pub fn commit<T>(&self, act: impl FnOnce(&Self) -> io::Result<T>) -> io::Result<T> {
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(io::Error::other)?;
        let done = act(self).and_then(|value| {
            self.connection.execute_batch("COMMIT").map_err(io::Error::other)?;
            Ok(value)
        });
        if done.is_err() {
            // Nothing to roll back after some failures: SQLite has done it.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        done
    }

    /// The names of large messages are durable after this.
    pub fn sync_files(&self) -> io::Result<()> {
        durable::sync_dir(&self.folder)
    }

    pub fn insert(&self, entry: &Entry, content: &Content) -> io::Result<i64> {
        let mut insert = self.prepare("INSERT INTO entry (id, entry) VALUES (?1, ?2)")?;
        insert.execute(params![entry.id, serde_json::to_string(entry)?]).map_err(io::Error::other)?;
        let number = self.connection.last_insert_rowid();
        if let Content::Row(message) = content {
            let mut insert = self.prepare("INSERT INTO content (number, message) VALUES (?1, ?2)")?;
            insert.execute(params![number, message]).map_err(io::Error::other)?;
        }
        Ok(number)
    }

    pub fn update(&self, number: i64, entry: &Entry) -> io::Result<()> {
        let mut update = self.prepare("UPDATE entry SET entry = ?2 WHERE number = ?1")?;
        update.execute(params![number, serde_json::to_string(entry)?]).map(drop).map_err(io::Error::other)
    }

    /// Takes an entry out. Its file, if it has one, is for [`Self::discard_file`] once this is committed.
    pub fn remove(&self, number: i64) -> io::Result<()> {
        for sql in ["DELETE FROM entry WHERE number = ?1", "DELETE FROM content WHERE number = ?1"] {
            self.prepare(sql)?.execute([number]).map_err(io::Error::other)?;
        }
        Ok(())
    }

    pub fn discard_file(&self, entry: &Entry) {
        if entry.bytes > limits::QUEUE_ROW as u64 {
            // What stays is cleared at the next start.
            let _ = fs::remove_file(self.folder.join(&entry.id));
        }
    }

    /// Removes the file of a message that could not be added.
    pub fn discard_unless_known(&self, id: &str) {
        if matches!(self.number(id), Ok(None)) {
            let _ = fs::remove_file(self.folder.join(id));
        }
    }

    pub fn entry(&self, number: i64) -> io::Result<Option<Entry>> {
        let mut query = self.prepare("SELECT entry FROM entry WHERE number = ?1")?;
        let text: Option<String> = query.query_row([number], |row| row.get(0)).optional().map_err(io::Error::other)?;
        text.map(|text| serde_json::from_str(&text).map_err(io::Error::from)).transpose()
    }

    pub fn number(&self, id: &str) -> io::Result<Option<i64>> {
        let mut query = self.prepare("SELECT number FROM entry WHERE id = ?1")?;
        query.query_row([id], |row| row.get(0)).optional().map_err(io::Error::other)
    }

    /// The message as it is to be sent.
    pub fn message(&self, number: i64, id: &str) -> io::Result<Vec<u8>> {
        let mut query = self.prepare("SELECT message FROM content WHERE number = ?1")?;
        match query.query_row([number], |row| row.get(0)).optional().map_err(io::Error::other)? {
            Some(message) => Ok(message),
            None => fs::read(self.folder.join(id)),
        }
    }

    /// Every entry, oldest first, until `seen` says that it is enough.
    pub fn each(&self, mut seen: impl FnMut(i64, Entry) -> bool) -> io::Result<()> {
        let mut query = self.prepare("SELECT number, entry FROM entry ORDER BY number")?;
        let mut rows = query.query([]).map_err(io::Error::other)?;
        while let Some(row) = rows.next().map_err(io::Error::other)? {
            let number = row.get(0).map_err(io::Error::other)?;
            let text = row.get_ref(1).and_then(|text| Ok(text.as_str()?)).map_err(io::Error::other)?;
            match serde_json::from_str(text) {
                Ok(entry) => {
                    if !seen(number, entry) {
                        break;
                    }
                }
                Err(error) => tracing::error!("queue entry {number} cannot be read: {error}; it is left alone"),
            }
        }
        Ok(())
    }

    /// Removes files that no entry names, as a sudden end leaves them.
    pub fn clear_orphans(&self) -> io::Result<()> {
        let mut known = HashSet::new();
        let mut query = self.prepare("SELECT id FROM entry")?;
        let mut rows = query.query([]).map_err(io::Error::other)?;
        while let Some(row) = rows.next().map_err(io::Error::other)? {
            known.insert(row.get::<_, String>(0).map_err(io::Error::other)?);
        }
        for file in fs::read_dir(&self.folder)? {
            let file = file?;
            if !known.contains(&*file.file_name().to_string_lossy()) {
                fs::remove_file(file.path())?;
            }
        }
        Ok(())
    }

    /// Gives space of messages that are gone back to the disk, a bounded piece at a time.
    pub fn shrink(&self) -> io::Result<()> {
        self.connection.execute_batch("PRAGMA incremental_vacuum(2000)").map_err(io::Error::other)
    }

    fn prepare(&self, sql: &str) -> io::Result<rusqlite::CachedStatement<'_>> {
        self.connection.prepare_cached(sql).map_err(io::Error::other)
    }
}
