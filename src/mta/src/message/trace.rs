//! The fields that this server puts on top of a message, and those of strangers that it must not believe.

use super::{Field, Message};
use base::{Address, Domain};
use std::net::IpAddr;

/// Beginnings of fields that only this box writes. The mailbox acts on them, so a stranger's must not arrive there.
const OURS: &str = "X-Mailstead-";

/// What a `Received` field tells (RFC 5321 §4.4).
#[derive(Debug, Clone)]
pub struct Hop<'a> {
    pub by: &'a Domain,
    pub from: From<'a>,
    pub protocol: &'a str,
    /// `TLSv1.3 with TLS13_AES_256_GCM_SHA384`.
    pub tls: Option<&'a str>,
    pub id: &'a str,
    /// Named only when the message has this one recipient: otherwise it would give away a Bcc.
    pub recipient: Option<&'a Address>,
    /// Seconds since 1970.
    pub at: u64,
}

/// Where a message came from.
#[derive(Debug, Clone, Copy)]
pub enum From<'a> {
    Stranger {
        helo: &'a str,
        client: IpAddr,
    },
    /// A user of this box: where somebody sits and writes is nobody else's business.
    User,
}

impl Hop<'_> {
    /// The field, ending in CRLF.
    pub fn field(&self) -> String {
        let from = match self.from {
            From::Stranger { helo, client } => format!("from {helo} ({})\r\n\t", literal(client)),
            From::User => String::new(),
        };
        let tls = self.tls.map(|tls| format!("\r\n\t(using {tls})")).unwrap_or_default();
        let recipient = self.recipient.map(|address| format!("\r\n\tfor <{address}>")).unwrap_or_default();
        let date = base::time::rfc5322(self.at);
        let Self { by, protocol, id, .. } = self;
        format!("Received: {from}by {by} (Mailstead) with {protocol} id {id}{tls}{recipient};\r\n\t{date}\r\n")
    }
}

/// An address literal (RFC 5321 §4.1.3).
pub fn literal(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    }
}

/// Removes from a stranger's message what only this box may say: its own fields, and `Authentication-Results` in its
/// own name (RFC 8601 §5).
pub fn distrust(message: &mut Message, own: &Domain) {
    message.retain(|field| {
        let ours = field.name.get(..OURS.len()).is_some_and(|start| start.eq_ignore_ascii_case(OURS));
        !ours && !claims_results_of(field, own)
    });
}

/// Whether a field says what the server `own` has found out. A name that cannot be read is taken for ours.
fn claims_results_of(field: &Field<'_>, own: &Domain) -> bool {
    // ARC-Authentication-Results stay: they belong to a sealed chain (RFC 8617), which its reader verifies.
    if !field.is("Authentication-Results") {
        return false;
    }
    let value = without_comments(&field.value());
    let server = value.split([';', ' ', '\t']).find(|word| !word.is_empty()).unwrap_or_default();
    server.is_empty() || server.trim_matches('"').trim_end_matches('.').eq_ignore_ascii_case(own.as_str())
}

/// A field's value without its comments, which may stand before the server's name (RFC 5322 §3.2.2).
fn without_comments(value: &str) -> String {
    let (mut out, mut depth, mut escaped) = (String::new(), 0usize, false);
    for c in value.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if depth > 0 => escaped = true,
            '(' => depth += 1,
            ')' if depth > 0 => depth -= 1,
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Domain {
        Domain::parse("box.example.org").unwrap()
    }

    #[test]
    fn a_stranger_cannot_speak_for_this_box() {
        let header = "x-mailstead-verdict: accept; score=0\r\nAuthentication-Results: BOX.example.org; dkim=pass\r\n\
            Authentication-Results: (hi) box.example.org.;\r\n spf=pass\r\nAuthentication-Results:\r\n \"box.example.org\" 1; spf=pass\r\n\
            Authentication-Results: other.example; dkim=fail\r\nX-Mailsteady: x\r\nSubject: hi\r\n\r\nbody\r\n";
        let mut message = Message::received(header.as_bytes().to_vec()).unwrap();
        distrust(&mut message, &own());
        let left = String::from_utf8(message.into_bytes()).unwrap();
        assert_eq!(
            left,
            "Authentication-Results: other.example; dkim=fail\r\nX-Mailsteady: x\r\nSubject: hi\r\n\r\nbody\r\n"
        );
    }

    #[test]
    fn the_trace_says_who_came_from_where_and_how() {
        let hop = Hop {
            by: &own(),
            from: From::Stranger { helo: "mx.example", client: "2001:db8::1".parse().unwrap() },
            protocol: "ESMTPS",
            tls: Some("TLSv1.3 with AES"),
            id: "abc",
            recipient: None,
            at: 0,
        };
        let field = hop.field();
        assert!(field.starts_with("Received: from mx.example ([IPv6:2001:db8::1])\r\n\tby box.example.org"), "{field}");
        assert!(field.ends_with("(using TLSv1.3 with AES);\r\n\tThu, 01 Jan 1970 00:00:00 +0000\r\n"), "{field}");
        let user = Hop { from: From::User, ..hop }.field();
        assert!(!user.contains("2001"), "{user}");
    }
}
