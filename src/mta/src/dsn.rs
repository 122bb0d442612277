//! Reports to a sender about mail that failed, is late or has arrived (RFC 3461 §6, RFC 3464, RFC 6522, RFC 6533). Pure.

use crate::delivery::Trouble;
use crate::explain;
use crate::limits;
use crate::message::{Message, with_crlf};
use crate::proto::delivery_status::Ret;
use crate::queue::entry::Entry;
use base::{Address, Domain};
use mail_builder::MessageBuilder;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::raw::Raw;
use mail_builder::mime::MimePart;

/// What a report is about (RFC 3464 §2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Failed,
    Delayed,
    /// In a mailbox of this box.
    Delivered,
    /// Handed to a server that sends no such reports.
    Relayed,
}

/// One recipient in a report.
#[derive(Debug, Clone)]
pub struct About {
    pub recipient: Address,
    /// As the first sender wrote it: `rfc822;ann@example.org`.
    pub original: Option<String>,
    /// What was met last, where it did not succeed.
    pub trouble: Option<Trouble>,
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

impl Kind {
    pub const ALL: [Self; 4] = [Self::Failed, Self::Delayed, Self::Delivered, Self::Relayed];

    pub fn subject(self) -> &'static str {
        match self {
            Self::Failed => "Your message could not be delivered",
            Self::Delayed => "Your message is not delivered yet",
            Self::Delivered => "Your message has arrived",
            Self::Relayed => "Your message was handed on",
        }
    }

    fn action(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Delivered => "delivered",
            Self::Relayed => "relayed",
        }
    }

    fn opening(self) -> &'static str {
        match self {
            Self::Failed => "Your message could not be delivered to:",
            Self::Delayed => "Your message could not be delivered so far to:",
            Self::Delivered => "Your message is in the mailbox of:",
            Self::Relayed => {
                "Your message was handed to another server, which sends no reports of success, on its way to:"
            }
        }
    }

    fn closing(self) -> &'static str {
        match self {
            Self::Failed => "Nothing more will be tried.",
            Self::Delayed => {
                "You need not do anything: it is tried again and again until five days are over, and you hear if it fails."
            }
            Self::Delivered | Self::Relayed => "You get this because your mail program asked for it.",
        }
    }
}

/// Writes a report on an entry whose sender is known. `original` is the message as it was to be sent.
pub fn report(
    by: Reporter<'_>,
    to: &Address,
    entry: &Entry,
    kind: Kind,
    about: &[About],
    original: &[u8],
    now: u64,
) -> std::io::Result<Message> {
    // Addresses outside ASCII need the forms of RFC 6533.
    let global =
        entry.needs.utf8 || !to.to_string().is_ascii() || about.iter().any(|it| !it.recipient.to_string().is_ascii());
    let whole = kind == Kind::Failed && entry.wish.ret == Some(Ret::Full) && original.len() <= limits::RETURNED_MESSAGE;
    let (returned, returned_kind) = match (whole, global) {
        (true, false) => (original.to_vec(), "message/rfc822"),
        (true, true) => (original.to_vec(), "message/global"),
        (false, false) => (returned_header(original), "text/rfc822-headers"),
        (false, true) => (returned_header(original), "message/global-headers"),
    };
    let status_kind = if global { "message/global-delivery-status" } else { "message/delivery-status" };
    let text = ContentType::new("text/plain").attribute("charset", "utf-8");
    let text = MimePart::new(text, explain(by, kind, about, whole));
    let status =
        MimePart::new(ContentType::new(status_kind), machine_part(by, entry, kind, about, global).into_bytes());
    let status = status.transfer_encoding(if global { "8bit" } else { "7bit" });
    // The original may have any octets in it, and this kind of part must not be encoded (RFC 6522 §4).
    let returned = MimePart::new(ContentType::new(returned_kind), returned).transfer_encoding("8bit");
    let report = ContentType::new("multipart/report").attribute("report-type", "delivery-status");
    let bytes = MessageBuilder::new()
        .from(("Mail delivery".to_owned(), format!("postmaster@{}", by.home)))
        .to(to.to_string())
        .subject(kind.subject())
        .date(i64::try_from(now).unwrap_or_default())
        .message_id(format!("{}@{}", crate::queue::new_id(), by.hostname))
        .header("Auto-Submitted", Raw::new("auto-replied"))
        .body(MimePart::new(report, vec![text, status, returned]))
        .write_to_vec()?;
    Message::received(with_crlf(&bytes)).map_err(std::io::Error::other)
}

/// What a person reads.
fn explain(by: Reporter<'_>, kind: Kind, about: &[About], whole: bool) -> String {
    let mut text = format!("This is the mail server {}.\r\n\r\n{}\r\n\r\n", by.hostname, kind.opening());
    for it in about {
        text.push_str(&format!("  {}\r\n", it.recipient));
        if let Some(trouble) = &it.trouble {
            let what = match (kind, it.expired) {
                (Kind::Delayed, _) => "the last try met",
                (_, true) => "gave up after trying for five days; the last try met",
                (_, false) => "it was refused",
            };
            text.push_str(&format!("    {what}: {}\r\n", trouble.words));
            let said = trouble.reply.as_ref().map(|reply| reply.words()).unwrap_or_default();
            if let Some(meaning) = explain::reply(trouble.server.as_deref(), &trouble.status, &said) {
                text.push_str(&format!("    That means: {}\r\n", meaning.means));
            }
        }
        text.push_str("\r\n");
    }
    let what = if whole { "message" } else { "header of your message" };
    text.push_str(&format!("{} The {what} follows.\r\n", kind.closing()));
    text
}

/// What a program reads (RFC 3464 §2).
fn machine_part(by: Reporter<'_>, entry: &Entry, kind: Kind, about: &[About], global: bool) -> String {
    let mut part = String::new();
    if let Some(envid) = &entry.wish.envid {
        part.push_str(&format!("Original-Envelope-Id: {}\r\n", printable(envid)));
    }
    part.push_str(&format!("Reporting-MTA: dns; {}\r\n", by.hostname));
    part.push_str(&format!("X-Queue-Id: {}\r\n", entry.id));
    part.push_str(&format!("Arrival-Date: {}\r\n", base::time::rfc5322(entry.queued)));
    for it in about {
        part.push_str("\r\n");
        if let Some(original) = &it.original {
            part.push_str(&format!("Original-Recipient: {}\r\n", printable(original)));
        }
        let scheme = if global { "utf-8" } else { "rfc822" };
        part.push_str(&format!("Final-Recipient: {scheme}; {}\r\nAction: {}\r\n", it.recipient, kind.action()));
        part.push_str(&format!("Status: {}\r\n", status(kind, it)));
        let Some(trouble) = &it.trouble else { continue };
        if let Some(server) = &trouble.server {
            let name = server.split(' ').next().unwrap_or_default();
            if name.contains('.') {
                part.push_str(&format!("Remote-MTA: dns; {name}\r\n"));
            }
        }
        if let Some(reply) = &trouble.reply {
            part.push_str(&format!("Diagnostic-Code: smtp; {}\r\n", printable(&reply.words())));
        }
        if kind == Kind::Delayed {
            let until = entry.queued + limits::GIVE_UP.as_secs();
            part.push_str(&format!("Will-Retry-Until: {}\r\n", base::time::rfc5322(until)));
        }
    }
    part
}

fn status(kind: Kind, about: &About) -> String {
    match (&about.trouble, kind) {
        (None, _) => "2.0.0".to_owned(),
        // What was a passing failure each time is a lasting one now (RFC 3464 §2.3.4).
        (Some(trouble), Kind::Failed) => {
            trouble.status.strip_prefix('4').map_or(trouble.status.clone(), |rest| format!("5{rest}"))
        }
        (Some(trouble), _) => trouble.status.clone(),
    }
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
        let about = [About { recipient: bob, original: None, trouble: Some(trouble), expired: true }];
        let by = Reporter { hostname: &host, home: &home };
        let report = report(by, &ann, &entry, Kind::Failed, &about, b"Subject: h\xe9\r\n\r\nsecret body", 0).unwrap();
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
