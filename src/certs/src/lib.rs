//! Certificates: one for all names of the box, on a key that is kept for a year, so that TLSA records stay right.
//!
//! Invariants:
//! - There is always a certificate to serve: the box's own until one is issued. Chain and key are replaced together ([`pair`]).
//! - A key is served only when its TLSA record has been published for as long as any resolver may remember ([`roll`]).
//! - A name that fails is left out and asked for again later; it holds back no other ([`issue`], [`ledger`]).
//! - A certificate that the owner imported is never overwritten by a renewal.
//!
//! This is no daemon: a timer runs it every hour, and set-up whenever names changed.

mod answers;
mod authority;
mod cms;
mod http;
mod import;
mod inspect;
mod issue;
mod ledger;
mod limits;
mod local;
mod names;
mod order;
mod owner;
mod pair;
mod profiles;
mod renewal;
// Public for the simulated year in src/dns, which has it in its tests alone.
pub mod roll;
mod run;
mod status;
mod trust;
mod zone;

pub use inspect::{Certificate, served};
pub use local::initial;
pub use names::{reachable, wanted};
pub use owner::{Imported, Wish, call_off_import, check_import, import, imported, request, wish};
pub use run::{due, run};
pub use status::{Status, status};

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    #[error(transparent)]
    Config(#[from] base::config::ConfigError),
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    #[error("the certificate or key cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    #[error("the certificate in {0} cannot be read: {1}")]
    Unreadable(PathBuf, String),
    #[error("{0}")]
    Refused(String),
    #[error("no certificate was issued: {0}")]
    NotIssued(String),
    #[error(transparent)]
    Neighbour(#[from] wire::WireError),
    #[error("the resolver cannot be asked: {0}")]
    Resolver(String),
}

impl CertsError {
    fn file(path: &std::path::Path, error: std::io::Error) -> Self {
        Self::File(path.to_owned(), error)
    }
}
