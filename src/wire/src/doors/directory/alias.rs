//! What an alias is: its name, where it leads, and who may use it.

use base::{Address, Domain, NameError};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What an alias is called: one address, or every address of a domain that nothing else is called (`@example.org`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum AliasName {
    Address(Address),
    CatchAll(Domain),
}

impl AliasName {
    pub fn domain(&self) -> &Domain {
        match self {
            Self::Address(address) => address.domain(),
            Self::CatchAll(domain) => domain,
        }
    }
}

impl From<Address> for AliasName {
    fn from(address: Address) -> Self {
        Self::Address(address)
    }
}

impl FromStr for AliasName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.strip_prefix('@') {
            Some(domain) => Domain::parse(domain).map(Self::CatchAll),
            None => Address::parse(text).map(Self::Address),
        }
    }
}

impl fmt::Display for AliasName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::CatchAll(domain) => write!(f, "@{domain}"),
        }
    }
}

impl TryFrom<String> for AliasName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<AliasName> for String {
    fn from(name: AliasName) -> String {
        name.to_string()
    }
}

/// Who may write to an alias.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Writers {
    #[default]
    Everyone,
    /// The accounts of this box, logged in.
    Inside,
    /// The accounts of this box, and these addresses when the message is shown to be from them.
    Listed(Vec<Address>),
}

/// What holds for an alias beside where it leads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasRules {
    /// From then on it is unknown; seconds since 1970.
    pub until: Option<u64>,
    /// The accounts that may send as the alias; None is those that it leads to.
    pub senders: Option<Vec<Address>>,
    pub writers: Writers,
}

/// One alias, as the owner is shown it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    pub address: AliasName,
    /// Accounts of this box, other aliases, and addresses of other servers.
    pub targets: Vec<Address>,
    /// Whether the box itself keeps it (RFC 2142 names), so that it cannot be removed.
    pub required: bool,
    #[serde(flatten)]
    pub rules: AliasRules,
    /// Whether its time is over.
    pub ended: bool,
}

/// A domain each of whose addresses is the same address of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainAlias {
    pub from: Domain,
    pub to: Domain,
}

/// Where an alias leads when it is not to accounts alone, or not for everyone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forwarding {
    /// The address that was asked for, without a tag: what `Delivered-To` says.
    pub alias: Address,
    /// The accounts of this box among its targets; the mailbox role finds them by the alias.
    pub accounts: Vec<Address>,
    /// The addresses of other servers.
    pub outside: Vec<Address>,
    pub writers: Writers,
}

/// A domain that this box takes mail for while its own server is away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupMx {
    pub domain: Domain,
    /// The server that knows who exists, and that gets the mail.
    pub primary: Domain,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catch_all_is_told_from_an_address_by_its_form() {
        let name: AliasName = "@Example.org".parse().unwrap();
        assert_eq!(name, AliasName::CatchAll(Domain::parse("example.org").unwrap()));
        assert_eq!(name.to_string(), "@example.org");
        assert!(matches!("sales@example.org".parse().unwrap(), AliasName::Address(_)));
        assert!("@".parse::<AliasName>().is_err() && "example.org".parse::<AliasName>().is_err());
    }
}
