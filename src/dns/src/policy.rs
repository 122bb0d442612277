//! The MTA-STS policy (RFC 8461 §3.2), which nginx serves, and its id, which the zone carries.

use base::Domain;
use sha2::{Digest, Sha256};

/// How long senders may keep the policy: a week, the shortest that RFC 8461 §3.2 calls usual.
const MAX_AGE_SECONDS: u32 = 604_800;

/// The text at `https://mta-sts.DOMAIN/.well-known/mta-sts.txt`, the same for every domain of the box.
pub fn mta_sts(hostname: &Domain) -> String {
    format!("version: STSv1\r\nmode: enforce\r\nmx: {hostname}\r\nmax_age: {MAX_AGE_SECONDS}\r\n")
}

/// The id in `_mta-sts`: changes when and only when the policy does (RFC 8461 §3.1, up to 32 alphanumerics).
pub fn mta_sts_id(hostname: &Domain) -> String {
    hex::encode(&Sha256::digest(mta_sts(hostname).as_bytes())[..10])
}
