//! Small files of JSON in `dns/`, readable by this role alone.

use crate::DnsError;
use base::durable;
use serde::{Serialize, de::DeserializeOwned};
use std::path::Path;

/// What a file says; nothing when it is not there.
pub fn read<T: DeserializeOwned + Default>(file: &Path) -> Result<T, DnsError> {
    match std::fs::read(file) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| DnsError::file(file, std::io::Error::other(error))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(DnsError::file(file, error)),
    }
}

pub fn write<T: Serialize>(file: &Path, what: &T) -> Result<(), DnsError> {
    let text = serde_json::to_vec_pretty(what).map_err(|error| DnsError::file(file, std::io::Error::other(error)))?;
    durable::write(file, &text, 0o600).map_err(|error| DnsError::file(file, error))
}
