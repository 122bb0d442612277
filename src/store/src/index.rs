//! `index.db`: the schema, its migrations, opening and checking it, and how hard a commit is.

use rusqlite::{Connection, OpenFlags};
use std::path::Path;

/// Raised with every change of [`SCHEMA`], together with a step in [`migrate`].
const VERSION: i64 = 2;

/// `messages.id` lives as long as the message, also over a MOVE, so that what was parsed moves with it. `saved` is when
/// the message came into its folder (RFC 8514). What lists ask for (`shown`) is apart from the rest of what was parsed, so
/// that a list reads few pages; both may outlive their message for a while (`Account::forget_gone`). `clean` says that every folder's stamps are those of the last close.
const SCHEMA: &str = "
CREATE TABLE account (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    last_validity INTEGER NOT NULL,
    modseq_reserved INTEGER NOT NULL,
    expunged_from INTEGER NOT NULL DEFAULT 0,
    clean INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE folders (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    dir TEXT NOT NULL UNIQUE,
    validity INTEGER NOT NULL,
    uid_reserved INTEGER NOT NULL,
    recent_from INTEGER NOT NULL,
    special TEXT,
    stamp_cur INTEGER,
    stamp_new INTEGER
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
    saved INTEGER NOT NULL DEFAULT 0,
    UNIQUE (folder, uid),
    UNIQUE (folder, base)
);
CREATE TABLE expunged (folder INTEGER NOT NULL, modseq INTEGER NOT NULL, uid INTEGER NOT NULL,
    PRIMARY KEY (folder, modseq, uid)) WITHOUT ROWID;
";

/// What version 2 brought besides columns.
const SINCE_2: &str = "
CREATE TABLE shown (id INTEGER PRIMARY KEY, envelope BLOB NOT NULL, structure BLOB NOT NULL);
CREATE TABLE parsed (id INTEGER PRIMARY KEY, tree BLOB NOT NULL);
CREATE TABLE kept (
    base TEXT PRIMARY KEY,
    folder TEXT NOT NULL,
    flags INTEGER NOT NULL,
    keywords TEXT NOT NULL,
    received INTEGER NOT NULL,
    size INTEGER NOT NULL,
    removed INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE annotations (folder INTEGER NOT NULL, entry TEXT NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (folder, entry)) WITHOUT ROWID;
CREATE TABLE acl (folder INTEGER NOT NULL, who TEXT NOT NULL, rights TEXT NOT NULL,
    PRIMARY KEY (folder, who)) WITHOUT ROWID;
";

/// Keywords of messages whose files have gone from where they were, until the files turn up elsewhere: a move that was
/// cut short, or was another program's. Tables that an index of this version may lack.
const STRAYED: &str = "
CREATE TABLE IF NOT EXISTS strayed (base TEXT PRIMARY KEY, keywords TEXT NOT NULL, since INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS messages_labelled ON messages (base) WHERE keywords != '';
";

/// From version 1: levels of folder names were separated by dots, what was parsed was kept as JSON.
const FROM_1: &str = "
ALTER TABLE account ADD COLUMN expunged_from INTEGER NOT NULL DEFAULT 0;
ALTER TABLE account ADD COLUMN clean INTEGER NOT NULL DEFAULT 0;
ALTER TABLE folders ADD COLUMN stamp_cur INTEGER;
ALTER TABLE folders ADD COLUMN stamp_new INTEGER;
ALTER TABLE messages ADD COLUMN saved INTEGER NOT NULL DEFAULT 0;
UPDATE messages SET saved = received;
UPDATE folders SET name = replace(name, '.', '/');
UPDATE subscriptions SET name = replace(name, '.', '/');
UPDATE account SET expunged_from = modseq_reserved;
DROP INDEX messages_by_modseq;
DROP TABLE parsed;
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

/// Opens an index that exists, and brings it to this version.
pub fn open(path: &Path) -> Result<Connection, Unusable> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(path, flags)?;
    prepare(&conn)?;
    let clean_before = migrate(&mut conn)?;
    // Walking through the whole index takes a second for a million messages; after a clean end there is no reason to.
    if !clean_before {
        look_through(&conn)?;
    }
    Ok(conn)
}

/// SQLite's own check of the file.
pub fn look_through(conn: &Connection) -> Result<(), Unusable> {
    let verdict: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" { Ok(()) } else { Err(Unusable::Corrupt(verdict)) }
}

/// Brings an index of an earlier version to this one, whole or not at all. Tells whether it was closed cleanly.
fn migrate(conn: &mut Connection) -> Result<bool, Unusable> {
    match conn.query_row("PRAGMA user_version", [], |row| row.get(0))? {
        VERSION => {
            conn.execute_batch(STRAYED)?;
            Ok(conn.query_row("SELECT clean FROM account", [], |row| row.get(0))?)
        }
        1 => {
            let transaction = conn.transaction()?;
            transaction.execute_batch(FROM_1)?;
            transaction.execute_batch(SINCE_2)?;
            transaction.execute_batch(STRAYED)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()?;
            Ok(false)
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
    transaction.execute_batch(SINCE_2)?;
    transaction.execute_batch(STRAYED)?;
    transaction
        .execute("INSERT INTO account (one, last_validity, modseq_reserved) VALUES (1, ?1, 1)", [last_validity])?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(conn)
}

/// A second connection, which only reads: it sees what was committed and waits for nobody.
pub fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    bounds(&conn)?;
    conn.pragma_update(None, "query_only", true)?;
    Ok(conn)
}

/// Gives back memory that a quiet connection does not need.
pub fn relax(conn: &Connection) {
    if let Err(why) = conn.execute_batch("PRAGMA shrink_memory") {
        tracing::debug!("memory of an index was not given back: {why}");
    }
}

fn prepare(conn: &Connection) -> rusqlite::Result<()> {
    bounds(conn)?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    set_commit(conn, Commit::Synced)
}

fn bounds(conn: &Connection) -> rusqlite::Result<()> {
    // Whoever else has the file open (a snapshot, an owner with sqlite3) is waited for this long.
    conn.busy_timeout(std::time::Duration::from_secs(10))?;
    // 8 MiB of page cache, taken as needed and given back by `relax`: a large change fits without being written twice.
    conn.pragma_update(None, "cache_size", -8192)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// As Mailstead 0.1 made it.
    const VERSION_1: &str = "
        CREATE TABLE account (one INTEGER PRIMARY KEY CHECK (one = 1), last_validity INTEGER NOT NULL,
            modseq_reserved INTEGER NOT NULL);
        CREATE TABLE folders (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,
            dir TEXT NOT NULL UNIQUE, validity INTEGER NOT NULL, uid_reserved INTEGER NOT NULL,
            recent_from INTEGER NOT NULL, special TEXT);
        CREATE TABLE subscriptions (name TEXT PRIMARY KEY) WITHOUT ROWID;
        CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, folder INTEGER NOT NULL, uid INTEGER NOT NULL,
            base TEXT NOT NULL, flags INTEGER NOT NULL, keywords TEXT NOT NULL, modseq INTEGER NOT NULL,
            received INTEGER NOT NULL, size INTEGER NOT NULL, UNIQUE (folder, uid), UNIQUE (folder, base));
        CREATE INDEX messages_by_modseq ON messages (folder, modseq);
        CREATE TABLE parsed (id INTEGER PRIMARY KEY, json BLOB NOT NULL);
        CREATE TABLE expunged (folder INTEGER NOT NULL, modseq INTEGER NOT NULL, uid INTEGER NOT NULL,
            PRIMARY KEY (folder, modseq, uid)) WITHOUT ROWID;
        INSERT INTO account VALUES (1, 100, 3000);
        INSERT INTO folders VALUES (7, 'Work.2026', '.Work.2026', 42, 300, 1, NULL);
        INSERT INTO messages VALUES (9, 7, 5, 'base', 1, 'Blue', 12, 1700000000, 10);
        INSERT INTO parsed VALUES (9, '{}');
        PRAGMA user_version = 1;";

    #[test]
    fn an_index_of_the_first_version_keeps_uids_and_keywords() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index.db");
        Connection::open(&path).unwrap().execute_batch(VERSION_1).unwrap();
        let migrated = open(&path).unwrap();
        let sql = "SELECT name || ' ' || validity || ' ' || uid || ' ' || keywords || ' ' || saved
            FROM folders JOIN messages ON folder = folders.id";
        let found: String = migrated.query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(found, "Work/2026 42 5 Blue 1700000000");
        drop(migrated);
        // The same tables as in a new one.
        let new = create(&dir.path().join("new.db"), 1).unwrap();
        let shape = |conn: &Connection| -> Vec<String> {
            let sql = "SELECT m.name || '.' || p.name || ' ' || p.type || p.pk FROM sqlite_master m
                JOIN pragma_table_info(m.name) p WHERE m.type = 'table' ORDER BY 1";
            conn.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        assert_eq!(shape(&open(&path).unwrap()), shape(&new));
    }

    #[test]
    fn an_index_of_a_later_version_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index.db");
        create(&path, 1).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(open(&path), Err(Unusable::Version(99))));
    }
}
