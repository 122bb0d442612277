//! Zone keys: one combined signing key for each zone, ECDSA P-256 (algorithm 13, RFC 8624 §3.1).

use crate::DnsError;
use base::{Domain, durable};
use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use domain::base::Name;
use domain::crypto::sign::{GenerateParams, KeyPair, SecretKeyBytes, generate};
use domain::dnssec::sign::keys::SigningKey;
use domain::rdata::Dnskey;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use wire::dns::Ds;

/// Zone key and secure entry point (RFC 4034 §2.1.1): a single key that signs everything.
pub const FLAGS: u16 = 257;
const PROTOCOL: u8 = 3;
/// ECDSAP256SHA256 (RFC 6605).
const ALGORITHM: u8 = 13;

pub type ZoneKey = SigningKey<Bytes, KeyPair>;

/// The files of a zone's key: the private half (BIND's format), and the public half as a DNSKEY's base64.
fn files(dir: &Path, zone: &Domain) -> (PathBuf, PathBuf) {
    (dir.join(format!("{zone}.private")), dir.join(format!("{zone}.public")))
}

/// Reads the zone's key, and makes it when there is none.
pub fn load_or_create(dir: &Path, zone: &Domain) -> Result<ZoneKey, DnsError> {
    let (private, public) = files(dir, zone);
    if !private.exists() {
        create(&private, &public)?;
    }
    let bad = |why: &dyn std::fmt::Display| DnsError::Key(private.clone(), why.to_string());
    let text = std::fs::read_to_string(&private).map_err(|error| DnsError::file(&private, error))?;
    let secret = SecretKeyBytes::parse_from_bind(&text).map_err(|error| bad(&error))?;
    let dnskey = read_public(&public)?;
    let pair = KeyPair::from_bytes(&secret, &dnskey).map_err(|error| bad(&error))?;
    let owner = name(zone)?;
    Ok(SigningKey::new(owner, FLAGS, pair))
}

/// The public half is written first: a private key that is there is whole, and has its public half beside it.
fn create(private: &Path, public: &Path) -> Result<(), DnsError> {
    let (secret, dnskey) = generate(&GenerateParams::EcdsaP256Sha256, FLAGS)
        .map_err(|error| DnsError::Key(private.to_owned(), error.to_string()))?;
    let encoded = BASE64_STANDARD.encode(dnskey.public_key());
    durable::write(public, encoded.as_bytes(), 0o600).map_err(|error| DnsError::file(public, error))?;
    let text = secret.display_as_bind().to_string();
    durable::write(private, text.as_bytes(), 0o600).map_err(|error| DnsError::file(private, error))?;
    tracing::info!("made the zone key {}", private.display());
    Ok(())
}

fn read_public(public: &Path) -> Result<Dnskey<Vec<u8>>, DnsError> {
    let bad = |why: &dyn std::fmt::Display| DnsError::Key(public.to_owned(), why.to_string());
    let text = std::fs::read_to_string(public).map_err(|error| DnsError::file(public, error))?;
    let key = BASE64_STANDARD.decode(text.trim()).map_err(|error| bad(&error))?;
    Dnskey::new(FLAGS, PROTOCOL, domain::base::iana::SecurityAlgorithm::ECDSAP256SHA256, key)
        .map_err(|error| bad(&error))
}

/// A domain as the library's name type.
pub fn name(domain: &Domain) -> Result<Name<Bytes>, DnsError> {
    domain
        .as_str()
        .parse()
        .map_err(|error: domain::base::name::FromStrError| DnsError::Signing(domain.clone(), error.to_string()))
}

/// The DS record that the parent zone must hold (RFC 4034 §5.1.4, SHA-256).
pub fn ds(zone: &Domain, key: &ZoneKey) -> Ds {
    let dnskey = key.dnskey();
    let mut wire_form = Vec::new();
    for label in zone.as_str().split('.') {
        wire_form.push(u8::try_from(label.len()).unwrap_or(63));
        wire_form.extend_from_slice(label.as_bytes());
    }
    wire_form.push(0);
    wire_form.extend_from_slice(&FLAGS.to_be_bytes());
    wire_form.extend_from_slice(&[PROTOCOL, ALGORITHM]);
    wire_form.extend_from_slice(dnskey.public_key());
    Ds {
        domain: zone.clone(),
        key_tag: dnskey.key_tag(),
        algorithm: ALGORITHM,
        digest_type: 2,
        digest: hex::encode_upper(Sha256::digest(&wire_form)),
        public_key: BASE64_STANDARD.encode(dnskey.public_key()),
        flags: FLAGS,
    }
}
