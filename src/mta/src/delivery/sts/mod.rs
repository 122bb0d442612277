//! MTA-STS (RFC 8461): a domain's policy, fetched over HTTPS, kept on disk for as long as it asks.
//!
//! What the cache is for: an attacker who hides the record or the policy's server gains nothing as long as an earlier
//! policy holds. So a failure never removes one, and each is durable before it is first used.

pub mod fetch;
pub mod policy;

use super::names::Names;
use crate::limits;
use base::{Domain, durable};
use fetch::{FetchError, Fetcher};
use policy::{Mode, Policy};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Finds and keeps policies.
#[derive(Debug)]
pub struct Sts {
    /// `queue/mta-sts/`, made when there is something to put there.
    folder: PathBuf,
    fetcher: Fetcher,
    known: Mutex<HashMap<Domain, Known>>,
}

/// What is known of a domain.
#[derive(Debug, Clone, Default)]
struct Known {
    kept: Option<Arc<Kept>>,
    /// Seconds since 1970. A failure is not repeated at once (§3.3).
    failed: Option<u64>,
}

/// A policy as it lies on disk, `<domain>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    id: String,
    /// Seconds since 1970.
    fetched: u64,
    policy: Policy,
}

impl Kept {
    fn holds(&self, now: u64) -> bool {
        now < self.fetched.saturating_add(self.policy.max_age)
    }
}

/// What was found for a domain.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// A policy that holds and asks for something.
    pub policy: Option<Arc<Policy>>,
    /// Why the newest could not be had, for the domain's report.
    pub trouble: Option<FetchError>,
}

impl Sts {
    pub fn new(folder: PathBuf, fetcher: Fetcher) -> Self {
        Self { folder, fetcher, known: Mutex::default() }
    }

    /// The policy that holds for a domain now.
    pub async fn find(&self, names: &impl Names, domain: &Domain, now: u64) -> Found {
        let known = self.known(domain).await;
        let kept = known.kept.filter(|kept| kept.holds(now));
        let id = match names.txt(&format!("_mta-sts.{domain}")).await {
            Ok(records) => policy::id(&records),
            Err(error) => {
                tracing::debug!("_mta-sts.{domain}: {error}");
                None
            }
        };
        let Some(id) = id else { return Found { policy: asking(kept), trouble: None } };
        let fresh = |kept: &Arc<Kept>| kept.id == id && now < kept.fetched + limits::STS_REFRESH.as_secs();
        let lately = known.failed.is_some_and(|at| now < at + limits::STS_FETCH_AGAIN.as_secs());
        if kept.as_ref().is_some_and(fresh) || lately {
            return Found { policy: asking(kept), trouble: None };
        }
        match self.fetcher.fetch(names, domain).await {
            Ok(policy) => {
                let kept = Arc::new(Kept { id, fetched: now, policy });
                self.keep(domain, &kept).await;
                Found { policy: asking(Some(kept)), trouble: None }
            }
            Err(error) => {
                tracing::info!("the MTA-STS policy of {domain} cannot be had: {error}");
                self.note(domain, Known { kept: kept.clone(), failed: Some(now) });
                Found { policy: asking(kept), trouble: Some(error) }
            }
        }
    }

    async fn known(&self, domain: &Domain) -> Known {
        if let Some(known) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(domain) {
            return known.clone();
        }
        let file = self.file(domain);
        let read = tokio::task::spawn_blocking(move || std::fs::read(file)).await;
        let kept = read.ok().and_then(Result::ok).and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let known = Known { kept: kept.map(Arc::new), failed: None };
        self.note(domain, known.clone());
        known
    }

    fn note(&self, domain: &Domain, known: Known) {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // What is forgotten here is read from the disk again.
        if all.len() >= limits::STS_DOMAINS && !all.contains_key(domain) {
            all.clear();
        }
        all.insert(domain.clone(), known);
    }

    /// Writes a policy down. One that cannot be written still counts for as long as the process lives.
    async fn keep(&self, domain: &Domain, kept: &Arc<Kept>) {
        self.note(domain, Known { kept: Some(Arc::clone(kept)), failed: None });
        let (folder, file) = (self.folder.clone(), self.file(domain));
        let Ok(bytes) = serde_json::to_vec(kept.as_ref()) else { return };
        let write = move || {
            durable::create_dir_all(&folder, 0o700)?;
            durable::write(&file, &bytes, 0o600)
        };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(write).await {
            tracing::error!("the MTA-STS policy of {domain} cannot be kept: {error}");
        }
    }

    /// Domains have no slashes and never begin with a dot.
    fn file(&self, domain: &Domain) -> PathBuf {
        self.folder.join(format!("{domain}.json"))
    }

    /// Removes files of policies that no longer hold, or that no domain can have. Blocks; runs once a day.
    pub fn tidy(&self, now: u64) {
        let Ok(files) = std::fs::read_dir(&self.folder) else { return };
        for file in files.filter_map(Result::ok) {
            let kept = std::fs::read(file.path()).ok().and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
            if !kept.is_some_and(|kept| kept.holds(now)) {
                let _ = std::fs::remove_file(file.path());
            }
        }
    }
}

fn asking(kept: Option<Arc<Kept>>) -> Option<Arc<Policy>> {
    kept.filter(|kept| kept.policy.mode != Mode::None).map(|kept| Arc::new(kept.policy.clone()))
}
