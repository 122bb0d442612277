//! Keywords of messages whose files are not where the index says. A move, a removal or a folder's renaming that was cut
//! short has the file elsewhere before the index knows of it; the file's base name tells which message it is.

use crate::error::StoreError;
use crate::flags::{Flags, Keywords};
use crate::name::FolderName;
use crate::types::FolderId;
use crate::{limits, messages};
use rusqlite::{Connection, OptionalExtension, Transaction};

/// Keeps a message's keywords for when its file turns up.
pub(crate) fn remember(transaction: &Transaction<'_>, base: &str, keywords: &Keywords) -> Result<(), StoreError> {
    if !keywords.is_empty() {
        let sql = "INSERT OR REPLACE INTO strayed VALUES (?1, ?2, ?3)";
        transaction.prepare_cached(sql)?.execute((base, keywords.sql(), messages::now()))?;
    }
    Ok(())
}

/// The keywords that a file had where it was before; none if it is new to this account.
pub(crate) fn keywords(conn: &Connection, here: FolderId, base: &str) -> Result<Keywords, StoreError> {
    let sql = "SELECT keywords FROM messages WHERE base = ?1 AND keywords != '' AND folder != ?2
        UNION ALL SELECT keywords FROM strayed WHERE base = ?1 LIMIT 1";
    let found: Option<String> = conn.prepare_cached(sql)?.query_row((base, here.0), |row| row.get(0)).optional()?;
    Ok(Keywords::from_sql(&found.unwrap_or_default()))
}

/// The folder, flags and keywords of a message whose file has come to lie with the removed ones.
pub(crate) fn before_removal(
    conn: &Connection,
    base: &str,
) -> Result<(Option<FolderName>, Option<Flags>, Keywords), StoreError> {
    let sql = "SELECT f.name, m.flags, m.keywords FROM folders f JOIN messages m ON m.folder = f.id AND m.base = ?1";
    let found = conn.prepare_cached(sql)?.query_row([base], |row| {
        let keywords = Keywords::from_sql(row.get_ref(2)?.as_str()?);
        Ok((Some(FolderName::from_index(row.get(0)?)), Some(Flags::from_sql(row.get(1)?)), keywords))
    });
    match found.optional()? {
        Some(found) => Ok(found),
        None => Ok((None, None, keywords(conn, FolderId(0), base)?)),
    }
}

/// Once its keywords are those of a message again.
pub(crate) fn forget(transaction: &Transaction<'_>, base: &str) -> Result<(), StoreError> {
    transaction.prepare_cached("DELETE FROM strayed WHERE base = ?1")?.execute([base])?;
    Ok(())
}

/// Forgets those whose files have not turned up for as long as removed mail is kept.
pub(crate) fn purge(transaction: &Transaction<'_>, now: u64) -> Result<(), StoreError> {
    let before = i64::try_from(now.saturating_sub(limits::KEPT_SECONDS)).unwrap_or(0);
    transaction.execute("DELETE FROM strayed WHERE since < ?1", [before])?;
    Ok(())
}
