//! Why the checks as a whole could not do their work. What a single check meets is its result, never an error.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum ChecksError {
    /// A mistake in a file of `checks/`; the tests of this room keep it from being released.
    #[error("the text of the check {file} cannot be used: {why}")]
    Text { file: String, why: String },
    #[error("{path} cannot be written: {source}. See that the disk is not full: df -h")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("{path} cannot be read: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("there is no check and no group “{0}”; all of them: mailstead status --list")]
    NoSuchCheck(String),
    /// The certificates that the system trusts, or the TLS library, do not load.
    #[error("TLS cannot be used: {0}")]
    Tls(String),
}

impl ChecksError {
    pub(crate) fn write(path: PathBuf) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Write { path, source }
    }
}
