//! What the MTA remembers of others and of its own accounts: `known.db` in the queue's folder.
//!
//! Whom our users have written to, which networks have sent before, what is greylisted, how much each account has sent,
//! and which accounts are braked. Bounded by age and by number ([`Known::purge`]). Survives a restart; a power cut may
//! take the last moments. Nobody's mail depends on it: what cannot be asked is answered as if there were nothing against
//! the mail.

use crate::limits;
use base::Address;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

const SCHEMA: &str = "
    CREATE TABLE correspondent (
        account TEXT NOT NULL, address TEXT NOT NULL, domain TEXT NOT NULL, last INTEGER NOT NULL,
        PRIMARY KEY (account, address)) STRICT, WITHOUT ROWID;
    CREATE INDEX correspondent_address ON correspondent(address);
    CREATE INDEX correspondent_domain ON correspondent(domain);
    CREATE INDEX correspondent_last ON correspondent(last);
    CREATE TABLE network (network TEXT PRIMARY KEY, last INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE grey (
        network TEXT NOT NULL, sender TEXT NOT NULL, recipient TEXT NOT NULL, first INTEGER NOT NULL,
        PRIMARY KEY (network, sender, recipient)) STRICT, WITHOUT ROWID;
    CREATE TABLE sent (
        account TEXT NOT NULL, at INTEGER NOT NULL, recipients INTEGER NOT NULL, fresh INTEGER NOT NULL) STRICT;
    CREATE INDEX sent_account ON sent(account, at);
    CREATE TABLE brake (
        account TEXT PRIMARY KEY, since INTEGER NOT NULL, until INTEGER NOT NULL, why TEXT NOT NULL,
        told INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE lifted (account TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    PRAGMA user_version = 1;";

/// The store. Its questions take microseconds, so it is asked on the runtime's threads.
#[derive(Debug)]
pub struct Known(Mutex<Connection>);

/// What greylisting says of a network, sender and recipient that look odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grey {
    /// Wait so many seconds more.
    Wait(u64),
    /// It came again in time.
    Passed,
}

pub type Asked<T> = rusqlite::Result<T>;

impl Known {
    /// Opens the store; one that cannot be read is put aside and begun anew.
    pub fn open(folder: &Path) -> Asked<Self> {
        let file = folder.join("known.db");
        let connection = prepared(&file).or_else(|error| {
            tracing::error!("what is known of others cannot be opened ({error}); it is put aside and begun anew");
            for ending in ["", "-wal", "-shm"] {
                let _ = std::fs::rename(
                    folder.join(format!("known.db{ending}")),
                    folder.join(format!("known.db.broken{ending}")),
                );
            }
            prepared(&file)
        })?;
        Ok(Self(Mutex::new(connection)))
    }

    pub(super) fn connection(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does all of `work` or nothing.
    pub(super) fn change<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Asked<T>) -> Asked<T> {
        let mut connection = self.connection();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = work(&transaction)?;
        transaction.commit()?;
        Ok(done)
    }

    /// Notes that an account has written to these.
    pub fn wrote_to(&self, account: &Address, recipients: &[Address], now: u64) -> Asked<()> {
        self.change(|transaction| {
            let sql = "INSERT OR REPLACE INTO correspondent (account, address, domain, last) VALUES (?1, ?2, ?3, ?4)";
            let mut insert = transaction.prepare_cached(sql)?;
            for to in recipients {
                insert.execute(params![account.to_string(), key(to), to.domain().as_str(), now.cast_signed()])?;
            }
            Ok(())
        })
    }

    /// Whether any of our users has written to this address.
    pub fn is_correspondent(&self, address: &Address) -> Asked<bool> {
        let sql = "SELECT 1 FROM correspondent WHERE address = ?1 LIMIT 1";
        self.connection().prepare_cached(sql)?.exists([key(address)])
    }

    /// Whether any of our users has written to this domain.
    pub fn is_domain_of_correspondents(&self, domain: &base::Domain) -> Asked<bool> {
        let sql = "SELECT 1 FROM correspondent WHERE domain = ?1 LIMIT 1";
        self.connection().prepare_cached(sql)?.exists([domain.as_str()])
    }

    /// Whether mail from this network was taken lately.
    pub fn is_network_known(&self, network: IpAddr, now: u64) -> Asked<bool> {
        let sql = "SELECT 1 FROM network WHERE network = ?1 AND last > ?2";
        let since = now.saturating_sub(limits::NETWORK_KNOWN.as_secs()).cast_signed();
        self.connection().prepare_cached(sql)?.exists(params![network.to_string(), since])
    }

    /// Notes that mail from this network was taken; writes once a day at most.
    pub fn network_sent(&self, network: IpAddr, now: u64) -> Asked<()> {
        let sql = "INSERT INTO network (network, last) VALUES (?1, ?2)
                   ON CONFLICT (network) DO UPDATE SET last = ?2 WHERE last < ?2 - 86400";
        self.connection().prepare_cached(sql)?.execute(params![network.to_string(), now.cast_signed()]).map(drop)
    }

    /// Whether this has waited long enough; begins its wait otherwise.
    pub fn grey(&self, network: IpAddr, sender: &str, recipient: &Address, now: u64) -> Asked<Grey> {
        let (wait, longest) = (limits::GREY_WAIT.as_secs(), limits::GREY_FORGOTTEN.as_secs());
        self.change(|transaction| {
            let (network, recipient) = (network.to_string(), key(recipient));
            let sql = "SELECT first FROM grey WHERE network = ?1 AND sender = ?2 AND recipient = ?3";
            let first: Option<i64> =
                transaction.query_row(sql, params![network, sender, recipient], |row| row.get(0)).optional()?;
            let waited = first.map(|first| now.saturating_sub(u64::try_from(first).unwrap_or(0)));
            match waited {
                Some(waited) if waited > longest => {}
                Some(waited) if waited >= wait => return Ok(Grey::Passed),
                Some(waited) => return Ok(Grey::Wait(wait - waited)),
                None => {}
            }
            let sql = "INSERT OR REPLACE INTO grey (network, sender, recipient, first) VALUES (?1, ?2, ?3, ?4)";
            transaction.execute(sql, params![network, sender, recipient, now.cast_signed()])?;
            Ok(Grey::Wait(wait))
        })
    }

    /// Forgets what is old, and the oldest of what is too much.
    pub fn purge(&self, now: u64) -> Asked<()> {
        let before = |age: std::time::Duration| now.saturating_sub(age.as_secs()).cast_signed();
        self.change(|transaction| {
            transaction.execute("DELETE FROM correspondent WHERE last < ?1", [before(limits::CORRESPONDENT_KEPT)])?;
            transaction.execute("DELETE FROM network WHERE last < ?1", [before(limits::NETWORK_KNOWN)])?;
            transaction.execute("DELETE FROM grey WHERE first < ?1", [before(limits::GREY_FORGOTTEN)])?;
            transaction.execute("DELETE FROM sent WHERE at < ?1", [before(limits::DAY)])?;
            transaction.execute("DELETE FROM brake WHERE until < ?1", [now.cast_signed()])?;
            transaction.execute("DELETE FROM lifted WHERE at < ?1", [before(limits::DAY)])?;
            for (table, order, most) in [
                ("correspondent", "last", limits::CORRESPONDENTS),
                ("network", "last", limits::NETWORKS_KNOWN),
                ("grey", "first", limits::GREY_ENTRIES),
            ] {
                let sql = format!(
                    "DELETE FROM {table} WHERE {order} <= (SELECT {order} FROM {table} ORDER BY {order} DESC LIMIT 1 OFFSET ?1)"
                );
                transaction.execute(&sql, [most])?;
            }
            Ok(())
        })
    }
}

/// An address as it is compared: most servers do not tell capitals apart.
pub(super) fn key(address: &Address) -> String {
    address.to_string().to_lowercase()
}

fn prepared(file: &Path) -> Asked<Connection> {
    let mut connection = Connection::open(file)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.busy_timeout(limits::KNOWN_WITHIN)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match version {
        0 => transaction.execute_batch(SCHEMA)?,
        1 => {}
        newer => {
            let words = format!("known.db was written by a newer Mailstead (schema {newer})");
            return Err(rusqlite::Error::InvalidParameterName(words));
        }
    }
    transaction.commit()?;
    Ok(connection)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn store() -> (tempfile::TempDir, Known) {
        let dir = tempfile::tempdir().unwrap();
        let known = Known::open(dir.path()).unwrap();
        (dir, known)
    }

    pub fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    const NETWORK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 0));
    const NOW: u64 = 1_800_000_000;

    #[test]
    fn whom_our_users_wrote_to_is_known_after_a_restart() {
        let (dir, known) = store();
        known.wrote_to(&address("ann@example.org"), &[address("Joe@example.net")], NOW).unwrap();
        drop(known);
        let known = Known::open(dir.path()).unwrap();
        assert!(known.is_correspondent(&address("joe@EXAMPLE.net")).unwrap());
        assert!(!known.is_correspondent(&address("jim@example.net")).unwrap());
        assert!(known.is_domain_of_correspondents(address("x@example.net").domain()).unwrap());
        assert!(!known.is_domain_of_correspondents(address("x@example.com").domain()).unwrap());
    }

    #[test]
    fn what_comes_again_after_five_minutes_and_within_a_day_passes() {
        let (_dir, known) = store();
        let ask = |at| known.grey(NETWORK, "joe@example.net", &address("ann@example.org"), at).unwrap();
        let wait = limits::GREY_WAIT.as_secs();
        assert_eq!(ask(NOW), Grey::Wait(wait));
        assert_eq!(ask(NOW + 60), Grey::Wait(wait - 60));
        assert_eq!(ask(NOW + wait), Grey::Passed);
        let late = NOW + limits::GREY_FORGOTTEN.as_secs() + 1;
        assert_eq!(ask(late), Grey::Wait(wait));
    }

    #[test]
    fn a_network_is_known_for_five_weeks() {
        let (_dir, known) = store();
        known.network_sent(NETWORK, NOW).unwrap();
        assert!(known.is_network_known(NETWORK, NOW + 34 * 86_400).unwrap());
        assert!(!known.is_network_known(NETWORK, NOW + 36 * 86_400).unwrap());
        known.purge(NOW + 36 * 86_400).unwrap();
        assert!(!known.is_network_known(NETWORK, NOW).unwrap());
    }

    #[test]
    fn a_store_that_is_broken_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("known.db"), [b'x'; 5_000]).unwrap();
        let known = Known::open(dir.path()).unwrap();
        assert!(!known.is_correspondent(&address("joe@example.net")).unwrap());
        assert!(dir.path().join("known.db.broken").exists());
    }

    #[test]
    fn a_flood_of_strangers_does_not_grow_the_store_without_end() {
        let (_dir, known) = store();
        known
            .change(|transaction| {
                let mut insert = transaction.prepare("INSERT INTO grey VALUES (?1, 's', 'r', ?2)")?;
                for n in 0..limits::GREY_ENTRIES + 500 {
                    insert.execute(params![n.to_string(), NOW.cast_signed() + n])?;
                }
                Ok(())
            })
            .unwrap();
        known.purge(NOW).unwrap();
        let count: i64 = known.connection().query_row("SELECT count(*) FROM grey", [], |row| row.get(0)).unwrap();
        assert_eq!(count, limits::GREY_ENTRIES);
    }
}
