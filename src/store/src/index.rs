//! `index.db`: the schema, opening and checking it, and how hard a commit is.

use rusqlite::{Connection, OpenFlags};
use std::path::Path;

/// Raised with every change of [`SCHEMA`]; an index of another version is rebuilt from the Maildir.
const VERSION: i64 = 1;

/// `messages.id` lives as long as the message, also over a MOVE, so that what was parsed moves with it.
const SCHEMA: &str = "
CREATE TABLE account (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    last_validity INTEGER NOT NULL,
    modseq_reserved INTEGER NOT NULL
);
CREATE TABLE folders (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    dir TEXT NOT NULL UNIQUE,
    validity INTEGER NOT NULL,
    uid_reserved INTEGER NOT NULL,
    recent_from INTEGER NOT NULL,
    special TEXT
);
CREATE TABLE subscriptions (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    folder INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    base TEXT NOT NULL,
    flags INTEGER NOT NULL,
    keywords TEXT NOT NULL,
    modseq INTEGER NOT NULL,
    received INTEGER NOT NULL,
    size INTEGER NOT NULL,
    UNIQUE (folder, uid),
    UNIQUE (folder, base)
);
CREATE INDEX messages_by_modseq ON messages (folder, modseq);
CREATE TABLE parsed (id INTEGER PRIMARY KEY, json BLOB NOT NULL);
CREATE TABLE expunged (folder INTEGER NOT NULL, modseq INTEGER NOT NULL, uid INTEGER NOT NULL,
    PRIMARY KEY (folder, modseq, uid)) WITHOUT ROWID;
";

/// Whether a commit must be on the disk when it returns; see the room's sixth invariant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    Synced,
    Ordinary,
}

/// What is wrong with an index that was found.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("its check says: {0}")]
    Corrupt(String),
    #[error("it has version {0}, this Mailstead keeps version {VERSION}")]
    Version(i64),
}

/// Opens an index that exists and looks it through.
pub fn open(path: &Path) -> Result<Connection, Unusable> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    prepare(&conn)?;
    let verdict: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(Unusable::Corrupt(verdict));
    }
    match conn.query_row("PRAGMA user_version", [], |row| row.get(0))? {
        VERSION => {
            conn.query_row("SELECT last_validity FROM account", [], |row| row.get::<_, i64>(0))?;
            Ok(conn)
        }
        other => Err(Unusable::Version(other)),
    }
}

/// Makes a new, empty index, readable by its owner alone. `last_validity` is where UIDVALIDITY begins to count.
pub fn create(path: &Path, last_validity: u32) -> rusqlite::Result<Connection> {
    let mut conn = Connection::open(path)?;
    prepare(&conn)?;
    let transaction = conn.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    transaction.execute("INSERT INTO account VALUES (1, ?1, 1)", [last_validity])?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(conn)
}

fn prepare(conn: &Connection) -> rusqlite::Result<()> {
    // Whoever else has the file open (a snapshot, an owner with sqlite3) is waited for this long.
    conn.busy_timeout(std::time::Duration::from_secs(10))?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    set_commit(conn, Commit::Synced)?;
    // 2 MiB of page cache: fifty accounts open at once then stay below 100 MiB.
    conn.pragma_update(None, "cache_size", -2048)?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Sets how hard the next commits are. Has no effect inside a transaction.
pub fn set_commit(conn: &Connection, commit: Commit) -> rusqlite::Result<()> {
    let level = match commit {
        Commit::Synced => "FULL",
        Commit::Ordinary => "NORMAL",
    };
    conn.pragma_update(None, "synchronous", level)
}
