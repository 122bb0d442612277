//! What may be asked of the MTA: to send the box's own mail, and what waits in the queue.

use base::Address;
use serde::{Deserialize, Serialize};

crate::door! { base::Role::Mta;
    /// Sends mail of the box itself (reports to the owner). The body is the message, with From, To, Date and Subject;
    /// it is signed, and durable when the answer comes.
    Send { from: Address, to: Address } -> (), from [Checks, Backup, Certs];
    /// What waits for delivery, oldest first, no more than 1,000 entries.
    Queue {} -> Vec<Waiting>, from [Checks];
}

/// One recipient of one message in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    pub id: String,
    pub sender: Option<Address>,
    pub recipient: Address,
    pub bytes: u64,
    /// Seconds since 1970.
    pub queued: u64,
    pub next_try: u64,
    pub tries: u32,
    /// What the last try met, in words.
    pub last: Option<String>,
}
