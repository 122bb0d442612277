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
    /// What the rules say of a message (the body) by its form and words alone. No name is looked up, and nothing is noted.
    Weigh {} -> Verdict, from [Checks];
    /// From how many messages the filter has learned.
    LearnedFrom {} -> Lessons, from [];
    /// Forgets all that readers taught: the filter judges as it was shipped. Says what it had learned from.
    ForgetLearned {} -> Lessons, from [];
    /// Makes the keys of domains that have none; says which were new.
    EnsureKeys { domains: Vec<Domain> } -> Vec<Domain>, from [Dns];
    /// Makes one more pair of keys of a domain, which signs nothing yet. Again: nothing happens.
    MakeDkimKeys { domain: Domain, generation: u32 } -> (), from [Dns];
    /// Signs by that pair from now on.
    UseDkimKeys { domain: Domain, generation: u32 } -> (), from [Dns];
    /// Removes a pair that does not sign.
    DropDkimKeys { domain: Domain, generation: u32 } -> (), from [Dns];
    /// The public halves of all keys, for the zone.
    DkimKeys { domains: Vec<Domain> } -> Vec<DkimKey>, from [Dns];
    /// Takes a report of another server about our mail (the body is the message that brought it). `authenticated`: the
    /// message was shown to come from the domain that it names. Refused as invalid when it holds no report about one
    /// of our domains.
    TakeReport { authenticated: bool } -> TakenReport, from [Mta];
    /// What others reported of mail from a domain since a time (seconds since 1970). `own` are the addresses that the
    /// box sends from. Only reports that were authenticated count.
    DmarcEvidence { domain: Domain, own: Vec<IpAddr>, since: u64 } -> Evidence, from [Dns, Checks];
    /// The reports that were taken, the latest first, no more than 1,000.
    Reports {} -> Vec<TakenReport>, from [Checks];
    /// One report with what it says.
    ReportShow { id: u64 } -> ReportDetail, from [];
    /// Makes consistent copies of the learned data and of the reports beside them.
    TakeSnapshot {} -> Snapshot, from [Backup];
}

/// The local part of the addresses that reports come to, in every domain of the box.
pub const REPORTS_NAME: &str = "mailstead-reports";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReportKind {
    /// Who sent mail in the domain's name, and whether it was authenticated (RFC 7489).
    Dmarc,
    /// How TLS went on connections to the domain's servers (RFC 8460).
    Tls,
}

/// A report of another server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenReport {
    pub id: u64,
    pub kind: ReportKind,
    /// Who reports, by its own word.
    pub organisation: String,
    /// Our domain that it is about.
    pub domain: Domain,
    /// What it covers, in seconds since 1970.
    pub begin: u64,
    pub end: u64,
    /// DMARC: messages that were aligned. TLS: sessions that succeeded.
    pub good: u64,
    /// DMARC: messages that were not aligned. TLS: sessions that failed.
    pub bad: u64,
    /// Whether the message that brought it was shown to come from the domain that it names.
    pub authenticated: bool,
}

/// How many messages readers moved into Junk, and out of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lessons {
    pub junk: u64,
    pub wanted: u64,
}

/// A report with what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportDetail {
    pub report: TakenReport,
    /// DMARC: from where mail in the domain's name came.
    pub sources: Vec<ReportSource>,
    /// TLS: what went wrong.
    pub failures: Vec<TlsFailure>,
}

/// Mail in a domain's name from one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportSource {
    pub address: IpAddr,
    /// Whether DKIM and SPF passed for the domain.
    pub dkim: bool,
    pub spf: bool,
    pub messages: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsFailure {
    /// RFC 8460 §4.3: `certificate-expired` …
    pub kind: String,
    /// Our server, as the reporter names it; empty where it does not.
    pub host: String,
    pub sessions: u64,
}

/// Whether a domain's own mail is authenticated, as others see it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Days and organisations that reports are about and from.
    pub days: u64,
    pub organisations: u64,
    /// Mail from the box's own addresses and from those that the domain's SPF record names, such as its relay's.
    pub own_aligned: u64,
    pub own_unaligned: u64,
    /// Mail in the domain's name from elsewhere that was not aligned, by address: the most first, no more than 20.
    pub others: Vec<OtherSource>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherSource {
    pub address: IpAddr,
    pub messages: u64,
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
    /// A pair of keys, one for each algorithm, is a generation.
    pub generation: u32,
    /// Whether it signs now.
    pub signing: bool,
    pub selector: String,
    /// The TXT record's value: `v=DKIM1; k=rsa; p=…`.
    pub txt: String,
}
