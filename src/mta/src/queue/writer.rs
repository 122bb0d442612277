//! The one thread that changes `queue.db`: whatever waits is done in one transaction, with one sync for all.
//!
//! A change is told to its asker, and to the [`Book`](super::book::Book), only after its commit is on disk. A change
//! that fails beside others is tried again by itself, so that nobody suffers for a neighbour.

use super::Shared;
use super::database::Database;
use super::entry::Entry;
use crate::limits;
use std::io;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// What a change did to one entry.
#[derive(Debug)]
pub enum Changed {
    Is(i64, Entry),
    Gone(i64, Entry),
}

/// A piece of work inside a transaction. It may run twice, when its first transaction was rolled back.
pub type Act = Box<dyn FnMut(&Database) -> io::Result<Vec<Changed>> + Send>;

struct Job {
    act: Act,
    /// Whether a large message's name has to be synced first.
    files: bool,
    done: oneshot::Sender<io::Result<()>>,
}

/// The way to the thread. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Writer(mpsc::UnboundedSender<Job>);

impl Writer {
    pub fn start(database: Database, shared: Arc<Shared>) -> io::Result<Self> {
        let (jobs, inbox) = mpsc::unbounded_channel();
        std::thread::Builder::new().name("queue".into()).spawn(move || work(&database, &shared, inbox))?;
        Ok(Self(jobs))
    }

    /// Has a change made. When this returns `Ok` it is durable; it is made even if nobody waits for the answer.
    pub async fn change(&self, files: bool, act: Act) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        let away = || io::Error::other("the queue's writer has ended");
        self.0.send(Job { act, files, done }).map_err(|_| away())?;
        answer.await.map_err(|_| away())?
    }
}

fn work(database: &Database, shared: &Shared, mut inbox: mpsc::UnboundedReceiver<Job>) {
    let mut removed = 0;
    while let Some(first) = inbox.blocking_recv() {
        let mut jobs = vec![first];
        while let Some(job) = inbox.try_recv().ok().filter(|_| jobs.len() < limits::QUEUE_GROUP) {
            jobs.push(job);
        }
        removed += do_all(database, shared, jobs);
        if removed > SHRINK_EVERY {
            removed = 0;
            if let Err(error) = database.shrink() {
                tracing::warn!("the queue's file cannot be made smaller: {error}");
            }
        }
    }
}

/// Messages taken out before the file gives space back.
const SHRINK_EVERY: usize = 2_000;

/// Does jobs together, or one by one when that fails. Returns how many entries are gone.
fn do_all(database: &Database, shared: &Shared, mut jobs: Vec<Job>) -> usize {
    match together(database, &mut jobs) {
        Ok(changes) => {
            let gone = publish(database, shared, changes);
            jobs.into_iter().for_each(|job| drop(job.done.send(Ok(()))));
            gone
        }
        Err(error) if jobs.len() == 1 => {
            tracing::error!("the queue cannot be written: {error}");
            jobs.into_iter().for_each(|job| drop(job.done.send(Err(io::Error::other(error.to_string())))));
            0
        }
        Err(_) => jobs.into_iter().map(|job| do_all(database, shared, vec![job])).sum(),
    }
}

fn together(database: &Database, jobs: &mut [Job]) -> io::Result<Vec<Changed>> {
    if jobs.iter().any(|job| job.files) {
        database.sync_files()?;
    }
    database.commit(|database| {
        let mut changes = Vec::with_capacity(jobs.len());
        for job in jobs {
            changes.extend((job.act)(database)?);
        }
        Ok(changes)
    })
}

fn publish(database: &Database, shared: &Shared, changes: Vec<Changed>) -> usize {
    let mut gone = 0;
    let mut book = shared.book();
    for change in changes {
        match change {
            Changed::Is(number, entry) => book.set(number, &entry),
            Changed::Gone(number, entry) => {
                book.forget(number);
                database.discard_file(&entry);
                gone += 1;
            }
        }
    }
    drop(book);
    shared.changed.notify_one();
    gone
}
