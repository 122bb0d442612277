//! What the zones of a box say and why; their keys, signatures, and the hand-over to NSD.
//!
//! Invariants:
//! - [`records`] is pure: the same facts give the same records, each with its reason, in both DNS modes.
//! - A zone is handed over whole or not at all, and never without the DKIM keys of its domain: when the filter does
//!   not answer, the zone that is served stays.
//! - Zone keys are made once, synced before first use, and never leave `dns/`.
//! - A zone's serial never goes back.

mod challenges;
pub mod dmarc;
mod error;
mod keys;
pub mod policy;
mod publish;
pub mod records;
mod service;
mod sign;
mod stages;
pub mod zonefile;

pub use error::DnsError;

use base::Paths;
use std::sync::Arc;

/// Answers at the dns door until the process ends.
pub async fn run(paths: Paths) -> Result<(), DnsError> {
    let config = base::BoxConfig::load(&paths)?;
    for (dir, mode) in [(paths.dns(), 0o700), (paths.zones(), 0o755)] {
        base::durable::create_dir_all(&dir, mode).map_err(|error| DnsError::file(&dir, error))?;
    }
    let service = Arc::new(service::Dns::new(paths.clone(), config));
    tokio::spawn(Arc::clone(&service).pass_days());
    tracing::info!("ready");
    wire::serve(&paths, service).await.map_err(|error| DnsError::file(&paths.run(), error))
}
