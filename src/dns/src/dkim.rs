//! How a domain's DKIM keys follow one another: every half year, by themselves (M3AAWG advises six months). Pure.
//!
//! Invariants:
//! - Nothing is signed by a key whose records the public DNS was not seen to have, for longer than anybody keeps that they
//!   are not there.
//! - A key's records stay until no mail that it signed can still be under way.

use serde::{Deserialize, Serialize};

const DAY: u64 = 86_400;
/// How long a key signs.
pub const LIFE: u64 = 182 * DAY;
/// How long the next key's records must have been seen: name servers elsewhere follow one another within a day.
pub const KNOWN_AFTER: u64 = DAY;
/// How long a former key stays: mail waits in queues for five days (RFC 5321 §4.5.4.1), ours as well, and mailboxes may be
/// read, and verified, a little later.
pub const KEPT: u64 = 8 * DAY;

/// Where a domain is, as it lies in `dns/dkim.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// The pair of keys that signs.
    pub generation: u32,
    pub since: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Next>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<Former>,
}

/// The next pair, which becomes known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    pub generation: u32,
    /// Since when the public has its records.
    pub seen: Option<u64>,
    /// Whether the owner was told what to enter, where the DNS is kept elsewhere.
    #[serde(default)]
    pub told: bool,
}

/// The pair before, for mail under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    pub generation: u32,
    /// Since when it signs no more.
    pub since: u64,
}

/// What is to be done. Each may be done again after an interruption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Make(u32),
    Use(u32),
    Drop(u32),
}

impl Rotation {
    pub fn begin(now: u64) -> Self {
        Self { generation: 1, since: now, next: None, former: None }
    }

    /// Lets time pass. `seen`: whether the public has the next pair's records; `None` when that could not be found out.
    pub fn pass(&mut self, now: u64, seen: Option<bool>) -> Option<Event> {
        if let Some(former) = &self.former {
            return (now >= former.since.saturating_add(KEPT)).then_some(Event::Drop(former.generation));
        }
        let Some(next) = &mut self.next else {
            return (now >= self.since.saturating_add(LIFE)).then(|| Event::Make(self.generation.saturating_add(1)));
        };
        match seen {
            Some(true) => drop(next.seen.get_or_insert(now)),
            Some(false) => next.seen = None,
            None => return None,
        }
        let known = next.seen.is_some_and(|since| now >= since.saturating_add(KNOWN_AFTER));
        known.then_some(Event::Use(next.generation))
    }

    /// It was done.
    pub fn done(&mut self, event: Event, now: u64) {
        match event {
            Event::Make(generation) => self.next = Some(Next { generation, seen: None, told: false }),
            Event::Use(generation) => {
                self.former = Some(Former { generation: self.generation, since: now });
                (self.generation, self.since, self.next) = (generation, now, None);
            }
            Event::Drop(_) => self.former = None,
        }
    }

    /// What happens next, in a sentence.
    pub fn words(&self, by_hand: bool) -> String {
        let day = |at| crate::dmarc::day(at);
        match (&self.next, &self.former) {
            (Some(Next { seen: Some(seen), .. }), _) => {
                format!(
                    "The next keys are seen in the public DNS and sign from {} on.",
                    day(seen.saturating_add(KNOWN_AFTER))
                )
            }
            (Some(_), _) if by_hand => {
                "The next keys sign when their records are seen in the public DNS; enter them there.".to_owned()
            }
            (Some(_), _) => "The next keys sign when their records are seen in the public DNS.".to_owned(),
            (None, Some(former)) => {
                format!("The former keys stay for mail under way until {}.", day(former.since.saturating_add(KEPT)))
            }
            (None, None) => {
                format!("The next keys are made on {}, by themselves.", day(self.since.saturating_add(LIFE)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_248_000;

    /// Looks every six hours; gives what happened on which day.
    fn lived(
        rotation: &mut Rotation,
        days: std::ops::Range<u64>,
        seen: impl Fn(u64) -> Option<bool>,
    ) -> Vec<(u64, Event)> {
        let mut events = Vec::new();
        for step in days.start * 4..days.end * 4 {
            let now = NOW + step * 6 * 3_600;
            if let Some(event) = rotation.pass(now, seen(step / 4)) {
                rotation.done(event, now);
                events.push((step / 4, event));
            }
        }
        events
    }

    #[test]
    fn keys_change_every_half_year_and_the_old_ones_stay_for_mail_under_way() {
        let mut rotation = Rotation::begin(NOW);
        let events = lived(&mut rotation, 0..380, |_| Some(true));
        let wanted = [
            (182, Event::Make(2)),
            (183, Event::Use(2)),
            (191, Event::Drop(1)),
            (365, Event::Make(3)),
            (366, Event::Use(3)),
            (374, Event::Drop(2)),
        ];
        assert_eq!(events, wanted);
    }

    #[test]
    fn a_key_that_nobody_can_look_up_signs_nothing_however_long_it_takes() {
        let mut rotation = Rotation::begin(NOW);
        // The owner enters it after two months, and for a week the look-up fails.
        let events = lived(&mut rotation, 0..260, |day| match day {
            0..=239 => Some(false),
            240..=246 => None,
            _ => Some(true),
        });
        assert_eq!(events, [(182, Event::Make(2)), (248, Event::Use(2)), (256, Event::Drop(1))]);
    }

    #[test]
    fn a_record_that_vanishes_again_is_waited_for_anew() {
        let mut rotation =
            Rotation { next: Some(Next { generation: 2, seen: None, told: false }), ..Rotation::begin(NOW) };
        assert_eq!(rotation.pass(NOW, Some(true)), None);
        assert_eq!(rotation.pass(NOW + 2 * DAY, Some(false)), None);
        assert_eq!(rotation.pass(NOW + 3 * DAY, Some(true)), None);
        assert_eq!(rotation.pass(NOW + 4 * DAY, Some(true)), Some(Event::Use(2)));
    }
}
