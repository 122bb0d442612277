//! What the owner asks for: at the command line as root, while the role that does it is another user. Wishes are left in a
//! file that the role takes; a certificate comes to the role on its standard input.

use crate::limits::MAX_IMPORT;
use crate::roll::{self, Roll, Stage};
use crate::{Certificate, CertsError, import as check, inspect, pair};
use base::{BoxConfig, Paths, durable};
use rcgen::{CertificateParams, DistinguishedName, DnType};
use serde::{Deserialize, Serialize};

/// What the next run is to do besides what is due.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wish {
    /// A certificate now, whatever is due; names that fail are asked for again.
    pub renew: bool,
    /// A new key.
    pub roll: bool,
    /// Names that failed are asked for again: the owner may have mended what was wrong.
    pub again: bool,
}

fn wish_file(paths: &Paths) -> std::path::PathBuf {
    paths.certs().join("wish.json")
}

/// Leaves a wish for the next run.
pub fn wish(paths: &Paths, wish: Wish) -> Result<(), CertsError> {
    let file = wish_file(paths);
    let bad = |error| CertsError::file(&file, error);
    let text = serde_json::to_vec(&wish).map_err(|error| bad(error.into()))?;
    durable::create_dir_all(&paths.certs(), 0o700).map_err(bad)?;
    // Nothing secret, and the role has to read what root wrote.
    durable::write(&file, &text, 0o644).map_err(bad)
}

/// The wish that waits for the next run.
pub fn waiting(paths: &Paths) -> Result<Wish, CertsError> {
    let text = pair::read(&wish_file(paths))?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

/// Takes the wish, once.
pub fn take_wish(paths: &Paths) -> Result<Wish, CertsError> {
    let wish = waiting(paths)?;
    pair::remove(&wish_file(paths))?;
    Ok(wish)
}

/// What became of an imported certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Imported {
    /// It is served.
    Served(Certificate),
    /// It is served once its TLSA record is known everywhere.
    Announced(Certificate),
}

/// A request for a certificate (PKCS #10, in PEM) on the key that is served, for an authority of the owner's choice. What it
/// issues for that key suits the TLSA records that there are.
pub fn request(paths: &Paths, names: &[String]) -> Result<String, CertsError> {
    let served = pair::Pair::served(paths)?;
    if served.key.is_empty() {
        return Err(CertsError::Refused("there is no key yet; run: mailstead apply".to_owned()));
    }
    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name = DistinguishedName::new();
    // Some authorities want a common name; longer ones than this are none (RFC 5280, appendix A.1).
    if let Some(name) = names.first().filter(|name| name.len() <= 64) {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    Ok(params.serialize_request(&served.key_pair()?)?.pem()?)
}

/// A certificate that was requested for the key that is served comes without one.
fn with_own_key(paths: &Paths, text: &str) -> Result<String, CertsError> {
    let (brought, served) = (pair::Pair::parse(text), pair::Pair::served(paths)?);
    if !brought.key.is_empty() || served.key.is_empty() {
        return Ok(text.to_owned());
    }
    let spki = inspect::spki(&served.key_pair()?);
    let is_own = Certificate::first_of(&brought.chain).is_ok_and(|certificate| certificate.spki == spki);
    Ok(if is_own { format!("{text}\n{}", served.key) } else { text.to_owned() })
}

/// Whether a certificate and its key would do (PEM, in one text); an error is one sentence. Changes nothing.
pub fn check_import(paths: &Paths, text: &str, now: u64) -> Result<Certificate, CertsError> {
    if text.len() as u64 > MAX_IMPORT {
        return Err(CertsError::Refused("that is too long to be a certificate and its key".to_owned()));
    }
    let config = BoxConfig::load(paths)?;
    Ok(check::check(&with_own_key(paths, text)?, config.hostname.as_str(), now)?.1)
}

/// Whether an imported certificate is served, or about to be.
pub fn imported(paths: &Paths, now: u64) -> Result<bool, CertsError> {
    Ok(Roll::load(paths, now)?.imported || roll::next_is_imported(paths))
}

/// Takes a certificate of the owner's own (chain and key, PEM). With another key than the one that is served it waits for
/// its TLSA record, unless it is to be served `at_once`.
pub fn import(paths: &Paths, text: &str, at_once: bool, now: u64) -> Result<Imported, CertsError> {
    check_import(paths, text, now)?;
    let config = BoxConfig::load(paths)?;
    let (own, certificate) = check::check(&with_own_key(paths, text)?, config.hostname.as_str(), now)?;
    crate::initial(paths, &config)?;
    roll::settle(paths, now)?;
    let mut roll = Roll::load(paths, now)?;
    let served = inspect::spki(&pair::Pair::served(paths)?.key_pair()?);
    if certificate.spki == served {
        own.serve(paths)?;
        roll.imported = true;
        roll.save(paths)?;
        return Ok(Imported::Served(certificate));
    }
    roll::stage(paths, &mut roll, Some(&own), now)?;
    if !at_once {
        return Ok(Imported::Announced(certificate));
    }
    roll.imported = true;
    roll::switch(paths, &mut roll, &own, now)?;
    Ok(Imported::Served(certificate))
}

/// Goes back to certificates of the authorities; the key that is served is kept. Says whether there was anything to go back
/// from.
pub fn call_off_import(paths: &Paths, now: u64) -> Result<bool, CertsError> {
    roll::settle(paths, now)?;
    let mut roll = Roll::load(paths, now)?;
    let announced = matches!(roll.stage, Stage::Announced { .. }) && roll::next_is_imported(paths);
    if announced {
        roll::call_off(paths, &mut roll)?;
    }
    let was = roll.imported || announced;
    roll.imported = false;
    roll.save(paths)?;
    Ok(was)
}
