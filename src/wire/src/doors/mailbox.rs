//! What may be asked of the mailbox besides LMTP (`lmtp.sock`, heard from the MTA alone).

use super::Snapshot;
use base::Address;
use serde::{Deserialize, Serialize};

crate::door! { base::Role::Mailbox;
    /// How much each account keeps.
    AccountUsage {} -> Vec<Usage>, from [Checks];
    /// Makes a consistent copy of one account's `index.db` beside it.
    TakeSnapshot { account: Address } -> Snapshot, from [Backup];
    /// Puts a removed account's mail aside, so that a new account of the same name starts empty.
    Retire { account: Address } -> (), from [];
    /// Moves the mail that was put aside last back; tells whether there was any.
    Reinstate { account: Address } -> bool, from [];
    /// Whether a message of so many octets would still fit into an account's and its domain's quota.
    RoomFor { account: Address, bytes: u64 } -> Room, from [Mta];
    /// Checks every invariant of an account's mail; with `mend` makes right what is wrong.
    Fsck { account: Address, mend: bool } -> Vec<Finding>, from [];
    /// The same for the status checks, which mend nothing. Refused as busy for an account of more messages than are
    /// looked at within a second or so.
    Inspect { account: Address } -> Vec<Finding>, from [Checks];
    /// The removed messages that can still be brought back, the latest removed first, 1,000 at most.
    Removed { account: Address } -> Vec<RemovedMessage>, from [];
    /// Brings removed messages back into their folders: all, or those of a folder, or those removed since a time (in
    /// seconds since 1970).
    Undelete { account: Address, folder: Option<String>, since: Option<u64> } -> Vec<BroughtBack>, from [];
}

/// Whether there is room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Room {
    Enough,
    /// In words for the sender; whether even a small message would be too much.
    Full {
        words: String,
        even_for_small_mail: bool,
    },
}

/// Something that was not as it should be in an account's mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The folder, or what part of the account it concerns.
    pub place: String,
    pub problem: String,
    /// Whether it is mended now.
    pub mended: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedMessage {
    pub folder: String,
    pub subject: Option<String>,
    pub bytes: u64,
    /// Its internal date, in seconds since 1970.
    pub received: u64,
    /// Seconds since 1970.
    pub removed: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BroughtBack {
    pub folder: String,
    pub messages: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub account: Address,
    pub messages: u64,
    pub bytes: u64,
    /// Removed mail that is kept back.
    pub removed_messages: u64,
    pub removed_bytes: u64,
    /// What its full-text index takes.
    pub index_bytes: u64,
}
