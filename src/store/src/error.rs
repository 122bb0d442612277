//! What can go wrong with an account's mail.

use crate::name::{FolderName, FolderNameError};
use std::io;
use std::path::{Path, PathBuf};

/// Why the store did not do what was asked. Nothing was changed unless the variant says so.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{path}: {source}", path = path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the index: {0}")]
    Index(#[from] rusqlite::Error),
    #[error(transparent)]
    Text(#[from] crate::text::TextError),
    #[error("there is no folder “{0}”")]
    NoFolder(FolderName),
    #[error("the folder was deleted meanwhile")]
    FolderGone,
    #[error("there is a folder “{0}” already")]
    FolderExists(FolderName),
    #[error("{0}")]
    BadName(#[from] FolderNameError),
    #[error("INBOX cannot be {0}")]
    Inbox(&'static str),
    #[error("“{0}” cannot be moved below itself")]
    BelowItself(FolderName),
    #[error("an account cannot have more than {} folders", crate::limits::FOLDERS)]
    TooManyFolders,
    #[error("the message was not stored: {words}")]
    NotStored { words: String, is_full: bool },
    #[error("{what} cannot be larger than {most} octets")]
    TooLarge { what: &'static str, most: usize },
    #[error("there cannot be more than {most} {what}")]
    TooMany { what: &'static str, most: usize },
    #[error("the message was removed meanwhile")]
    NoMessage,
    #[error("the folder has used all its UIDs; make a new one and move the mail there")]
    OutOfUids,
    #[error("this account was removed")]
    Retired,
}

impl StoreError {
    /// Whether the disk is full or a quota of the file system reached, so that the sender should be told so.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::NotStored { is_full, .. } => *is_full,
            Self::Index(rusqlite::Error::SqliteFailure(failure, _)) => failure.code == rusqlite::ErrorCode::DiskFull,
            _ => false,
        }
    }
}

/// Puts a path to an I/O error.
pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { path, source }
}
