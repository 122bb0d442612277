//! Backups: everything that is the owner's, in one archive of standard parts: tar, zstd, age.
//!
//! Invariants:
//! - Mail is not paused. Databases are copied by their owners through SQLite's backup interface; messages are files
//!   that never change, and a message that moves while the archive is written is found in a further pass.
//! - An archive under its final name is whole and on the disk.
//! - The archive can be opened with `age`, `zstd` and `tar` alone; see docs/backup-format.md.
//! - The key that opens it is not in it.

mod archive;
mod key;
mod rehearsal;
mod restore;
mod walk;

pub use archive::{Archive, list};
pub use key::{create_key, recovery_key};
pub use rehearsal::{Contents, Rehearsal, last as last_rehearsal, rehearse};
pub use restore::{is_restoring, owners, restore, restored};

use base::{Address, BoxConfig, Paths};
use std::path::{Path, PathBuf};
use wire::{Client, Kind, WireError, directory, filter, mailbox, mta};

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error(transparent)]
    Config(#[from] base::config::ConfigError),
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    #[error("the recovery key cannot be used: {0}")]
    Key(String),
    #[error("{0} cannot be opened with this key: {1}")]
    Locked(PathBuf, String),
    #[error("{0} is not a backup of a Mailstead box: {1}")]
    NotABackup(PathBuf, String),
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Neighbour(#[from] wire::WireError),
}

impl BackupError {
    fn file(path: &Path, error: std::io::Error) -> Self {
        Self::File(path.to_owned(), error)
    }
}

/// Makes an archive and drops the oldest beyond the number to keep; returns where it lies.
pub async fn run(paths: Paths) -> Result<PathBuf, BackupError> {
    let config = BoxConfig::load(&paths)?;
    let accounts = snapshots(&Client::new(paths.clone())).await?;
    let written = tokio::task::spawn_blocking(move || archive::write(&paths, &config, &accounts)).await;
    written.map_err(|error| BackupError::Refused(format!("the backup ended unexpectedly: {error}")))?
}

/// Has every owner of a database put a consistent copy beside it.
async fn snapshots(client: &Client) -> Result<Vec<Address>, BackupError> {
    client.ask(&directory::TakeSnapshot {}).await?;
    client.ask(&filter::TakeSnapshot {}).await?;
    client.ask(&mta::TakeSnapshot {}).await?;
    let accounts: Vec<Address> =
        client.ask(&directory::Accounts {}).await?.into_iter().map(|account| account.address).collect();
    for account in &accounts {
        match client.ask(&mailbox::TakeSnapshot { account: account.clone() }).await {
            // An account that nobody has used yet has no index.
            Err(WireError::Refused(refusal)) if refusal.kind == Kind::NotFound => {}
            other => drop(other?),
        }
    }
    Ok(accounts)
}
