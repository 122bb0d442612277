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
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub account: Address,
    pub messages: u64,
    pub bytes: u64,
}
