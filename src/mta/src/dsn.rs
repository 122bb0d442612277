//! Reports to a sender about mail that could not be delivered (RFC 3461 §6, RFC 3464, RFC 6522). Pure.

use crate::delivery::Trouble;
use crate::limits;
use crate::message::{Message, with_crlf};
use crate::queue::entry::Entry;
use base::{Address, Domain};
use mail_builder::MessageBuilder;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::raw::Raw;
use mail_builder::mime::MimePart;

/// A recipient that was given up, and why.
#[derive(Debug, Clone)]
pub struct Failure {
    pub recipient: Address,
    pub trouble: Trouble,
    /// Whether it is the time that ran out, rather than a refusal.
    pub expired: bool,
}

/// Where a report comes from.
#[derive(Debug, Clone, Copy)]
pub struct Reporter<'a> {
    /// The box's own name.
    pub hostname: &'a Domain,
    /// Whose postmaster speaks: the owner's domain, so that the report can be signed.
    pub home: &'a Domain,
}

/// Writes the report on an entry whose sender is known. `original` is the message as it was to be sent.
pub fn report(
    by: Reporter<'_>,
    to: &Address,
    entry: &Entry,
    failures: &[Failure],
    original: &[u8],
    now: u64,
) -> std::io::Result<Message> {
    let header = returned_header(original);
    let plain = |text: String, kind: &'static str| {
        MimePart::new(ContentType::new(kind), text.into_bytes()).transfer_encoding("7bit")
    };
    let text = MimePart::new(ContentType::new("text/plain").attribute("charset", "utf-8"), explain(by, failures));
    let status = plain(machine_part(by, entry, failures), "message/delivery-status");
    // The header may have any octets in it, and this kind of part must not be encoded (RFC 6522 §4).
    let returned = MimePart::new(ContentType::new("text/rfc822-headers"), header).transfer_encoding("8bit");
    let kind = ContentType::new("multipart/report").attribute("report-type", "delivery-status");
    let bytes = MessageBuilder::new()
        .from(("Mail delivery".to_owned(), format!("postmaster@{}", by.home)))
        .to(to.to_string())
        .subject("Your message could not be delivered")
        .date(i64::try_from(now).unwrap_or_default())
        .message_id(format!("{}@{}", crate::queue::new_id(), by.hostname))
        .header("Auto-Submitted", Raw::new("auto-replied"))
        .body(MimePart::new(kind, vec![text, status, returned]))
        .write_to_vec()?;
    Message::received(with_crlf(&bytes)).map_err(std::io::Error::other)
}

/// What a person reads.
fn explain(by: Reporter<'_>, failures: &[Failure]) -> String {
    let mut text = format!("This is the mail server {}.\r\n\r\n", by.hostname);
    text.push_str("Your message could not be delivered to:\r\n\r\n");
    for failure in failures {
        let what =
            if failure.expired { "gave up after trying for five days; the last try met" } else { "it was refused" };
        text.push_str(&format!("  {}\r\n    {what}: {}\r\n\r\n", failure.recipient, failure.trouble.words));
    }
    text.push_str("Nothing more will be tried. The header of your message follows.\r\n");
    text
}

/// What a program reads (RFC 3464 §2).
fn machine_part(by: Reporter<'_>, entry: &Entry, failures: &[Failure]) -> String {
    let mut part = format!("Reporting-MTA: dns; {}\r\n", by.hostname);
    part.push_str(&format!("X-Queue-Id: {}\r\n", entry.id));
    part.push_str(&format!("Arrival-Date: {}\r\n", base::time::rfc5322(entry.queued)));
    for Failure { recipient, trouble, .. } in failures {
        part.push_str(&format!("\r\nFinal-Recipient: rfc822; {recipient}\r\nAction: failed\r\n"));
        // What was a passing failure each time is a lasting one now (RFC 3464 §2.3.4).
        let status = trouble.status.strip_prefix('4').map_or(trouble.status.clone(), |rest| format!("5{rest}"));
        part.push_str(&format!("Status: {status}\r\n"));
        if let Some(server) = &trouble.server {
            let name = server.split(' ').next().unwrap_or_default();
            if name.contains('.') {
                part.push_str(&format!("Remote-MTA: dns; {name}\r\n"));
            }
        }
        if let Some(reply) = &trouble.reply {
            part.push_str(&format!("Diagnostic-Code: smtp; {}\r\n", printable(&reply.words())));
        }
    }
    part
}

/// One line of ASCII, short enough for any line limit.
fn printable(text: &str) -> String {
    text.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).take(800).collect()
}

/// The original's header fields, up to a bound, without its body.
fn returned_header(original: &[u8]) -> Vec<u8> {
    let end = original.windows(4).position(|four| four == b"\r\n\r\n").map_or(original.len(), |at| at + 2);
    let header = original.get(..end.min(limits::RETURNED_HEADER)).unwrap_or_default();
    // Cut at a line's end.
    let end = header.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    header.get(..end).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Reply;
    use crate::queue::entry::Recipient;
    use mail_parser::MessageParser;

    #[test]
    fn a_report_says_to_people_and_programs_who_did_not_get_what_and_why() {
        let (host, home) = (Domain::parse("box.example.org").unwrap(), Domain::parse("example.org").unwrap());
        let (ann, bob) = (Address::parse("ann@example.org").unwrap(), Address::parse("bob@example.net").unwrap());
        let entry = Entry {
            id: "q1".into(),
            sender: Some(ann.clone()),
            queued: 0,
            bytes: 1,
            eight_bit: false,
            judged: false,
            account: None,
            needs: Default::default(),
            wish: Default::default(),
            held: false,
            recipients: vec![Recipient::new(bob.clone(), false, 0)],
        };
        let reply = Reply::new(450, "4.2.1", "später");
        let trouble = Trouble {
            status: "4.2.1".into(),
            reply: Some(reply),
            server: Some("mx.example.net [192.0.2.1]".into()),
            words: "mx.example.net said: 450".into(),
            scope: Default::default(),
        };
        let failures = [Failure { recipient: bob, trouble, expired: true }];
        let by = Reporter { hostname: &host, home: &home };
        let report = report(by, &ann, &entry, &failures, b"Subject: h\xe9\r\n\r\nsecret body", 0).unwrap();
        let bytes = report.into_bytes();
        let parsed = MessageParser::default().parse(&bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let kind = parsed.content_type().unwrap();
        assert_eq!((kind.ctype(), kind.subtype()), ("multipart", Some("report")), "{text}");
        assert_eq!(kind.attribute("report-type"), Some("delivery-status"));
        assert_eq!(parsed.from().unwrap().first().unwrap().address(), Some("postmaster@example.org"));
        for line in [
            "Reporting-MTA: dns; box.example.org\r\n",
            "\r\n\r\nFinal-Recipient: rfc822; bob@example.net\r\nAction: failed\r\nStatus: 5.2.1\r\n",
            "Remote-MTA: dns; mx.example.net\r\n",
            "Diagnostic-Code: smtp; 450 4.2.1 sp?ter\r\n",
            "Content-Type: message/delivery-status\r\n",
            "Auto-Submitted: auto-replied\r\n",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        assert!(!text.contains("secret body"));
        assert!(bytes.windows(12).any(|part| part == b"Subject: h\xe9\r"));
    }
}
