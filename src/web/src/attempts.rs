//! A bound on login attempts from one network, in addition to the directory's own.

use crate::limits::{ATTEMPTS, ATTEMPTS_WINDOW, MAX_NETWORKS};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

#[derive(Debug, Default)]
pub struct Attempts {
    seen: HashMap<IpAddr, (u32, Instant)>,
}

impl Attempts {
    /// Counts an attempt; an error says how long to wait.
    pub fn count(&mut self, client: IpAddr, now: Instant) -> Result<(), Duration> {
        let over = |began: Instant| now.saturating_duration_since(began) >= ATTEMPTS_WINDOW;
        if self.seen.len() >= MAX_NETWORKS {
            self.seen.retain(|_, (_, began)| !over(*began));
        }
        if self.seen.len() >= MAX_NETWORKS {
            // A flood from everywhere: those who are already known keep their turn.
            let oldest = self.seen.iter().min_by_key(|(_, (_, began))| *began).map(|(network, _)| *network);
            oldest.and_then(|network| self.seen.remove(&network));
        }
        let (count, began) = self.seen.entry(network(client)).or_insert((0, now));
        if over(*began) {
            (*count, *began) = (0, now);
        }
        if *count >= ATTEMPTS {
            return Err((*began + ATTEMPTS_WINDOW).saturating_duration_since(now));
        }
        *count += 1;
        Ok(())
    }

    /// A login that succeeded wipes the slate.
    pub fn forget(&mut self, client: IpAddr) {
        self.seen.remove(&network(client));
    }
}

/// An IPv4 address, or an IPv6 /64, which one host has to itself.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_so_many_tries_and_then_waits() {
        let (mut attempts, start) = (Attempts::default(), Instant::now());
        let one: IpAddr = "2001:db8:1:2::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8:1:2:ffff::9".parse().unwrap();
        for _ in 0..ATTEMPTS {
            attempts.count(one, start).unwrap();
        }
        assert!(attempts.count(neighbour, start).unwrap_err() <= ATTEMPTS_WINDOW);
        assert!(attempts.count("192.0.2.1".parse().unwrap(), start).is_ok());
        assert!(attempts.count(one, start + ATTEMPTS_WINDOW).is_ok());
    }
}
