//! APPEND with MULTIAPPEND, CATENATE, BINARY and UTF8, and REPLACE (RFC 9051 §6.3.12, 3502, 4469, 3516, 6855, 8508).

use super::command::{Flagged, flag_list, mailbox};
use super::parser::{Bad, Parsed, Parser, bad};
use super::write::parse_date_time;
use crate::limits;

#[derive(Debug, Clone, PartialEq)]
pub struct Append {
    pub mailbox: Vec<u8>,
    /// At least one.
    pub messages: Vec<Appended>,
}

/// One message of APPEND.
#[derive(Debug, Clone, PartialEq)]
pub struct Appended {
    pub flags: Flagged,
    /// Seconds since 1970.
    pub received: Option<u64>,
    pub data: Data,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    Whole(Vec<u8>),
    /// With header fields in UTF-8, which needs ENABLE UTF8=ACCEPT (RFC 6855 §4).
    Utf8(Vec<u8>),
    /// Put together from these (RFC 4469).
    Parts(Vec<CatPart>),
}

#[derive(Debug, Clone, PartialEq)]
pub enum CatPart {
    Text(Vec<u8>),
    Url(Vec<u8>),
}

pub fn append(p: &mut Parser<'_>) -> Parsed<Append> {
    let mailbox = mailbox(p)?;
    let mut messages = Vec::new();
    loop {
        p.space()?;
        messages.push(message(p)?);
        if messages.len() > limits::APPEND_MESSAGES {
            return bad("one APPEND has too many messages");
        }
        if p.peek() != Some(b' ') || p.rest().trim_ascii().is_empty() {
            return Ok(Append { mailbox, messages });
        }
    }
}

fn message(p: &mut Parser<'_>) -> Parsed<Appended> {
    let mut flags = Flagged::default();
    if p.peek() == Some(b'(') {
        flags = flag_list(p)?;
        p.space()?;
    }
    let mut received = None;
    if p.peek() == Some(b'"') {
        received = Some(parse_date_time(&p.string()?).ok_or_else(|| Bad("the date-time cannot be read".into()))?);
        p.space()?;
    }
    let data = if p.take_word("CATENATE ") {
        let parts = p.list(cat_part)?;
        if parts.is_empty() {
            return bad("CATENATE names at least one part");
        }
        Data::Parts(parts)
    } else if p.take_word("UTF8 (") {
        let bytes = p.literal8()?.to_vec();
        p.expect(b')')?;
        Data::Utf8(bytes)
    } else {
        Data::Whole(p.literal8()?.to_vec())
    };
    Ok(Appended { flags, received, data })
}

fn cat_part(p: &mut Parser<'_>) -> Parsed<CatPart> {
    if p.take_word("TEXT ") {
        return Ok(CatPart::Text(p.literal8()?.to_vec()));
    }
    if p.take_word("URL ") {
        return Ok(CatPart::Url(p.astring()?));
    }
    bad(format!("expected TEXT or URL {}", p.here()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &[u8]) -> Parsed<Append> {
        let mut p = Parser::new(text);
        let append = append(&mut p)?;
        p.end()?;
        Ok(append)
    }

    #[test]
    fn several_messages_may_come_in_one_command() {
        let append = parsed(b" INBOX (\\Seen) {3}\r\none \"21-Nov-2026 08:00:00 +0000\" {3+}\r\ntwo").unwrap();
        assert_eq!(append.messages.len(), 2);
        assert_eq!(append.messages[1].data, Data::Whole(b"two".to_vec()));
        assert!(append.messages[1].received.is_some());
    }

    #[test]
    fn a_message_may_be_put_together() {
        let append = parsed(b" Sent CATENATE (URL \"/INBOX/;UID=3\" TEXT {2}\r\nhi)").unwrap();
        let Data::Parts(parts) = &append.messages[0].data else { panic!() };
        assert_eq!(parts[1], CatPart::Text(b"hi".to_vec()));
        assert!(parsed(b" Sent CATENATE ()").is_err());
    }

    #[test]
    fn nul_octets_come_in_a_binary_literal_only() {
        assert!(parsed(b" Sent ~{3}\r\na\0b").is_ok());
        assert!(parsed(b" Sent {3}\r\na\0b").is_err());
        assert!(matches!(parsed(b" Sent UTF8 (~{3}\r\nabc)").unwrap().messages[0].data, Data::Utf8(_)));
    }
}
