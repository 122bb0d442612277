//! What counts as one peer and as one network, and how often a network connects.

use crate::limits;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One peer: an IPv4 address, or an IPv6 /64, which is what one customer is given.
pub fn peer(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => masked(address, 64),
    }
}

/// Its neighbourhood: an IPv4 /24, or an IPv6 /48, which is what one site is given.
pub fn site(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from(u32::from(address) >> 8 << 8)),
        IpAddr::V6(address) => masked(address, 48),
    }
}

/// What comes back when one sender tries again from another of its servers: an IPv4 /24 or an IPv6 /64.
pub fn pool(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => site(client),
        IpAddr::V6(_) => peer(client),
    }
}

fn masked(address: Ipv6Addr, bits: u32) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(u128::from(address) >> (128 - bits) << (128 - bits)))
}

/// How many connections each network has opened in the running minute. Kept in memory; bounded by number.
#[derive(Debug, Default)]
pub struct Arrivals(Mutex<HashMap<IpAddr, (Instant, u32)>>);

const MINUTE: Duration = Duration::from_secs(60);

impl Arrivals {
    /// Counts a connection; `false` when the network has had its share.
    pub fn count(&self, client: IpAddr, now: Instant) -> bool {
        let mut networks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |begun: &Instant| now.saturating_duration_since(*begun) >= MINUTE;
        if networks.len() >= limits::NETWORKS_REMEMBERED {
            networks.retain(|_, (begun, _)| !over(begun));
            // A flood from everywhere: forgetting all is better than keeping somebody out, or growing without end.
            if networks.len() >= limits::NETWORKS_REMEMBERED {
                networks.clear();
            }
        }
        let (begun, count) = networks.entry(site(client)).or_insert((now, 0));
        if over(begun) {
            (*begun, *count) = (now, 0);
        }
        *count += 1;
        *count <= limits::CONNECTIONS_PER_MINUTE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_sites_and_pools_are_what_providers_hand_out() {
        let (four, six): (IpAddr, IpAddr) = ("192.0.2.77".parse().unwrap(), "2001:db8:1:2:3::4".parse().unwrap());
        assert_eq!(
            [peer(four), site(four), pool(four)].map(|a| a.to_string()),
            ["192.0.2.77", "192.0.2.0", "192.0.2.0"]
        );
        let shown = [peer(six), site(six), pool(six)].map(|a| a.to_string());
        assert_eq!(shown, ["2001:db8:1:2::", "2001:db8:1::", "2001:db8:1:2::"]);
    }

    #[test]
    fn a_network_that_connects_without_end_waits_for_the_next_minute_and_others_do_not() {
        let (arrivals, now) = (Arrivals::default(), Instant::now());
        let from = |last: u32| IpAddr::from([192, 0, 2, u8::try_from(last % 250).unwrap()]);
        let taken = (0..500).filter(|n| arrivals.count(from(*n), now)).count();
        assert_eq!(taken, limits::CONNECTIONS_PER_MINUTE as usize);
        assert!(arrivals.count(IpAddr::from([198, 51, 100, 1]), now));
        assert!(arrivals.count(from(1), now + MINUTE));
    }
}
