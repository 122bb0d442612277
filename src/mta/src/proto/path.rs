//! The paths in MAIL and RCPT (RFC 5321 §4.1.1.2, §4.1.1.3, §4.1.2).

use super::command::CommandError;
use base::{Address, Domain};

/// Who is meant by a RCPT path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    Address(Address),
    /// `<postmaster>` without a domain, which every server takes (RFC 5321 §4.5.1).
    Postmaster,
}

impl Recipient {
    /// The address; a bare postmaster is that of `home`.
    pub fn address(self, home: &Domain) -> Option<Address> {
        match self {
            Self::Address(address) => Some(address),
            Self::Postmaster => Address::new("postmaster", home.clone()).ok(),
        }
    }
}

/// Reads `<path> parameters`; gives the path's inside and the parameters.
pub fn split(text: &str) -> Result<(&str, &str), CommandError> {
    let inside =
        text.trim_start_matches(' ').strip_prefix('<').ok_or(CommandError::Syntax("a path stands in < and >"))?;
    let end = closing(inside).ok_or(CommandError::Syntax("a path stands in < and >"))?;
    let (path, rest) = inside.split_at(end);
    let rest = rest.strip_prefix('>').unwrap_or(rest);
    if !rest.is_empty() && !rest.starts_with(' ') {
        return Err(CommandError::Syntax("a space stands between the path and its parameters"));
    }
    Ok((without_route(path), rest.trim_matches(' ')))
}

/// The position of the `>` that ends the path; one in a quoted local part does not.
fn closing(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// A source route is taken and ignored (RFC 5321 §4.1.1.3, appendix C).
fn without_route(path: &str) -> &str {
    match path.strip_prefix('@').and_then(|route| route.split_once(':')) {
        Some((_, address)) => address,
        None => path,
    }
}

/// The sender; `None` is the null sender of reports.
pub fn sender(path: &str) -> Result<Option<Address>, CommandError> {
    if path.is_empty() { Ok(None) } else { address(path).map(Some) }
}

pub fn recipient(path: &str) -> Result<Recipient, CommandError> {
    if path.eq_ignore_ascii_case("postmaster") {
        return Ok(Recipient::Postmaster);
    }
    address(path).map(Recipient::Address)
}

fn address(path: &str) -> Result<Address, CommandError> {
    Address::parse(path).map_err(|why| CommandError::Address(why.to_string()))
}
