//! How many connections there are: in all, from each peer, and from each neighbourhood.

use crate::limits;
use crate::policy::network::{peer, site};
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts connections. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Slots(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    peers: HashMap<IpAddr, usize>,
    sites: HashMap<IpAddr, usize>,
}

/// One connection's place, given back when dropped.
#[derive(Debug)]
pub struct Slot {
    slots: Slots,
    client: IpAddr,
}

impl Slots {
    /// A place for a connection from `client`, if there is one.
    pub fn take(&self, client: IpAddr) -> Option<Slot> {
        let (peer, site) = (peer(client), site(client));
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let there = |of: &HashMap<IpAddr, usize>, who| of.get(&who).copied().unwrap_or(0);
        if counts.all >= limits::CONNECTIONS
            || there(&counts.peers, peer) >= limits::CONNECTIONS_PER_NETWORK
            || there(&counts.sites, site) >= limits::CONNECTIONS_PER_SITE
        {
            return None;
        }
        counts.all += 1;
        *counts.peers.entry(peer).or_default() += 1;
        *counts.sites.entry(site).or_default() += 1;
        Some(Slot { slots: self.clone(), client })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.slots.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all = counts.all.saturating_sub(1);
        less(&mut counts.peers, peer(self.client));
        less(&mut counts.sites, site(self.client));
    }
}

fn less<K: Eq + Hash>(counts: &mut HashMap<K, usize>, who: K) {
    match counts.get_mut(&who) {
        Some(count) if *count > 1 => *count -= 1,
        _ => drop(counts.remove(&who)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    #[test]
    fn one_network_cannot_take_every_place() {
        let slots = Slots::default();
        let held: Vec<_> = (0..1_000u16)
            .filter_map(|n| slots.take(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n))))
            .collect();
        assert_eq!(held.len(), limits::CONNECTIONS_PER_NETWORK);
        let other = IpAddr::from([192, 0, 2, 1]);
        assert!(slots.take(other).is_some());
        drop(held);
        let counts = slots.0.lock().unwrap();
        assert!(counts.peers.is_empty() && counts.sites.is_empty());
    }

    #[test]
    fn a_neighbourhood_has_its_bound_as_well() {
        let slots = Slots::default();
        let held: Vec<_> = (0..=255).filter_map(|last| slots.take(IpAddr::from([192, 0, 2, last]))).collect();
        assert_eq!(held.len(), limits::CONNECTIONS_PER_SITE);
        assert!(slots.take(IpAddr::from([192, 0, 3, 1])).is_some());
    }
}
