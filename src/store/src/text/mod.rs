//! The full-text index of one account: `text.db`, beside `index.db`. See `docs/full-text.md`.
//!
//! Invariants:
//!
//! 1. *It can always be made anew.* Nothing stands in it that the messages do not tell. One that is missing, damaged or
//!    of another version is replaced by an empty one, and the messages are indexed again in the background.
//! 2. *A message is in it wholly or not at all*, and `indexed` says which: both change in one transaction.
//! 3. *A needle finds what holds it.* Folded as the text is, and with punctuation taken for white space, a needle is
//!    found wherever it is a part of the text; what is searched of a message is bounded by `limits.rs`.
//! 4. *It goes by the messages' numbers in `index.db`*, which last as long as that does: before an `index.db` is made anew,
//!    [`TextIndex::remove`].
//! 5. *It is kept up off the delivery path.* Whoever asks before a message is indexed looks at that message itself:
//!    [`TextIndex::missing`] says at which.

pub mod extract;
mod fuzzy;
mod indexer;
pub mod limits;
mod schema;
mod search;
mod stream;
#[cfg(test)]
mod tests;
mod vocabulary;
pub mod words;

pub use fuzzy::Scored;
pub use indexer::{Batch, index_batch};
pub use search::{Query, Scope};

use extract::{Extract, Place};
use limits::TIDY_PAGES;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use std::io;
use std::path::{Path, PathBuf};
use vocabulary::{Remembered, write_token};

/// Why the index did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    #[error("the full-text index: {path}: {source}", path = .0.display(), source = .1)]
    Remove(PathBuf, io::Error),
    #[error("the full-text index {path} cannot be made: {source}", path = .0.display(), source = .1)]
    Create(PathBuf, rusqlite::Error),
    #[error("the full-text index: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// What had been there was damaged. The index is empty now, and every message is missing in it.
    #[error("the full-text index was damaged ({0}) and is made anew")]
    MadeAnew(rusqlite::Error),
}

/// The index of one account. Several may be open on the same folder, one of which writes.
#[derive(Debug)]
pub struct TextIndex {
    connection: Connection,
    dir: PathBuf,
    remembered: Remembered,
}

impl TextError {
    /// Whether the index is damaged. A change that meets the damage makes it anew by itself; after a search that met it,
    /// the index is closed, removed ([`TextIndex::remove`]) and opened again.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Sqlite(error) => is_damage(error),
            Self::MadeAnew(_) => true,
            Self::Create(..) | Self::Remove(..) => false,
        }
    }
}

impl TextIndex {
    /// Opens the index in an account's folder. One that is missing, damaged or of another version is made anew, empty.
    pub fn open(dir: &Path) -> Result<Self, TextError> {
        let found = match schema::path(dir).exists() {
            true => schema::open(dir).unwrap_or_else(|error| {
                tracing::warn!("{}: {error}; it is made anew", schema::path(dir).display());
                None
            }),
            false => None,
        };
        let connection = match found {
            Some(connection) => connection,
            None => anew(dir)?,
        };
        Ok(Self { connection, dir: dir.to_owned(), remembered: Remembered::default() })
    }

    /// Removes the index of an account's folder. To be done before an `index.db` is made anew, since messages get other
    /// numbers then; and while no index is open there.
    pub fn remove(dir: &Path) -> io::Result<()> {
        schema::remove(dir)
    }

    /// Puts messages into the index in one transaction; those that are there already are left alone.
    pub fn index_many(&mut self, messages: &[(i64, &[u8])]) -> Result<(), TextError> {
        self.index_extracts(messages.iter().map(|(id, bytes)| (*id, Extract::of(bytes))).collect())
    }

    fn index_extracts(&mut self, mut extracts: Vec<(i64, Extract)>) -> Result<(), TextError> {
        // FTS5 writes out what it holds whenever a number is lower than the one before.
        extracts.sort_by_key(|(id, _)| *id);
        let done = index_all(&mut self.connection, &mut self.remembered, &extracts);
        self.settle(done)
    }

    /// Puts a part of the index in order, which makes it quicker and lets go of what was forgotten: for quiet times, after
    /// much was indexed or forgotten. Returns whether there is more to do; each call takes some tens of milliseconds.
    pub fn tidy(&mut self) -> Result<bool, TextError> {
        let done = tidy(&mut self.connection);
        self.settle(done)
    }

    /// Takes messages out of the index.
    pub fn forget(&mut self, ids: &[i64]) -> Result<(), TextError> {
        let done = forget(&mut self.connection, ids);
        self.settle(done)
    }

    /// The messages that are in it, ascending.
    pub fn indexed(&self) -> Result<Vec<i64>, TextError> {
        let mut query = self.connection.prepare_cached("SELECT id FROM indexed ORDER BY id")?;
        Ok(query.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
    }

    /// Those of the given messages that are not in it, in the given order.
    pub fn missing(&self, ids: &[i64]) -> Result<Vec<i64>, TextError> {
        let mut query = self.connection.prepare_cached("SELECT 1 FROM indexed WHERE id = ?1")?;
        let mut missing = Vec::new();
        for id in ids {
            if query.query_row([id], |_| Ok(())).optional()?.is_none() {
                missing.push(*id);
            }
        }
        Ok(missing)
    }

    /// The highest message in it; 0 if there is none. Mail that arrives has a higher one.
    pub fn watermark(&self) -> Result<i64, TextError> {
        let highest: Option<i64> = self.connection.query_row("SELECT max(id) FROM indexed", [], |row| row.get(0))?;
        Ok(highest.unwrap_or(0))
    }

    /// What the index takes on the disk, in bytes.
    pub fn size_bytes(&self) -> u64 {
        ["", "-wal"]
            .iter()
            .filter_map(|suffix| {
                let mut file = schema::path(&self.dir).into_os_string();
                file.push(suffix);
                std::fs::metadata(file).ok()
            })
            .map(|file| file.len())
            .sum()
    }

    /// The messages that hold the needle, ascending. None if there is no letter and no digit in it: of such a needle the
    /// index cannot tell anything.
    pub fn search(&self, query: &Query) -> Result<Option<Vec<i64>>, TextError> {
        Ok(search::search(&self.connection, query)?)
    }

    /// The messages that hold words like all those of the needle, each with its relevancy (RFC 6203 §4): 100 for the
    /// best, 1 at least; best first, then the newest. None as in [`TextIndex::search`].
    pub fn fuzzy(&self, query: &Query) -> Result<Option<Vec<Scored>>, TextError> {
        Ok(fuzzy::fuzzy(&self.connection, query)?)
    }

    /// Damage that shows only when a page is read means a new index as well.
    fn settle<T>(&mut self, done: rusqlite::Result<T>) -> Result<T, TextError> {
        let error = match done {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        self.remembered.forget();
        if !is_damage(&error) {
            return Err(error.into());
        }
        tracing::warn!("{}: {error}; it is made anew", schema::path(&self.dir).display());
        // Closed first: a connection that closes removes the log that lies under its name, which must not be the new one.
        self.connection = Connection::open_in_memory()?;
        self.connection = anew(&self.dir)?;
        Err(TextError::MadeAnew(error))
    }
}

fn anew(dir: &Path) -> Result<Connection, TextError> {
    schema::remove(dir).map_err(|error| TextError::Remove(schema::path(dir), error))?;
    schema::create(dir).map_err(|error| TextError::Create(schema::path(dir), error))
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

fn index_all(
    connection: &mut Connection,
    remembered: &mut Remembered,
    extracts: &[(i64, Extract)],
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for (id, extract) in extracts {
        let new = transaction.prepare_cached("INSERT OR IGNORE INTO indexed (id) VALUES (?1)")?.execute([id])? > 0;
        if new {
            index_one(&transaction, remembered, *id, extract)?;
        }
    }
    transaction.commit()
}

fn index_one(connection: &Connection, remembered: &mut Remembered, id: i64, extract: &Extract) -> rusqlite::Result<()> {
    let mut columns: [String; Place::ALL.len()] = Default::default();
    let mut streams: [Vec<u8>; Place::ALL.len()] = Default::default();
    let mut folded = String::new();
    for (place, text) in &extract.texts {
        folded.clear();
        words::fold(text, &mut folded);
        let (column, stream) = (&mut columns[*place as usize], &mut streams[*place as usize]);
        let mut write = |number: i64| {
            write_token(number, column);
            column.push(' ');
            stream::put(number, stream);
        };
        let mut failed = None;
        words::words(&folded, |word| match remembered.number(connection, word) {
            Ok(number) => write(number),
            Err(error) => failed = Some(error),
        });
        write(stream::BETWEEN);
        if let Some(error) = failed {
            return Err(error);
        }
    }
    let [sender, recipient, copied, blind, subject, other, body, attachment] = &columns;
    let sql = "INSERT INTO message (rowid, sender, recipient, copied, blind, subject, other, body, attachment)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let values = params![id, sender, recipient, copied, blind, subject, other, body, attachment];
    connection.prepare_cached(sql)?.execute(values)?;
    let sql = "INSERT INTO stream (id, words) VALUES (?1, ?2)";
    connection.prepare_cached(sql)?.execute(params![id, stream::join(&streams)]).map(drop)
}

/// FTS5's “merge” with a negative number goes on until all is one piece, so many pages at a time; when it changes less
/// than two rows there was nothing left to do (https://sqlite.org/fts5.html#the_merge_command).
fn tidy(connection: &mut Connection) -> rusqlite::Result<bool> {
    let mut more = false;
    for table in ["message", "part_of_word"] {
        let before = connection.total_changes();
        let sql = format!("INSERT INTO {table} ({table}, rank) VALUES ('merge', ?1)");
        connection.execute(&sql, [-TIDY_PAGES])?;
        more |= connection.total_changes().saturating_sub(before) >= 2;
    }
    Ok(more)
}

fn forget(connection: &mut Connection, ids: &[i64]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for id in ids {
        let known = transaction.prepare_cached("DELETE FROM indexed WHERE id = ?1")?.execute([id])? > 0;
        if known {
            transaction.prepare_cached("DELETE FROM message WHERE rowid = ?1")?.execute([id])?;
            transaction.prepare_cached("DELETE FROM stream WHERE id = ?1")?.execute([id])?;
        }
    }
    transaction.commit()
}
