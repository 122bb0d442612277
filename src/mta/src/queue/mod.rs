//! What is accepted and not yet delivered: on disk first, in memory only to know what is due.
//!
//! Invariants: an entry is in memory only while its folder is whole on disk; a change of state is on disk before
//! anything relies on it. Losing the process at any point repeats a delivery at worst.

pub mod entry;
pub mod runner;
pub mod schedule;
pub mod spool;

use crate::limits;
use crate::message::Message;
use crate::proto::delivery_status::ReportWish;
use base::Address;
use entry::{Entry, Needs, Recipient, State};
use spool::Spool;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use wire::mta::Waiting;

/// Why nothing more is taken just now.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error("the queue is full")]
    Full,
    #[error("the disk is nearly full")]
    DiskFull,
    #[error("the queue cannot be written: {0}")]
    Io(#[from] io::Error),
}

/// The queue. Shared by the sessions, which add, and the runner, which delivers.
#[derive(Debug)]
pub struct Queue {
    spool: Spool,
    entries: Mutex<BTreeMap<String, Entry>>,
    /// Told whenever something new may be due.
    pub changed: Notify,
}

/// What is to be queued.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub id: String,
    pub sender: Option<Address>,
    pub recipients: Vec<Recipient>,
    /// See [`Entry::judged`].
    pub judged: bool,
    /// See [`Entry::account`].
    pub account: Option<Address>,
    pub needs: Needs,
    pub wish: ReportWish,
}

impl Outgoing {
    /// Mail of nobody's account, with no wishes.
    pub fn new(id: String, sender: Option<Address>, recipients: Vec<Recipient>) -> Self {
        let (needs, wish) = (Needs::default(), ReportWish::default());
        Self { id, sender, recipients, judged: false, account: None, needs, wish }
    }
}

impl Queue {
    /// Opens the queue and takes up what is in it.
    pub fn open(folder: PathBuf) -> io::Result<Arc<Self>> {
        let spool = Spool::open(folder)?;
        let entries: BTreeMap<_, _> = spool.load()?.into_iter().map(|entry| (entry.id.clone(), entry)).collect();
        if !entries.is_empty() {
            tracing::info!("{} messages wait in the queue", entries.len());
        }
        Ok(Arc::new(Self { spool, entries: Mutex::new(entries), changed: Notify::new() }))
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message. When this returns `Ok`, it is durable and may be acknowledged.
    pub async fn add(self: &Arc<Self>, outgoing: Outgoing, message: Arc<Message>) -> Result<(), QueueError> {
        self.check_room(message.size() as u64)?;
        self.add_always(outgoing, message).await.map_err(QueueError::Io)
    }

    /// Adds what must not be refused for lack of room: reports about mail that then leaves the queue.
    pub async fn add_always(self: &Arc<Self>, outgoing: Outgoing, message: Arc<Message>) -> io::Result<()> {
        let entry = Entry {
            id: outgoing.id,
            sender: outgoing.sender,
            queued: base::time::now_unix(),
            bytes: message.size() as u64,
            judged: outgoing.judged,
            eight_bit: message.is_eight_bit(),
            account: outgoing.account,
            needs: outgoing.needs,
            wish: outgoing.wish,
            held: false,
            recipients: outgoing.recipients,
        };
        // All in one task of its own: a session that ends meanwhile leaves no entry on disk that memory does not know.
        let queue = Arc::clone(self);
        blocking(move || {
            queue.spool.insert(&entry, &message)?;
            queue.entries().insert(entry.id.clone(), entry);
            queue.changed.notify_one();
            Ok(())
        })
        .await
    }

    fn check_room(&self, more: u64) -> Result<(), QueueError> {
        let (count, bytes) = {
            let entries = self.entries();
            (entries.len(), entries.values().map(|entry| entry.bytes).sum::<u64>())
        };
        if count >= limits::QUEUE_MESSAGES || bytes.saturating_add(more) > limits::QUEUE_BYTES {
            return Err(QueueError::Full);
        }
        if self.spool.free()? < limits::FREE_DISK.saturating_add(more) {
            return Err(QueueError::DiskFull);
        }
        Ok(())
    }

    /// Stores the new state of an entry, or takes it out when it is finished.
    pub async fn store(self: &Arc<Self>, entry: Entry) -> io::Result<()> {
        let queue = Arc::clone(self);
        blocking(move || {
            if entry.is_finished() {
                queue.spool.remove(&entry.id)?;
                queue.entries().remove(&entry.id);
            } else {
                queue.spool.update(&entry)?;
                queue.entries().insert(entry.id.clone(), entry);
            }
            Ok(())
        })
        .await
    }

    pub fn get(&self, id: &str) -> Option<Entry> {
        self.entries().get(id).cloned()
    }

    /// Changes an entry in memory alone, when the disk refuses: the runner must not try again at once for ever.
    pub fn store_in_memory(&self, entry: Entry) {
        self.entries().insert(entry.id.clone(), entry);
    }

    pub async fn message(self: &Arc<Self>, id: &str) -> io::Result<Vec<u8>> {
        let (queue, id) = (Arc::clone(self), id.to_owned());
        blocking(move || queue.spool.message(&id)).await
    }

    /// What is due now, the longest due first, and when the next thing will be.
    pub fn due(&self, now: u64) -> (Vec<(String, entry::Destination)>, Option<u64>) {
        let entries = self.entries();
        let mut due: Vec<_> = entries
            .values()
            .flat_map(|entry| {
                entry.due(now).into_iter().map(|destination| (entry.queued, entry.id.clone(), destination))
            })
            .collect();
        due.sort();
        let waiting = entries.values().flat_map(|entry| &entry.recipients).filter(|r| r.state == State::Waiting);
        let next = waiting.map(|recipient| recipient.next_try).filter(|at| *at > now).min();
        (due.into_iter().map(|(_, id, destination)| (id, destination)).collect(), next)
    }

    /// What waits, oldest first, for the owner to look at.
    pub fn waiting(&self) -> Vec<Waiting> {
        let entries = self.entries();
        let mut oldest: Vec<_> = entries.values().collect();
        oldest.sort_by_key(|entry| entry.queued);
        let recipients = oldest.into_iter().flat_map(|entry| {
            let waiting = entry.recipients.iter().filter(|recipient| recipient.state == State::Waiting);
            waiting.map(move |recipient| Waiting {
                id: entry.id.clone(),
                sender: entry.sender.clone(),
                recipient: recipient.address.clone(),
                bytes: entry.bytes,
                queued: entry.queued,
                next_try: recipient.next_try,
                tries: recipient.tries,
                last: recipient.last.clone(),
            })
        });
        recipients.take(limits::QUEUE_SHOWN).collect()
    }
}

/// A name for a message that no other has had: the time, a counter, and some chance.
pub fn new_id() -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{:x}-{count:x}-{:08x}", base::time::now_unix(), rand::random::<u32>())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
