//! How many connections there are, in all and from each network.

use crate::limits;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts connections. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Slots(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    networks: HashMap<IpAddr, usize>,
}

/// One connection's place, given back when dropped.
#[derive(Debug)]
pub struct Slot {
    slots: Slots,
    network: IpAddr,
}

/// What counts as one peer: an IPv4 address, or an IPv6 /64, which is what one customer is given.
fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) >> 64 << 64)),
    }
}

impl Slots {
    /// A place for a connection from `client`, if there is one.
    pub fn take(&self, client: IpAddr) -> Option<Slot> {
        let network = network(client);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let there = counts.networks.get(&network).copied().unwrap_or(0);
        if counts.all >= limits::CONNECTIONS || there >= limits::CONNECTIONS_PER_NETWORK {
            return None;
        }
        counts.all += 1;
        counts.networks.insert(network, there + 1);
        Some(Slot { slots: self.clone(), network })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.slots.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all = counts.all.saturating_sub(1);
        match counts.networks.get_mut(&self.network) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                counts.networks.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(slots.0.lock().unwrap().networks.is_empty());
    }
}
