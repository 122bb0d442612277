//! Certificates: one for all names of the box, on one key that is kept, so that TLSA records stay right.
//!
//! Invariants:
//! - `tls/key.pem` is made once. There is always a certificate for it: its own until one is issued.
//! - `tls/chain.pem` is only ever replaced by a chain that belongs to the key and that was issued just now.
//! - A name that does not lead to this box is not asked for, so that it cannot hold back the others.
//!
//! This is no daemon: a timer runs it twice a day, and set-up whenever names changed.

mod acme;
mod inspect;
mod local;
mod names;

pub use inspect::{Certificate, served};
pub use local::initial;
pub use names::{reachable, wanted};

use base::{BoxConfig, Paths};
use std::path::PathBuf;

/// A third of its life before the end a certificate is renewed, as Let's Encrypt advises.
const RENEW_AT_REMAINING: f64 = 1.0 / 3.0;
/// Let's Encrypt allows five failures an hour for a name; two in a run leave room for the owner's own tries.
const AGAIN_AFTER: std::time::Duration = std::time::Duration::from_secs(3);

#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    #[error(transparent)]
    Config(#[from] base::config::ConfigError),
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    #[error("the certificate or key cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    #[error("the certificate in {0} cannot be read: {1}")]
    Unreadable(PathBuf, String),
    #[error("{0}")]
    Acme(#[from] instant_acme::Error),
    #[error("no certificate was issued: {0}")]
    Refused(String),
    #[error(transparent)]
    Neighbour(#[from] wire::WireError),
    #[error("the resolver cannot be set up: {0}")]
    Resolver(String),
}

impl CertsError {
    fn file(path: &std::path::Path, error: std::io::Error) -> Self {
        Self::File(path.to_owned(), error)
    }
}

/// Why a certificate is due now, in words; `None` when it is good for a while.
pub fn due(paths: &Paths, names: &[String], now: u64) -> Result<Option<String>, CertsError> {
    let Some(certificate) = served(paths)? else { return Ok(Some("there is no certificate yet".to_owned())) };
    if certificate.self_signed {
        return Ok(Some("the certificate is the box's own, which nobody trusts".to_owned()));
    }
    let life = certificate.not_after.saturating_sub(certificate.not_before) as f64;
    if (certificate.not_after.saturating_sub(now) as f64) < life * RENEW_AT_REMAINING {
        return Ok(Some(format!("the certificate ends on {}", base::time::readable(certificate.not_after))));
    }
    let missing = names.iter().find(|name| !certificate.names.contains(*name));
    Ok(missing.map(|name| format!("the certificate does not cover {name}")))
}

/// One run: gets a certificate if one is due, and says in words what was done. A demo has its own authority.
pub async fn run(paths: Paths) -> Result<String, CertsError> {
    let config = BoxConfig::load(&paths)?;
    initial(&paths, &config)?;
    if config.demo.is_some() {
        return Ok("a demo keeps the certificate of its own authority".to_owned());
    }
    let names = names::reachable(&paths, &config).await?;
    if !names.iter().any(|name| name == config.hostname.as_str()) {
        return Ok(format!(
            "{} does not lead to this box in public DNS yet, so no certificate is asked for",
            config.hostname
        ));
    }
    let Some(why) = due(&paths, &names, base::time::now_unix())? else {
        return Ok("the certificate is good for a while".to_owned());
    };
    tracing::info!("asking for a certificate for {}: {why}", names.join(", "));
    let covered = issue(&paths, &config, names).await?;
    Ok(format!("a certificate was issued for {}", covered.join(", ")))
}

/// Asks once more when it fails, since authorities and name servers have bad moments; then for the hostname alone, so
/// that the other names do not keep the box itself without a certificate. Returns the names that it covers.
async fn issue(paths: &Paths, config: &BoxConfig, names: Vec<String>) -> Result<Vec<String>, CertsError> {
    let Err(error) = acme::issue(paths, config, &names).await else { return Ok(names) };
    tracing::warn!("{error}; asking once more");
    tokio::time::sleep(AGAIN_AFTER).await;
    let Err(error) = acme::issue(paths, config, &names).await else { return Ok(names) };
    let host = vec![config.hostname.to_string()];
    if names.len() == 1 || due(paths, &host, base::time::now_unix())?.is_none() {
        return Err(error);
    }
    tracing::warn!("{error}; asking for the hostname alone");
    acme::issue(paths, config, &host).await?;
    Ok(host)
}
