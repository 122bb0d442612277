//! What is accepted and not yet delivered: on disk first, in memory only to know what is due.
//!
//! Invariants: an entry is in the [`Book`](book::Book) only while it is on disk; a change of state is on disk before
//! anything relies on it; a report and the end that it tells of are one transaction. Losing the process at any point
//! repeats a delivery at worst.

pub mod book;
pub mod clock;
mod database;
pub mod entry;
mod legacy;
pub mod owner;
pub mod places;
#[cfg(test)]
mod power_cut;
pub mod runner;
pub mod schedule;
mod settle;
mod writer;

use crate::limits;
use crate::message::Message;
use crate::proto::delivery_status::ReportWish;
use base::Address;
use book::{Book, Passage, Rests, Work};
use clock::Clock;
use database::Database;
use entry::{Destination, Entry, Needs, Recipient};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use writer::{Changed, Writer};

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
    root: PathBuf,
    writer: Writer,
    /// For looking; the writer has a connection of its own.
    reader: Mutex<Database>,
    shared: Arc<Shared>,
    pub clock: Clock,
}

/// What the writer and everybody else look at.
#[derive(Debug)]
pub struct Shared {
    book: Mutex<Book>,
    /// Told whenever something new may be due.
    pub changed: Notify,
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

    fn entry(self, message: &Message, queued: u64) -> Entry {
        Entry {
            id: self.id,
            sender: self.sender,
            queued,
            bytes: message.size() as u64,
            judged: self.judged,
            eight_bit: message.is_eight_bit(),
            account: self.account,
            needs: self.needs,
            wish: self.wish,
            held: false,
            recipients: self.recipients,
        }
    }
}

impl Queue {
    /// Opens the queue and takes up what is in it.
    pub fn open(root: PathBuf, clock: Clock, rests: Rests) -> io::Result<Arc<Self>> {
        let began = std::time::Instant::now();
        let database = Database::open(&root)?;
        legacy::take_over(&root, &database)?;
        database.clear_orphans()?;
        let mut book = Book::new(rests);
        database.each(|number, entry| {
            book.set(number, &entry);
            true
        })?;
        let (count, _) = book.size();
        if count > 0 {
            tracing::info!("{count} messages wait in the queue, taken up in {} ms", began.elapsed().as_millis());
        }
        let shared = Arc::new(Shared { book: Mutex::new(book), changed: Notify::new() });
        let reader = Mutex::new(Database::open(&root)?);
        let writer = Writer::start(database, Arc::clone(&shared))?;
        Ok(Arc::new(Self { root, writer, reader, shared, clock }))
    }

    fn reader(&self) -> MutexGuard<'_, Database> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message. When this returns `Ok`, it is durable and may be acknowledged.
    pub async fn add(&self, outgoing: Outgoing, message: Arc<Message>) -> Result<(), QueueError> {
        self.check_room(message.size() as u64)?;
        let entry = outgoing.entry(&message, self.clock.now());
        let (id, content) = (entry.id.clone(), self.prepare(&entry.id, &message).await?);
        let files = matches!(content, database::Content::File);
        let act = move |database: &Database| {
            let number = database.insert(&entry, &content)?;
            Ok(vec![Changed::Is(number, entry.clone())])
        };
        let added = self.writer.change(files, Box::new(act)).await;
        if files && added.is_err() {
            // Whether its commit reached the disk all the same, only the database can tell.
            self.reader().discard_unless_known(&id);
        }
        Ok(added?)
    }

    /// A large message is written and synced by its bringer, away from the event loop.
    async fn prepare(&self, id: &str, message: &Arc<Message>) -> io::Result<database::Content> {
        if message.size() <= limits::QUEUE_ROW {
            return Database::content(&self.root, id, message);
        }
        let (root, id, message) = (self.root.clone(), id.to_owned(), Arc::clone(message));
        blocking(move || Database::content(&root, &id, &message)).await
    }

    /// Writes down what became of a try: the recipients as they are now, and reports to the sender, all or nothing.
    pub async fn settle(
        &self,
        number: i64,
        recipients: Vec<Recipient>,
        reports: Vec<(Outgoing, Arc<Message>)>,
    ) -> io::Result<()> {
        let mut prepared = Vec::with_capacity(reports.len());
        for (outgoing, message) in reports {
            let entry = outgoing.entry(&message, self.clock.now());
            prepared.push((self.prepare(&entry.id, &message).await?, entry));
        }
        let files = prepared.iter().any(|(content, _)| matches!(content, database::Content::File));
        let act = move |database: &Database| {
            // The owner may have taken it out meanwhile; then nobody is told anything either.
            let Some(mut entry) = database.entry(number)? else { return Ok(Vec::new()) };
            for now in &recipients {
                entry.recipients.iter_mut().filter(|it| it.address == now.address).for_each(|it| *it = now.clone());
            }
            let mut changes = Vec::new();
            for (content, report) in &prepared {
                changes.push(Changed::Is(database.insert(report, content)?, report.clone()));
            }
            if entry.is_finished() {
                database.remove(number)?;
                changes.push(Changed::Gone(number, entry));
            } else {
                database.update(number, &entry)?;
                changes.push(Changed::Is(number, entry));
            }
            Ok(changes)
        };
        self.writer.change(files, Box::new(act)).await
    }

    pub async fn entry(self: &Arc<Self>, number: i64) -> io::Result<Option<Entry>> {
        let queue = Arc::clone(self);
        blocking(move || queue.reader().entry(number)).await
    }

    /// The message as it is to be sent.
    pub async fn message(self: &Arc<Self>, number: i64, id: &str) -> io::Result<Vec<u8>> {
        let (queue, id) = (Arc::clone(self), id.to_owned());
        blocking(move || queue.reader().message(number, &id)).await
    }

    /// The next delivery to make, or when there will be one.
    pub fn next(&self) -> (Option<Work>, Option<u64>) {
        let mut book = self.shared.book();
        (book.take(self.clock.now()), book.next_due())
    }

    /// Waits until something new may be due.
    pub async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    pub fn put_off(&self, work: &Work, at: u64) {
        self.shared.book().put_off(work, at);
    }

    pub fn finish(&self, work: &Work, passage: Passage) {
        self.shared.book().finish(work, passage, self.clock.now());
        self.shared.changed.notify_one();
    }

    /// Some of what stands ready at a place that has failed more than once.
    pub fn take_blocked(&self, destination: &Destination) -> Vec<Work> {
        self.shared.book().take_blocked(destination, self.clock.now(), limits::QUEUE_GROUP)
    }

    /// Whether a message of so many octets would be taken.
    pub fn check_room(&self, more: u64) -> Result<(), QueueError> {
        let (count, bytes) = self.shared.book().size();
        if count >= limits::QUEUE_MESSAGES || bytes.saturating_add(more) > limits::QUEUE_BYTES {
            return Err(QueueError::Full);
        }
        if free(&self.root)? < limits::FREE_DISK.saturating_add(more) {
            return Err(QueueError::DiskFull);
        }
        Ok(())
    }
}

/// Octets free for this process on the queue's disk.
fn free(root: &std::path::Path) -> io::Result<u64> {
    let stat = nix::sys::statvfs::statvfs(root)?;
    Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
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
