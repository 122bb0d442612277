//! Consistent copies of the MTA's databases, for the backup.

use base::durable;
use rusqlite::Connection;
use std::io;
use std::path::Path;

/// What a backup does not need: it is large, and no mail is lost without it.
const LEFT_OUT: [&str; 1] = ["history.db"];

/// Copies every database in `folder` to a `.snapshot` beside it, through SQLite's backup interface. Blocks.
pub fn take(folder: &Path) -> io::Result<()> {
    for file in std::fs::read_dir(folder)? {
        let path = file?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.ends_with(".db") || LEFT_OUT.contains(&name.as_str()) {
            continue;
        }
        let copy = folder.join(format!("{name}.snapshot"));
        durable::remove(&copy)?;
        let database = Connection::open(&path).map_err(io::Error::other)?;
        database.backup("main", &copy, None::<fn(rusqlite::backup::Progress)>).map_err(io::Error::other)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_queued_is_in_the_copy_and_the_history_is_not_copied() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["queue.db", "history.db"] {
            let it = Connection::open(dir.path().join(name)).unwrap();
            it.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (a) ; INSERT INTO t VALUES (7)").unwrap();
            std::mem::forget(it);
        }
        for _ in 0..2 {
            take(dir.path()).unwrap();
            let copy = Connection::open(dir.path().join("queue.db.snapshot")).unwrap();
            assert_eq!(copy.query_row("SELECT a FROM t", [], |row| row.get::<_, i64>(0)).unwrap(), 7);
        }
        assert!(!dir.path().join("history.db.snapshot").exists());
    }
}
