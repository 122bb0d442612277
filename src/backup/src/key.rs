//! The recovery key: an age identity (X25519), made once, shown to the owner, never in an archive.

use crate::BackupError;
use age::secrecy::ExposeSecret;
use age::x25519::{Identity, Recipient};
use base::{Paths, Secret, durable};

/// Makes the key if there is none. The secret half goes first: a recipient that is there can be opened.
pub fn create_key(paths: &Paths) -> Result<(), BackupError> {
    let (secret, public) = (paths.recovery_key(), paths.recovery_recipient());
    let identity = match std::fs::read_to_string(&secret) {
        Ok(text) => parse(&text)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let identity = Identity::generate();
            keep(paths, &Secret::new(identity.to_string().expose_secret()))?;
            identity
        }
        Err(error) => return Err(BackupError::file(&secret, error)),
    };
    let text = format!("{}\n", identity.to_public());
    durable::write(&public, text.as_bytes(), 0o644).map_err(|error| BackupError::file(&public, error))
}

/// The secret half, for the owner to write down.
pub fn recovery_key(paths: &Paths) -> Result<Secret, BackupError> {
    let path = paths.recovery_key();
    let text = std::fs::read_to_string(&path).map_err(|error| BackupError::file(&path, error))?;
    Ok(Secret::new(text.trim()))
}

/// Writes the secret half, readable by root alone.
pub fn keep(paths: &Paths, key: &Secret) -> Result<(), BackupError> {
    let path = paths.recovery_key();
    let text = format!("{}\n", key.expose());
    durable::write(&path, text.as_bytes(), 0o600).map_err(|error| BackupError::file(&path, error))
}

/// Reads an identity as age writes it; comment lines are passed over.
pub fn parse(text: &str) -> Result<Identity, BackupError> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    let line = line.ok_or_else(|| BackupError::Key("it is empty".to_owned()))?;
    line.parse().map_err(|why: &str| BackupError::Key(why.to_owned()))
}

/// The public half, to which archives are encrypted.
pub fn recipient(paths: &Paths) -> Result<Recipient, BackupError> {
    let path = paths.recovery_recipient();
    let text = std::fs::read_to_string(&path).map_err(|error| BackupError::file(&path, error))?;
    text.trim().parse().map_err(|why: &str| BackupError::Key(why.to_owned()))
}
