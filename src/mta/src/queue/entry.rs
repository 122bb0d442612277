//! One message in the queue: who sent it, and how far each recipient is. Written to disk as `envelope.json`.

use crate::proto::delivery_status::{Notify, ReportWish};
use base::{Address, Domain};
use serde::{Deserialize, Serialize};

/// The envelope and the state of delivery. Invariant: `recipients` is never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub id: String,
    /// `None` for reports, which are never reported about in turn.
    pub sender: Option<Address>,
    /// Seconds since 1970.
    pub queued: u64,
    pub bytes: u64,
    /// Whether the message needs eight bits.
    pub eight_bit: bool,
    /// Whether the message bears the filter's decision already. Mail of the box's own users does not: the field is put
    /// on top for the mailboxes here, and does not travel elsewhere.
    pub judged: bool,
    /// The account whose mail it is; `None` for strangers' mail and the box's own. Senders take turns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Address>,
    /// What every server on the way must be able to do.
    #[serde(default)]
    pub needs: Needs,
    #[serde(default)]
    pub wish: ReportWish,
    /// Whether the owner keeps it back.
    #[serde(default)]
    pub held: bool,
    pub recipients: Vec<Recipient>,
}

/// What a message asks of the servers that pass it on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Needs {
    /// Addresses or header fields outside ASCII (RFC 6531).
    #[serde(default)]
    pub utf8: bool,
    /// TLS with a verified certificate on every hop (RFC 8689).
    #[serde(default)]
    pub require_tls: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    pub address: Address,
    /// Whether it is delivered to this box's mailboxes.
    pub local: bool,
    pub state: State,
    pub tries: u32,
    /// Seconds since 1970; a waiting recipient is due from then on.
    pub next_try: u64,
    /// What the last try met, in words.
    pub last: Option<String>,
    #[serde(default)]
    pub notify: Notify,
    /// The recipient as the first sender wrote it: `rfc822;ann@example.org`, decoded from xtext (RFC 3461 §4.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<String>,
    /// Whether the sender was told that it takes long.
    #[serde(default)]
    pub delay_told: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Waiting,
    Delivered,
    /// Given up, and the sender has been told.
    Failed,
}

/// Where recipients go together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Destination {
    Mailboxes,
    Elsewhere(Domain),
}

impl Recipient {
    pub fn new(address: Address, local: bool, now: u64) -> Self {
        Self {
            address,
            local,
            state: State::Waiting,
            tries: 0,
            next_try: now,
            last: None,
            notify: Notify::default(),
            original: None,
            delay_told: false,
        }
    }

    pub fn destination(&self) -> Destination {
        if self.local { Destination::Mailboxes } else { Destination::Elsewhere(self.address.domain().clone()) }
    }

    pub fn is_due(&self, now: u64) -> bool {
        self.state == State::Waiting && self.next_try <= now
    }
}

impl Entry {
    /// Whether every recipient has come to an end.
    pub fn is_finished(&self) -> bool {
        self.recipients.iter().all(|recipient| recipient.state != State::Waiting)
    }

    /// The due recipients of one destination, no more than fit one transaction.
    pub fn due_at(&self, destination: &Destination, now: u64) -> Vec<Recipient> {
        let due = self.recipients.iter().filter(|r| r.is_due(now) && r.destination() == *destination);
        due.take(crate::limits::RECIPIENTS).cloned().collect()
    }
}
