//! What tests turn, so that five minutes' silence or a full disk can be shown in a second. A box has the defaults.

use crate::limits;
use crate::policy::lookups::{Lookups, Silence};
use crate::queue::clock::Clock;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Tuning {
    /// What time it is for the queue and for what is known of others.
    pub clock: Clock,
    /// Who answers questions about clients.
    pub lookups: Arc<dyn Lookups>,
    /// Between commands.
    pub command_within: Duration,
    /// Between two pieces of a message.
    pub piece_within: Duration,
    /// A whole message.
    pub message_within: Duration,
    /// Free space that is left alone, in octets.
    pub free_disk: u64,
    /// Octets of messages in memory.
    pub memory: usize,
    /// Whether clients on this machine are judged like strangers. On a box they are its own.
    pub judge_loopback: bool,
    /// Messages per account and hour.
    pub messages_per_hour: u32,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            clock: Clock::default(),
            lookups: Arc::new(Silence),
            command_within: limits::COMMAND_WITHIN,
            piece_within: limits::DATA_BLOCK_WITHIN,
            message_within: limits::MESSAGE_WITHIN,
            free_disk: limits::FREE_DISK,
            memory: limits::MEMORY,
            judge_loopback: false,
            messages_per_hour: limits::MESSAGES_PER_HOUR,
        }
    }
}
