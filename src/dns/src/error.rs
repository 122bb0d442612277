//! What can go wrong in this room.

use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    #[error(transparent)]
    Config(#[from] base::config::ConfigError),
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    #[error("the key in {0} cannot be used: {1}")]
    Key(PathBuf, String),
    #[error("the zone {0} cannot be signed: {1}")]
    Signing(base::Domain, String),
    #[error("the name {0}")]
    Name(#[from] base::NameError),
    #[error("a name server is asked in vain: {0}")]
    Lookup(String),
    #[error(transparent)]
    Neighbour(#[from] wire::WireError),
}

impl DnsError {
    pub fn file(path: &Path, error: std::io::Error) -> Self {
        Self::File(path.to_owned(), error)
    }
}
