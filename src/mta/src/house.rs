//! What every session shares.

use crate::callout::Callout;
use crate::delivery::mailboxes::Mailboxes;
use crate::history::History;
use crate::limits;
use crate::list::Shelves;
use crate::memory::Memory;
use crate::neighbours::Neighbours;
use crate::policy::known::Known;
use crate::policy::network::Arrivals;
use crate::proto::Reply;
use crate::queue::Queue;
use crate::rates::Rates;
use crate::round_trips::RoundTrips;
use crate::session::replies;
use crate::tuning::Tuning;
use base::config::Blocklist;
use base::{Address, Domain, Paths};
use std::net::IpAddr;
use std::sync::Arc;

/// The parts of the box that a session works with.
#[derive(Debug)]
pub struct House {
    pub paths: Paths,
    /// The box's own name.
    pub hostname: Domain,
    /// Where its web server is: `https://box.example.org`.
    pub site: String,
    /// The owner's domain: whose postmaster a bare `<postmaster>` is, and who reports come from.
    pub home: Domain,
    pub neighbours: Neighbours,
    pub mailboxes: Arc<Mailboxes>,
    pub queue: Arc<Queue>,
    pub history: History,
    pub lists: Shelves,
    /// Who other servers' recipients are, where this box is their backup.
    pub callout: Callout,
    pub memory: Memory,
    /// The owner's address: whose box it is, and who is told.
    pub owner: Address,
    /// The box's public addresses.
    pub own_addresses: Vec<IpAddr>,
    pub blocklists: Arc<[Blocklist]>,
    /// `None` when it cannot be opened: then nobody is held up, and nobody braked.
    pub known: Option<Known>,
    pub arrivals: Arrivals,
    pub tuning: Tuning,
    /// What scripts send counts by itself: a flood of mail in must not keep its reader from writing.
    pub automatic: Rates,
    pub round_trips: RoundTrips,
}

/// What is known of others; without it mail flows on.
pub fn known(paths: &Paths) -> Option<Known> {
    let known = Known::open(&paths.queue());
    known.inspect_err(|error| tracing::error!("nothing is greylisted and nobody braked: {error}")).ok()
}

impl House {
    /// Whether a client's address is to be judged: this machine's own programs are no strangers, by whichever of its
    /// addresses they come.
    pub fn is_stranger(&self, client: IpAddr) -> bool {
        (self.tuning.judge_loopback || !client.is_loopback()) && !self.own_addresses.contains(&client)
    }

    /// What time it is, in seconds since 1970.
    pub fn now(&self) -> u64 {
        self.tuning.clock.now()
    }

    /// Forgets what is old, now and then, until the process ends.
    pub async fn forget_old(self: Arc<Self>) {
        loop {
            if let Some(known) = &self.known
                && let Err(error) = known.purge(self.now())
            {
                tracing::warn!("what is known of others cannot be purged: {error}");
            }
            tokio::time::sleep(limits::KNOWN_PURGE_EVERY).await;
        }
    }

    /// Whether so many octets more may be taken in: mailboxes and queue share a disk, which must not be full.
    pub fn check_disk(&self, more: u64) -> Result<(), Reply> {
        match free(&self.paths.queue()) {
            Ok(free) if free < self.tuning.free_disk.saturating_add(more) => {
                tracing::error!("mail is put off: {} MB are free on the disk", free >> 20);
                Err(replies::DISK_FULL.reply())
            }
            Ok(_) => Ok(()),
            // Writing will tell.
            Err(error) => {
                tracing::warn!("how much of the disk is free is not known: {error}");
                Ok(())
            }
        }
    }
}

/// Octets that may still be written where `folder` lies.
fn free(folder: &std::path::Path) -> std::io::Result<u64> {
    let disk = nix::sys::statvfs::statvfs(folder)?;
    Ok(disk.blocks_available().saturating_mul(disk.fragment_size()))
}
