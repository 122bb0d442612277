//! What the index keeps of each message's content: made when a message arrives, or when it is first asked for.

use crate::account::Account;
use crate::error::StoreError;
use crate::limits;
use crate::mime::{self, Parsed};
use crate::types::{FolderId, MessageId, Row};
use rusqlite::{Connection, OptionalExtension, Transaction};

/// A message's content in the forms that the index keeps.
pub(crate) struct Kept {
    envelope: Vec<u8>,
    structure: Vec<u8>,
    tree: Vec<u8>,
}

/// What of a message is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// The value of FETCH ENVELOPE, ready to be sent.
    Envelope,
    /// The value of FETCH BODYSTRUCTURE, ready to be sent.
    Structure,
}

impl Kept {
    /// `None` for what cannot be kept (which no message is known to be); it is parsed each time then.
    pub fn of(parsed: &Parsed) -> Option<Kept> {
        let (mut envelope, mut structure) = (Vec::new(), Vec::new());
        mime::envelope(&mut envelope, &parsed.envelope);
        mime::body(&mut structure, &parsed.root, true);
        Some(Kept { envelope, structure, tree: parsed.to_bytes()? })
    }

    pub fn put(&self, transaction: &Connection, id: MessageId) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO shown VALUES (?1, ?2, ?3)";
        transaction.prepare_cached(sql)?.execute((id.0, &self.envelope, &self.structure))?;
        let sql = "INSERT OR REPLACE INTO parsed VALUES (?1, ?2)";
        transaction.prepare_cached(sql)?.execute((id.0, &self.tree))?;
        Ok(())
    }
}

/// Copies what is kept of one message for another with the same bytes.
pub(crate) fn copy(transaction: &Transaction<'_>, from: MessageId, to: MessageId) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO shown SELECT ?1, envelope, structure FROM shown WHERE id = ?2";
    transaction.prepare_cached(sql)?.execute((to.0, from.0))?;
    let sql = "INSERT OR REPLACE INTO parsed SELECT ?1, tree FROM parsed WHERE id = ?2";
    transaction.prepare_cached(sql)?.execute((to.0, from.0))?;
    Ok(())
}

/// Forgets what is kept of messages that have gone, so many of them at most; tells how many there were.
pub(crate) fn forget_gone(transaction: &Transaction<'_>, most: usize) -> Result<usize, StoreError> {
    let mut count = 0;
    for table in ["shown", "parsed"] {
        let sql = format!(
            "DELETE FROM {table} WHERE id IN
                (SELECT id FROM {table} WHERE id NOT IN (SELECT id FROM messages) LIMIT ?1)"
        );
        count += transaction.prepare_cached(&sql)?.execute([most as i64])?;
    }
    Ok(count)
}

impl Account {
    /// The parsed content of messages of a folder, in their order; `None` for those that have gone meanwhile.
    pub fn parsed(&self, id: FolderId, rows: &[Row]) -> Result<Vec<Option<Parsed>>, StoreError> {
        let read = |conn: &Connection, id: MessageId| {
            let mut statement = conn.prepare_cached("SELECT tree FROM parsed WHERE id = ?1")?;
            let tree =
                statement.query_row([id.0], |row| Ok(Parsed::from_bytes(row.get_ref(0)?.as_blob()?))).optional()?;
            Ok(tree.flatten())
        };
        self.each(rows, read, |row| self.parse_now(id, row).map(|found| found.map(|(parsed, _)| parsed)))
    }

    /// Parts of messages as IMAP shows them, in their order; `None` for those that have gone meanwhile.
    pub fn shown(&self, id: FolderId, rows: &[Row], what: Shown) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let sql = match what {
            Shown::Envelope => "SELECT envelope FROM shown WHERE id = ?1",
            Shown::Structure => "SELECT structure FROM shown WHERE id = ?1",
        };
        let read = |conn: &Connection, id: MessageId| {
            Ok(conn.prepare_cached(sql)?.query_row([id.0], |row| row.get(0)).optional()?)
        };
        self.each(rows, read, |row| {
            let kept = self.parse_now(id, row)?;
            Ok(kept.map(|(_, kept)| match what {
                Shown::Envelope => kept.envelope,
                Shown::Structure => kept.structure,
            }))
        })
    }

    /// Asks the index for each message, and `otherwise` for those it knows nothing of.
    fn each<T>(
        &self,
        rows: &[Row],
        read: impl Fn(&Connection, MessageId) -> Result<Option<T>, StoreError>,
        otherwise: impl Fn(&Row) -> Result<Option<T>, StoreError>,
    ) -> Result<Vec<Option<T>>, StoreError> {
        let mut found = Vec::with_capacity(rows.len());
        for some in rows.chunks(limits::READ_AT_ONCE) {
            let conn = self.reader()?;
            for row in some {
                found.push(read(&conn, row.id)?);
            }
        }
        for (value, row) in found.iter_mut().zip(rows) {
            if value.is_none() {
                *value = otherwise(row)?;
            }
        }
        Ok(found)
    }

    /// Parses a message that was adopted, and keeps the result.
    fn parse_now(&self, id: FolderId, row: &Row) -> Result<Option<(Parsed, Kept)>, StoreError> {
        let bytes = match self.read(id, row.uid) {
            Ok(bytes) => bytes,
            Err(StoreError::NoMessage) => return Ok(None),
            Err(why) => return Err(why),
        };
        let parsed = Parsed::of(&bytes);
        let Some(kept) = Kept::of(&parsed) else { return Ok(None) };
        let mut inner = self.lock()?;
        inner.commit(crate::index::Commit::Ordinary, |transaction| {
            // Only if it is still there: nothing is kept of messages that have gone.
            let there = "SELECT EXISTS (SELECT 1 FROM messages WHERE id = ?1)";
            if transaction.prepare_cached(there)?.query_row([row.id.0], |row| row.get(0))? {
                kept.put(transaction, row.id)?;
            }
            Ok(())
        })?;
        Ok(Some((parsed, kept)))
    }
}
