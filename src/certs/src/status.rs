//! Where the certificate is in its life, for the owner.

use crate::ledger::{Failure, Ledger};
use crate::renewal::{self, Window};
use crate::roll::{Roll, Stage};
use crate::{Certificate, CertsError, pair, served};
use base::acme::Authority;
use base::{BoxConfig, Paths, durable, time};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// What the last run did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    pub at: u64,
    pub words: String,
    pub failed: bool,
    /// Names that do not lead to this box in public DNS.
    pub elsewhere: Vec<String>,
}

/// All of it. Times are in seconds since 1970.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    pub names: Vec<String>,
    pub issuer: String,
    /// Whether others trust it.
    pub own: bool,
    pub imported: bool,
    pub not_before: u64,
    pub not_after: u64,
    pub days_left: u64,
    /// `None` for one that is not renewed by the box.
    pub renewal_at: Option<u64>,
    /// What the authority suggests (RFC 9773).
    pub window: Option<Window>,
    /// SHA-256 of the public key, as in TLSA 3 1 1.
    pub spki: String,
    pub key_since: u64,
    pub stage: Stage,
    /// What comes next, in words.
    pub next: String,
    /// Names that the authority did not give, and when they are asked for again.
    pub left_out: BTreeMap<String, Failure>,
    pub last: Option<Last>,
}

fn last_file(paths: &Paths) -> std::path::PathBuf {
    paths.certs().join("last.json")
}

pub fn save(paths: &Paths, last: &Last) -> Result<(), CertsError> {
    let file = last_file(paths);
    let bad = |error| CertsError::file(&file, error);
    let text = serde_json::to_vec_pretty(last).map_err(|error| bad(error.into()))?;
    durable::create_dir_all(&paths.certs(), 0o700).map_err(bad)?;
    durable::write(&file, &text, 0o600).map_err(bad)
}

/// Remembers who issued a chain: whom to ask about its renewal.
pub fn issued_by(paths: &Paths, directory: &str, chain: &str) -> Result<(), CertsError> {
    pair::write(&issuer_file(paths), &format!("{directory}\n{}\n", digest(chain)), 0o600)
}

/// Whether a chain is the latest that an authority issued to this box.
pub fn is_issued(paths: &Paths, chain: &str) -> Result<bool, CertsError> {
    let noted = pair::read(&issuer_file(paths))?.unwrap_or_default();
    Ok(noted.lines().nth(1) == Some(digest(chain).as_str()))
}

/// An authority's directory, and the SHA-256 of the latest chain from there.
fn issuer_file(paths: &Paths) -> std::path::PathBuf {
    paths.certs().join("issuer")
}

fn digest(chain: &str) -> String {
    hex::encode(Sha256::digest(chain.trim_end()))
}

/// Who issued what is served, of the authorities in `box.yaml`; the first where nothing was noted.
pub fn issuer(paths: &Paths, config: &BoxConfig) -> Option<Authority> {
    let noted = pair::read(&issuer_file(paths)).ok().flatten();
    let authorities = config.acme.authorities();
    let found =
        noted.and_then(|noted| authorities.iter().find(|one| Some(one.directory.as_str()) == noted.lines().next()));
    found.or(authorities.first()).cloned()
}

impl Window {
    /// What is known for a certificate.
    pub fn load(paths: &Paths, certificate: &str) -> Option<Self> {
        let text = pair::read(&paths.certs().join("window.json")).ok().flatten()?;
        serde_json::from_str::<Self>(&text).ok().filter(|window| window.certificate == certificate)
    }

    pub fn save(&self, paths: &Paths) -> Result<(), CertsError> {
        let file = paths.certs().join("window.json");
        let text = serde_json::to_string_pretty(self).map_err(|error| CertsError::file(&file, error.into()))?;
        pair::write(&file, &text, 0o600)
    }
}

/// Looks only.
pub fn status(paths: &Paths, now: u64) -> Result<Status, CertsError> {
    let none = || CertsError::Refused("there is no certificate yet; run: mailstead apply".to_owned());
    let certificate = served(paths)?.ok_or_else(none)?;
    let roll = Roll::load(paths, now)?;
    let window = Window::load(paths, &crate::run::certificate_id(paths)?);
    let own = crate::run::is_own(&certificate);
    let renewal_at = (!roll.imported && !own).then(|| renewal::at(&certificate, window.as_ref()));
    let last = pair::read(&last_file(paths))?.and_then(|text| serde_json::from_str(&text).ok());
    Ok(Status {
        next: next(&certificate, &roll, own, renewal_at),
        names: certificate.names,
        issuer: certificate.issuer,
        own,
        imported: roll.imported,
        not_before: certificate.not_before,
        not_after: certificate.not_after,
        days_left: certificate.not_after.saturating_sub(now) / 86_400,
        renewal_at,
        window,
        spki: certificate.spki,
        key_since: roll.key_since,
        stage: roll.stage,
        left_out: Ledger::load(paths).failures().clone(),
        last,
    })
}

fn next(certificate: &Certificate, roll: &Roll, own: bool, renewal_at: Option<u64>) -> String {
    match (&roll.stage, roll.switch_at()) {
        (Stage::Announced { .. }, Some(at)) => {
            return format!(
                "a new key is served from {} on, when every resolver knows its TLSA record",
                time::readable(at)
            );
        }
        (Stage::Announced { .. }, None) => {
            return "the next key's TLSA record is published, and waited for on every name server".to_owned();
        }
        (Stage::Retiring { .. }, _) => return "the previous key's TLSA record is removed in an hour or two".to_owned(),
        (Stage::Steady, _) => {}
    }
    match renewal_at {
        Some(at) => format!("it is renewed about {}", time::readable(at)),
        None if own => "a certificate that others trust is asked for when the hostname leads to this box".to_owned(),
        None => format!(
            "import the next one before {}: mailstead certificate import",
            time::readable(certificate.not_after)
        ),
    }
}
