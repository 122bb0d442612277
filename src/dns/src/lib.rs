//! What the zones of a box say and why; their keys, signatures, and the hand-over to NSD.
//!
//! Invariants:
//! - [`records`] is pure: the same facts give the same records, each with its reason, in both DNS modes.
//! - A zone is handed over whole or not at all, and never without the DKIM keys of its domain: when the filter does
//!   not answer, the zone that is served stays.
//! - Zone keys never leave `dns/`, and are synced before first use. They follow one another by [`rollover`], which is pure.
//! - A zone's serial never goes back.
//! - What the owner adds is parsed before it is kept, and replaces nothing silently ([`custom`]).

mod authorities;
mod challenges;
pub mod custom;
pub mod dkim;
mod dkim_files;
pub mod dmarc;
mod dynamic;
mod error;
mod keys;
mod letters;
pub mod policy;
mod publish;
pub mod records;
mod rollover;
mod secondaries;
mod service;
mod sign;
mod stages;
mod state;
mod world;
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
    // Before anybody is asked, and before the name server starts: nothing that has ended is served.
    if config.dns == base::DnsMode::Box {
        match publish::renew(&paths, &config.hostname, base::time::now_unix()) {
            Ok(zones) if zones.is_empty() => {}
            Ok(zones) => tracing::info!("signatures of {} zones were renewed at the start", zones.len()),
            Err(error) => tracing::error!("signatures wait for the next publication: {error}"),
        }
    }
    let service = Arc::new(service::Dns::new(paths.clone(), config));
    tokio::spawn(Arc::clone(&service).pass_days());
    tokio::spawn(Arc::clone(&service).see_served());
    tracing::info!("ready");
    wire::serve(&paths, service).await.map_err(|error| DnsError::file(&paths.run(), error))
}
