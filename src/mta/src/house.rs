//! What every session shares.

use crate::history::History;
use crate::memory::Memory;
use crate::neighbours::Neighbours;
use crate::queue::Queue;
use crate::rates::Rates;
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
    pub memory: Memory,
    pub rates: Rates,
    /// What scripts send counts by itself: a flood of mail in must not keep its reader from writing.
    pub automatic: Rates,
}
