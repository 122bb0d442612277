//! Delivers what is due: many destinations at once, few conversations with each, later again what was put off.

use super::book::{Passage, Rests, Work};
use super::entry::{Destination, Entry, Recipient};
use super::places::Places;
use super::schedule::Schedule;
use super::settle::{self, Settled};
use super::{Outgoing, Queue, new_id};
use crate::delivery::client::{To, Transaction};
use crate::delivery::mailboxes::Mailboxes;
use crate::delivery::names::Names;
use crate::delivery::remote::Remote;
use crate::delivery::{Outcome, Trouble};
use crate::dsn::{self, About, Kind, Reporter};
use crate::history::{self, History};
use crate::limits;
use crate::list::{self, Bounce};
use crate::memory::Memory;
use crate::message::Message;
use crate::neighbours::Neighbours;
use crate::session::OWN_VERDICT;
use base::{Address, Domain};
use std::sync::Arc;
use std::time::Duration;
use wire::mta::{Step, Way, What};

/// How long after a failure of this box itself (disk, directory) the same is tried again.
const OWN_TROUBLE_WAIT: u64 = 60;
/// The longest sleep, so that a clock that was set is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Everything that delivery needs.
pub struct Runner<N> {
    pub queue: Arc<Queue>,
    pub history: History,
    pub remote: Arc<Remote<N>>,
    pub neighbours: Neighbours,
    pub memory: Memory,
    pub mailboxes: Arc<Mailboxes>,
    pub hostname: Domain,
    pub home: Domain,
    pub schedule: Schedule,
    pub places: Places,
}

impl Schedule {
    /// How long a place in trouble is left alone: from 30 seconds to half an hour.
    pub fn rests(&self) -> Rests {
        Rests { first: self.first.as_secs() / 10, longest: self.longest.as_secs() / 8 }
    }
}

type Outcomes = Vec<(Address, Outcome)>;

impl<N: Names> Runner<N> {
    /// Delivers until the process ends.
    pub async fn run(self: Arc<Self>) {
        loop {
            let Some(place) = self.places.take().await else { return };
            let (work, next) = self.queue.next();
            let Some(work) = work else {
                drop(place);
                let wait =
                    next.map_or(LONGEST_SLEEP, |at| Duration::from_secs(at.saturating_sub(self.queue.clock.now())));
                // Either something changed (a new message, a delivery that ended), or the next one is due.
                let _ = tokio::time::timeout(wait.min(LONGEST_SLEEP), self.queue.changed()).await;
                continue;
            };
            let runner = Arc::clone(&self);
            tokio::spawn(place.hold(async move { runner.attempt(work).await }));
        }
    }

    async fn attempt(&self, work: Work) {
        let passage = match self.queue.entry(work.number).await {
            Ok(Some(entry)) => self.attempt_entry(&work, &entry).await,
            Ok(None) => Passage::Unclear,
            Err(error) => {
                tracing::error!("queue entry {} cannot be read: {error}", work.number);
                self.queue.put_off(&work, self.queue.clock.now() + OWN_TROUBLE_WAIT);
                Passage::Unclear
            }
        };
        self.queue.finish(&work, passage);
    }

    async fn attempt_entry(&self, work: &Work, entry: &Entry) -> Passage {
        let due = entry.due_at(&work.destination, self.queue.clock.now());
        if due.is_empty() {
            return Passage::Unclear;
        }
        let share = match usize::try_from(entry.bytes).unwrap_or(usize::MAX) {
            ..=limits::QUEUE_ROW => None,
            octets => Some(self.memory.wait_for(octets).await),
        };
        let (outcomes, message) = match self.queue.message(work.number, &entry.id).await {
            Ok(message) => (self.deliver(entry, &work.destination, &due, &message).await, message),
            Err(error) => {
                let words = format!("the message cannot be read from the queue: {error}");
                (alike(&due, &Outcome::Deferred(Trouble::new("4.3.0", words))), Vec::new())
            }
        };
        let passage = settle::passage(&outcomes);
        self.settle(work, entry, &outcomes, &message).await;
        drop(share);
        if let (Passage::Blocked, Some((_, outcome))) = (passage, outcomes.first()) {
            self.put_off_the_rest(&work.destination, outcome).await;
        }
        passage
    }

    async fn deliver(&self, entry: &Entry, destination: &Destination, due: &[Recipient], message: &[u8]) -> Outcomes {
        let recipients: Vec<To> = due.iter().map(To::of).collect();
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
            Destination::Mailboxes => self.mailboxes.deliver(&it).await,
            Destination::Elsewhere(domain) => self.remote.deliver(domain, &it).await,
        }
    }

    /// Puts off what stands ready for a place that has failed more than once: it would only meet the same.
    async fn put_off_the_rest(&self, destination: &Destination, outcome: &Outcome) {
        loop {
            let works = self.queue.take_blocked(destination);
            if works.is_empty() {
                return;
            }
            for work in works {
                if let Ok(Some(entry)) = self.queue.entry(work.number).await {
                    let due = entry.due_at(destination, self.queue.clock.now());
                    self.settle(&work, &entry, &alike(&due, outcome), &[]).await;
                }
                self.queue.finish(&work, Passage::Unclear);
            }
        }
    }

    /// Writes down what became of a try, together with the reports to the sender: neither is without the other.
    async fn settle(&self, work: &Work, entry: &Entry, outcomes: &[(Address, Outcome)], message: &[u8]) {
        let now = self.queue.clock.now();
        outcomes.iter().for_each(|(address, outcome)| self.note(entry, address, outcome));
        let Settled { recipients, notices } = settle::settle(entry, outcomes, &self.schedule, now, rand::random());
        let done = match self.reports(work, entry, &notices, message, now).await {
            Ok(reports) => {
                let told: Vec<_> = reports.iter().map(|(it, report)| history::arrival(report, it, Way::Own)).collect();
                let settled = self.queue.settle(work.number, recipients, reports).await;
                settled.map_err(|error| error.to_string()).map(|()| told)
            }
            Err(why) => Err(format!("the report to its sender waits: {why}")),
        };
        match done {
            Ok(told) => {
                for (kind, about) in &notices {
                    let words = format!("the sender was told: {}", kind.subject());
                    self.history.step(&entry.id, Some(&about.recipient), Step::new(What::Reported, words));
                }
                told.into_iter().for_each(|report| self.history.arrived(report));
            }
            Err(why) => {
                tracing::error!("what became of message {} is not written down, so it is tried again: {why}", entry.id);
                self.queue.put_off(work, now + OWN_TROUBLE_WAIT);
            }
        }
    }

    /// The reports that a try brings about. Reports themselves are never reported on (RFC 5321 §4.5.5).
    async fn reports(
        &self,
        work: &Work,
        entry: &Entry,
        notices: &[(Kind, About)],
        message: &[u8],
        now: u64,
    ) -> Result<Vec<(Outgoing, Arc<Message>)>, String> {
        let Some(sender) = entry.sender.as_ref().filter(|_| !notices.is_empty()) else { return Ok(Vec::new()) };
        let failed = notices.iter().any(|(kind, _)| *kind == Kind::Failed);
        if let Bounce::Counted(letters) = list::own_bounce(&self.neighbours, &self.hostname, sender, failed).await? {
            return Ok(letters);
        }
        let recipients = self.neighbours.recipients(sender, now).await.map_err(|error| error.to_string())?;
        let local = recipients.iter().all(|recipient| recipient.local);
        let read;
        let original = match message {
            [] => {
                read = self.queue.message(work.number, &entry.id).await.map_err(|error| error.to_string())?;
                &read
            }
            message => message,
        };
        let by = Reporter { hostname: &self.hostname, home: &self.home };
        let mut reports = Vec::new();
        for kind in Kind::ALL {
            let about: Vec<_> = notices.iter().filter(|(it, _)| *it == kind).map(|(_, about)| about.clone()).collect();
            if about.is_empty() {
                continue;
            }
            let report = dsn::report(by, sender, entry, kind, &about, original, now);
            let mut report = report.map_err(|error| error.to_string())?;
            if !local && let Ok(signature) = self.neighbours.sign(&self.home, &report).await {
                // A report without a signature is better than none.
                report.prepend(&signature);
            }
            reports.push((Outgoing::new(new_id(), None, recipients.clone()), Arc::new(report)));
        }
        Ok(reports)
    }

    fn note(&self, entry: &Entry, recipient: &Address, outcome: &Outcome) {
        let sender = entry.sender.as_ref().map(ToString::to_string).unwrap_or_default();
        let local = entry.recipients.iter().any(|it| it.local && it.address == *recipient);
        let (what, step) = match outcome {
            Outcome::Delivered(delivery) => {
                let what = if local { What::Stored } else { What::Sent };
                let (server, security) = (delivery.server.clone(), delivery.security.clone());
                let code = delivery.reply.as_ref().map(|reply| reply.code);
                let enhanced = delivery.reply.as_ref().map(|reply| reply.enhanced.clone());
                (what, Step { server, security, code, enhanced, ..Step::new(what, &*delivery.words) })
            }
            Outcome::Deferred(trouble) | Outcome::Failed(trouble) => {
                let what = if matches!(outcome, Outcome::Failed(_)) { What::Failed } else { What::PutOff };
                let code = trouble.reply.as_ref().map(|reply| reply.code);
                let (server, enhanced) = (trouble.server.clone(), Some(trouble.status.clone()));
                (what, Step { server, code, enhanced, ..Step::new(what, &*trouble.words) })
            }
        };
        tracing::info!("{}: from <{sender}> to <{recipient}>: {what:?}: {}", entry.id, outcome.words());
        self.history.step(&entry.id, Some(recipient), step);
    }
}

fn alike(due: &[Recipient], outcome: &Outcome) -> Outcomes {
    due.iter().map(|recipient| (recipient.address.clone(), outcome.clone())).collect()
}
