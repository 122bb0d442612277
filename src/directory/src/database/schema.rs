//! The schema of `box.db` and the way from each older one to it.
//!
//! Each version's statements only add, and all that are missing run in one transaction: a box that loses power in
//! between finds its database as it was.

use rusqlite::{Connection, TransactionBehavior};

/// From nothing to version 1.
const VERSION_1: &str = "
    CREATE TABLE account (
        address TEXT PRIMARY KEY, hash TEXT NOT NULL, admin INTEGER NOT NULL, created INTEGER NOT NULL) STRICT;
    CREATE TABLE alias (
        address TEXT NOT NULL, target TEXT NOT NULL REFERENCES account(address), PRIMARY KEY (address, target)) STRICT;
    CREATE INDEX alias_target ON alias(target);
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY, time INTEGER NOT NULL, what TEXT NOT NULL) STRICT;";

/// From version 1 to 2: app passwords, quotas, removed accounts.
const VERSION_2: &str = "
    CREATE TABLE scram_salt (
        account TEXT PRIMARY KEY REFERENCES account(address) ON DELETE CASCADE, salt BLOB NOT NULL) STRICT;
    CREATE TABLE app_password (
        id INTEGER PRIMARY KEY, account TEXT NOT NULL REFERENCES account(address) ON DELETE CASCADE, name TEXT NOT NULL,
        stored_key BLOB NOT NULL, server_key BLOB NOT NULL, created INTEGER NOT NULL, last_used INTEGER,
        UNIQUE (account, name)) STRICT;
    CREATE TABLE quota (
        kind TEXT NOT NULL CHECK (kind IN ('default', 'domain', 'account')), name TEXT NOT NULL, bytes INTEGER NOT NULL,
        PRIMARY KEY (kind, name)) STRICT;
    CREATE TABLE removed (
        id INTEGER PRIMARY KEY, address TEXT NOT NULL, hash TEXT NOT NULL, admin INTEGER NOT NULL,
        created INTEGER NOT NULL, quota INTEGER, removed INTEGER NOT NULL) STRICT;
    CREATE TABLE removed_alias (
        removed INTEGER NOT NULL REFERENCES removed(id) ON DELETE CASCADE, alias TEXT NOT NULL,
        PRIMARY KEY (removed, alias)) STRICT;
    CREATE TABLE made_up_salts (
        one INTEGER PRIMARY KEY CHECK (one = 1), key BLOB NOT NULL) STRICT;
    INSERT INTO made_up_salts VALUES (1, randomblob(32));";

/// From version 2 to 3: aliases that lead elsewhere, catch-alls, domain aliases, who may use an alias and how long.
/// A catch-all is called `@domain` here and in `alias`.
const VERSION_3_ALIASES: &str = "
    CREATE TABLE alias_elsewhere (
        address TEXT NOT NULL, target TEXT NOT NULL, PRIMARY KEY (address, target)) STRICT;
    CREATE INDEX alias_elsewhere_target ON alias_elsewhere(target);
    CREATE TABLE alias_rule (
        address TEXT PRIMARY KEY, until INTEGER, own_senders INTEGER NOT NULL,
        writers TEXT NOT NULL CHECK (writers IN ('everyone', 'inside', 'listed'))) STRICT;
    CREATE TABLE alias_sender (
        address TEXT NOT NULL, account TEXT NOT NULL REFERENCES account(address) ON DELETE CASCADE,
        PRIMARY KEY (address, account)) STRICT;
    CREATE TABLE alias_writer (
        address TEXT NOT NULL, writer TEXT NOT NULL, PRIMARY KEY (address, writer)) STRICT;
    CREATE TABLE domain_alias (
        domain TEXT PRIMARY KEY, target TEXT NOT NULL) STRICT;
    CREATE TABLE backup_mx (
        domain TEXT PRIMARY KEY, host TEXT NOT NULL) STRICT;";

/// From version 2 to 3: mailing lists.
const VERSION_3_LISTS: &str = "
    CREATE TABLE list (
        address TEXT PRIMARY KEY, name TEXT NOT NULL, created INTEGER NOT NULL,
        posting TEXT NOT NULL CHECK (posting IN ('open', 'members', 'moderated'))) STRICT;
    CREATE TABLE list_moderator (
        list TEXT NOT NULL REFERENCES list(address) ON DELETE CASCADE, place INTEGER NOT NULL, address TEXT NOT NULL,
        PRIMARY KEY (list, address)) STRICT;
    CREATE TABLE list_member (
        list TEXT NOT NULL REFERENCES list(address) ON DELETE CASCADE, address TEXT NOT NULL, joined INTEGER NOT NULL,
        bounces INTEGER NOT NULL DEFAULT 0, last_bounce INTEGER, suspended INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (list, address)) STRICT;";

/// From version 2 to 3: relays.
const VERSION_3_RELAYS: &str = "
    CREATE TABLE relay (
        kind TEXT NOT NULL CHECK (kind IN ('everything', 'from', 'to')), name TEXT NOT NULL, host TEXT NOT NULL,
        port INTEGER NOT NULL, tls TEXT NOT NULL CHECK (tls IN ('implicit', 'starttls')), login TEXT, password TEXT,
        spf TEXT, PRIMARY KEY (kind, name)) STRICT;";

/// From version 2 to 3: what accounts want of their outgoing mail.
const VERSION_3_SENDING: &str = "
    CREATE TABLE sending (
        account TEXT PRIMARY KEY REFERENCES account(address) ON DELETE CASCADE, undo_seconds INTEGER NOT NULL) STRICT;";

/// The parts of version 3.
const VERSION_3: &[&str] = &[VERSION_3_RELAYS, VERSION_3_SENDING, VERSION_3_ALIASES, VERSION_3_LISTS];

/// From version 3 to 4: second factors. `used` is the time step of the code that was used last.
const VERSION_4: &str = "
    CREATE TABLE second_factor (
        account TEXT PRIMARY KEY REFERENCES account(address) ON DELETE CASCADE, key BLOB NOT NULL,
        confirmed INTEGER NOT NULL, used INTEGER NOT NULL) STRICT;";

/// Each version with its parts.
const VERSIONS: [&[&str]; 4] = [&[VERSION_1], &[VERSION_2], VERSION_3, &[VERSION_4]];

/// Brings the database to the newest version. Refuses one that a newer Mailstead wrote.
pub fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let done = match usize::try_from(found) {
        Ok(done) if done <= VERSIONS.len() => done,
        _ => {
            return Err(rusqlite::Error::InvalidParameterName(format!(
                "it was written by a newer Mailstead (schema {found}, this program knows {})",
                VERSIONS.len()
            )));
        }
    };
    for statements in VERSIONS[done..].iter().copied().flatten() {
        transaction.execute_batch(statements)?;
    }
    if done < VERSIONS.len() {
        transaction.pragma_update(None, "user_version", VERSIONS.len() as i64)?;
        tracing::info!("box.db brought from schema {done} to {}", VERSIONS.len());
    }
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Database;
    use base::Address;

    #[test]
    fn a_database_of_the_first_release_keeps_its_accounts() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("box.db");
        let ann = Address::parse("ann@example.org").unwrap();
        let old = Connection::open(&file).unwrap();
        old.execute_batch(VERSION_1).unwrap();
        old.execute_batch(
            "INSERT INTO account VALUES ('ann@example.org', 'her hash', 1, 7);
             INSERT INTO alias VALUES ('sales@example.org', 'ann@example.org');
             INSERT INTO audit VALUES (1, 7, 'account added'); PRAGMA user_version = 1;",
        )
        .unwrap();
        drop(old);
        for _ in 0..2 {
            let mut database = Database::open(&file, ann.clone()).unwrap();
            assert_eq!(database.hash(&ann).unwrap().unwrap(), "her hash");
            assert!(database.is_admin(&ann).unwrap());
            assert!(database.aliases().unwrap().iter().any(|alias| !alias.required));
            database.add_app_password(&ann, "phone").unwrap();
            database.remove_app_password(&ann, "phone").unwrap();
        }
    }

    #[test]
    fn a_database_of_a_newer_release_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("box.db");
        Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let refused = Database::open(&file, Address::parse("ann@example.org").unwrap()).err().unwrap();
        assert!(refused.to_string().contains("newer Mailstead (schema 99"), "{refused}");
    }
}
