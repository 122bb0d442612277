//! Second factors: a key for each account that has one, kept as it is, since codes are made of it.

use super::{Database, Outcome, seconds};
use crate::second_factor::{self, KEY};
use base::{Address, Secret};
use rusqlite::{OptionalExtension, params};
use wire::{Kind, Refusal};

/// What is kept of one.
struct Kept {
    key: Vec<u8>,
    /// Whether a code was shown, so that it counts.
    confirmed: bool,
    used: u64,
}

impl Database {
    /// Makes a key; the only time that it can be seen.
    pub fn make_second_factor(&mut self, account: &Address) -> Outcome<Secret> {
        let account = self.existing(account)?;
        if self.has_second_factor(&account)? {
            let words = format!(
                "{account} has a second factor already; take it away first: mailstead user second-factor remove {account}"
            );
            return Err(Refusal::new(Kind::Conflict, words));
        }
        let key: [u8; KEY] = rand::random();
        self.change(&format!("a key for a second factor of {account} made"), |transaction| {
            let sql = "INSERT OR REPLACE INTO second_factor (account, key, confirmed, used) VALUES (?1, ?2, 0, 0)";
            transaction.execute(sql, params![account.to_string(), key]).map(drop)
        })?;
        Ok(Secret::new(second_factor::base32(key)))
    }

    /// Makes the key count, if the code is one of it.
    pub fn confirm_second_factor(&mut self, account: &Address, code: &Secret, now: u64) -> Outcome<()> {
        let account = self.existing(account)?;
        let Some(kept) = self.second_factor(&account)?.filter(|kept| !kept.confirmed) else {
            let words = format!("no second factor of {account} waits for a code; see: mailstead user list");
            return Err(Refusal::new(Kind::NotFound, words));
        };
        let Some(step) = second_factor::fresh_step(&kept.key, code.expose(), now, kept.used) else {
            let words = "that is not the code of now; look at the clock of the device and of this machine, and try the next one";
            return Err(Refusal::new(Kind::Invalid, words));
        };
        self.change(&format!("second factor of {account} set up"), |transaction| {
            let sql = "UPDATE second_factor SET confirmed = 1, used = ?2 WHERE account = ?1";
            transaction.execute(sql, params![account.to_string(), step.cast_signed()]).map(drop)
        })
    }

    pub fn remove_second_factor(&mut self, account: &Address) -> Outcome<()> {
        let account = self.existing(account)?;
        if self.second_factor(&account)?.is_none() {
            return Err(Refusal::new(Kind::NotFound, format!("{account} has no second factor")));
        }
        self.change(&format!("second factor of {account} removed"), |transaction| {
            transaction.execute("DELETE FROM second_factor WHERE account = ?1", [account.to_string()]).map(drop)
        })
    }

    pub fn has_second_factor(&self, account: &Address) -> Outcome<bool> {
        Ok(self.second_factor(account)?.is_some_and(|kept| kept.confirmed))
    }

    /// Uses a code up. True where the account has no second factor, or the code is a fresh one of it; that it was used is on
    /// the disk then, so that it is good for nobody else.
    pub fn use_code(&mut self, account: &Address, code: &Secret, now: u64) -> Outcome<bool> {
        let Some(kept) = self.second_factor(account)?.filter(|kept| kept.confirmed) else { return Ok(true) };
        let Some(step) = second_factor::fresh_step(&kept.key, code.expose(), now, kept.used) else { return Ok(false) };
        let sql = "UPDATE second_factor SET used = ?2 WHERE account = ?1";
        self.connection.execute(sql, params![account.to_string(), step.cast_signed()]).map_err(Refusal::internal)?;
        Ok(true)
    }

    fn second_factor(&self, account: &Address) -> Outcome<Option<Kept>> {
        let sql = "SELECT key, confirmed, used FROM second_factor WHERE account = ?1";
        let row = self.connection.query_row(sql, [account.to_string()], |row| {
            Ok(Kept { key: row.get(0)?, confirmed: row.get(1)?, used: seconds(row.get(2)?) })
        });
        row.optional().map_err(Refusal::internal)
    }
}
