//! App passwords: random ones, each for a device, kept as SCRAM keys alone.

use super::{Database, Outcome, count, now, seconds};
use crate::limits::{APP_PASSWORD_GROUP, APP_PASSWORD_GROUPS, MAX_APP_PASSWORD_NAME, MAX_APP_PASSWORDS, SCRAM_SALT};
use crate::scram::{Verifier, mac};
use base::{Address, Secret};
use rusqlite::{OptionalExtension, params};
use wire::directory::AppPassword;
use wire::{Kind, Refusal};

const DAY: i64 = 24 * 3600;

/// All that a login is compared with: the account's salt and keys, or a made-up salt and no keys.
#[derive(Clone)]
pub struct AppKeys {
    pub salt: Vec<u8>,
    /// Each with its number in the database.
    pub verifiers: Vec<(i64, Verifier)>,
}

/// Whether a password may be an app password at all; others need not be hashed to be compared.
pub fn has_the_form(password: &str) -> bool {
    let groups: Vec<&str> = password.split('-').collect();
    groups.len() == APP_PASSWORD_GROUPS
        && groups.iter().all(|group| {
            group.len() == APP_PASSWORD_GROUP && group.bytes().all(|byte| Secret::ALPHABET.contains(&byte))
        })
}

impl Database {
    /// Makes an app password; the only time that it can be seen.
    pub fn add_app_password(&mut self, account: &Address, name: &str) -> Outcome<Secret> {
        let account = self.existing(account)?;
        let name = device(name)?;
        if self.app_passwords(&account)?.iter().any(|kept| kept.name == name) {
            let words = format!("{account} has an app password “{name}” already; remove it first or take another name");
            return Err(Refusal::new(Kind::Conflict, words));
        }
        let sql = "SELECT count(*) FROM app_password WHERE account = ?1";
        if count(&self.connection, sql, [account.to_string()])? >= MAX_APP_PASSWORDS {
            let words = format!("{account} has {MAX_APP_PASSWORDS} app passwords, and more are not kept; remove one");
            return Err(Refusal::new(Kind::Conflict, words));
        }
        let salt = self.salt(&account)?.unwrap_or_else(|| rand::random::<[u8; SCRAM_SALT]>().to_vec());
        let password = Secret::in_groups(APP_PASSWORD_GROUPS, APP_PASSWORD_GROUP);
        let keys = Verifier::of(password.expose(), &salt);
        self.change(&format!("app password “{name}” of {account} added"), |transaction| {
            let of = account.to_string();
            transaction
                .execute("INSERT OR IGNORE INTO scram_salt (account, salt) VALUES (?1, ?2)", params![of, salt])?;
            let sql = "INSERT INTO app_password (account, name, stored_key, server_key, created)
                       VALUES (?1, ?2, ?3, ?4, ?5)";
            transaction.execute(sql, params![of, name, keys.stored_key, keys.server_key, now()]).map(drop)
        })?;
        Ok(password)
    }

    /// Without their secrets, by name.
    pub fn app_passwords(&self, account: &Address) -> Outcome<Vec<AppPassword>> {
        let account = self.existing(account)?;
        let sql = "SELECT name, created, last_used FROM app_password WHERE account = ?1 ORDER BY name";
        let mut query = self.connection.prepare_cached(sql).map_err(Refusal::internal)?;
        let rows = query.query_map([account.to_string()], |row| {
            let last_used: Option<i64> = row.get(2)?;
            Ok(AppPassword { name: row.get(0)?, created: seconds(row.get(1)?), last_used: last_used.map(seconds) })
        });
        rows.and_then(Iterator::collect).map_err(Refusal::internal)
    }

    pub fn remove_app_password(&mut self, account: &Address, name: &str) -> Outcome<()> {
        let account = self.existing(account)?;
        let name = device(name)?;
        if !self.app_passwords(&account)?.iter().any(|kept| kept.name == name) {
            let words =
                format!("{account} has no app password “{name}”; see: mailstead user app-password list {account}");
            return Err(Refusal::new(Kind::NotFound, words));
        }
        self.change(&format!("app password “{name}” of {account} removed"), |transaction| {
            let sql = "DELETE FROM app_password WHERE account = ?1 AND name = ?2";
            transaction.execute(sql, params![account.to_string(), name]).map(drop)
        })
    }

    /// What a login under `name` (an account's address, or any other text) is compared with.
    pub fn app_keys(&self, name: &str) -> Outcome<AppKeys> {
        let sql = "SELECT id, stored_key, server_key FROM app_password WHERE account = ?1";
        let mut query = self.connection.prepare_cached(sql).map_err(Refusal::internal)?;
        let rows = query
            .query_map([name], |row| Ok((row.get(0)?, Verifier { stored_key: row.get(1)?, server_key: row.get(2)? })));
        let verifiers: Vec<_> = rows.and_then(Iterator::collect).map_err(Refusal::internal)?;
        let salt = match verifiers.is_empty() {
            true => self.made_up_salt(name)?,
            false => self.salt_of(name)?.ok_or_else(|| Refusal::internal(format!("{name} has lost its salt")))?,
        };
        Ok(AppKeys { salt, verifiers })
    }

    pub fn has_app_passwords(&self) -> Outcome<bool> {
        Ok(count(&self.connection, "SELECT count(*) FROM (SELECT 1 FROM app_password LIMIT 1)", [])? > 0)
    }

    /// Notes that an app password was used today. Writes once a day.
    pub fn app_password_used(&self, id: i64) -> Outcome<()> {
        let today = now() / DAY * DAY;
        let sql = "UPDATE app_password SET last_used = ?2 WHERE id = ?1 AND last_used IS NOT ?2";
        self.connection.execute(sql, params![id, today]).map(drop).map_err(Refusal::internal)
    }

    fn salt(&self, account: &Address) -> Outcome<Option<Vec<u8>>> {
        self.salt_of(&account.to_string())
    }

    fn salt_of(&self, name: &str) -> Outcome<Option<Vec<u8>>> {
        let sql = "SELECT salt FROM scram_salt WHERE account = ?1";
        self.connection.query_row(sql, [name], |row| row.get(0)).optional().map_err(Refusal::internal)
    }

    fn made_up_salt(&self, name: &str) -> Outcome<Vec<u8>> {
        let sql = "SELECT key FROM made_up_salts";
        let key: Vec<u8> = self.connection.query_row(sql, [], |row| row.get(0)).map_err(Refusal::internal)?;
        Ok(mac(&key, name.as_bytes()).as_ref()[..SCRAM_SALT].to_vec())
    }
}

/// The name of a device as it is kept.
fn device(name: &str) -> Outcome<&str> {
    let name = name.trim();
    let fits = !name.is_empty() && name.chars().count() <= MAX_APP_PASSWORD_NAME && !name.contains(char::is_control);
    match fits {
        true => Ok(name),
        false => {
            let words =
                format!("an app password is named after its device, in 1 to {MAX_APP_PASSWORD_NAME} characters");
            Err(Refusal::new(Kind::Invalid, words))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_has_the_form_by_which_it_is_known() {
        let made = Secret::in_groups(APP_PASSWORD_GROUPS, APP_PASSWORD_GROUP);
        assert!(has_the_form(made.expose()));
        for other in
            ["", "correct horse battery", "abcd-abcd-abcd-abcd-abcd-abcd-abc1", "abcd-abcd-abcd-abcd-abcd-abcd"]
        {
            assert!(!has_the_form(other), "{other}");
        }
    }
}
