//! What other servers report about our mail, and we about theirs: DMARC aggregate reports (RFC 7489 §7.2, RFC 9990)
//! and TLS reports (RFC 8460). Values, and the ways from and to a message. No I/O.
//!
//! Reports come from strangers, to an address that everybody can look up. So everything is bounded before it is
//! unpacked (`limits`), and nothing in a report is believed to be more than its sender's word.

pub mod dmarc;
pub mod fuzz;
pub mod limits;
pub mod mail;
pub mod tls;
pub mod unpack;

pub use mail::{Envelope, Report, read};

/// Why a message holds no report that could be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    #[error("the message holds no report")]
    None,
    #[error("the report is larger than {} MiB when it is unpacked", limits::UNPACKED >> 20)]
    TooLarge,
    #[error("the report has more than {} records", limits::RECORDS)]
    TooMany,
    #[error("the archive cannot be unpacked: {0}")]
    Archive(String),
    #[error("the report is not what RFC 7489 describes: {0}")]
    Xml(String),
    #[error("the report is not what RFC 8460 describes: {0}")]
    Json(String),
}
