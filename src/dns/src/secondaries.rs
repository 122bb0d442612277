//! Other servers that answer for the zones: each fetches them by a key of its own (TSIG, RFC 8945), and is told of changes
//! (NOTIFY, RFC 1996).
//!
//! They lie in `dns/secondaries.json`. NSD reads its part of it from `nsd/secondaries.conf`, a folder whose group is
//! NSD's: the keys are readable by no one else.

use crate::{DnsError, state};
use base::{Domain, Paths, Secret, durable};
use base64::prelude::{BASE64_STANDARD, Engine};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use wire::dns::{Secondary, TsigKey};

/// The pattern that every zone includes.
pub const PATTERN: &str = "mailstead";
/// More servers than zones ever have.
const MAX_SERVERS: usize = 12;
const MAX_ADDRESSES: usize = 8;
const ALGORITHM: &str = "hmac-sha256";
/// As long as the hash's output (RFC 8945 §6).
const SECRET_BYTES: usize = 32;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kept {
    #[serde(flatten)]
    pub shown: Secondary,
    secret: Secret,
}

impl Kept {
    pub fn key(&self) -> TsigKey {
        TsigKey { name: self.shown.key.clone(), algorithm: ALGORITHM.to_owned(), secret: self.secret.clone() }
    }
}

fn file(paths: &Paths) -> std::path::PathBuf {
    paths.dns().join("secondaries.json")
}

pub fn load(paths: &Paths) -> Result<Vec<Kept>, DnsError> {
    state::read(&file(paths))
}

pub fn save(paths: &Paths, kept: &[Kept]) -> Result<(), DnsError> {
    state::write(&file(paths), &kept)
}

/// The servers with one more; or a sentence that says why not. A server that is there gets other addresses and keeps its
/// key.
pub fn added(mut kept: Vec<Kept>, server: Domain, addresses: Vec<IpAddr>, own: &Domain) -> Result<Vec<Kept>, String> {
    if addresses.is_empty() || addresses.len() > MAX_ADDRESSES {
        return Err(format!("{server} needs one to {MAX_ADDRESSES} addresses"));
    }
    if server.is_within(own) {
        return Err(format!("{server} is this box itself"));
    }
    if let Some(known) = kept.iter_mut().find(|known| known.shown.server == server) {
        known.shown.addresses = addresses;
        return Ok(kept);
    }
    if kept.len() >= MAX_SERVERS {
        return Err(format!("there are {MAX_SERVERS} secondaries already"));
    }
    let key = format!("{server}.{own}");
    let secret = Secret::new(BASE64_STANDARD.encode(rand::random::<[u8; SECRET_BYTES]>()));
    kept.push(Kept { shown: Secondary { server, addresses, key }, secret });
    Ok(kept)
}

/// NSD's part of it.
fn config(kept: &[Kept]) -> String {
    let mut text = String::from("# Who may fetch the zones, written by mailstead-dns.\n");
    for Kept { shown, secret } in kept {
        let secret = secret.expose();
        text.push_str(&format!("key:\n  name: \"{}\"\n  algorithm: {ALGORITHM}\n  secret: \"{secret}\"\n", shown.key));
    }
    text.push_str(&format!("pattern:\n  name: \"{PATTERN}\"\n"));
    for Kept { shown, .. } in kept {
        for address in &shown.addresses {
            text.push_str(&format!("  notify: {address} \"{0}\"\n  provide-xfr: {address} \"{0}\"\n", shown.key));
        }
    }
    text
}

/// Writes NSD's part when it changed; says whether it did.
pub fn hand_over(paths: &Paths) -> Result<bool, DnsError> {
    let dir = paths.nsd();
    if !dir.exists() {
        durable::create_dir_all(&dir, 0o750).map_err(|error| DnsError::file(&dir, error))?;
    }
    let file = dir.join("secondaries.conf");
    let wanted = config(&load(paths)?);
    if std::fs::read_to_string(&file).ok().as_deref() == Some(&wanted) {
        return Ok(false);
    }
    durable::write(&file, wanted.as_bytes(), 0o640).map_err(|error| DnsError::file(&file, error))?;
    Ok(true)
}
