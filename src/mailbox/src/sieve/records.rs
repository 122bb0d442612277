//! What an account's scripts must remember between deliveries: whom vacation has answered, what `duplicate` has seen,
//! how much was redirected today. Each is a hash and the time until which it counts. Durable when written, bounded.

use crate::limits;
use rusqlite::Connection;
use std::path::Path;

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An identifier of `duplicate` or vacation.
    Seen = 1,
    Redirect = 2,
    Notice = 3,
    /// An owner who was told of a failing script.
    Complaint = 4,
}

/// A record to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub kind: Kind,
    pub id: String,
    /// Seconds since 1970.
    pub until: u64,
    /// Whether a record that is there already gets the new time (`duplicate :last`).
    pub renew: bool,
}

pub struct Records(Connection);

impl Records {
    /// Opens the records in `dir`, making them if they are not there.
    pub fn open(dir: &Path) -> rusqlite::Result<Self> {
        let conn = Connection::open(dir.join("records.db"))?;
        conn.busy_timeout(std::time::Duration::from_secs(10))?;
        conn.pragma_update(None, "journal_mode", "WAL")?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.execute_batch(
            "CREATE TABLE IF NOT EXISTS records (kind INTEGER NOT NULL, hash BLOB NOT NULL, until INTEGER NOT NULL,
                PRIMARY KEY (kind, hash)) WITHOUT ROWID;
            CREATE INDEX IF NOT EXISTS records_by_until ON records (until);",
        )?;
        Ok(Self(conn))
    }

    pub fn is_known(&self, kind: Kind, id: &str, now: u64) -> rusqlite::Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM records WHERE kind = ?1 AND hash = ?2 AND until > ?3)";
        self.0.query_row(sql, (kind as i64, hash(id), seconds(now)), |row| row.get(0))
    }

    pub fn count(&self, kind: Kind, now: u64) -> rusqlite::Result<usize> {
        let sql = "SELECT count(*) FROM records WHERE kind = ?1 AND until > ?2";
        self.0
            .query_row(sql, (kind as i64, seconds(now)), |row| row.get::<_, i64>(0))
            .map(|n| n.unsigned_abs() as usize)
    }

    /// Writes records, all or none, and forgets what has run out or is too much.
    pub fn remember(&mut self, records: &[Record], now: u64) -> rusqlite::Result<()> {
        let transaction = self.0.transaction()?;
        transaction.execute("DELETE FROM records WHERE until <= ?1", [seconds(now)])?;
        for record in records {
            let sql = match record.renew {
                true => "INSERT OR REPLACE INTO records VALUES (?1, ?2, ?3)",
                false => "INSERT OR IGNORE INTO records VALUES (?1, ?2, ?3)",
            };
            transaction.execute(sql, (record.kind as i64, hash(&record.id), seconds(record.until)))?;
        }
        let sql = "DELETE FROM records WHERE (kind, hash) IN (SELECT kind, hash FROM records ORDER BY until
            LIMIT max(0, (SELECT count(*) FROM records) - ?1))";
        transaction.execute(sql, [seconds(limits::SIEVE_RECORDS as u64)])?;
        transaction.commit()
    }
}

/// 128 bits of the identifier, which may be long and is nobody's business.
fn hash(id: &str) -> Vec<u8> {
    blake3::hash(id.as_bytes()).as_bytes()[..16].to_vec()
}

fn seconds(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(id: &str, until: u64, renew: bool) -> Record {
        Record { kind: Kind::Seen, id: id.into(), until, renew }
    }

    #[test]
    fn a_record_counts_until_its_time_and_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        Records::open(dir.path()).unwrap().remember(&[seen("a", 100, false), seen("b", 100, false)], 0).unwrap();
        let mut records = Records::open(dir.path()).unwrap();
        assert!(records.is_known(Kind::Seen, "a", 99).unwrap());
        assert!(!records.is_known(Kind::Seen, "a", 100).unwrap());
        assert!(!records.is_known(Kind::Redirect, "a", 0).unwrap());
        records.remember(&[seen("a", 200, false), seen("b", 200, true)], 50).unwrap();
        assert!(!records.is_known(Kind::Seen, "a", 150).unwrap());
        assert!(records.is_known(Kind::Seen, "b", 150).unwrap());
        assert_eq!(records.count(Kind::Seen, 150).unwrap(), 1);
    }

    #[test]
    fn no_more_is_remembered_than_is_allowed() {
        let dir = tempfile::tempdir().unwrap();
        let mut records = Records::open(dir.path()).unwrap();
        let many: Vec<_> =
            (0..limits::SIEVE_RECORDS as u64 + 10).map(|n| seen(&n.to_string(), 100 + n, false)).collect();
        records.remember(&many, 0).unwrap();
        assert_eq!(records.count(Kind::Seen, 0).unwrap(), limits::SIEVE_RECORDS);
        assert!(!records.is_known(Kind::Seen, "9", 0).unwrap());
        assert!(records.is_known(Kind::Seen, "10", 0).unwrap());
    }
}
