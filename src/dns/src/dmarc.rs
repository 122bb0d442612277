//! How a domain's DMARC policy becomes stricter: none, then quarantine, then reject (RFC 7489 §6.3). Pure.
//!
//! Invariants:
//! - Nothing becomes stricter without a word to the owner a week before, nor while the owner holds it.
//! - A step needs others' reports that the domain's own mail is authenticated, both when it is announced and when it is
//!   taken. Without reports everything stays as it is.
//! - Nothing becomes less strict by itself.

use base::Domain;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use wire::dns::{DmarcPolicy, DmarcStep};
use wire::filter::Evidence;

const DAY: u64 = 86_400;
/// How long a policy stays at least: `none` for three weeks, in which reports tell what is forgotten, and the next for
/// four, in which also monthly mail went out.
const FIRST: u64 = 21 * DAY;
const BETWEEN: u64 = 28 * DAY;
/// How long before a step its owner is told.
pub const NOTICE: u64 = 7 * DAY;
/// How far back reports count.
pub const LOOK_BACK: u64 = 14 * DAY;
/// Messages of the domain's own and days with reports that are needed at least.
const MESSAGES: u64 = 10;
const DAYS: u64 = 2;
/// Own messages in a hundred that must be aligned.
const PERCENT: u64 = 99;

/// Where a domain is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    pub policy: DmarcPolicy,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// Whether the owner wants it to stay.
    #[serde(default)]
    pub hold: bool,
    /// What was announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<DmarcStep>,
}

/// Every domain's stage, as it lies in `dns/dmarc.json`.
pub type Stages = BTreeMap<Domain, Stage>;

/// What time brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The owner is to be told of a step.
    Announce(DmarcStep),
    /// The step that was announced is taken.
    Take(DmarcPolicy),
    /// The step that was announced is not taken; why, in a sentence.
    CallOff(String),
}

impl Stage {
    pub fn begin(now: u64) -> Self {
        Self { policy: DmarcPolicy::None, since: now, hold: false, next: None }
    }

    /// What comes next, and from when it may be announced. `None` at the end, or while it is held.
    pub fn awaited(&self) -> Option<DmarcStep> {
        let (policy, wait) = match self.policy {
            _ if self.hold => return None,
            DmarcPolicy::None => (DmarcPolicy::Quarantine, FIRST),
            DmarcPolicy::Quarantine => (DmarcPolicy::Reject, BETWEEN),
            DmarcPolicy::Reject => return None,
        };
        Some(DmarcStep { policy, at: self.since.saturating_add(wait) })
    }

    /// Whether reports have to be looked at now.
    pub fn is_due(&self, now: u64) -> bool {
        match (&self.next, self.awaited()) {
            (Some(next), _) => next.at <= now,
            (None, Some(awaited)) => awaited.at <= now.saturating_add(NOTICE),
            (None, None) => false,
        }
    }

    /// What is to happen now, if [`Stage::is_due`].
    pub fn event(&self, evidence: &Evidence, now: u64) -> Option<Event> {
        if !self.is_due(now) {
            return None;
        }
        let trouble = doubt(evidence);
        match (&self.next, trouble) {
            (Some(next), None) => Some(Event::Take(next.policy)),
            (Some(_), Some(trouble)) => Some(Event::CallOff(trouble)),
            (None, None) => {
                let awaited = self.awaited()?;
                let at = now.saturating_add(NOTICE).max(awaited.at);
                Some(Event::Announce(DmarcStep { policy: awaited.policy, at }))
            }
            (None, Some(_)) => None,
        }
    }

    /// The owner's word. What the owner sets stays until it is released, but for what was announced anyway.
    pub fn set(&mut self, policy: DmarcPolicy, now: u64) {
        let announced = self.next.as_ref().is_some_and(|next| next.policy == policy);
        self.hold = !announced;
        self.take(policy, now);
    }

    pub fn take(&mut self, policy: DmarcPolicy, now: u64) {
        (self.policy, self.since, self.next) = (policy, now, None);
    }

    pub fn hold(&mut self) {
        (self.hold, self.next) = (true, None);
    }
}

/// Why the reports do not allow a step; `None` when they do.
pub fn doubt(evidence: &Evidence) -> Option<String> {
    let Evidence { days, own_aligned, own_unaligned, .. } = evidence;
    let all = own_aligned.saturating_add(*own_unaligned);
    if *days < DAYS {
        return Some(format!("other servers reported on {days} of the last 14 days; {DAYS} are needed"));
    }
    if all < MESSAGES {
        return Some(format!("other servers reported {all} messages from this box; {MESSAGES} are needed"));
    }
    if own_aligned.saturating_mul(100) < all.saturating_mul(PERCENT) {
        return Some(format!(
            "{own_unaligned} of {all} messages from this box were not authenticated; no more than one in a hundred may be"
        ));
    }
    None
}

/// The value of the record at `_dmarc.DOMAIN`.
pub fn record(domain: &Domain, policy: DmarcPolicy) -> String {
    format!("v=DMARC1; p={policy}; rua=mailto:{}@{domain}", wire::filter::REPORTS_NAME)
}

/// Subject and text of the letter that announces a step.
pub fn announcement(domain: &Domain, step: &DmarcStep, evidence: &Evidence, ours: bool) -> (String, String) {
    let day = day(step.at);
    let does = match step.policy {
        DmarcPolicy::Reject => "refuse",
        _ => "treat as junk",
    };
    let mut text = format!(
        "Other servers report that the mail of {domain} from this box is authenticated: {} of {} messages in the last two\n\
         weeks, seen by {} organisations.\n\n",
        evidence.own_aligned,
        evidence.own_aligned.saturating_add(evidence.own_unaligned),
        evidence.organisations
    );
    let next = match ours {
        true => format!(
            "So on {day} its DMARC policy becomes “{}”: other servers are then asked to {does} mail in the name of\n\
             {domain} that is not from here. Nothing has to be done.\n\n\
             To stop it:        mailstead dns dmarc hold {domain}\n\
             To undo it later:  mailstead dns dmarc set {domain} none\n",
            step.policy
        ),
        false => format!(
            "So from {day} on its DMARC policy can be “{}”: other servers are then asked to {does} mail in the name of\n\
             {domain} that is not from here. The DNS of this box is kept elsewhere, so enter there, as TXT at\n\
             _dmarc.{domain}:\n\n  {}\n\n\
             and then tell the box:  mailstead dns dmarc set {domain} {}\n\
             To hear no more of it:  mailstead dns dmarc hold {domain}\n",
            step.policy,
            record(domain, step.policy),
            step.policy
        ),
    };
    text.push_str(&next);
    if !evidence.others.is_empty() {
        text.push_str(&format!(
            "\nMail in the name of {domain} that was not authenticated came also from the addresses below. Forgers are\n\
             among them, and perhaps a service that you have send mail for you: if so, hold the step until it sends\n\
             through this box.\n\n"
        ));
        for other in &evidence.others {
            text.push_str(&format!("  {}: {} messages\n", other.address, other.messages));
        }
    }
    text.push_str("\nThe reports: mailstead reports list\n");
    let subject = match ours {
        true => format!("From {day} on, forged mail in the name of {domain} is to be {}", done(step.policy)),
        false => format!("The DMARC policy of {domain} can become stricter"),
    };
    (subject, text)
}

fn done(policy: DmarcPolicy) -> &'static str {
    match policy {
        DmarcPolicy::Reject => "refused",
        _ => "treated as junk",
    }
}

/// `2026-11-21`.
pub fn day(at: u64) -> String {
    base::time::readable(at).chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub const NOW: u64 = 1_795_248_000;

    fn evidence(aligned: u64, unaligned: u64, days: u64) -> Evidence {
        Evidence { days, organisations: 2, own_aligned: aligned, own_unaligned: unaligned, others: Vec::new() }
    }

    /// The policy after each of so many days.
    fn lived(stage: &mut Stage, from: u64, days: std::ops::Range<u64>, evidence: &Evidence) -> Vec<(u64, Event)> {
        let mut events = Vec::new();
        for day in days {
            let now = from + day * DAY;
            let Some(event) = stage.event(evidence, now) else { continue };
            match &event {
                Event::Announce(step) => stage.next = Some(step.clone()),
                Event::Take(policy) => stage.take(*policy, now),
                Event::CallOff(_) => stage.next = None,
            }
            events.push((day, event));
        }
        events
    }

    #[test]
    fn a_domain_whose_mail_is_authenticated_is_strict_after_seven_weeks_each_step_told_a_week_before() {
        let mut stage = Stage::begin(NOW);
        let days: Vec<_> = lived(&mut stage, NOW, 0..100, &evidence(500, 5, 9))
            .into_iter()
            .map(|(day, event)| (day, matches!(event, Event::Take(_))))
            .collect();
        assert_eq!(days, [(14, false), (21, true), (42, false), (49, true)]);
        assert_eq!((stage.policy, stage.since), (DmarcPolicy::Reject, NOW + 49 * DAY));
    }

    #[test]
    fn without_good_reports_it_stays_for_ever() {
        for bad in [Evidence::default(), evidence(9, 0, 9), evidence(500, 0, 1), evidence(97, 3, 9)] {
            assert!(doubt(&bad).is_some(), "{bad:?}");
            assert_eq!(lived(&mut Stage::begin(NOW), NOW, 0..400, &bad), []);
        }
    }

    #[test]
    fn a_step_that_was_announced_is_called_off_when_reports_turn_bad_and_announced_anew_when_they_are_good() {
        let mut stage = Stage::begin(NOW);
        assert_eq!(lived(&mut stage, NOW, 0..20, &evidence(500, 0, 9)).len(), 1);
        let off = lived(&mut stage, NOW, 20..40, &evidence(90, 10, 9));
        assert!(matches!(off.as_slice(), [(21, Event::CallOff(why))] if why.contains("10 of 100")), "{off:?}");
        let on: Vec<_> = lived(&mut stage, NOW, 40..50, &evidence(90, 0, 9)).into_iter().map(|(day, _)| day).collect();
        assert_eq!((on, stage.policy), (vec![40, 47], DmarcPolicy::Quarantine));
    }

    #[test]
    fn what_the_owner_holds_or_sets_stays() {
        let good = evidence(500, 0, 9);
        let mut held = Stage::begin(NOW);
        lived(&mut held, NOW, 0..15, &good);
        held.hold();
        assert_eq!(lived(&mut held, NOW, 15..400, &good), []);
        let mut back = Stage { policy: DmarcPolicy::Reject, ..Stage::begin(NOW) };
        back.set(DmarcPolicy::None, NOW + DAY);
        assert_eq!(lived(&mut back, NOW, 1..400, &good), []);
        back.hold = false;
        assert_eq!(lived(&mut back, NOW, 400..408, &good).len(), 2);
    }

    #[test]
    fn the_letter_names_the_day_the_way_to_stop_it_and_who_else_sent() {
        let domain = Domain::parse("example.org").unwrap();
        let step = DmarcStep { policy: DmarcPolicy::Reject, at: NOW };
        let mut seen = evidence(500, 1, 9);
        seen.others.push(wire::filter::OtherSource { address: "198.51.100.9".parse().unwrap(), messages: 40 });
        let (subject, text) = announcement(&domain, &step, &seen, true);
        assert!(subject.contains("2026-11-21") && text.contains("dns dmarc hold example.org"), "{subject}\n{text}");
        assert!(text.contains("500 of 501") && text.contains("198.51.100.9: 40 messages"), "{text}");
        let (_, text) = announcement(&domain, &step, &seen, false);
        assert!(text.contains("v=DMARC1; p=reject; rua=mailto:mailstead-reports@example.org"), "{text}");
    }
}
