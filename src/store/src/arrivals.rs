//! Messages on their way in: written and synced in `tmp/`, waiting to be taken into their folder.
//!
//! Deliveries to one account queue up here. Whoever holds the account's lock next takes all that wait, gives them UIDs in
//! one transaction, syncs the directory once and leaves each its outcome. So the cost of a commit is shared when mail
//! comes in at once, and is nobody's when it does not.

use crate::account::Inner;
use crate::error::{StoreError, at};
use crate::index::Commit;
use crate::messages::{self, New};
use crate::mime::Parsed;
use crate::types::{FolderId, MessageId, ModSeq, Row, Uid};
use crate::{maildir, parsed};
use base::durable;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

/// One message.
pub(crate) struct Arrival {
    tmp: PathBuf,
    target: PathBuf,
    base: String,
    row: Row,
    parsed: Option<parsed::Kept>,
}

/// Messages that were delivered together, and what came of them: the UID of the first.
pub(crate) struct Ticket {
    arrivals: Vec<Arrival>,
    outcome: OnceLock<Result<Uid, Refused>>,
}

/// Why they were not taken in. One failure may be that of many tickets, so it is told in words.
#[derive(Debug, Clone)]
struct Refused {
    words: String,
    is_full: bool,
}

/// The queue of an account.
#[derive(Default)]
pub(crate) struct Arrivals(Mutex<Vec<(FolderId, Arc<Ticket>)>>);

impl Arrival {
    pub fn write(folder: &Path, new: &New<'_>) -> Result<Arrival, StoreError> {
        let base = maildir::new_base(new.bytes.len() as u64);
        let target = folder.join("cur").join(maildir::file_name(&base, new.flags));
        let parsed = parsed::Kept::of(&Parsed::of(new.bytes));
        let tmp = maildir::write_tmp(folder, &base, new.bytes, UNIX_EPOCH + Duration::from_secs(new.received))?;
        let row = Row {
            uid: Uid(0),
            flags: new.flags,
            keywords: new.keywords.clone(),
            modseq: ModSeq(0),
            id: MessageId(0),
            size: u32::try_from(new.bytes.len()).unwrap_or(u32::MAX),
            received: u32::try_from(new.received).unwrap_or(u32::MAX),
            saved: messages::now(),
        };
        Ok(Arrival { tmp, target, base, row, parsed })
    }

    /// Takes back what was not acknowledged.
    pub fn withdraw(&self) {
        for path in [&self.tmp, &self.target] {
            // One of the two is there at most; what stays in tmp/ is cleaned up later.
            let _ = fs::remove_file(path);
        }
    }
}

impl Ticket {
    pub fn is_done(&self) -> bool {
        self.outcome.get().is_some()
    }

    /// What came of it. Called when it is done.
    pub fn outcome(&self) -> Result<Uid, StoreError> {
        match self.outcome.get() {
            Some(Ok(uid)) => Ok(*uid),
            Some(Err(why)) => Err(StoreError::NotStored { words: why.words.clone(), is_full: why.is_full }),
            None => Err(StoreError::Retired),
        }
    }

    fn settle(&self, outcome: Result<Uid, Refused>) {
        if outcome.is_err() {
            self.arrivals.iter().for_each(Arrival::withdraw);
        }
        // Set once, by whoever took it out of the queue.
        let _ = self.outcome.set(outcome);
    }
}

impl Arrivals {
    pub fn put(&self, id: FolderId, arrivals: Vec<Arrival>) -> Arc<Ticket> {
        let ticket = Arc::new(Ticket { arrivals, outcome: OnceLock::new() });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((id, Arc::clone(&ticket)));
        ticket
    }

    /// All that wait, by folder and in the order in which they came.
    pub fn take(&self) -> BTreeMap<FolderId, Vec<Arc<Ticket>>> {
        let all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut groups: BTreeMap<FolderId, Vec<Arc<Ticket>>> = BTreeMap::new();
        all.into_iter().for_each(|(id, ticket)| groups.entry(id).or_default().push(ticket));
        groups
    }

    /// Takes one out that nobody will take in.
    pub fn give_up(&self, ticket: &Arc<Ticket>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.len();
        all.retain(|(_, other)| !Arc::ptr_eq(other, ticket));
        if all.len() < before {
            ticket.arrivals.iter().for_each(Arrival::withdraw);
        }
    }
}

impl Inner {
    /// Takes tickets into their folder, durably, and leaves each its outcome.
    pub fn take_in(&mut self, id: FolderId, group: &[Arc<Ticket>]) {
        let done = self.touch(id, |inner| {
            let first = inner.enter_arrivals(id, group)?;
            let cur = inner.state(id)?.path.join("cur");
            durable::sync_dir(&cur).map_err(at(&cur))?;
            Ok(first)
        });
        match done {
            Ok(first) => {
                let mut next = first.0;
                for ticket in group {
                    ticket.settle(Ok(Uid(next)));
                    next = next.saturating_add(u32::try_from(ticket.arrivals.len()).unwrap_or(u32::MAX));
                }
            }
            Err(why) => {
                let refused = Refused { words: why.to_string(), is_full: why.is_full() };
                group.iter().for_each(|ticket| ticket.settle(Err(refused.clone())));
                // What was renamed already has been withdrawn; the index is made to agree when the folder is next used.
                if let Ok(state) = self.state(id) {
                    state.stamp = None;
                    state.compared = false;
                }
            }
        }
    }

    /// Renames arrivals into their folder and gives them UIDs in a row; returns the first one's.
    fn enter_arrivals(&mut self, id: FolderId, group: &[Arc<Ticket>]) -> Result<Uid, StoreError> {
        let arrivals: Vec<&Arrival> = group.iter().flat_map(|ticket| &ticket.arrivals).collect();
        let (first, modseq) = (self.take_uids(id, arrivals.len())?, self.take_modseq()?);
        for arrival in &arrivals {
            fs::rename(&arrival.tmp, &arrival.target).map_err(at(&arrival.target))?;
        }
        // Keywords stand in the index alone, so they are synced with it.
        let labelled = arrivals.iter().any(|arrival| !arrival.row.keywords.is_empty());
        let commit = if labelled { Commit::Synced } else { Commit::Ordinary };
        let rows = self.commit(commit, |transaction| {
            let mut rows = Vec::with_capacity(arrivals.len());
            for (uid, arrival) in (first.0..).map(Uid).zip(&arrivals) {
                let row = Row { uid, modseq, ..arrival.row.clone() };
                rows.push(messages::insert(transaction, id, &arrival.base, row, arrival.parsed.as_ref())?);
            }
            Ok(rows)
        })?;
        self.note(id, &[], &rows, modseq)?;
        Ok(first)
    }
}
