//! What may be asked of the MTA: to send the box's own mail, and what waits in the queue.

use super::directory::Relay;
use base::Address;
use serde::{Deserialize, Serialize};

crate::door! { base::Role::Mta;
    /// Sends mail of the box itself (reports to the owner). The body is the message, with From, To, Date and Subject;
    /// it is signed, and durable when the answer comes.
    Send { from: Address, to: Address } -> (), from [Checks, Backup, Certs];
    /// Sends mail of an account that its Sieve script passes on or writes (the body). Durable when the answer comes.
    SendAs { account: Address, to: Vec<Address>, what: Automatic } -> (), from [Mailbox];
    /// Tries a relay: connects, speaks TLS, logs in, and leaves. A refusal says in a sentence what does not work.
    TestRelay { relay: Relay } -> (), from [];
    /// What waits for delivery, oldest first, no more than 1,000 entries.
    Queue {} -> Vec<Waiting>, from [Checks];
}

/// What a script sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Automatic {
    /// A message that came in, passed on as it is but for a trace on top. Failures are reported to the account, or to
    /// nobody when the message is a report itself.
    Redirect { is_report: bool },
    /// A message of the script's own, with From, To, Date and Subject: signed, and failures are reported to nobody
    /// (RFC 3834 §3.3). From must be an address that the account may use.
    Answer,
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
