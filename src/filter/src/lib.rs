//! The filter: says who a message is from, how likely it is spam and why; signs what the box sends; learns.
//!
//! Invariants:
//! - Signing keys never leave this process; the zone gets their public halves.
//! - Every decision comes with its reasons, in the order in which they spoke.
//! - DNS trouble never makes a message worse than unauthenticated.

mod authenticate;
mod classifier;
mod keys;
mod limits;
mod reports;
mod rules;
mod seal;
mod service;
pub mod tokens;
mod verdict;

pub use classifier::{BUCKETS, Weights};

use base::{BoxConfig, Endpoints, Paths};
use std::path::PathBuf;
use std::sync::Arc;

/// Why the filter cannot run.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    #[error(transparent)]
    Config(#[from] base::config::ConfigError),
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    #[error("{0} cannot be opened: {1}")]
    Database(PathBuf, rusqlite::Error),
    #[error("the key in {0} cannot be used: {1}")]
    Key(PathBuf, String),
    #[error("the resolver cannot be set up: {0}")]
    Resolver(String),
}

/// Answers at the filter's door until the process ends.
pub async fn run(paths: Paths) -> Result<(), FilterError> {
    let config = BoxConfig::load(&paths)?;
    let folder = paths.filter();
    base::durable::create_dir_all(&folder, 0o700).map_err(|error| FilterError::File(folder.clone(), error))?;
    let (resolver, options) = base::names::config(Endpoints::of(&config).resolver);
    let authenticator = mail_auth::MessageAuthenticator::new(resolver, options)
        .map_err(|error| FilterError::Resolver(error.to_string()))?;
    let classifier = classifier::Classifier::open(&folder.join("spam.db"))
        .map_err(|error| FilterError::Database(folder.join("spam.db"), error))?;
    let keys = keys::Keys::open(folder.join("dkim"))?;
    let reports = reports::Reports::open(&folder.join("reports.db"));
    let reports = Arc::new(reports.map_err(|error| FilterError::Database(folder.join("reports.db"), error))?);
    let authenticator = Arc::new(authenticator);
    let sender = reports::Sender {
        paths: paths.clone(),
        reports: Arc::clone(&reports),
        client: wire::Client::new(paths.clone()),
        authenticator: Arc::clone(&authenticator),
        hostname: config.hostname.clone(),
        home: config.email.domain().clone(),
    };
    tokio::spawn(sender.run());
    let service = Arc::new(service::Filter::new(paths.clone(), config, authenticator, classifier, keys, reports));
    tracing::info!("ready");
    wire::serve(&paths, service).await.map_err(|error| FilterError::File(paths.run(), error))
}
