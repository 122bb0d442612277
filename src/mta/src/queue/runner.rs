//! Delivers what is due: many destinations at once, few conversations with each, later again what was put off.

use super::entry::{Destination, Entry, Recipient, State};
use super::schedule::Schedule;
use super::{Outgoing, Queue, new_id};
use crate::delivery::client::{To, Transaction};
use crate::delivery::names::Names;
use crate::delivery::remote::Remote;
use crate::delivery::{Outcome, Trouble, mailboxes};
use crate::dsn::{self, Failure, Reporter};
use crate::history::History;
use crate::limits;
use crate::memory::Memory;
use crate::neighbours::Neighbours;
use crate::session::OWN_VERDICT;
use base::{Address, Domain, Paths};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long after a failure of this box itself (disk, directory) the same is tried again.
const OWN_TROUBLE_WAIT: u64 = 60;
/// The longest sleep, so that a clock that was set is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Everything that delivery needs.
pub struct Runner<N> {
    pub queue: Arc<Queue>,
    pub history: History,
    pub remote: Remote<N>,
    pub neighbours: Neighbours,
    pub memory: Memory,
    pub paths: Paths,
    pub hostname: Domain,
    pub home: Domain,
    pub schedule: Schedule,
    pub busy: Busy,
}

/// What is being delivered at this moment.
#[derive(Debug)]
pub struct Busy {
    working: Mutex<HashSet<(String, Destination)>>,
    slots: Arc<Semaphore>,
    /// Results are written one at a time: two destinations of one message must not overwrite each other's state.
    writing: tokio::sync::Mutex<()>,
}

impl Default for Busy {
    fn default() -> Self {
        Self {
            working: Mutex::default(),
            slots: Arc::new(Semaphore::new(limits::DELIVERIES)),
            writing: tokio::sync::Mutex::default(),
        }
    }
}

impl Busy {
    /// Marks a piece of work as begun, if it is not under way and its destination is not at its bound.
    fn begin(&self, work: &(String, Destination)) -> bool {
        let mut working = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        let there = working.iter().filter(|(_, destination)| *destination == work.1).count();
        let bound = match work.1 {
            Destination::Mailboxes => limits::DELIVERIES / 2,
            Destination::Elsewhere(_) => limits::DELIVERIES_PER_DESTINATION,
        };
        there < bound && working.insert(work.clone())
    }

    fn end(&self, work: &(String, Destination)) {
        self.working.lock().unwrap_or_else(PoisonError::into_inner).remove(work);
    }
}

impl<N: Names> Runner<N> {
    /// Delivers until the process ends.
    pub async fn run(self: Arc<Self>) {
        loop {
            let now = base::time::now_unix();
            let (due, next) = self.queue.due(now);
            for work in due {
                let Ok(slot) = Arc::clone(&self.busy.slots).try_acquire_owned() else { break };
                if !self.busy.begin(&work) {
                    continue;
                }
                let runner = Arc::clone(&self);
                tokio::spawn(async move {
                    runner.attempt(&work.0, &work.1).await;
                    runner.busy.end(&work);
                    drop(slot);
                    runner.queue.changed.notify_one();
                });
            }
            let sleep = next.map_or(LONGEST_SLEEP, |at| Duration::from_secs(at.saturating_sub(now)));
            // Either something changed (a new message, a delivery that ended), or the next one is due.
            let _ = tokio::time::timeout(sleep.min(LONGEST_SLEEP), self.queue.changed.notified()).await;
        }
    }

    async fn attempt(&self, id: &str, destination: &Destination) {
        let Some(entry) = self.queue.get(id) else { return };
        let recipients = entry.due_at(destination, base::time::now_unix());
        if recipients.is_empty() {
            return;
        }
        let share = self.memory.wait_for(usize::try_from(entry.bytes).unwrap_or(usize::MAX)).await;
        let (outcomes, message) = match self.queue.message(id).await {
            Ok(message) => (self.deliver(&entry, destination, &recipients, &message).await, message),
            Err(error) => {
                let words = format!("the message cannot be read from the queue: {error}");
                let outcome = Outcome::Deferred(Trouble::new("4.3.0", words));
                (recipients.iter().map(|to| (to.clone(), outcome.clone())).collect(), Vec::new())
            }
        };
        let _one_at_a_time = self.busy.writing.lock().await;
        self.settle(id, outcomes, &message).await;
        drop(share);
    }

    async fn deliver(
        &self,
        entry: &Entry,
        destination: &Destination,
        recipients: &[Address],
        message: &[u8],
    ) -> Vec<(Address, Outcome)> {
        let recipients: Vec<To> =
            entry.recipients.iter().filter(|r| recipients.contains(&r.address)).map(To::of).collect();
        let verdict = match destination {
            Destination::Mailboxes if !entry.judged => OWN_VERDICT.as_bytes(),
            _ => &[],
        };
        let it = Transaction {
            sender: entry.sender.as_ref(),
            recipients: &recipients,
            pieces: [verdict, message],
            eight_bit: entry.eight_bit,
            needs: entry.needs,
            wish: &entry.wish,
        };
        match destination {
            Destination::Mailboxes => mailboxes::deliver(&self.paths, &self.hostname, &it).await,
            Destination::Elsewhere(domain) => self.remote.deliver(domain, &it).await,
        }
    }

    /// Writes down what became of a try: reports first, then the new state, so that no failure goes unreported.
    async fn settle(&self, id: &str, outcomes: Vec<(Address, Outcome)>, message: &[u8]) {
        let Some(before) = self.queue.get(id) else { return };
        let now = base::time::now_unix();
        let mut entry = before.clone();
        let mut failures = Vec::new();
        for (address, outcome) in outcomes {
            log(&entry, &address, &outcome);
            if let Some(recipient) = entry.recipients.iter_mut().find(|recipient| recipient.address == address) {
                failures.extend(self.note(before.queued, recipient, outcome, now));
            }
        }
        if let Err(why) = self.tell_sender(&before, &failures, message, now).await {
            tracing::warn!("the report on message {id} waits: {why}");
            unfail(&mut entry, &failures, now + OWN_TROUBLE_WAIT);
        }
        if let Err(error) = self.queue.store(entry.clone()).await {
            tracing::error!("the state of message {id} cannot be written: {error}");
            self.put_off(entry, now);
        }
    }

    /// Changes one recipient's state; gives the failure to report, if it is one.
    fn note(&self, queued: u64, recipient: &mut Recipient, outcome: Outcome, now: u64) -> Option<Failure> {
        recipient.tries += 1;
        recipient.last = Some(outcome.words().to_owned());
        let (trouble, expired) = match outcome {
            Outcome::Delivered(_) => {
                recipient.state = State::Delivered;
                return None;
            }
            Outcome::Failed(trouble) => (trouble, false),
            Outcome::Deferred(trouble) => match self.schedule.next(queued, recipient.tries, now, rand::random()) {
                Some(at) => {
                    recipient.next_try = at;
                    return None;
                }
                None => (trouble, true),
            },
        };
        recipient.state = State::Failed;
        Some(Failure { recipient: recipient.address.clone(), trouble, expired })
    }

    /// After a failure of our own: nothing is lost, and it is not tried again at once for ever.
    fn put_off(&self, mut entry: Entry, now: u64) {
        for recipient in entry.recipients.iter_mut().filter(|recipient| recipient.is_due(now)) {
            recipient.next_try = now + OWN_TROUBLE_WAIT;
        }
        self.queue.store_in_memory(entry);
    }

    /// Queues a report to the sender. Reports themselves are never reported on (RFC 5321 §4.5.5).
    async fn tell_sender(&self, entry: &Entry, failures: &[Failure], original: &[u8], now: u64) -> Result<(), String> {
        let Some(sender) = entry.sender.as_ref().filter(|_| !failures.is_empty()) else { return Ok(()) };
        let recipients = self.neighbours.recipients(sender, now).await.map_err(|error| error.to_string())?;
        let local = recipients.iter().all(|recipient| recipient.local);
        let by = Reporter { hostname: &self.hostname, home: &self.home };
        let report = dsn::report(by, sender, entry, failures, original, now);
        let mut report = report.map_err(|error| error.to_string())?;
        if !local && let Ok(signature) = self.neighbours.sign(&self.home, &report).await {
            // A report without a signature is better than none.
            report.prepend(&signature);
        }
        let outgoing = Outgoing::new(new_id(), None, recipients);
        self.queue.add_always(outgoing, Arc::new(report)).await.map_err(|error| error.to_string())
    }
}

/// Takes failures back that could not be reported yet.
fn unfail(entry: &mut Entry, failures: &[Failure], again: u64) {
    for recipient in &mut entry.recipients {
        if failures.iter().any(|failure| failure.recipient == recipient.address) {
            recipient.state = State::Waiting;
            recipient.next_try = again;
        }
    }
}

fn log(entry: &Entry, recipient: &Address, outcome: &Outcome) {
    let sender = entry.sender.as_ref().map(ToString::to_string).unwrap_or_default();
    let what = match outcome {
        Outcome::Delivered(_) => "delivered",
        Outcome::Deferred(_) => "put off",
        Outcome::Failed(_) => "failed",
    };
    tracing::info!("{}: from <{sender}> to <{recipient}>: {what}: {}", entry.id, outcome.words());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_destination_never_takes_all_the_slots() {
        let busy = Busy::default();
        let there = Destination::Elsewhere(Domain::parse("example.net").unwrap());
        let begun = (0..50).filter(|n| busy.begin(&(n.to_string(), there.clone()))).count();
        assert_eq!(begun, limits::DELIVERIES_PER_DESTINATION);
        busy.end(&("0".into(), there.clone()));
        assert!(busy.begin(&("x".into(), there.clone())));
        assert!(!busy.begin(&("x".into(), there)));
    }
}
