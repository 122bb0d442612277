//! What became of every message, for its owner to ask: `history.db` in the queue's folder.
//!
//! Sessions and the runner tell it through a channel that never makes them wait; one thread writes, many events in one
//! transaction. It is a memory, not a ledger: nothing is decided by it, a power cut may take its last second, and when
//! its disk is full mail flows on without it. Bounded by age and by number (`limits::HISTORY_*`).

mod database;
mod volume;

use crate::limits;
use base::Address;
use database::Database;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use wire::mta::{Arrival, Step, Traced};

/// What is told to the writer.
#[derive(Debug)]
pub(crate) enum Event {
    Arrived(Box<Arrival>),
    Step(String, Box<Step>),
}

/// The way in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct History {
    events: SyncSender<Event>,
    reader: Arc<Mutex<Database>>,
}

impl History {
    /// Opens the history in `folder` and starts its writer. One that cannot be read is put aside and begun anew: mail
    /// must not wait for it.
    pub fn open(folder: &Path) -> rusqlite::Result<Self> {
        let file = folder.join("history.db");
        let writer = Database::open(&file).or_else(|error| {
            tracing::error!("the history cannot be opened ({error}); it is put aside and begun anew");
            let _ = std::fs::rename(&file, folder.join("history.db.broken"));
            Database::open(&file)
        })?;
        let reader = Arc::new(Mutex::new(Database::open(&file)?));
        let (events, inbox) = sync_channel(limits::HISTORY_EVENTS_WAITING);
        std::thread::Builder::new()
            .name("history".into())
            .spawn(move || write(writer, &inbox))
            .map_err(|error| rusqlite::Error::InvalidParameterName(error.to_string()))?;
        Ok(Self { events, reader })
    }

    /// A message is here, or at the door.
    pub fn arrived(&self, arrival: Arrival) {
        self.tell(Event::Arrived(Box::new(arrival)));
    }

    /// Something happened to it, now.
    pub fn step(&self, id: &str, recipient: Option<&Address>, step: Step) {
        let at = if step.at == 0 { base::time::now_unix() } else { step.at };
        let step = Step { at, recipient: recipient.cloned(), ..step };
        self.tell(Event::Step(id.to_owned(), Box::new(step)));
    }

    fn tell(&self, event: Event) {
        if let Err(TrySendError::Full(_)) = self.events.try_send(event) {
            tracing::debug!("the history's writer is behind; an event is not kept");
        }
    }

    /// How much went where; blocks for as long as the disk takes.
    pub fn volume(&self) -> rusqlite::Result<Vec<wire::mta::ProviderVolume>> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner).volume(base::time::now_unix())
    }

    /// The messages that fit; blocks for as long as the disk takes.
    pub fn search(&self, ask: &wire::mta::Trace) -> rusqlite::Result<Vec<Traced>> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner).search(ask)
    }
}

/// Writes what comes, until every [`History`] is gone.
fn write(mut database: Database, inbox: &Receiver<Event>) {
    let mut purged: Option<Instant> = None;
    loop {
        if purged.is_none_or(|at| at.elapsed() >= limits::HISTORY_PURGE_EVERY) {
            if let Err(error) = database.purge(base::time::now_unix()) {
                tracing::warn!("old history cannot be purged: {error}");
            }
            purged = Some(Instant::now());
        }
        let first = match inbox.recv_timeout(limits::HISTORY_PURGE_EVERY) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        // A moment later there is more, and one transaction for all of it.
        std::thread::sleep(GATHER);
        let events = std::iter::once(first).chain(inbox.try_iter().take(limits::HISTORY_EVENTS_WAITING));
        if let Err(error) = database.write(events) {
            tracing::warn!("the history cannot be written: {error}");
        }
    }
}

/// How long events are gathered before they are written.
const GATHER: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;
    use wire::mta::{Trace, Way, What};

    pub fn arrival(id: &str, at: u64, subject: &str) -> Arrival {
        let address = |text| Address::parse(text).unwrap();
        Arrival {
            id: id.into(),
            at,
            way: Way::Inbound,
            client: Some("192.0.2.7".parse().unwrap()),
            helo: Some("mx.example.net".into()),
            tls: None,
            account: None,
            sender: Some(address("Eve@example.net")),
            recipients: vec![address("ann@example.org")],
            subject: Some(subject.into()),
            message_id: Some("<1@example.net>".into()),
            bytes: 10,
            judged: None,
        }
    }

    fn ask(words: &[&str]) -> Trace {
        Trace { words: words.iter().map(|word| (*word).to_owned()).collect(), since: None, until: None, limit: 10 }
    }

    #[test]
    fn a_message_is_found_by_any_word_about_it_with_all_that_happened() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::open(dir.path()).unwrap();
        let now = base::time::now_unix();
        history.arrived(arrival("a-1", now, "Größe der Rechnung"));
        history.step("a-1", Some(&Address::parse("ann@example.org").unwrap()), Step::new(What::Stored, "in INBOX"));
        history.arrived(arrival("a-2", now - 100_000, "50%_off"));
        let found = |words: &[&str]| -> Vec<String> {
            history.search(&ask(words)).unwrap().into_iter().map(|it| it.arrival.id).collect()
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while found(&["a-2"]).is_empty() {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(found(&["GRÖSSE"]), Vec::<String>::new());
        assert_eq!(found(&["größe", "eve@"]), ["a-1"]);
        assert_eq!(found(&["%_"]), ["a-2"]);
        assert_eq!(found(&[]), ["a-1", "a-2"]);
        assert_eq!(found(&["192.0.2.7"]), ["a-1", "a-2"]);
        let one = history.search(&ask(&["a-1"])).unwrap().remove(0);
        assert_eq!(one.steps.len(), 1);
        assert_eq!(one.steps[0].words, "in INBOX");
        let late = Trace { since: Some(now - 10), ..ask(&[]) };
        assert_eq!(history.search(&late).unwrap().len(), 1);
    }

    #[test]
    fn a_broken_history_does_not_keep_the_mail_waiting() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("history.db"), vec![7; 5_000]).unwrap();
        assert!(History::open(dir.path()).unwrap().search(&ask(&[])).unwrap().is_empty());
    }
}
