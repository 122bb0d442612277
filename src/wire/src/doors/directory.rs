//! What may be asked of the directory: who exists, who may log in, who may send as whom.

use super::Snapshot;
use base::{Address, Domain, Secret};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

crate::door! { base::Role::Directory;
    /// Where mail for an address goes.
    Resolve { address: Address } -> Resolution, from [Mta, Mailbox];
    /// Whether a password is right. Slow on failure, per client address and per account.
    Authenticate { login: String, password: Secret, service: Service, client: IpAddr } -> Login, from [Mta, Mailbox, Web];
    /// Whether an account may write an address into From or MAIL FROM: its own, its tags, or an alias that leads to it.
    MaySend { account: Address, sender: Address } -> bool, from [Mta];
    /// The domains that get mail here: those of accounts and aliases, sorted.
    Domains {} -> Vec<Domain>, from [Mta, Mailbox, Filter, Dns, Certs, Checks, Backup];
    /// Every account, sorted.
    Accounts {} -> Vec<Account>, from [Mailbox, Checks, Backup];
    /// Adds an account. Refused when the address is taken.
    AddAccount { address: Address, password: Secret, admin: bool } -> (), from [];
    SetPassword { account: Address, password: Secret } -> (), from [];
    /// Removes an account; its mail stays where it is until the mailbox role retires it.
    RemoveAccount { account: Address } -> (), from [];
    /// Adds an alias to accounts of this box.
    AddAlias { address: Address, targets: Vec<Address> } -> (), from [];
    RemoveAlias { address: Address } -> (), from [];
    /// Every alias, sorted; the required ones (postmaster@ and friends) included.
    Aliases {} -> Vec<Alias>, from [];
    /// Makes a consistent copy of `box.db` beside it.
    TakeSnapshot {} -> Snapshot, from [Backup];
}

/// Where mail for an address goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resolution {
    /// To these accounts of this box (one, or an alias's several).
    Accounts(Vec<Address>),
    /// The domain is ours, the address is not.
    Unknown,
    /// The domain is not ours.
    Elsewhere,
}

/// What a login is for; named in the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Service {
    Imap,
    Pop3,
    ManageSieve,
    Submission,
    Panel,
}

/// The outcome of an authentication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Login {
    Granted {
        account: Address,
        admin: bool,
    },
    /// Wrong name or password; which of them is not told.
    Denied,
    /// Too many failures from there or for that account; the password was not looked at.
    Throttled {
        retry_after_seconds: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub address: Address,
    pub admin: bool,
    /// Seconds since 1970.
    pub created: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    pub address: Address,
    pub targets: Vec<Address>,
    /// Whether the box itself keeps it (RFC 2142 names), so that it cannot be removed.
    pub required: bool,
}
