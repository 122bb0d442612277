//! METADATA (RFC 5464), QUOTA (RFC 9208) and ACL (RFC 4314).

use super::command::{Command, mailbox};
use super::parser::{Parsed, Parser, bad};
use crate::limits;

/// How far below an entry GETMETADATA looks (RFC 5464 §4.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    #[default]
    Zero,
    One,
    Infinity,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GetMetadata {
    /// Empty for the server itself.
    pub mailbox: Vec<u8>,
    pub entries: Vec<String>,
    pub depth: Depth,
    pub max_size: Option<u64>,
}

/// A change of rights (RFC 4314 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RightsChange {
    Replace,
    Add,
    Remove,
}

pub fn get_metadata(p: &mut Parser<'_>) -> Parsed<Command> {
    let mut get = GetMetadata::default();
    p.space()?;
    if p.peek() == Some(b'(') {
        metadata_options(p, &mut get)?;
        p.space()?;
    }
    get.mailbox = p.astring()?;
    p.space()?;
    // RFC 5464 §4.2: its examples have the options here, its grammar before the name. Both are taken.
    if p.peek() == Some(b'(') && is_option(p) {
        metadata_options(p, &mut get)?;
        p.space()?;
    }
    get.entries = if p.peek() == Some(b'(') { p.list(entry)? } else { vec![entry(p)?] };
    if get.entries.is_empty() || get.entries.len() > limits::METADATA_ENTRIES {
        return bad("GETMETADATA names no entries, or too many");
    }
    Ok(Command::GetMetadata(get))
}

fn is_option(p: &Parser<'_>) -> bool {
    let rest = p.rest().get(1..9).unwrap_or_default().to_ascii_uppercase();
    rest.starts_with(b"DEPTH ") || rest.starts_with(b"MAXSIZE ")
}

fn metadata_options(p: &mut Parser<'_>, get: &mut GetMetadata) -> Parsed<()> {
    p.list(|p| {
        match p.atom()?.to_ascii_uppercase().as_str() {
            "MAXSIZE" => {
                p.space()?;
                get.max_size = Some(p.long_number()?);
            }
            "DEPTH" => {
                p.space()?;
                get.depth = match p.atom()?.to_ascii_lowercase().as_str() {
                    "0" => Depth::Zero,
                    "1" => Depth::One,
                    "infinity" => Depth::Infinity,
                    _ => return bad("DEPTH is 0, 1 or infinity"),
                };
            }
            other => return bad(format!("there is no GETMETADATA option {other}")),
        }
        Ok(())
    })
    .map(|_| ())
}

/// An entry's name (RFC 5464 §4.1): lower case, as names differ in nothing but that.
pub fn entry(p: &mut Parser<'_>) -> Parsed<String> {
    let name = p.astring()?;
    let text = std::str::from_utf8(&name).unwrap_or_default().to_ascii_lowercase();
    let scoped =
        text.starts_with("/private/") || text.starts_with("/shared/") || text == "/private" || text == "/shared";
    let plain = text.bytes().all(|byte| (0x20..0x7f).contains(&byte) && !b"*%".contains(&byte));
    if !scoped || !plain || text.contains("//") || text.ends_with('/') || text.len() > limits::METADATA_NAME {
        return bad("an entry's name begins with /private/ or /shared/ and has neither *, % nor //");
    }
    Ok(text)
}

pub fn set_metadata(p: &mut Parser<'_>) -> Parsed<Command> {
    let mailbox = mailbox(p)?;
    p.space()?;
    let entries = p.list(|p| {
        let name = entry(p)?;
        p.space()?;
        let value = match p.peek() {
            Some(b'"') => Some(p.string()?),
            Some(b'{' | b'~') => Some(p.literal8()?.to_vec()),
            _ if p.take_word("NIL") => None,
            _ => return bad(format!("expected a value or NIL {}", p.here())),
        };
        Ok((name, value))
    })?;
    if entries.is_empty() || entries.len() > limits::METADATA_ENTRIES {
        return bad("SETMETADATA names no entries, or too many");
    }
    Ok(Command::SetMetadata { mailbox, entries })
}

pub fn set_quota(p: &mut Parser<'_>) -> Parsed<Command> {
    mailbox(p)?;
    p.space()?;
    p.list(|p| {
        p.atom()?;
        p.space()?;
        p.long_number()
    })?;
    Ok(Command::SetQuota)
}

pub fn set_acl(p: &mut Parser<'_>) -> Parsed<Command> {
    let (mailbox, who) = (mailbox(p)?, identifier(p)?);
    p.space()?;
    let rights = String::from_utf8_lossy(&p.astring()?).into_owned();
    let (change, letters) = match rights.split_at_checked(1) {
        Some(("+", letters)) => (RightsChange::Add, letters),
        Some(("-", letters)) => (RightsChange::Remove, letters),
        _ => (RightsChange::Replace, rights.as_str()),
    };
    if let Some(odd) = letters.chars().find(|letter| !letter.is_ascii_lowercase() && !letter.is_ascii_digit()) {
        return bad(format!("there is no right {odd:?}"));
    }
    Ok(Command::SetAcl { mailbox, who, change, letters: letters.to_owned() })
}

pub fn identifier(p: &mut Parser<'_>) -> Parsed<String> {
    p.space()?;
    String::from_utf8(p.astring()?).or_else(|_| bad("an identifier is UTF-8"))
}
