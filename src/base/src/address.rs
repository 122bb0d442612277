//! Domain names and mail addresses, checked once where they enter and typed from there on.
//!
//! A [`Domain`] is always lower case and in A-label form; an [`Address`] keeps its local part as written.
//! Comparing accounts goes through [`Address::account`], which drops the tag and the case.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Longest domain name in octets (RFC 1035 §2.3.4, less the root label).
pub const MAX_DOMAIN: usize = 253;
/// Longest local part in octets (RFC 5321 §4.5.3.1.1).
pub const MAX_LOCAL_PART: usize = 64;

/// Why a name was refused; the sentence is fit for an owner to read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("“{0}” is not a domain name: {1}")]
    Domain(String, &'static str),
    #[error("“{0}” is not an email address: {1}")]
    Address(String, &'static str),
}

/// A DNS name used for mail or as a host name: lower case, A-labels, no trailing dot.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Domain(String);

impl Domain {
    /// Reads a name as a person types it; international names become A-labels (UTS 46).
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let refuse = |why| NameError::Domain(shorten(text), why);
        let trimmed = text.strip_suffix('.').unwrap_or(text);
        if trimmed.is_empty() {
            return Err(refuse("it is empty"));
        }
        if trimmed.len() > 4 * MAX_DOMAIN {
            return Err(refuse("it is longer than 253 octets"));
        }
        let ascii = if trimmed.is_ascii() {
            trimmed.to_ascii_lowercase()
        } else {
            idna::domain_to_ascii(trimmed).map_err(|_| refuse("it has characters that no domain may have"))?
        };
        if ascii.len() > MAX_DOMAIN {
            return Err(refuse("it is longer than 253 octets"));
        }
        for label in ascii.split('.') {
            check_label(label).map_err(refuse)?;
        }
        if ascii.rsplit('.').next().is_some_and(|top| top.bytes().all(|b| b.is_ascii_digit())) {
            return Err(refuse("its last part is a number, as in an IP address"));
        }
        Ok(Self(ascii))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the name has more than one label, as every public host and mail domain does.
    pub fn is_dotted(&self) -> bool {
        self.0.contains('.')
    }

    /// The name `label.self`, e.g. `mta-sts.example.org`.
    pub fn prefixed(&self, label: &str) -> Result<Self, NameError> {
        Self::parse(&format!("{label}.{}", self.0))
    }

    /// Whether `self` is `other` or lies below it.
    pub fn is_within(&self, other: &Domain) -> bool {
        self.0 == other.0 || self.0.strip_suffix(&other.0).is_some_and(|rest| rest.ends_with('.'))
    }
}

fn check_label(label: &str) -> Result<(), &'static str> {
    match label {
        "" => Err("a part between the dots is empty"),
        l if l.len() > 63 => Err("a part between the dots is longer than 63 characters"),
        l if l.starts_with('-') || l.ends_with('-') => Err("a part begins or ends with a hyphen"),
        l if l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') => Ok(()),
        _ => Err("only letters, digits, hyphens and dots may stand in it"),
    }
}

/// A mail address: local part (RFC 5321 §4.1.2 with RFC 6531 §3.3, stored without quotes) and domain. The local part may
/// be UTF-8; [`Address::is_ascii`] tells which servers can be given it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    local: String,
    domain: Domain,
}

impl Address {
    /// Reads `local@domain`; quoted local parts are understood, routes and literals are not.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let refuse = |why| NameError::Address(shorten(text), why);
        let (local, domain) = text.rsplit_once('@').ok_or_else(|| refuse("it has no @"))?;
        let local = match local.strip_prefix('"') {
            Some(rest) => unquote(rest).ok_or_else(|| refuse("the quotes before the @ do not match"))?,
            None if is_dot_atom(local) => local.to_owned(),
            None if local.is_empty() => return Err(refuse("nothing stands before the @")),
            None => return Err(refuse("a character before the @ is not allowed there")),
        };
        if local.len() > MAX_LOCAL_PART {
            return Err(refuse("the part before the @ is longer than 64 octets"));
        }
        let domain = Domain::parse(domain).map_err(|_| refuse("what follows the @ is not a domain name"))?;
        Ok(Self { local, domain })
    }

    /// An address from parts that are already known to be good.
    pub fn new(local: &str, domain: Domain) -> Result<Self, NameError> {
        Self::parse(&format!("{local}@{domain}"))
    }

    pub fn local(&self) -> &str {
        &self.local
    }

    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Whether every server can take it; others have to offer SMTPUTF8 (RFC 6531).
    pub fn is_ascii(&self) -> bool {
        self.local.is_ascii()
    }

    /// The account that the address means: lower case, and without a `+tag`.
    pub fn account(&self) -> Address {
        let base = match self.local.split_once('+') {
            Some((base, _)) if !base.is_empty() => base,
            _ => &self.local,
        };
        Address { local: base.to_ascii_lowercase(), domain: self.domain.clone() }
    }

    /// The `tag` of `local+tag@domain`.
    pub fn tag(&self) -> Option<&str> {
        self.local.split_once('+').filter(|(base, tag)| !base.is_empty() && !tag.is_empty()).map(|(_, tag)| tag)
    }
}

fn is_dot_atom(local: &str) -> bool {
    local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

/// RFC 5322 §3.2.3; outside ASCII RFC 6531 §3.3.
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || is_letter_beyond_ascii(c)
}

/// What may stand in a local part outside ASCII: not what cannot be seen, which nobody's address needs and which makes
/// one address look like another.
fn is_letter_beyond_ascii(c: char) -> bool {
    let unseen = matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !c.is_ascii() && !c.is_control() && !c.is_whitespace() && !unseen
}

/// The content of a quoted string whose opening quote is already gone (RFC 5321 §4.1.2, Quoted-string).
fn unquote(rest: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = rest.strip_suffix('"')?.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            '\\' => chars.next()?,
            '"' => return None,
            c => c,
        };
        if !(' '..='~').contains(&c) && !is_letter_beyond_ascii(c) {
            return None;
        }
        out.push(c);
    }
    (!out.is_empty()).then_some(out)
}

/// What a person typed, cut to a length fit for an error message.
fn shorten(text: &str) -> String {
    let mut shown: String = text.chars().filter(|c| !c.is_control()).take(80).collect();
    if text.chars().count() > 80 {
        shown.push('…');
    }
    shown
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_dot_atom(&self.local) {
            return write!(f, "{}@{}", self.local, self.domain);
        }
        let quoted = self.local.replace('\\', "\\\\").replace('"', "\\\"");
        write!(f, "\"{quoted}\"@{}", self.domain)
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! text_conversions {
    ($type:ty) => {
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }
        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.to_string()
            }
        }
    };
}
text_conversions!(Domain);
text_conversions!(Address);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_international_domain_becomes_its_a_label() {
        assert_eq!(Domain::parse("Bücher.Example").unwrap().as_str(), "xn--bcher-kva.example");
    }

    #[test]
    fn names_that_no_registry_would_take_are_refused() {
        for bad in ["", ".", "a..b", "-a.de", "a-.de", "a_b.de", "192.0.2.1", &"a".repeat(64), "a b.de"] {
            assert!(Domain::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tag_and_capitals_lead_to_the_same_account() {
        let address = Address::parse("Ann+Shop@Example.org").unwrap();
        assert_eq!(address.account().to_string(), "ann@example.org");
        assert_eq!(address.tag(), Some("Shop"));
    }

    #[test]
    fn quoted_local_parts_survive_the_round_trip() {
        let address = Address::parse("\"a \\\"b\"@example.org").unwrap();
        assert_eq!(address.local(), "a \"b");
        assert_eq!(Address::parse(&address.to_string()).unwrap(), address);
    }

    #[test]
    fn an_address_may_be_in_any_script_but_not_hold_what_cannot_be_seen() {
        let address = Address::parse("Пётр.ü@Bücher.example").unwrap();
        assert_eq!(address.to_string(), "Пётр.ü@xn--bcher-kva.example");
        assert!(!address.is_ascii() && Address::parse("a@bücher.example").unwrap().is_ascii());
        assert_eq!(Address::parse("\"ü b\"@example.org").unwrap().local(), "ü b");
        for bad in ["a\u{202e}b@c.org", "a\u{a0}b@c.org", "a\u{85}@c.org", "\u{feff}a@c.org", "\"a\u{2028}\"@c.org"] {
            assert!(Address::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Address::parse(&format!("{}@c.org", "ü".repeat(33))).is_err());
    }

    #[test]
    fn a_domain_knows_what_lies_below_it() {
        let org = Domain::parse("example.org").unwrap();
        assert!(Domain::parse("mail.example.org").unwrap().is_within(&org));
        assert!(!Domain::parse("badexample.org").unwrap().is_within(&org));
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused_and_what_is_taken_prints_the_same(text in ".{0,300}") {
            if let Ok(address) = Address::parse(&text) {
                prop_assert_eq!(Address::parse(&address.to_string()).unwrap(), address);
            }
            if let Ok(domain) = Domain::parse(&text) {
                prop_assert_eq!(Domain::parse(domain.as_str()).unwrap(), domain);
            }
        }
    }
}
