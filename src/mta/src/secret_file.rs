//! A secret of this box alone, in a file that is made on first use and readable for the MTA alone.

use base::durable;
use std::io;
use std::path::Path;

/// Octets of a new secret.
const LENGTH: usize = 32;

/// Reads the secret, or makes one, durably. One that is too short to be one is an error: with another in its place, what
/// was made by the first would no longer be known.
pub fn open(file: &Path) -> io::Result<Vec<u8>> {
    match std::fs::read(file) {
        Ok(secret) if secret.len() >= LENGTH => Ok(secret),
        Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "the key is too short")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(folder) = file.parent() {
                durable::create_dir_all(folder, 0o700)?;
            }
            let secret: [u8; LENGTH] = rand::random();
            durable::write(file, &secret, 0o600)?;
            Ok(secret.to_vec())
        }
        Err(error) => Err(error),
    }
}
