//! The directory: who exists, where an address leads, whose password is right.
//!
//! Invariants:
//! - Only this process opens `box.db`. A change is on the disk before it is confirmed.
//! - A chosen password is kept as an argon2id hash alone, and is compared in time that does not depend on whether the
//!   account exists. App passwords are random, so that their SCRAM keys can be kept; they never open the panel.
//! - Where an account has a second factor nobody enters the panel without a code of it, and no code lets in twice.
//! - A removed account can be brought back for 30 days, and is forgotten then.
//! - Domains are not entered anywhere: they are those of the accounts and aliases.

mod database;
mod limits;
mod password;
mod scram;
mod second_factor;
mod service;
mod strength;
mod throttle;

use base::{BoxConfig, Paths};
use std::sync::Arc;

/// Why the directory cannot run.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error(transparent)]
    Config(#[from] base::config::ConfigError),
    #[error("{0} cannot be opened: {1}")]
    Database(std::path::PathBuf, rusqlite::Error),
    #[error("the directory's folder or socket cannot be made: {0}")]
    Io(#[from] std::io::Error),
}

/// Answers at the directory's door until the process ends.
pub async fn run(paths: Paths) -> Result<(), DirectoryError> {
    let config = BoxConfig::load(&paths)?;
    let file = paths.directory_db();
    if let Some(dir) = file.parent() {
        base::durable::create_dir_all(dir, 0o700)?;
    }
    let database = database::Database::open(&file, config.email.account())
        .map_err(|error| DirectoryError::Database(file.clone(), error))?;
    let service = Arc::new(service::Directory::new(database, file));
    tracing::info!("ready");
    tokio::select! {
        served = wire::serve(&paths, Arc::clone(&service)) => served?,
        () = service.purge_daily() => {}
    }
    Ok(())
}
