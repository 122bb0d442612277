//! Sees to it that what was published is served.
//!
//! NSD can lose a reload that comes while it is busy with one, and systemd a change of the stamp that comes while the unit
//! runs that the stamp starts; either way the world would be told the old zone until the next publication. So NSD itself is
//! asked after each, and told again until it serves what is on the disk.

use super::Dns;
use crate::world::{Served, World};
use crate::{DnsError, publish};
use base::{DnsMode, Domain};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// A reload takes some tenths of a second.
const FIRST_LOOK: Duration = Duration::from_secs(2);
/// Longest time between two looks, each twice as late as the one before.
const LAST_LOOK: Duration = Duration::from_secs(300);

impl Dns {
    /// Looks at the start and after each publication, until the process ends.
    pub async fn see_served(self: Arc<Self>) {
        let mut wait = FIRST_LOOK;
        loop {
            // A publication meanwhile has a reload of its own under way.
            if timeout(wait, self.handed_over.notified()).await.is_ok() {
                wait = FIRST_LOOK;
                continue;
            }
            let found = self.tell_again().await;
            let found = found.inspect_err(|error| tracing::warn!("whether the zones are served is not known: {error}"));
            wait = match found {
                Ok(Served::AsPublished) => {
                    self.handed_over.notified().await;
                    FIRST_LOOK
                }
                Ok(Served::Behind | Served::Away) | Err(_) => (wait * 2).min(LAST_LOOK),
            };
        }
    }

    /// Tells NSD again where it is behind, and says what was found.
    async fn tell_again(&self) -> Result<Served, DnsError> {
        // The first publication is set-up's to ask for.
        if self.config.dns == DnsMode::External || !self.paths.zones().join("zones.conf").exists() {
            return Ok(Served::AsPublished);
        }
        let zones = self.facts().await?.zones();
        let world = World::of(&self.config, &self.host()?);
        self.tell_again_of(&zones, &world).await
    }

    pub(super) async fn tell_again_of(&self, zones: &[Domain], world: &World) -> Result<Served, DnsError> {
        for zone in zones {
            let serial = publish::state(&self.paths, zone)?.serial;
            if serial == 0 {
                continue; // a domain that is new, and not published yet
            }
            match world.compare(zone, serial).await {
                Served::AsPublished => {}
                Served::Away => return Ok(Served::Away),
                Served::Behind => {
                    tracing::warn!("NSD does not serve {zone} as it was published, serial {serial}; it is told again");
                    publish::tell(&self.paths, base::time::now_unix())?;
                    return Ok(Served::Behind);
                }
            }
        }
        Ok(Served::AsPublished)
    }
}
