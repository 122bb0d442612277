//! What one box tells another about that one's ports: the page that the panel answers and the checks of a peer ask for
//! (docs/checks.md).
//!
//! Boxes of different owners and releases meet here, so what one does not know of the other's words is passed over.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Where it is asked for, at a box's own name. `?ports=25,443` asks for some of them.
pub const PATH: &str = "/.well-known/mailstead/ports";
/// The TCP ports that a box serves to the world, and the only ones that are looked at.
pub const PORTS: [u16; 9] = [25, 53, 80, 443, 465, 587, 993, 995, 4190];

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// The address that was looked at, which is the one that asked.
    pub address: IpAddr,
    pub ports: BTreeMap<u16, Reached>,
    /// The first line that port 25 said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub greeting: Option<String>,
}

/// How a port took the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "&'static str")]
pub enum Reached {
    Open,
    Refused,
    NoAnswer,
    /// No way leads there.
    Unreachable,
    /// The one that looks knows that it reaches nobody's port 25, so its failure says nothing.
    NotFromHere,
    /// A word of a later release.
    Other,
}

impl Reached {
    pub fn words(self) -> &'static str {
        match self {
            Reached::Open => "open",
            Reached::Refused => "refused",
            Reached::NoAnswer => "no answer",
            Reached::Unreachable => "unreachable",
            Reached::NotFromHere => "not from here",
            Reached::Other => "not open",
        }
    }
}

impl From<Reached> for &'static str {
    fn from(reached: Reached) -> Self {
        reached.words()
    }
}

impl From<String> for Reached {
    fn from(words: String) -> Self {
        let known = [Self::Open, Self::Refused, Self::NoAnswer, Self::Unreachable, Self::NotFromHere];
        known.into_iter().find(|reached| reached.words() == words).unwrap_or(Self::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_plain_json_and_words_of_later_releases_are_taken() {
        let text =
            r#"{"address":"192.0.2.25","ports":{"25":"open","993":"no answer"},"greeting":"220 box.example.org"}"#;
        let view: View = serde_json::from_str(text).unwrap();
        assert_eq!(view.ports[&993], Reached::NoAnswer);
        assert_eq!(serde_json::to_string(&view).unwrap(), text);
        let later = r#"{"address":"2001:db8::25","ports":{"25":"tarpitted"},"seen_at":7}"#;
        assert_eq!(serde_json::from_str::<View>(later).unwrap().ports[&25], Reached::Other);
    }
}
