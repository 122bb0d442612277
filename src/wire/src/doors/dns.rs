//! What may be asked of the dns role: what the zones say and why, and to publish them.

use base::Domain;
use serde::{Deserialize, Serialize};

crate::door! { base::Role::Dns;
    /// Every record that the box's domains need, with its reason. The same in both modes.
    Records {} -> Vec<Record>, from [Checks];
    /// Builds, signs and hands over every zone whose content or signatures are due; says which zones changed.
    Publish { dry_run: bool } -> Vec<Domain>, from [Certs];
    /// TXT records that show a certificate authority that the box holds a name (RFC 8555 §8.4): these and no others are
    /// published from now on, for an hour at most. Says which zones changed.
    SetChallenges { challenges: Vec<Challenge> } -> Vec<Domain>, from [Certs];
    /// The DS records for the registrar, of one zone.
    DelegationSigners { domain: Domain } -> Vec<Ds>, from [Checks];
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

/// A DS record in the parts that registrars ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ds {
    pub domain: Domain,
    pub key_tag: u16,
    /// 13 is ECDSAP256SHA256.
    pub algorithm: u8,
    /// 2 is SHA-256.
    pub digest_type: u8,
    /// Hexadecimal, upper case.
    pub digest: String,
    /// The DNSKEY's public key in base64, for the registrars that want that instead.
    pub public_key: String,
    /// The DNSKEY's flags: 257.
    pub flags: u16,
}
