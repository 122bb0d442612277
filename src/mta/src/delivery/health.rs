//! What is remembered of other people's servers: which address was lately in trouble, and which host has spoken TLS.
//! In memory alone, bounded; forgetting costs a try. Times are the queue's clock's, in seconds since 1970.

use super::Trouble;
use crate::limits;
use base::Domain;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Addresses that could not be reached or turned us away at the door. They rest, whichever domain's mail is for them.
#[derive(Debug)]
pub struct Health {
    first: u64,
    resting: Mutex<HashMap<IpAddr, Rest>>,
}

#[derive(Debug, Clone)]
struct Rest {
    until: u64,
    length: u64,
    trouble: Trouble,
}

impl Health {
    /// `first` is how long an address rests after its first failure.
    pub fn new(first: Duration) -> Self {
        Self { first: first.as_secs().max(1), resting: Mutex::default() }
    }

    /// The trouble that an address was last in, while it rests.
    pub fn resting(&self, address: IpAddr, now: u64) -> Option<Trouble> {
        let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting.get(&address).filter(|rest| now < rest.until).map(|rest| rest.trouble.clone())
    }

    pub fn failed(&self, address: IpAddr, trouble: Trouble, now: u64) {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        // A failure counts as another in a row until as long again has passed as the rest was.
        make_room(&mut resting, &address, |rest| now < rest.until + rest.length);
        let length = match resting.get(&address) {
            // Two deliveries that were under way at once met the same failure.
            Some(rest) if now < rest.until => rest.length,
            Some(rest) if now < rest.until + rest.length => (rest.length * 2).min(limits::HOST_REST_LONGEST.as_secs()),
            _ => self.first,
        };
        resting.insert(address, Rest { until: now + length, length, trouble });
    }

    /// All may be tried again: their owner says so.
    pub fn forget(&self) {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub fn good(&self, address: IpAddr) {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner).remove(&address);
    }
}

/// Hosts that have spoken TLS. One of them is not sent plain text as soon as TLS fails: that is what an attacker who
/// strips STARTTLS would want. It gets [`limits::TLS_DOUBT`] to mend itself, in which mail waits; after that it is taken
/// to have given TLS up.
#[derive(Debug, Default)]
pub struct TlsPast {
    hosts: Mutex<HashMap<Domain, Past>>,
}

#[derive(Debug, Clone, Copy)]
struct Past {
    good: u64,
    failing: Option<u64>,
}

impl TlsPast {
    pub fn good(&self, host: &Domain, now: u64) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        make_room(&mut hosts, host, |past| now < past.good + limits::TLS_REMEMBERED.as_secs());
        hosts.insert(host.clone(), Past { good: now, failing: None });
    }

    /// Notes that TLS does not work now; whether plain text may be sent instead.
    pub fn failed(&self, host: &Domain, now: u64) -> bool {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        match hosts.get_mut(host).filter(|past| now < past.good + limits::TLS_REMEMBERED.as_secs()) {
            Some(past) => now >= *past.failing.get_or_insert(now) + limits::TLS_DOUBT.as_secs(),
            None => true,
        }
    }
}

/// Drops what no longer counts when the table is full, and all of it when that does not help.
fn make_room<K: Hash + Eq, V>(table: &mut HashMap<K, V>, key: &K, counts: impl Fn(&V) -> bool) {
    if table.len() >= limits::HOSTS_REMEMBERED && !table.contains_key(key) {
        table.retain(|_, value| counts(value));
        if table.len() >= limits::HOSTS_REMEMBERED {
            table.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_trouble_rests_longer_each_time() {
        let (minute, start) = (60, 1_000);
        let health = Health::new(Duration::from_secs(minute));
        let address = IpAddr::from([192, 0, 2, 1]);
        let trouble = Trouble::new("4.4.1", "it is down");
        health.failed(address, trouble.clone(), start);
        assert_eq!(health.resting(address, start + minute / 2), Some(trouble.clone()));
        assert_eq!(health.resting(address, start + minute), None);
        let mut now = start + minute;
        for expected in [2, 4, 8, 16, 30, 30] {
            health.failed(address, trouble.clone(), now);
            health.failed(address, trouble.clone(), now);
            assert!(health.resting(address, now + minute * expected - 1).is_some());
            now += minute * expected;
            assert!(health.resting(address, now).is_none());
        }
        health.good(address);
        health.failed(address, trouble, now);
        assert!(health.resting(address, now + minute).is_none());
    }

    #[test]
    fn a_host_that_had_tls_is_given_a_day_before_it_gets_plain_text() {
        let (past, host, now) = (TlsPast::default(), Domain::parse("mx.example.net").unwrap(), 1_000);
        assert!(past.failed(&host, now));
        past.good(&host, now);
        assert!(!past.failed(&host, now));
        assert!(!past.failed(&host, now + limits::TLS_DOUBT.as_secs() / 2));
        assert!(past.failed(&host, now + limits::TLS_DOUBT.as_secs()));
        past.good(&host, now + limits::TLS_DOUBT.as_secs());
        assert!(!past.failed(&host, now + limits::TLS_DOUBT.as_secs() * 2));
        assert!(past.failed(&host, now + limits::TLS_DOUBT.as_secs() + limits::TLS_REMEMBERED.as_secs()));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (past, now) = (TlsPast::default(), 1_000);
        for n in 0..=limits::HOSTS_REMEMBERED {
            past.good(&Domain::parse(&format!("mx{n}.example")).unwrap(), now);
        }
        assert!(past.hosts.lock().unwrap().len() <= limits::HOSTS_REMEMBERED);
    }
}
