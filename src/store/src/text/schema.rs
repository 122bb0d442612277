//! `text.db`: its tables, and opening it.
//!
//! - `word`: every distinct word, numbered as it appears, so that common words have low numbers. Never changed.
//! - `part_of_word`: the trigrams of each word of three characters or more, to find the words that contain something.
//! - `message`: for each message and place the words in order, each written as its number in base 36. FTS5 keeps where
//!   they stand and not the text (`content=''`).
//! - `stream`: the same words once more, in order, for what FTS5 cannot be asked quickly (`stream.rs`).
//! - `indexed`: the messages that are in it.

use super::limits::{BUSY, CACHE_KIB};
use rusqlite::{Connection, OpenFlags};
use std::io;
use std::path::{Path, PathBuf};

/// Beside `index.db`.
const NAME: &str = "text.db";

/// Raised with every change of the tables, and of what extraction and folding make of a message.
const VERSION: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE word (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;
CREATE VIRTUAL TABLE part_of_word USING fts5(
    text, content='', detail=none, columnsize=0, tokenize='trigram case_sensitive 1');
CREATE VIRTUAL TABLE message USING fts5(
    sender, recipient, copied, blind, subject, other, body, attachment,
    content='', contentless_delete=1, tokenize='ascii');
CREATE TABLE stream (id INTEGER PRIMARY KEY, words BLOB NOT NULL) STRICT;
CREATE TABLE indexed (id INTEGER PRIMARY KEY) STRICT;
";

pub fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

/// Opens what is there, if it is of this version.
pub fn open(dir: &Path) -> rusqlite::Result<Option<Connection>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path(dir), flags)?;
    prepare(&connection)?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    // Reads a page of each table, which a file that is damaged at large does not survive.
    for table in ["word", "indexed", "stream", "message_data", "message_docsize", "part_of_word_data"] {
        connection.query_row(&format!("SELECT max(rowid) FROM {table}"), [], |_| Ok(()))?;
    }
    Ok((version == VERSION).then_some(connection))
}

/// Removes what is there, if anything is.
pub fn remove(dir: &Path) -> io::Result<()> {
    for suffix in ["-wal", "-shm", ""] {
        let mut file = path(dir).into_os_string();
        file.push(suffix);
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Makes a new, empty index where none is.
pub fn create(dir: &Path) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open(path(dir))?;
    prepare(&connection)?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(connection)
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A power cut may take the last transactions; they are indexed again, since `indexed` lacks them as well.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}
