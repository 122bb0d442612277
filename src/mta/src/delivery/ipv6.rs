//! IPv6 is used for sending only while the box's own address has a name that leads back to it: large providers refuse
//! mail from an IPv6 address without one, for good (Gmail 5.7.25). IPv4 is less strict, and often the only way.

use super::names::Names;
use crate::limits;
use base::Domain;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether IPv6 is used now. Closed at first; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<AtomicBool>);

impl Gate {
    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Looks again and again. Without an IPv6 address of its own the gate stays closed.
    pub async fn watch<N: Names>(self, names: Arc<N>, own: Option<Ipv6Addr>, hostname: Domain) {
        let Some(own) = own else { return };
        tokio::time::sleep(limits::IPV6_FIRST_LOOK).await;
        loop {
            self.look(names.as_ref(), own, &hostname).await;
            tokio::time::sleep(limits::IPV6_LOOK).await;
        }
    }

    /// A question without an answer leaves things as they are.
    async fn look(&self, names: &impl Names, own: Ipv6Addr, hostname: &Domain) {
        let (pointers, addresses) = tokio::join!(names.pointers(IpAddr::V6(own)), names.addresses(hostname));
        let (Ok(pointers), Ok(addresses)) = (pointers, addresses) else { return };
        let confirmed = pointers.contains(hostname) && addresses.contains(&IpAddr::V6(own));
        if self.0.swap(confirmed, Ordering::Relaxed) != confirmed {
            let words = if confirmed { "is used for sending: its name is right" } else { "is not used for sending" };
            tracing::info!("IPv6 {words} ({own}, {hostname})");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::names::{LookupError, Mx};
    use std::sync::Mutex;

    struct Table(Mutex<(Vec<Domain>, Vec<IpAddr>)>);

    impl Names for Table {
        async fn mx(&self, _: &Domain) -> Result<Vec<Mx>, LookupError> {
            Ok(Vec::new())
        }
        async fn addresses(&self, _: &Domain) -> Result<Vec<IpAddr>, LookupError> {
            Ok(self.0.lock().unwrap().1.clone())
        }
        async fn pointers(&self, _: IpAddr) -> Result<Vec<Domain>, LookupError> {
            Ok(self.0.lock().unwrap().0.clone())
        }
    }

    #[tokio::test]
    async fn ipv6_is_used_only_while_its_name_leads_there_and_back() {
        let own: Ipv6Addr = "2001:db8::25".parse().unwrap();
        let hostname = Domain::parse("box.example.org").unwrap();
        let table = Table(Mutex::new((vec![hostname.clone()], vec![own.into()])));
        let gate = Gate::default();
        assert!(!gate.is_open());
        gate.look(&table, own, &hostname).await;
        assert!(gate.is_open());
        for wrong in [(vec![], vec![own.into()]), (vec![hostname.clone()], vec![IpAddr::from([192, 0, 2, 1])])] {
            *table.0.lock().unwrap() = (vec![hostname.clone()], vec![own.into()]);
            gate.look(&table, own, &hostname).await;
            assert!(gate.is_open());
            *table.0.lock().unwrap() = wrong;
            gate.look(&table, own, &hostname).await;
            assert!(!gate.is_open());
        }
    }
}
