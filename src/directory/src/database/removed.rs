//! Removed accounts: kept for [`REMOVED_KEPT`] so that they can be brought back, then forgotten.
//!
//! App passwords and second factors are not kept: a device that was let in before the removal asks anew.

use super::quota::key;
use super::{Database, Outcome, now, seconds};
use crate::limits::{MAX_ALIAS_TARGETS, REMOVED_KEPT};
use base::Address;
use rusqlite::{OptionalExtension, Transaction, params};
use wire::directory::{AliasName, QuotaScope, RemovedAccount, Restored};
use wire::{Kind, Refusal};

/// One row of the table.
struct Kept {
    id: i64,
    hash: String,
    admin: bool,
    created: i64,
    quota: Option<i64>,
    removed: i64,
}

/// Moves an account, its quota and its place in aliases to what is kept.
pub(super) fn put_aside(transaction: &Transaction, account: &Address) -> rusqlite::Result<()> {
    let (kind, name) = key(&QuotaScope::Account(account.clone()));
    let keep = "INSERT INTO removed (address, hash, admin, created, quota, removed)
                SELECT address, hash, admin, created, (SELECT bytes FROM quota WHERE kind = ?1 AND name = ?2), ?3
                FROM account WHERE address = ?2";
    transaction.execute(keep, params![kind, name, now()])?;
    let id = transaction.last_insert_rowid();
    let aliases = "INSERT INTO removed_alias (removed, alias) SELECT ?1, address FROM alias WHERE target = ?2";
    transaction.execute(aliases, params![id, name])?;
    transaction.execute("DELETE FROM alias WHERE target = ?1", [&name])?;
    transaction.execute("DELETE FROM quota WHERE kind = ?1 AND name = ?2", params![kind, name])?;
    transaction.execute("DELETE FROM account WHERE address = ?1", [&name]).map(drop)
}

impl Database {
    /// Those that can be brought back, the latest first.
    pub fn removed_accounts(&self) -> Outcome<Vec<RemovedAccount>> {
        let sql = "SELECT address, removed FROM removed WHERE removed > ?1 ORDER BY removed DESC, id DESC";
        let mut query = self.connection.prepare_cached(sql).map_err(Refusal::internal)?;
        let rows = query.query_map([oldest()], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)));
        rows.map_err(Refusal::internal)?
            .map(|row| {
                let (address, removed) = row.map_err(Refusal::internal)?;
                let address = Address::parse(&address).map_err(Refusal::internal)?;
                let removed = seconds(removed);
                Ok(RemovedAccount { address, removed, purged: removed + REMOVED_KEPT.as_secs() })
            })
            .collect()
    }

    /// Brings the latest account of that address back, if the address is still free.
    pub fn restore_account(&mut self, account: &Address) -> Outcome<Restored> {
        let account = account.account();
        let kept = self.kept(&account)?;
        self.address_is_free(&account)?;
        let aliases = self.aliases_to_rejoin(kept.id)?;
        self.change(&format!("account {account} brought back"), |transaction| {
            let name = account.to_string();
            let sql = "INSERT INTO account (address, hash, admin, created) VALUES (?1, ?2, ?3, ?4)";
            transaction.execute(sql, params![name, kept.hash, kept.admin, kept.created])?;
            if let Some(bytes) = kept.quota {
                let (kind, name) = key(&QuotaScope::Account(account.clone()));
                let sql = "INSERT OR REPLACE INTO quota (kind, name, bytes) VALUES (?1, ?2, ?3)";
                transaction.execute(sql, params![kind, name, bytes])?;
            }
            for alias in &aliases {
                let sql = "INSERT OR IGNORE INTO alias (address, target) VALUES (?1, ?2)";
                transaction.execute(sql, params![alias.to_string(), name])?;
            }
            transaction.execute("DELETE FROM removed WHERE id = ?1", [kept.id]).map(drop)
        })?;
        Ok(Restored { removed: seconds(kept.removed), aliases })
    }

    /// Forgets what has been kept long enough. Returns how many accounts that were.
    pub fn purge_removed(&mut self) -> Outcome<usize> {
        let due = self.addresses("SELECT address FROM removed WHERE removed <= ?1", params![oldest()])?;
        if due.is_empty() {
            return Ok(0);
        }
        let names: Vec<String> = due.iter().map(Address::to_string).collect();
        self.change(&format!("removed accounts forgotten for good: {}", names.join(", ")), |transaction| {
            transaction.execute("DELETE FROM removed WHERE removed <= ?1", [oldest()]).map(drop)
        })?;
        Ok(due.len())
    }

    fn kept(&self, account: &Address) -> Outcome<Kept> {
        let sql = "SELECT id, hash, admin, created, quota, removed FROM removed
                   WHERE address = ?1 AND removed > ?2 ORDER BY removed DESC, id DESC LIMIT 1";
        let row = self.connection.query_row(sql, params![account.to_string(), oldest()], |row| {
            Ok(Kept {
                id: row.get(0)?,
                hash: row.get(1)?,
                admin: row.get(2)?,
                created: row.get(3)?,
                quota: row.get(4)?,
                removed: row.get(5)?,
            })
        });
        row.optional().map_err(Refusal::internal)?.ok_or_else(|| {
            let days = REMOVED_KEPT.as_secs() / (24 * 3600);
            let words = format!("no account {account} was removed in the last {days} days");
            Refusal::new(Kind::NotFound, words)
        })
    }

    fn address_is_free(&self, account: &Address) -> Outcome<()> {
        if self.hash(account)?.is_some() {
            let words = format!(
                "the address {account} was given to a new account meanwhile; remove that one first, or leave the old \
                 one to its time"
            );
            return Err(Refusal::new(Kind::Conflict, words));
        }
        if self.is_list(account)? {
            return Err(Refusal::new(Kind::Conflict, format!("{account} is a mailing list meanwhile")));
        }
        if !self.targets(&AliasName::Address(account.clone()))?.is_empty() {
            let words = format!("{account} is an alias meanwhile; remove it first: mailstead alias remove {account}");
            return Err(Refusal::new(Kind::Conflict, words));
        }
        Ok(())
    }

    /// The aliases that led to it, are still there, and have room.
    fn aliases_to_rejoin(&self, removed: i64) -> Outcome<Vec<AliasName>> {
        let mut aliases =
            self.names("SELECT alias FROM removed_alias WHERE removed = ?1 ORDER BY alias", params![removed])?;
        let mut kept = Vec::new();
        for alias in aliases.drain(..) {
            if (1..MAX_ALIAS_TARGETS).contains(&self.targets(&alias)?.len()) {
                kept.push(alias);
            }
        }
        Ok(kept)
    }
}

/// What was removed at this time or before is over.
fn oldest() -> i64 {
    now().saturating_sub_unsigned(REMOVED_KEPT.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn a_removed_account_is_forgotten_when_its_thirty_days_are_over() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("box.db");
        let (ann, bob) = (address("ann@example.org"), address("bob@example.org"));
        let mut database = Database::open(&file, ann.clone()).unwrap();
        for account in [&ann, &bob] {
            database.add_account(account, "hash", false).unwrap();
        }
        database.remove_account(&bob).unwrap();
        database.add_account(&bob, "second hash", false).unwrap();
        database.remove_account(&bob).unwrap();
        let age = |seconds: u64| {
            let sql = "UPDATE removed SET removed = removed - ?1 WHERE hash = 'hash'";
            rusqlite::Connection::open(&file).unwrap().execute(sql, [seconds.cast_signed()]).unwrap();
        };
        age(REMOVED_KEPT.as_secs() - 60);
        assert_eq!((database.purge_removed().unwrap(), database.removed_accounts().unwrap().len()), (0, 2));
        age(61);
        assert_eq!(database.removed_accounts().unwrap().len(), 1);
        drop(database);
        let mut database = Database::open(&file, ann).unwrap();
        assert_eq!(database.purge_removed().unwrap(), 1);
        database.restore_account(&bob).unwrap();
        assert_eq!(database.hash(&bob).unwrap().unwrap(), "second hash");
        assert_eq!(database.restore_account(&bob).unwrap_err().kind, Kind::NotFound);
    }
}
