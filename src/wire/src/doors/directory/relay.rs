//! Relays: which of this box's mail goes out through another server.

use base::{Domain, Secret};
use serde::{Deserialize, Serialize};

/// Which mail goes through a relay. For one message the most particular counts: its destination, then its sender, then
/// the whole box.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RelayScope {
    /// All mail for elsewhere.
    Everything,
    /// Mail whose sender is of this domain.
    From(Domain),
    /// Mail for recipients of this domain.
    To(Domain),
}

/// As the command line has it: `everything`, `from:example.org`, `to:example.net`.
impl std::fmt::Display for RelayScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Everything => f.write_str("everything"),
            Self::From(domain) => write!(f, "from:{domain}"),
            Self::To(domain) => write!(f, "to:{domain}"),
        }
    }
}

/// How a relay speaks TLS. It always does, with a certificate for its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RelayTls {
    /// From the first octet (RFC 8314 §3.3, port 465).
    Implicit,
    /// After STARTTLS (ports 587 and 25).
    Starttls,
}

/// A server that takes this box's mail and brings it further (a smart host).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Relay {
    pub scope: RelayScope,
    pub host: Domain,
    pub port: u16,
    pub tls: RelayTls,
    pub login: Option<String>,
    /// `None` also where the asker is not to know it.
    pub password: Option<Secret>,
    /// Whose SPF record names the addresses that the relay sends from: `_spf.example.net`, which is no host's name.
    pub spf: Option<String>,
}
