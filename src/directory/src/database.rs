//! `box.db`: accounts, aliases, lists, app passwords, quotas, removed accounts, and the audit log. Synchronous; every change is
//! synced before it returns.

mod aliases;
mod app_passwords;
mod backup_mx;
mod lists;
mod quota;
mod relay;
mod removed;
mod resolve;
mod schema;
mod second_factors;
mod sending;

pub use app_passwords::{AppKeys, has_the_form};

use crate::limits::MAX_AUDIT_LINES;
use base::{Address, Domain};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeSet;
use std::path::Path;
use wire::directory::{Account, AliasName};
use wire::{Kind, Refusal};

/// Names that reach the owner in every domain (RFC 2142 §4 and §5, RFC 5321 §4.5.1), and the one that the zones give to
/// those who report on our mail.
pub const REQUIRED: [&str; 5] = ["abuse", "admin", "hostmaster", wire::filter::REPORTS_NAME, "postmaster"];

pub struct Database {
    connection: Connection,
    owner: Address,
}

type Outcome<T> = Result<T, Refusal>;

impl Database {
    /// Opens or creates the database. `owner` is who gets mail for the required names.
    pub fn open(file: &Path, owner: Address) -> rusqlite::Result<Self> {
        let mut connection = Connection::open(file)?;
        schema::prepare(&mut connection)?;
        Ok(Self { connection, owner })
    }

    /// The kept hash of an account's password.
    pub fn hash(&self, account: &Address) -> Outcome<Option<String>> {
        self.connection
            .prepare_cached("SELECT hash FROM account WHERE address = ?1")
            .and_then(|mut query| query.query_row([account.to_string()], |row| row.get(0)).optional())
            .map_err(Refusal::internal)
    }

    pub fn is_admin(&self, account: &Address) -> Outcome<bool> {
        let sql = "SELECT admin FROM account WHERE address = ?1";
        let found = self.connection.query_row(sql, [account.to_string()], |row| row.get(0)).optional();
        Ok(found.map_err(Refusal::internal)?.unwrap_or(false))
    }

    pub fn domains(&self) -> Outcome<BTreeSet<Domain>> {
        let sql = "SELECT address FROM account UNION SELECT address FROM alias
                   UNION SELECT address FROM alias_elsewhere UNION SELECT address FROM list
                   UNION SELECT '@' || domain FROM domain_alias";
        Ok(self.names(sql, params![])?.into_iter().map(|name| name.domain().clone()).collect())
    }

    pub fn accounts(&self) -> Outcome<Vec<Account>> {
        let mut query = self
            .connection
            .prepare_cached(
                "SELECT address, admin, created, EXISTS (SELECT 1 FROM second_factor WHERE account = address AND confirmed)
                 FROM account ORDER BY address",
            )
            .map_err(Refusal::internal)?;
        let rows = query
            .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, i64>(2)?, row.get(3)?)))
            .map_err(Refusal::internal)?;
        rows.map(|row| {
            let (address, admin, created, second_factor) = row.map_err(Refusal::internal)?;
            let address = Address::parse(&address).map_err(Refusal::internal)?;
            Ok(Account { address, admin, second_factor, created: seconds(created) })
        })
        .collect()
    }

    pub fn add_account(&mut self, address: &Address, hash: &str, admin: bool) -> Outcome<()> {
        let account = plain(address)?;
        if self.hash(&account)?.is_some() {
            return Err(Refusal::new(Kind::Conflict, format!("the account {account} exists already")));
        }
        if self.is_list(&account)? {
            return Err(Refusal::new(Kind::Conflict, format!("{account} is a mailing list")));
        }
        if !self.targets(&AliasName::Address(account.clone()))?.is_empty() {
            let words = format!("{account} is an alias; remove it first: mailstead alias remove {account}");
            return Err(Refusal::new(Kind::Conflict, words));
        }
        let sql = "INSERT INTO account (address, hash, admin, created) VALUES (?1, ?2, ?3, ?4)";
        self.change(&format!("account {account} added"), |transaction| {
            transaction.execute(sql, params![account.to_string(), hash, admin, now()]).map(drop)
        })
    }

    pub fn set_hash(&mut self, account: &Address, hash: &str) -> Outcome<()> {
        let account = self.existing(account)?;
        self.change(&format!("password of {account} changed"), |transaction| {
            let sql = "UPDATE account SET hash = ?2 WHERE address = ?1";
            transaction.execute(sql, params![account.to_string(), hash]).map(drop)
        })
    }

    pub fn remove_account(&mut self, account: &Address) -> Outcome<()> {
        let account = self.existing(account)?;
        if account == self.owner {
            let words = format!("{account} is the owner's account (email: in box.yaml) and stays");
            return Err(Refusal::new(Kind::Conflict, words));
        }
        let leading = self.names("SELECT address FROM alias WHERE target = ?1", params![account.to_string()])?;
        for alias in leading {
            if self.targets(&alias)?.len() == 1 {
                let words = format!("the alias {alias} leads to it alone; first: mailstead alias remove {alias}");
                return Err(Refusal::new(Kind::Conflict, words));
            }
        }
        self.change(&format!("account {account} removed"), |transaction| removed::put_aside(transaction, &account))
    }

    /// A consistent copy into `file`, which must not exist.
    pub fn copy_to(&self, file: &Path) -> rusqlite::Result<()> {
        self.connection.backup("main", file, None::<fn(rusqlite::backup::Progress)>)
    }

    fn existing(&self, address: &Address) -> Outcome<Address> {
        let account = address.account();
        match self.hash(&account)? {
            Some(_) => Ok(account),
            None => {
                let words = format!("there is no account {account}; see: mailstead user list");
                Err(Refusal::new(Kind::NotFound, words))
            }
        }
    }

    fn addresses(&self, sql: &str, with: &[&dyn rusqlite::ToSql]) -> Outcome<Vec<Address>> {
        let mut query = self.connection.prepare_cached(sql).map_err(Refusal::internal)?;
        let rows = query.query_map(with, |row| row.get::<_, String>(0)).map_err(Refusal::internal)?;
        rows.map(|row| Address::parse(&row.map_err(Refusal::internal)?).map_err(Refusal::internal)).collect()
    }

    /// One transaction with its line in the audit log.
    fn change(&mut self, what: &str, act: impl FnOnce(&rusqlite::Transaction) -> rusqlite::Result<()>) -> Outcome<()> {
        let commit = || {
            let transaction = self.connection.transaction()?;
            act(&transaction)?;
            transaction.execute("INSERT INTO audit (time, what) VALUES (?1, ?2)", params![now(), what])?;
            let oldest = "DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?1";
            transaction.execute(oldest, [MAX_AUDIT_LINES])?;
            transaction.commit()
        };
        commit().map_err(Refusal::internal)?;
        tracing::info!("{what}");
        Ok(())
    }
}

/// Seconds since 1970 as the tables keep them.
fn now() -> i64 {
    i64::try_from(base::time::now_unix()).unwrap_or(0)
}

fn seconds(kept: i64) -> u64 {
    u64::try_from(kept).unwrap_or(0)
}

fn count(connection: &Connection, sql: &str, with: impl rusqlite::Params) -> Outcome<u64> {
    connection.query_row(sql, with, |row| row.get(0)).map(seconds).map_err(Refusal::internal)
}

/// The account form of an address that is to be created; a tag in it is a mistake.
fn plain(address: &Address) -> Outcome<Address> {
    if address.local().contains('+') {
        let words = format!("{address} has a +tag; every account gets mail for all its tags by itself");
        return Err(Refusal::new(Kind::Invalid, words));
    }
    if !address.is_ascii() {
        let words = format!(
            "{address}: before the @ an address of this box has only letters, digits and signs of ASCII, because most other mail servers could not answer it"
        );
        return Err(Refusal::new(Kind::Invalid, words));
    }
    if !address.domain().is_dotted() {
        return Err(Refusal::new(Kind::Invalid, format!("{address}: the domain has no dot")));
    }
    Ok(address.account())
}
