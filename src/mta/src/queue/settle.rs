//! What a try means for a message: new states, and what its sender has to be told. Pure.

use super::book::Passage;
use super::entry::{Entry, Recipient, State};
use super::schedule::Schedule;
use crate::delivery::{Outcome, Scope};
use crate::dsn::{About, Kind};
use crate::limits;
use base::Address;

/// What is to be written down and told.
#[derive(Debug, Default)]
pub struct Settled {
    /// The recipients of this try as they are now.
    pub recipients: Vec<Recipient>,
    /// What goes into a report of each kind.
    pub notices: Vec<(Kind, About)>,
}

/// Settles a try. `random` spreads the waits.
pub fn settle(entry: &Entry, outcomes: &[(Address, Outcome)], schedule: &Schedule, now: u64, random: u64) -> Settled {
    let mut settled = Settled::default();
    for (address, outcome) in outcomes {
        let known = entry.recipients.iter().find(|recipient| recipient.address == *address);
        let Some(mut recipient) = known.cloned() else { continue };
        recipient.tries += 1;
        recipient.last = Some(outcome.words().to_owned());
        let notice = match outcome {
            Outcome::Delivered(delivery) => {
                recipient.state = State::Delivered;
                let wanted = recipient.notify.success && !delivery.reports;
                wanted.then_some((if recipient.local { Kind::Delivered } else { Kind::Relayed }, None, false))
            }
            Outcome::Failed(trouble) => {
                recipient.state = State::Failed;
                recipient.notify.failure.then(|| (Kind::Failed, Some(trouble.clone()), false))
            }
            Outcome::Deferred(trouble) => match schedule.next(entry.queued, recipient.tries, now, random) {
                Some(at) => {
                    recipient.next_try = at;
                    let late = now.saturating_sub(entry.queued) >= limits::DELAY_NOTICE.as_secs();
                    let tell = late && !recipient.delay_told && recipient.notify.delay;
                    recipient.delay_told |= tell;
                    tell.then(|| (Kind::Delayed, Some(trouble.clone()), false))
                }
                None => {
                    recipient.state = State::Failed;
                    recipient.notify.failure.then(|| (Kind::Failed, Some(trouble.clone()), true))
                }
            },
        };
        if let Some((kind, trouble, expired)) = notice {
            let original = recipient.original.clone();
            settled.notices.push((kind, About { recipient: address.clone(), original, trouble, expired }));
        }
        settled.recipients.push(recipient);
    }
    settled
}

/// What a try says about the place that it went to.
pub fn passage(outcomes: &[(Address, Outcome)]) -> Passage {
    let blocked = |outcome: &Outcome| match outcome {
        Outcome::Deferred(trouble) | Outcome::Failed(trouble) => trouble.scope == Scope::Place,
        Outcome::Delivered(_) => false,
    };
    let answered = |outcome: &Outcome| match outcome {
        Outcome::Delivered(_) => true,
        Outcome::Failed(trouble) => trouble.reply.is_some(),
        Outcome::Deferred(_) => false,
    };
    match () {
        () if outcomes.is_empty() => Passage::Unclear,
        () if outcomes.iter().all(|(_, outcome)| blocked(outcome)) => Passage::Blocked,
        () if outcomes.iter().any(|(_, outcome)| answered(outcome)) => Passage::Open,
        () => Passage::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::{Delivery, Trouble};
    use crate::proto::delivery_status::Notify;

    fn entry(notify: Notify) -> Entry {
        let mut recipient = Recipient::new(Address::parse("bob@example.net").unwrap(), false, 0);
        recipient.notify = notify;
        Entry {
            id: "q".into(),
            sender: None,
            queued: 0,
            bytes: 1,
            eight_bit: false,
            judged: false,
            account: None,
            needs: Default::default(),
            wish: Default::default(),
            held: false,
            recipients: vec![recipient],
        }
    }

    fn after(entry: &mut Entry, outcome: Outcome, now: u64) -> Vec<(Kind, bool)> {
        let outcomes = [(entry.recipients[0].address.clone(), outcome)];
        let settled = settle(entry, &outcomes, &Schedule::default(), now, 0);
        entry.recipients = settled.recipients;
        settled.notices.into_iter().map(|(kind, about)| (kind, about.expired)).collect()
    }

    fn later() -> Outcome {
        Outcome::Deferred(Trouble::new("4.0.0", "later"))
    }

    #[test]
    fn the_sender_hears_once_that_it_takes_long_and_then_that_it_failed() {
        let mut it = entry(Notify::default());
        assert_eq!(after(&mut it, later(), 3_600), []);
        assert_eq!(after(&mut it, later(), 4 * 3_600), [(Kind::Delayed, false)]);
        assert_eq!(after(&mut it, later(), 5 * 3_600), []);
        assert_eq!(it.recipients[0].state, State::Waiting);
        assert_eq!(after(&mut it, later(), 5 * 86_400), [(Kind::Failed, true)]);
        assert_eq!((it.recipients[0].state, it.recipients[0].tries), (State::Failed, 4));
    }

    #[test]
    fn who_wants_to_hear_nothing_hears_nothing_and_who_asks_hears_of_success() {
        let mut it = entry(Notify::NEVER);
        assert_eq!(after(&mut it, later(), 4 * 3_600), []);
        assert_eq!(after(&mut it, Outcome::Failed(Trouble::new("5.0.0", "no")), 4 * 3_600), []);
        let success = Notify { success: true, ..Notify::default() };
        let done = |reports| Outcome::Delivered(Delivery { reports, ..Delivery::default() });
        assert_eq!(after(&mut entry(success), done(false), 1), [(Kind::Relayed, false)]);
        assert_eq!(after(&mut entry(success), done(true), 1), []);
        assert_eq!(after(&mut entry(Notify::default()), done(false), 1), []);
    }

    #[test]
    fn only_trouble_of_the_place_blocks_the_place() {
        let bob = Address::parse("bob@example.net").unwrap();
        let place = Outcome::Deferred(Trouble::new("4.4.1", "down").of_place());
        assert_eq!(passage(&[(bob.clone(), place.clone())]), Passage::Blocked);
        assert_eq!(passage(&[(bob.clone(), later())]), Passage::Unclear);
        assert_eq!(passage(&[(bob.clone(), place), (bob, Outcome::Delivered(Delivery::default()))]), Passage::Open);
    }
}
