//! What was asked of the authorities and what came of it, so that their limits are kept and a name that fails is asked for
//! ever more rarely. Kept in `certs/ledger.json`; pure but for loading and saving.

use crate::CertsError;
use crate::limits::*;
use base::{Paths, durable};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How control over a name is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// A file on port 80 (RFC 8555 §8.3).
    #[serde(rename = "http-01")]
    Http,
    /// A TXT record (RFC 8555 §8.4).
    #[serde(rename = "dns-01")]
    Dns,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    orders: Vec<Order>,
    issued: Vec<Issued>,
    failures: BTreeMap<String, Failure>,
    /// Until when an authority is left alone, and why.
    closed: BTreeMap<String, Closed>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Order {
    at: u64,
    authority: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Issued {
    at: u64,
    authority: String,
    names: Vec<String>,
}

/// A name that could not be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// In a row.
    pub count: u32,
    /// Seconds since 1970.
    pub last: u64,
    pub why: String,
    /// When it is asked for again.
    pub again: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    pub until: u64,
    pub why: String,
    /// Whether the authority itself asked for it.
    #[serde(default)]
    pub said: bool,
}

impl Closed {
    /// By a limit of this box's own.
    fn by_limit(until: u64, why: &str) -> Self {
        Self { until, why: why.to_owned(), said: false }
    }
}

impl Ledger {
    /// What is kept; a file that cannot be understood is as none, since only politeness is lost with it.
    pub fn load(paths: &Paths) -> Self {
        let text = std::fs::read(paths.certs().join("ledger.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    pub fn save(&self, paths: &Paths) -> Result<(), CertsError> {
        let file = paths.certs().join("ledger.json");
        let bad = |error| CertsError::file(&file, error);
        let text = serde_json::to_vec_pretty(self).map_err(|error| bad(error.into()))?;
        durable::create_dir_all(&paths.certs(), 0o700).map_err(bad)?;
        durable::write(&file, &text, 0o600).map_err(bad)
    }

    /// The failures, by name.
    pub fn failures(&self) -> &BTreeMap<String, Failure> {
        &self.failures
    }

    /// Whether a name is to be left out for now.
    pub fn pausing(&self, name: &str, now: u64) -> Option<&Failure> {
        self.failures.get(name).filter(|failure| now < failure.again)
    }

    /// Whether an authority may be asked for a certificate of these names now; else why not and until when.
    pub fn open(&self, authority: &str, names: &[String], now: u64) -> Result<(), Closed> {
        if let Some(closed) = self.closed.get(authority).filter(|closed| now < closed.until) {
            return Err(closed.clone());
        }
        let since = |at: u64, span: u64| now.saturating_sub(at) < span;
        let lately = || self.orders.iter().filter(|order| order.authority == authority && since(order.at, LATELY));
        if lately().count() >= MAX_ORDERS_LATELY {
            let first = lately().map(|order| order.at).min().unwrap_or(now);
            return Err(Closed::by_limit(first + LATELY, "it was asked often in the last hours"));
        }
        let this_week = || self.issued.iter().filter(|one| one.authority == authority && since(one.at, WEEK));
        let mut sorted = names.to_vec();
        sorted.sort();
        let same: Vec<u64> = this_week().filter(|one| one.names == sorted).map(|one| one.at).collect();
        let (limit, times) = match same.len() >= MAX_DUPLICATES {
            true => (true, same),
            false => (this_week().count() >= MAX_ISSUED, this_week().map(|one| one.at).collect()),
        };
        match limit {
            true => {
                let first = times.into_iter().min().unwrap_or(now);
                Err(Closed::by_limit(first + WEEK, "it issued as many certificates this week as it does for one box"))
            }
            false => Ok(()),
        }
    }

    pub fn ordered(&mut self, authority: &str, now: u64) {
        self.orders.push(Order { at: now, authority: authority.to_owned() });
    }

    /// A certificate came: its names are in order again.
    pub fn issued(&mut self, authority: &str, names: &[String], now: u64) {
        let mut sorted = names.to_vec();
        sorted.sort();
        sorted.iter().for_each(|name| drop(self.failures.remove(name)));
        self.closed.remove(authority);
        self.issued.push(Issued { at: now, authority: authority.to_owned(), names: sorted });
    }

    /// A name could not be had in this run; the pause doubles each time.
    pub fn failed(&mut self, name: &str, why: &str, now: u64) {
        let count = self.failures.get(name).map_or(0, |failure| failure.count).saturating_add(1);
        let pause = FIRST_PAUSE.saturating_mul(1 << count.saturating_sub(1).min(10)).min(LONGEST_PAUSE);
        let failure = Failure { count, last: now, why: shorten(why), again: now + pause };
        if self.failures.len() < MAX_FAILURES || self.failures.contains_key(name) {
            self.failures.insert(name.to_owned(), failure);
        }
    }

    /// An authority is left alone for a while: as long as it says, within reason.
    pub fn close(&mut self, authority: &str, why: &str, until: Option<u64>, now: u64) {
        let said = until.is_some();
        let until = until.unwrap_or(now + TROUBLE_PAUSE).clamp(now + 60, now + LONGEST_RETRY_AFTER);
        self.closed.insert(authority.to_owned(), Closed { until, why: shorten(why), said });
    }

    /// The owner says that it is mended: names are asked for at once. What authorities asked for is still kept.
    pub fn lift_pauses(&mut self) {
        self.closed.retain(|_, closed| closed.said);
        self.failures.values_mut().for_each(|failure| failure.again = 0);
    }

    /// Forgets what no limit looks at any more, and names that nobody wants any more.
    pub fn prune(&mut self, wanted: &[String], now: u64) {
        self.orders.retain(|order| now.saturating_sub(order.at) < LATELY);
        self.issued.retain(|issued| now.saturating_sub(issued.at) < WEEK);
        self.closed.retain(|_, closed| now < closed.until);
        self.failures.retain(|name, _| wanted.contains(name));
    }
}

fn shorten(words: &str) -> String {
    words.chars().take(MAX_WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_248_000;
    const CA: &str = "https://ca.example/dir";

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_name_that_fails_is_asked_for_ever_more_rarely_and_never_five_times_in_an_hour() {
        let mut ledger = Ledger::default();
        let (mut now, mut tries) = (NOW, Vec::new());
        while now < NOW + 4 * DAY {
            if ledger.pausing("a.example", now).is_none() {
                ledger.failed("a.example", "no address", now);
                tries.push(now);
            }
            now += 600;
        }
        // Two validations in a run, by two ways.
        assert!(tries.windows(2).all(|pair| pair[1] - pair[0] >= 3_600), "{tries:?}");
        assert!(tries.windows(2).all(|pair| pair[1] - pair[0] <= DAY) && (6..12).contains(&tries.len()));
        ledger.lift_pauses();
        assert!(ledger.pausing("a.example", now).is_none());
    }

    #[test]
    fn the_same_names_are_not_asked_for_five_times_in_a_week() {
        let mut ledger = Ledger::default();
        for count in 0..4 {
            assert!(ledger.open(CA, &names(&["b", "a"]), NOW + count).is_ok());
            ledger.issued(CA, &names(&["a", "b"]), NOW + count);
        }
        let closed = ledger.open(CA, &names(&["b", "a"]), NOW + DAY).unwrap_err();
        assert_eq!(closed.until, NOW + WEEK);
        assert!(ledger.open(CA, &names(&["a"]), NOW + DAY).is_ok(), "other names");
        assert!(ledger.open("https://other.example", &names(&["b", "a"]), NOW + DAY).is_ok(), "another authority");
        assert!(ledger.open(CA, &names(&["b", "a"]), NOW + WEEK).is_ok(), "a week later");
    }

    #[test]
    fn an_authority_that_says_when_to_come_again_is_believed_within_reason() {
        let mut ledger = Ledger::default();
        ledger.close(CA, "rate limited", Some(NOW + 7_200), NOW);
        assert!(ledger.open(CA, &[], NOW + 7_199).is_err() && ledger.open(CA, &[], NOW + 7_200).is_ok());
        ledger.close(CA, "gone for good", Some(u64::MAX), NOW);
        assert!(ledger.open(CA, &[], NOW + LONGEST_RETRY_AFTER).is_ok());
        ledger.close(CA, "away", None, NOW);
        assert!(ledger.open(CA, &[], NOW + 60).is_err() && ledger.open(CA, &[], NOW + TROUBLE_PAUSE).is_ok());
        ledger.lift_pauses();
        assert!(ledger.open(CA, &[], NOW + 60).is_ok(), "the owner mended the network");
        ledger.close(CA, "rate limited", Some(NOW + 7_200), NOW);
        ledger.lift_pauses();
        assert!(ledger.open(CA, &[], NOW + 60).is_err(), "its own word holds");
    }

    #[test]
    fn what_no_limit_looks_at_is_forgotten() {
        let mut ledger = Ledger::default();
        ledger.ordered(CA, NOW);
        ledger.issued(CA, &names(&["a"]), NOW);
        ledger.failed("gone.example", "x", NOW);
        ledger.prune(&names(&["a"]), NOW + WEEK);
        assert_eq!(ledger, Ledger::default());
    }
}
