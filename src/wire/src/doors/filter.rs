//! What may be asked of the filter: judge what comes in, sign what goes out, learn, name its DKIM keys.

use super::Snapshot;
use base::{Address, Domain};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

crate::door! { base::Role::Filter;
    /// Judges a stranger's message (the body, as received, without the MTA's own Received field). `notes` is what the MTA
    /// found out about the client; it counts like the filter's own rules.
    Judge {
        client: IpAddr,
        helo: String,
        sender: Option<Address>,
        recipients: Vec<Address>,
        tls: bool,
        #[serde(default)]
        notes: Vec<Reason>,
    } -> Verdict, from [Mta];
    /// Signs a message (the body) for its From domain. `headers` come first in the sent message.
    Sign { domain: Domain } -> Signed, from [Mta];
    /// Seals a message that is passed on with the domain's key (RFC 8617). The body is the message as it goes out; where
    /// it differs from what came in, the message as it came in stands before it, in `as_received` octets. The fields come
    /// first in the sent message; there are none where the chain may not be continued.
    Seal { domain: Domain, as_received: u64 } -> Signed, from [Mta];
    /// Learns from a message (the body) that its reader moved into or out of Junk.
    Learn { account: Address, spam: bool } -> (), from [Mailbox];
    /// Makes the keys of domains that have none; says which were new.
    EnsureKeys { domains: Vec<Domain> } -> Vec<Domain>, from [Dns];
    /// The public halves, for the zone.
    DkimKeys { domains: Vec<Domain> } -> Vec<DkimKey>, from [Dns];
    /// Makes a consistent copy of the learned data beside it.
    TakeSnapshot {} -> Snapshot, from [Backup];
}

/// What is to be done with a message, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub action: Action,
    /// From 0 (surely wanted) to 10 (surely spam); 5 and more is junk.
    pub score: f32,
    /// Each rule that spoke, in words an owner understands.
    pub reasons: Vec<Reason>,
    /// Header fields to put before the message (Authentication-Results, the score), each ending in CRLF.
    pub headers: String,
    /// The author, when it is shown that the message is from the domain in From.
    #[serde(default)]
    pub author: Option<Address>,
    /// Whether the domain in From asks to refuse or put aside what is not shown to be from it.
    #[serde(default)]
    pub strict: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    pub rule: String,
    pub score: f32,
    pub words: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    Accept,
    Junk,
    /// Refuse in the session, for good: reply code, enhanced code, text.
    Refuse {
        code: u16,
        enhanced: String,
        text: String,
    },
    /// Refuse for now.
    Defer {
        text: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// DKIM-Signature or ARC fields, each ending in CRLF.
    pub headers: String,
}

/// A DKIM key's public half.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DkimKey {
    pub domain: Domain,
    pub selector: String,
    /// The TXT record's value: `v=DKIM1; k=rsa; p=…`.
    pub txt: String,
}
