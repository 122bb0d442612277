//! Zone keys on disk: ECDSA P-256 (algorithm 13, RFC 8624 §3.1), a private half in BIND's format and a public half as a
//! DNSKEY's base64. Which of them does what is [`crate::rollover`]'s.

use crate::DnsError;
use crate::rollover::{Key, Kind};
use base::{Domain, durable};
use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use domain::base::Name;
use domain::crypto::sign::{GenerateParams, KeyPair, SecretKeyBytes, generate};
use domain::dnssec::sign::keys::SigningKey;
use domain::rdata::Dnskey;
use sha2::{Digest, Sha256, Sha384};
use std::path::{Path, PathBuf};
use wire::dns::Ds;

const PROTOCOL: u8 = 3;
/// ECDSAP256SHA256 (RFC 6605).
const ALGORITHM: u8 = 13;
/// Key tags are 16 bits, so two keys of a zone may have the same; a handful of tries makes that impossible in practice.
const TRIES: u8 = 8;

pub type ZoneKey = SigningKey<Bytes, KeyPair>;

/// Zone key, and for a key signing key secure entry point (RFC 4034 §2.1.1).
fn flags(kind: Kind) -> u16 {
    match kind {
        Kind::Ksk => 257,
        Kind::Zsk => 256,
    }
}

fn files(dir: &Path, file: &str) -> (PathBuf, PathBuf) {
    (dir.join(format!("{file}.private")), dir.join(format!("{file}.public")))
}

/// The name of the files of a zone's only key, from before there were two.
pub fn only_key(dir: &Path, zone: &Domain) -> Option<String> {
    files(dir, zone.as_str()).0.exists().then(|| zone.to_string())
}

/// Reads a key.
pub fn load(dir: &Path, zone: &Domain, file: &str, kind: Kind) -> Result<ZoneKey, DnsError> {
    let (private, public) = files(dir, file);
    let bad = |why: &dyn std::fmt::Display| DnsError::Key(private.clone(), why.to_string());
    let text = std::fs::read_to_string(&private).map_err(|error| DnsError::file(&private, error))?;
    let secret = SecretKeyBytes::parse_from_bind(&text).map_err(|error| bad(&error))?;
    let text = std::fs::read_to_string(&public).map_err(|error| DnsError::file(&public, error))?;
    let public = BASE64_STANDARD.decode(text.trim()).map_err(|error| bad(&error))?;
    let algorithm = domain::base::iana::SecurityAlgorithm::ECDSAP256SHA256;
    let dnskey = Dnskey::new(flags(kind), PROTOCOL, algorithm, public).map_err(|error| bad(&error))?;
    let pair = KeyPair::from_bytes(&secret, &dnskey).map_err(|error| bad(&error))?;
    Ok(SigningKey::new(name(zone)?, flags(kind), pair))
}

/// Makes a key and gives the name of its files. The public half is written first: a private key that is there is whole,
/// and has its public half beside it.
pub fn create(dir: &Path, zone: &Domain, kind: Kind) -> Result<String, DnsError> {
    for _ in 0..TRIES {
        let (secret, dnskey) = generate(&GenerateParams::EcdsaP256Sha256, flags(kind))
            .map_err(|error| DnsError::Key(dir.join(zone.as_str()), error.to_string()))?;
        let file = format!("{zone}+{:05}", dnskey.key_tag());
        let (private, public) = files(dir, &file);
        if private.exists() {
            continue;
        }
        let encoded = BASE64_STANDARD.encode(dnskey.public_key());
        durable::write(&public, encoded.as_bytes(), 0o600).map_err(|error| DnsError::file(&public, error))?;
        let text = secret.display_as_bind().to_string();
        durable::write(&private, text.as_bytes(), 0o600).map_err(|error| DnsError::file(&private, error))?;
        tracing::info!("made the zone key {}", private.display());
        return Ok(file);
    }
    Err(DnsError::Key(dir.join(zone.as_str()), "no key with a tag of its own was found; try again".to_owned()))
}

/// Removes the files of a key that is in the set no more.
pub fn remove(dir: &Path, file: &str) -> Result<(), DnsError> {
    let (private, public) = files(dir, file);
    for path in [private, public] {
        durable::remove(&path).map_err(|error| DnsError::file(&path, error))?;
    }
    Ok(())
}

/// A domain as the library's name type.
pub fn name(domain: &Domain) -> Result<Name<Bytes>, DnsError> {
    domain
        .as_str()
        .parse()
        .map_err(|error: domain::base::name::FromStrError| DnsError::Signing(domain.clone(), error.to_string()))
}

/// A key's DS records with both digests that parents take (RFC 4034 §5.1.4; RFC 8624 §3.3).
pub fn ds(dir: &Path, zone: &Domain, key: &Key) -> Result<[Ds; 2], DnsError> {
    let dnskey = load(dir, zone, &key.file, key.kind)?.dnskey();
    let mut wire_form = Vec::new();
    for label in zone.as_str().split('.') {
        wire_form.push(u8::try_from(label.len()).unwrap_or(63));
        wire_form.extend_from_slice(label.as_bytes());
    }
    wire_form.push(0);
    wire_form.extend_from_slice(&dnskey.flags().to_be_bytes());
    wire_form.extend_from_slice(&[PROTOCOL, ALGORITHM]);
    wire_form.extend_from_slice(dnskey.public_key());
    let one = |digest_type, digest: &[u8]| Ds {
        domain: zone.clone(),
        key_tag: dnskey.key_tag(),
        algorithm: ALGORITHM,
        digest_type,
        digest: hex::encode_upper(digest),
        public_key: BASE64_STANDARD.encode(dnskey.public_key()),
        flags: dnskey.flags(),
    };
    Ok([one(2, &Sha256::digest(&wire_form)), one(4, &Sha384::digest(&wire_form))])
}

/// A DS as in a zone file.
pub fn ds_value(ds: &Ds) -> String {
    format!("{} {} {} {}", ds.key_tag, ds.algorithm, ds.digest_type, ds.digest)
}

/// CDS and CDNSKEY (RFC 7344 §3): what a parent that looks by itself is to take.
pub fn child_records(dir: &Path, zone: &Domain, wanted: &Key) -> Result<String, DnsError> {
    let [sha256, _] = ds(dir, zone, wanted)?;
    let ttl = crate::sign::KEY_TTL;
    Ok(format!(
        "{zone}. {ttl} IN CDS {}\n{zone}. {ttl} IN CDNSKEY {} {PROTOCOL} {ALGORITHM} {}\n",
        ds_value(&sha256),
        sha256.flags,
        sha256.public_key
    ))
}
