//! One table per answering role.

pub mod directory;
pub mod dns;
pub mod filter;
pub mod mailbox;
pub mod mta;

use serde::{Deserialize, Serialize};

/// A consistent copy of a database, made by its owner beside the original for the backup to read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshot {
    pub file: std::path::PathBuf,
}
