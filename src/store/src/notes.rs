//! What owners attach to folders: annotations (RFC 5464) and access control lists (RFC 4314). They stand in the index
//! alone, so every change is synced. Who may do what is decided by the mailbox room; here it is only kept.

use crate::account::{Account, Inner};
use crate::error::StoreError;
use crate::index::Commit;
use crate::limits;
use crate::types::FolderId;
use std::collections::BTreeMap;

impl Account {
    /// The annotations of a folder, or of the account itself, by their names in lower case.
    pub fn annotations(&self, folder: Option<FolderId>) -> Result<BTreeMap<String, Vec<u8>>, StoreError> {
        let conn = self.reader()?;
        let mut statement = conn.prepare_cached("SELECT entry, value FROM annotations WHERE folder = ?1")?;
        let rows = statement.query_map([number(folder)], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Sets annotations of a folder, or of the account itself, all or none; `None` removes one.
    pub fn annotate(&self, folder: Option<FolderId>, entries: &[(String, Option<Vec<u8>>)]) -> Result<(), StoreError> {
        let large = |(name, value): &(String, Option<Vec<u8>>)| {
            name.len() > limits::ANNOTATION_NAME || value.as_ref().is_some_and(|value| value.len() > limits::ANNOTATION)
        };
        if entries.iter().any(large) {
            return Err(StoreError::TooLarge { what: "an annotation", most: limits::ANNOTATION });
        }
        let mut inner = self.lock()?;
        inner.must_exist(folder)?;
        inner.commit(Commit::Synced, |transaction| {
            for (name, value) in entries {
                let name = name.to_ascii_lowercase();
                match value {
                    Some(value) => transaction.execute(
                        "INSERT OR REPLACE INTO annotations VALUES (?1, ?2, ?3)",
                        (number(folder), name, value),
                    )?,
                    None => transaction
                        .execute("DELETE FROM annotations WHERE folder = ?1 AND entry = ?2", (number(folder), name))?,
                };
            }
            let count: u32 = transaction.query_row("SELECT count(*) FROM annotations", [], |row| row.get(0))?;
            if count as usize > limits::ANNOTATIONS {
                return Err(StoreError::TooMany { what: "annotations", most: limits::ANNOTATIONS });
            }
            Ok(())
        })
    }

    /// Who besides the owner has which rights on a folder.
    pub fn acl(&self, folder: FolderId) -> Result<BTreeMap<String, String>, StoreError> {
        let conn = self.reader()?;
        let mut statement = conn.prepare_cached("SELECT who, rights FROM acl WHERE folder = ?1")?;
        let rows = statement.query_map([folder.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Every folder that somebody else has rights on, with who has which.
    pub fn shared(&self) -> Result<Vec<(FolderId, String, String)>, StoreError> {
        let conn = self.reader()?;
        let mut statement = conn.prepare_cached("SELECT folder, who, rights FROM acl ORDER BY folder, who")?;
        let rows = statement.query_map([], |row| Ok((FolderId(row.get(0)?), row.get(1)?, row.get(2)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Gives somebody rights on a folder; empty rights take them away.
    pub fn set_acl(&self, folder: FolderId, who: &str, rights: &str) -> Result<(), StoreError> {
        if who.len() > limits::ANNOTATION_NAME || rights.len() > 64 {
            return Err(StoreError::TooLarge { what: "an access right", most: limits::ANNOTATION_NAME });
        }
        let mut inner = self.lock()?;
        inner.must_exist(Some(folder))?;
        inner.commit(Commit::Synced, |transaction| {
            if rights.is_empty() {
                transaction.execute("DELETE FROM acl WHERE folder = ?1 AND who = ?2", (folder.0, who))?;
                return Ok(());
            }
            transaction.execute("INSERT OR REPLACE INTO acl VALUES (?1, ?2, ?3)", (folder.0, who, rights))?;
            let sql = "SELECT count(*) FROM acl WHERE folder = ?1";
            let count: u32 = transaction.query_row(sql, [folder.0], |row| row.get(0))?;
            if count as usize > limits::ACL_ENTRIES {
                return Err(StoreError::TooMany { what: "access rights", most: limits::ACL_ENTRIES });
            }
            Ok(())
        })?;
        // Sessions of others look at their rights anew.
        inner.changed();
        self.announce(&inner);
        Ok(())
    }
}

/// The account itself is folder 0, a number that no folder has.
fn number(folder: Option<FolderId>) -> i64 {
    folder.map_or(0, |folder| folder.0)
}

impl Inner {
    fn must_exist(&mut self, folder: Option<FolderId>) -> Result<(), StoreError> {
        folder.map_or(Ok(()), |id| self.state(id).map(|_| ()))
    }
}
