//! The account's full-text index in use: which messages are still to be put into it, and what it answers.
//!
//! Indexing happens in [`Account::index_some`], which the mailbox room calls in the background; delivery only notes the
//! message's number. Answers are exact at any time: what is not in the index yet is named, for the caller to look at.
//! Searching has a connection of its own and does not wait for a batch that is being written.

use crate::account::Account;
use crate::error::{StoreError, at};
use crate::limits;
use crate::text::{Query, Scored, TextError, TextIndex, index_batch};
use crate::types::{FolderId, MessageId, Uid};
use rusqlite::OptionalExtension;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What an account keeps of its index; opened when first needed.
#[derive(Default)]
pub(crate) struct FullText {
    writer: Mutex<Option<TextIndex>>,
    reader: Mutex<Option<TextIndex>>,
    /// Messages that are not in the index; `None` until the index is opened.
    pending: Mutex<Option<Arc<BTreeSet<i64>>>>,
}

/// What the index says about a needle.
#[derive(Debug, Clone)]
pub struct TextHits {
    found: Vec<i64>,
    pending: Arc<BTreeSet<i64>>,
}

impl TextHits {
    /// Whether a message holds the needle; `None` where it is not in the index and has to be looked at.
    pub fn holds(&self, id: MessageId) -> Option<bool> {
        if self.pending.contains(&id.0) { None } else { Some(self.found.binary_search(&id.0).is_ok()) }
    }

    /// The messages that were found, ascending; pending ones are not among them.
    pub fn found(&self) -> impl Iterator<Item = MessageId> {
        self.found.iter().map(|id| MessageId(*id))
    }

    /// Messages that are not in the index.
    pub fn pending(&self) -> impl Iterator<Item = MessageId> {
        self.pending.iter().map(|id| MessageId(*id))
    }
}

impl FullText {
    /// Notes messages that arrived. Costs nothing before the index is in use.
    pub fn arrived(&self, ids: impl Iterator<Item = MessageId>) {
        if let Some(pending) = self.pending().as_mut() {
            Arc::make_mut(pending).extend(ids.map(|id| id.0));
        }
    }

    fn pending(&self) -> MutexGuard<'_, Option<Arc<BTreeSet<i64>>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    /// Puts some of the messages that are not indexed yet into the index, the newest first, since those are asked for
    /// most. Returns how many are left.
    pub fn index_some(&self) -> Result<usize, StoreError> {
        self.open_fulltext()?;
        let text = self.fulltext();
        let some: Vec<i64> = match text.pending().as_ref() {
            Some(pending) => pending.iter().rev().take(limits::INDEXED_AT_ONCE).copied().collect(),
            None => return Ok(0),
        };
        if some.is_empty() {
            return Ok(0);
        }
        let mut writer = text.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(index) = writer.as_mut() else { return Ok(0) };
        let missing = index.missing(&some)?;
        let batch = index_batch(index, &missing, |id| self.read_by_id(MessageId(id)).map_err(std::io::Error::other));
        let batch = match batch {
            Err(TextError::MadeAnew(why)) => {
                tracing::error!("{}: the full-text index was damaged ({why}) and is made anew", self.dir().display());
                drop(writer);
                self.close_fulltext();
                return Ok(some.len());
            }
            other => other?,
        };
        for (id, why) in &batch.unreadable {
            tracing::warn!("{}: message {id} is not indexed: {why}", self.dir().display());
        }
        let looked_at: BTreeSet<i64> = missing.iter().skip(batch.looked_at).copied().collect();
        let mut pending = text.pending();
        let Some(pending) = pending.as_mut() else { return Ok(0) };
        let left = Arc::make_mut(pending);
        // One that cannot be read is not tried again before the next opening.
        some.iter().filter(|id| !looked_at.contains(id)).for_each(|id| {
            left.remove(id);
        });
        Ok(left.len())
    }

    /// Asks the index; the answer holds for messages that were there before the call. `None` when it can tell nothing of
    /// such a needle.
    pub fn search_text(&self, query: &Query) -> Result<Option<TextHits>, StoreError> {
        self.open_fulltext()?;
        // Taken before the search: what is indexed in between is pending for this answer, and looked at once more.
        let Some(pending) = self.fulltext().pending().clone() else { return Ok(None) };
        let found = self.with_reader(|index| index.search(query))?;
        Ok(found.map(|found| TextHits { found, pending }))
    }

    /// Messages with words like those of the needle, best first (RFC 6203); those not indexed yet are left out.
    pub fn search_fuzzily(&self, query: &Query) -> Result<Option<Vec<Scored>>, StoreError> {
        self.open_fulltext()?;
        self.with_reader(|index| index.fuzzy(query))
    }

    fn with_reader<T>(&self, work: impl FnOnce(&TextIndex) -> Result<T, TextError>) -> Result<T, StoreError> {
        let mut reader = self.fulltext().reader.lock().unwrap_or_else(PoisonError::into_inner);
        let index = match reader.take() {
            Some(index) => index,
            None => TextIndex::open(self.dir())?,
        };
        let done = work(&index);
        *reader = Some(index);
        drop(reader);
        if let Err(why) = &done
            && why.is_damage()
        {
            tracing::error!("{}: {why}; it is made anew", self.dir().display());
            self.close_fulltext();
            TextIndex::remove(self.dir()).map_err(at(self.dir()))?;
        }
        Ok(done?)
    }

    /// Octets that the full-text index takes on the disk.
    pub fn text_bytes(&self) -> u64 {
        let size = |name: &str| std::fs::metadata(self.dir().join(name)).map_or(0, |meta| meta.len());
        size("text.db") + size("text.db-wal")
    }

    /// Takes messages out of the index that are no longer there. To be called now and then.
    pub fn tidy_text(&self) -> Result<(), StoreError> {
        self.open_fulltext()?;
        let there = self.message_ids()?;
        let mut writer = self.fulltext().writer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(index) = writer.as_mut() else { return Ok(()) };
        let gone: Vec<i64> = index.indexed()?.into_iter().filter(|id| there.binary_search(id).is_err()).collect();
        gone.chunks(limits::INDEXED_AT_ONCE).try_for_each(|some| index.forget(some))?;
        while index.tidy()? {}
        Ok(())
    }

    /// Opens the index and finds out what is missing in it.
    fn open_fulltext(&self) -> Result<(), StoreError> {
        if self.fulltext().pending().is_some() {
            return Ok(());
        }
        let mut writer = self.fulltext().writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.is_none() {
            *writer = Some(TextIndex::open(self.dir())?);
        }
        let Some(index) = writer.as_ref() else { return Ok(()) };
        let indexed = index.indexed()?;
        // Under the writer's lock of the account, so that no arrival falls between looking and noting.
        let inner = self.lock()?;
        let there = ids(&inner.conn)?;
        let missing = there.into_iter().filter(|id| indexed.binary_search(id).is_err()).collect();
        self.fulltext().pending().get_or_insert_with(|| Arc::new(missing));
        drop(inner);
        Ok(())
    }

    /// Lets go of the index, so that it is opened anew.
    fn close_fulltext(&self) {
        *self.fulltext().pending() = None;
        *self.fulltext().writer.lock().unwrap_or_else(PoisonError::into_inner) = None;
        *self.fulltext().reader.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn message_ids(&self) -> Result<Vec<i64>, StoreError> {
        Ok(ids(&*self.reader()?)?)
    }

    fn read_by_id(&self, id: MessageId) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT folder, uid FROM messages WHERE id = ?1";
        let place: Option<(i64, i64)> = {
            let conn = self.reader()?;
            conn.prepare_cached(sql)?.query_row([id.0], |row| Ok((row.get(0)?, row.get(1)?))).optional()?
        };
        let Some((folder, uid)) = place else { return Ok(None) };
        match self.read(FolderId(folder), Uid::from_sql(uid)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StoreError::NoMessage | StoreError::FolderGone) => Ok(None),
            Err(why) => Err(why),
        }
    }
}

fn ids(conn: &rusqlite::Connection) -> rusqlite::Result<Vec<i64>> {
    let mut statement = conn.prepare_cached("SELECT id FROM messages ORDER BY id")?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// To be called before an index is made anew, when messages get other numbers.
pub(crate) fn forget_index(dir: &Path) -> Result<(), StoreError> {
    TextIndex::remove(dir).map_err(at(dir))
}
