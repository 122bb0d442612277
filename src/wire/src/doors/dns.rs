//! What may be asked of the dns role: what the zones say and why, and to publish them.

use base::Domain;
use serde::{Deserialize, Serialize};

crate::door! { base::Role::Dns;
    /// Every record that the box's domains need, with its reason. The same in both modes.
    Records {} -> Vec<Record>, from [Checks];
    /// Builds, signs and hands over every zone whose content or signatures are due; says which zones changed.
    Publish { dry_run: bool } -> Vec<Domain>, from [Certs];
    /// The DS records for the registrar, of one zone.
    DelegationSigners { domain: Domain } -> Vec<Ds>, from [Checks];
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
