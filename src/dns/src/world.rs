//! What is seen of a zone in the world: the serial that the box's name server serves, and the DS records that the parent
//! zone's servers show.

use crate::publish::{Look, State};
use crate::rollover::{Keyset, Kind, Parent};
use crate::{DnsError, keys};
use base::{BoxConfig, Domain, Endpoints, HostFacts};
use lookup::{Names, NamesError, compare};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// What NSD has of a zone that was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    AsPublished,
    /// Another version, or none.
    Behind,
    /// NSD does not answer; it reads all when it starts.
    Away,
}

pub struct World {
    names: Names,
    /// The box's own name server.
    server: Option<SocketAddr>,
}

impl World {
    pub fn of(config: &BoxConfig, host: &HostFacts) -> Self {
        let endpoints = Endpoints::of(config);
        let server = match config.demo {
            Some(_) => Some(endpoints.dns.local()),
            None => host.bind.first().map(|address| SocketAddr::new(*address, endpoints.dns.port)),
        };
        Self { names: Names::new(endpoints.resolver), server }
    }

    #[cfg(test)]
    pub fn with_server(server: SocketAddr) -> Self {
        Self { names: Names::new(server), server: Some(server) }
    }

    pub fn names(&self) -> &Names {
        &self.names
    }

    /// What the zone's keys wait for, and nothing else: most of the time nobody is asked.
    pub async fn look(&self, dir: &Path, zone: &Domain, state: &State) -> Look {
        let served = if state.keys.is_confirmed() { None } else { self.served(zone).await };
        let parent = match state.keys.needs_parent() {
            true => self.parent(dir, zone, &state.keys).await.unwrap_or_else(|error| {
                tracing::warn!("the parent of {zone} cannot be looked at: {error}");
                None
            }),
            false => None,
        };
        Look { served, parent }
    }

    async fn served(&self, zone: &Domain) -> Option<u32> {
        lookup::serial(self.server?, zone.as_str()).await.ok()?
    }

    /// Whether NSD serves the version of a zone that was published.
    pub async fn compare(&self, zone: &Domain, published: u32) -> Served {
        let Some(server) = self.server else { return Served::Away };
        match lookup::serial(server, zone.as_str()).await {
            Ok(Some(serial)) if serial == published => Served::AsPublished,
            Ok(_) | Err(NamesError::Failed(..)) => Served::Behind,
            Err(_) => Served::Away,
        }
    }

    /// What the parent's servers show. Those that do not answer are passed over, as long as most do.
    pub async fn parent(&self, dir: &Path, zone: &Domain, keyset: &Keyset) -> Result<Option<Parent>, DnsError> {
        let servers = self.names.above(zone.as_str()).await.map_err(|error| DnsError::Lookup(error.to_string()))?;
        let mut shown = Vec::new();
        for addresses in &servers {
            if let Some(answer) = ds_at(addresses, zone).await {
                shown.push(answer);
            }
        }
        if shown.len().saturating_mul(2) <= servers.len() {
            return Ok(None);
        }
        let mut parent =
            Parent { ttl: shown.iter().map(|(_, ttl)| u64::from(*ttl)).max().unwrap_or(0), ..Parent::default() };
        for key in keyset.keys.iter().filter(|key| key.kind == Kind::Ksk) {
            let ours = keys::ds(dir, zone, key)?.map(|ds| compare::canonical("DS", &keys::ds_value(&ds)));
            let has = |(values, _): &(BTreeSet<String>, u32)| ours.iter().any(|one| values.contains(one));
            if shown.iter().all(has) {
                parent.everywhere.insert(key.file.clone());
            }
            if shown.iter().any(has) {
                parent.anywhere.insert(key.file.clone());
            }
        }
        Ok(Some(parent))
    }
}

/// The DS records that a server shows, at whichever of its addresses answers first.
async fn ds_at(addresses: &[IpAddr], zone: &Domain) -> Option<(BTreeSet<String>, u32)> {
    for address in addresses {
        if let Ok(answer) = lookup::ask(SocketAddr::new(*address, 53), zone.as_str(), "DS", false).await
            && answer.authoritative
        {
            let values = answer.values.iter().map(|value| compare::canonical("DS", value));
            return Some((values.collect(), answer.ttl));
        }
    }
    None
}
