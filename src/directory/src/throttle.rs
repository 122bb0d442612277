//! Slowing down those who guess, without ever locking out the owner.
//!
//! Two counters: failures from a network (an IPv4 address, an IPv6 /64), and failures for an account. Past its limit a
//! counter imposes waits that double up to [`LONGEST_WAIT`]. An address that has lately logged in to an account is
//! trusted for that account and exempt from both: neither strangers nor an old password in another device of the house
//! can shut the owner out. What brakes guessing from there is that each refusal is held back, longer once it fails
//! again and again. Loopback is never counted, since behind it stand the panel and the box's own programs, which count
//! for themselves.

use crate::limits::{
    FAILURES_PER_ACCOUNT, FAILURES_PER_NETWORK, FIRST_WAIT, FORGET_AFTER, LONGEST_WAIT, MAX_REMEMBERED,
    PAUSE_AFTER_FAILURE, PAUSE_WHEN_TRUSTED, REMEMBER_SUCCESS,
};
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// What is remembered of failures and successes.
#[derive(Debug, Default)]
pub struct Throttle {
    networks: HashMap<IpAddr, Failures>,
    accounts: HashMap<String, Failures>,
    successes: HashMap<(String, IpAddr), Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Failures {
    fn wait(self, allowed: u32, now: Instant) -> Option<Duration> {
        let beyond = self.count.checked_sub(allowed)?;
        let wait = FIRST_WAIT.saturating_mul(1 << beyond.min(20)).min(LONGEST_WAIT);
        wait.checked_sub(now.saturating_duration_since(self.last)).filter(|left| !left.is_zero())
    }
}

impl Throttle {
    /// How long this login has to wait, if it has to.
    pub fn wait(&self, login: &str, client: IpAddr, now: Instant) -> Option<Duration> {
        if client.to_canonical().is_loopback() {
            return None;
        }
        if self.is_trusted(login, client, now) {
            return None;
        }
        let by_network =
            self.networks.get(&network(client)).and_then(|failures| failures.wait(FAILURES_PER_NETWORK, now));
        let by_account = self.accounts.get(login).and_then(|failures| failures.wait(FAILURES_PER_ACCOUNT, now));
        by_network.max(by_account)
    }

    /// Counts a failure. Returns how long its answer is to be held back.
    pub fn failed(&mut self, login: &str, client: IpAddr, now: Instant) -> Duration {
        count(&mut self.accounts, login.to_owned(), now);
        if client.to_canonical().is_loopback() {
            return PAUSE_AFTER_FAILURE;
        }
        let network = network(client);
        count(&mut self.networks, network, now);
        let often = self.networks.get(&network).is_some_and(|failures| failures.count >= FAILURES_PER_NETWORK);
        if often && self.is_trusted(login, client, now) { PAUSE_WHEN_TRUSTED } else { PAUSE_AFTER_FAILURE }
    }

    fn is_trusted(&self, login: &str, client: IpAddr, now: Instant) -> bool {
        let success = self.successes.get(&(login.to_owned(), network(client)));
        success.is_some_and(|when| now.saturating_duration_since(*when) < REMEMBER_SUCCESS)
    }

    pub fn succeeded(&mut self, login: &str, client: IpAddr, now: Instant) {
        let network = network(client);
        self.networks.remove(&network);
        make_room(&mut self.successes, |when| *when);
        self.successes.insert((login.to_owned(), network), now);
    }
}

fn count<K: Eq + Hash + Clone>(failures: &mut HashMap<K, Failures>, key: K, now: Instant) {
    make_room(failures, |failures| failures.last);
    let entry = failures.entry(key).or_insert(Failures { count: 0, last: now });
    if now.saturating_duration_since(entry.last) > FORGET_AFTER {
        entry.count = 0;
    }
    entry.count = entry.count.saturating_add(1);
    entry.last = now;
}

/// Drops the older half when the table is full: rare, and linear then.
fn make_room<K: Eq + Hash + Clone, V>(table: &mut HashMap<K, V>, when: impl Fn(&V) -> Instant) {
    if table.len() < MAX_REMEMBERED {
        return;
    }
    let mut times: Vec<Instant> = table.values().map(&when).collect();
    let middle = times.len() / 2;
    let (_, median, _) = times.select_nth_unstable(middle);
    let median = *median;
    table.retain(|_, value| when(value) > median);
}

/// The network that is counted as one: the address for IPv4, the /64 for IPv6.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn guessing_from_one_network_is_slowed_and_forgiven_in_time() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for host in 0..=FAILURES_PER_NETWORK {
            let client = address(&format!("2001:db8::{host:x}"));
            throttle.failed(&format!("user{host}"), client, now);
        }
        let wait = throttle.wait("ann", address("2001:db8::ffff"), now).unwrap();
        assert!(wait >= FIRST_WAIT && wait <= LONGEST_WAIT);
        assert_eq!(throttle.wait("ann", address("2001:db8::ffff"), now + LONGEST_WAIT), None);
        assert_eq!(throttle.wait("ann", address("2001:db8:1::1"), now), None);
    }

    #[test]
    fn strangers_guessing_cannot_lock_out_an_address_that_has_logged_in() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let home = address("192.0.2.1");
        throttle.succeeded("ann", home, now);
        for host in 0..200u32 {
            throttle.failed("ann", address(&format!("198.51.100.{host}")), now);
        }
        assert_eq!(throttle.wait("ann", home, now), None);
        assert!(throttle.wait("ann", address("203.0.113.9"), now).is_some());
    }

    #[test]
    fn an_old_password_in_one_device_does_not_shut_out_the_others_of_the_house() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let home = address("192.0.2.1");
        throttle.succeeded("ann", home, now);
        assert_eq!(throttle.failed("ann", home, now), PAUSE_AFTER_FAILURE);
        for _ in 0..100 {
            throttle.failed("ann", home, now);
        }
        assert_eq!(throttle.wait("ann", home, now), None);
        assert_eq!(throttle.failed("ann", home, now), PAUSE_WHEN_TRUSTED);
        assert!(throttle.wait("bob", home, now).is_some(), "trust is for one account");
        throttle.succeeded("ann", home, now);
        assert_eq!(throttle.wait("bob", home, now), None);
        assert!(throttle.wait("ann", address("192.0.2.2"), now).is_some(), "and for one address");
    }

    #[test]
    fn the_memory_of_failures_is_bounded() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for index in 0..(MAX_REMEMBERED as u32 * 2) {
            let time = now + Duration::from_millis(u64::from(index));
            throttle.failed(&format!("user{index}"), IpAddr::from(index.to_be_bytes()), time);
        }
        assert!(throttle.networks.len() <= MAX_REMEMBERED && throttle.accounts.len() <= MAX_REMEMBERED);
    }
}
