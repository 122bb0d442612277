//! What accounts want of their outgoing mail.

use super::{Database, Outcome};
use crate::limits::MAX_UNDO_SECONDS;
use base::Address;
use rusqlite::{OptionalExtension, params};
use wire::directory::Sending;
use wire::{Kind, Refusal};

impl Database {
    pub fn sending_of(&self, account: &Address) -> Outcome<Sending> {
        let sql = "SELECT undo_seconds FROM sending WHERE account = ?1";
        let mut query = self.connection.prepare_cached(sql).map_err(Refusal::internal)?;
        let undo = query.query_row([account.account().to_string()], |row| row.get(0)).optional();
        Ok(Sending { undo_seconds: undo.map_err(Refusal::internal)?.unwrap_or(0) })
    }

    pub fn set_undo_window(&mut self, account: &Address, seconds: u32) -> Outcome<()> {
        let account = account.account();
        if seconds > MAX_UNDO_SECONDS {
            let words = format!(
                "mail is kept back for {MAX_UNDO_SECONDS} seconds at most; a mail program can hand it in for later"
            );
            return Err(Refusal::new(Kind::Invalid, words));
        }
        if self.hash(&account)?.is_none() {
            return Err(Refusal::new(
                Kind::NotFound,
                format!("there is no account {account}; see: mailstead user list"),
            ));
        }
        self.change(&format!("undo window of {account} set to {seconds} seconds"), |transaction| {
            let sql = "INSERT OR REPLACE INTO sending (account, undo_seconds) VALUES (?1, ?2)";
            transaction.execute(sql, params![account.to_string(), seconds]).map(drop)
        })
    }
}
