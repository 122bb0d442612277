//! What may be asked of the dns role: what the zones say and why, and to publish them.

use base::{Domain, Secret};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

crate::door! { base::Role::Dns;
    /// Every record that the box's domains need, with its reason. The same in both modes.
    Records {} -> Vec<Record>, from [Checks];
    /// Builds, signs and hands over every zone whose content or signatures are due; says which zones changed.
    Publish { dry_run: bool } -> Vec<Domain>, from [Certs];
    /// TXT records that show a certificate authority that the box holds a name (RFC 8555 §8.4): these and no others are
    /// published from now on, for an hour at most. Says which zones changed.
    SetChallenges { challenges: Vec<Challenge> } -> Vec<Domain>, from [Certs];
    /// The DS records for the registrar, of one zone: with both digests, and during a rollover first those of the new key,
    /// then those of the old.
    DelegationSigners { domain: Domain } -> Vec<Ds>, from [Checks];
    /// The keys of one zone, and where a rollover stands.
    ZoneKeys { domain: Domain } -> KeysOfZone, from [Checks];
    /// Begins a rollover of a zone's key signing key, or calls it off while the parent does not show the new one.
    Rollover { domain: Domain, step: RolloverStep } -> KeysOfZone, from [];
    /// What the owner added to the zones.
    CustomRecords {} -> Vec<CustomRecord>, from [];
    /// Changes what the owner added; says what stands there then. The zone follows with the next `Publish`.
    ChangeCustom { change: CustomChange } -> Vec<CustomRecord>, from [];
    /// The names whose addresses change, with what they lead to.
    DynamicNames {} -> Vec<DynamicName>, from [];
    /// Makes a token for a name, in place of the one that it had; it is told this once.
    AddDynamic { name: String } -> Secret, from [];
    RemoveDynamic { name: String } -> (), from [];
    /// Leads a name to an address, by the token that was made for it, and publishes it.
    SetDynamicAddress { name: String, token: Secret, address: IpAddr } -> DynamicOutcome, from [Web];
    /// The other servers that answer for the zones. Their keys are told to the owner alone.
    Secondaries {} -> Vec<Secondary>, from [Checks];
    SecondaryKey { server: Domain } -> TsigKey, from [];
    /// A server that fetches the zones by a key of its own (TSIG), and is told of changes.
    AddSecondary { server: Domain, addresses: Vec<IpAddr> } -> TsigKey, from [];
    RemoveSecondary { server: Domain } -> (), from [];
    /// Addresses are to be kept by others for minutes only, until then (seconds since 1970); `None`: as usual.
    PlanMove { until: Option<u64> } -> (), from [];
    /// Where the DKIM keys of each domain stand.
    DkimStages {} -> Vec<DkimStage>, from [Checks];
    /// The next DKIM keys of a domain are made now. The zone follows with the next `Publish`.
    RotateDkim { domain: Domain } -> DkimStage, from [];
    /// How strict each domain's DMARC policy is, and what comes next.
    DmarcStages {} -> Vec<DmarcStage>, from [Checks];
    /// The owner's word on a domain's DMARC policy. The zone follows with the next `Publish`.
    SetDmarc { domain: Domain, change: DmarcChange } -> DmarcStage, from [];
}

/// The TXT records of one validation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// `_acme-challenge.` and a name in a zone of the box's.
    pub name: String,
    pub values: Vec<String>,
}

/// What receivers are asked to do with mail that is not authenticated as its domain's (RFC 7489 §6.3, `p`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DmarcPolicy {
    #[default]
    None,
    Quarantine,
    Reject,
}

impl std::fmt::Display for DmarcPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        })
    }
}

/// A policy to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DmarcStep {
    pub policy: DmarcPolicy,
    /// Seconds since 1970.
    pub at: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DmarcChange {
    /// It stays as it is until it is released; what was announced is called off.
    Hold,
    Release,
    /// At once. It stays until it is released, unless this is the step that was announced.
    Set(DmarcPolicy),
}

/// Where a domain's DMARC policy is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DmarcStage {
    pub domain: Domain,
    pub policy: DmarcPolicy,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// Whether the owner wants it to stay.
    pub hold: bool,
    /// The step that its owner was told of.
    pub announced: Option<DmarcStep>,
    /// The next step at its earliest; `None` at the end, or while it is held.
    pub earliest: Option<DmarcStep>,
    /// The TXT record at `_dmarc.DOMAIN`.
    pub record: String,
}

/// One record of the zone, with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The mail domain whose zone holds it.
    pub zone: Domain,
    /// The owner name, without trailing dot; may have underscores.
    pub name: String,
    /// Seconds.
    pub ttl: u32,
    /// `A`, `MX`, `TXT` …
    pub kind: String,
    /// The value as in a zone file (TXT: the plain text, unquoted and in one piece).
    pub value: String,
    pub need: Need,
    /// Why it is there, in a sentence.
    pub reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    Required,
    Recommended,
    Optional,
    /// Belongs to a zone that the box serves itself (SOA, NS, glue); not for pasting elsewhere.
    BoxOnly,
}

/// A key of a zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneKeyShown {
    pub key_tag: u16,
    /// `ksk` or `zsk`.
    pub kind: String,
    /// `published`, `ready`, `active` or `retired`.
    pub phase: String,
    /// Since when it is served so, in seconds since 1970; `None` while it is not.
    pub since: Option<u64>,
}

/// The keys of a zone, and where a rollover stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysOfZone {
    pub domain: Domain,
    pub keys: Vec<ZoneKeyShown>,
    /// What happens next, in a sentence.
    pub next: String,
    /// Whether the registrar has to be given another DS now.
    pub registrar: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RolloverStep {
    Start,
    Cancel,
}

/// A record that the owner added.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CustomRecord {
    /// Lower case, without trailing dot.
    pub name: String,
    pub kind: String,
    /// As in a zone file (TXT: the plain text).
    pub value: String,
    pub ttl: u32,
    /// Whether it stands in place of the box's own record.
    #[serde(default)]
    pub replace: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CustomChange {
    /// One more record.
    Add(CustomRecord),
    /// These in place of all that the owner added at their name and of their kind.
    Set(Vec<CustomRecord>),
    /// The owner's records at a name, of one kind or any, with one value or any.
    Remove { name: String, kind: Option<String>, value: Option<String> },
}

/// A name whose address changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DynamicName {
    pub name: String,
    pub ipv4: Option<std::net::Ipv4Addr>,
    pub ipv6: Option<std::net::Ipv6Addr>,
    /// When it was last changed, in seconds since 1970.
    pub changed: Option<u64>,
}

/// What became of a change of address. The words are those of the protocol that routers speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DynamicOutcome {
    Good,
    /// It led there already.
    NoChg,
    /// The name and token do not belong together; whether there is such a name is not told.
    BadAuth,
    /// Too often.
    Abuse,
}

/// A server that fetches the zones and answers for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secondary {
    /// Its name in NS records.
    pub server: Domain,
    /// Where it is told of changes, and from where it fetches.
    pub addresses: Vec<IpAddr>,
    /// The name of its key.
    pub key: String,
}

/// What a secondary needs to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TsigKey {
    pub name: String,
    /// `hmac-sha256`.
    pub algorithm: String,
    /// In base64.
    pub secret: Secret,
}

/// Where a domain's DKIM keys stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DkimStage {
    pub domain: Domain,
    /// The selectors that sign.
    pub signing: Vec<String>,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// The next ones, while they become known.
    pub next: Vec<String>,
    /// Former ones that stay for mail under way.
    pub former: Vec<String>,
    /// What happens next, in a sentence.
    pub words: String,
    /// Whether the records have to be entered or removed by hand now (DNS kept elsewhere).
    pub by_hand: bool,
}

/// A DS record in the parts that registrars ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ds {
    pub domain: Domain,
    pub key_tag: u16,
    /// 13 is ECDSAP256SHA256.
    pub algorithm: u8,
    /// 2 is SHA-256, 4 is SHA-384.
    pub digest_type: u8,
    /// Hexadecimal, upper case.
    pub digest: String,
    /// The DNSKEY's public key in base64, for the registrars that want that instead.
    pub public_key: String,
    /// The DNSKEY's flags: 257.
    pub flags: u16,
}
