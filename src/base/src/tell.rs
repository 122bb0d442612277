//! `tell:` of `box.yaml`: who hears of the status checks besides the owner.

use crate::address::Address;
use serde::{Deserialize, Serialize};

/// Where news of the checks goes. Nothing is sent anywhere unless the owner has written it here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tell {
    /// An address elsewhere: mail about a box that cannot deliver mail to its owner is of no use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub also: Option<Address>,
    /// A web address to which what broke and what was mended is posted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<Link>,
    /// In which form.
    #[serde(default, skip_serializing_if = "is_default")]
    pub push_as: PushAs,
    /// A web address that is fetched after every run: a service that expects it tells when the box falls silent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alive: Option<Link>,
}

/// What the other side understands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PushAs {
    /// One JSON object.
    #[default]
    Json,
    /// Plain text with a `Title` header, as ntfy takes it.
    Ntfy,
}

/// A web address over TLS, or on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Link(String);

/// Longest address; browsers' own bound.
const LONGEST: usize = 2048;

impl Link {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Link {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let good = text.len() <= LONGEST && text.bytes().all(|byte| byte.is_ascii_graphic());
        let host =
            |start: &str| text.strip_prefix(start).is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
        let local =
            ["http://127.0.0.1", "http://localhost", "http://[::1]"].iter().any(|start| text.starts_with(start));
        match good && (host("https://") || local) {
            true => Ok(Self(text)),
            false => Err(format!("“{text}” is not a web address that begins with https://")),
        }
    }
}

impl From<Link> for String {
    fn from(link: Link) -> Self {
        link.0
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_over_tls_or_on_this_machine() {
        for good in ["https://ntfy.example/box", "http://127.0.0.1:9/x", "http://localhost/x"] {
            assert!(Link::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["http://ntfy.example/box", "https://", "https:///x", "ftp://x", "https://a b", ""] {
            assert!(Link::try_from(bad.to_owned()).unwrap_err().contains("https://"), "{bad}");
        }
    }
}
