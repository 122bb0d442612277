//! What every session shares.

use crate::callout::Callout;
use crate::history::History;
use crate::limits;
use crate::list::Shelves;
use crate::memory::Memory;
use crate::neighbours::Neighbours;
use crate::proto::Reply;
use crate::queue::Queue;
use crate::rates::Rates;
use crate::session::replies;
use base::{Domain, Paths};
use std::sync::Arc;

/// The parts of the box that a session works with.
#[derive(Debug)]
pub struct House {
    pub paths: Paths,
    /// The box's own name.
    pub hostname: Domain,
    /// The owner's domain: whose postmaster a bare `<postmaster>` is, and who reports come from.
    pub home: Domain,
    pub neighbours: Neighbours,
    pub queue: Arc<Queue>,
    pub history: History,
    pub lists: Shelves,
    /// Who other servers' recipients are, where this box is their backup.
    pub callout: Callout,
    pub memory: Memory,
    pub rates: Rates,
    /// What scripts send counts by itself: a flood of mail in must not keep its reader from writing.
    pub automatic: Rates,
}

impl House {
    /// Whether so many octets more may be taken in: mailboxes and queue share a disk, which must not be full.
    pub fn check_disk(&self, more: u64) -> Result<(), Reply> {
        match free(&self.paths.queue()) {
            Ok(free) if free < limits::FREE_DISK.saturating_add(more) => {
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
    Ok(u64::from(disk.blocks_available()).saturating_mul(u64::from(disk.fragment_size())))
}
