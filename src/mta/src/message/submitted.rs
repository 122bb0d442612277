//! What a submission server checks and mends in its own users' mail (RFC 6409 §6 and §8).

use super::{Field, Message};
use base::{Address, Domain};
use mail_parser::MessageParser;

/// Why a user's message is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorError {
    #[error("the message has no From field; your mail program has to write one")]
    Missing,
    #[error("the message has more than one From or Sender field")]
    Several,
    #[error("the From or Sender field cannot be read as an address")]
    Unreadable,
}

/// Every address that the message claims to be from: those of From and Sender, From's first one first.
pub fn authors(message: &Message) -> Result<Vec<Address>, AuthorError> {
    let count = |name: &str| message.fields().filter(|field| field.is(name)).count();
    match (count("From"), count("Sender")) {
        (0, _) => return Err(AuthorError::Missing),
        (1, 0 | 1) => {}
        _ => return Err(AuthorError::Several),
    }
    let mut head = message.head.clone();
    head.extend_from_slice(b"\r\n");
    let parsed = MessageParser::default().parse_headers(&head).ok_or(AuthorError::Unreadable)?;
    let mut authors = Vec::new();
    for list in [parsed.from(), parsed.sender()].into_iter().flatten() {
        for mailbox in list.mailboxes() {
            let address = mailbox.address().and_then(|text| Address::parse(text).ok());
            authors.push(address.ok_or(AuthorError::Unreadable)?);
        }
    }
    let from_is_named = parsed.from().is_some_and(|list| list.mailboxes().next().is_some());
    if from_is_named { Ok(authors) } else { Err(AuthorError::Unreadable) }
}

/// Fields in which programs and web mail tell where somebody sits, and with what: nobody's business.
const REVEALING: [&str; 14] = [
    "User-Agent",
    "X-Mailer",
    "X-MimeOLE",
    "X-Originating-IP",
    "X-Originating-Client",
    "X-Originating-Email",
    "X-Source-IP",
    "X-Sender-IP",
    "X-Client-IP",
    "X-Real-IP",
    "X-Forwarded-For",
    "X-Remote-IP",
    "X-Ms-Exchange-Organization-OriginalClientIPAddress",
    "X-Authenticated-Sender",
];

/// Removes Bcc (RFC 5322 §3.6.3: it must not reach anyone), what reveals the client, and fields that only the box itself
/// writes, and adds Date and Message-ID where they are missing.
pub fn complete(message: &mut Message, domain: &Domain, id: &str, now: u64) {
    let ours = |name: &str| name.get(..12).is_some_and(|start| start.eq_ignore_ascii_case("X-Mailstead-"));
    let reveals = |field: &Field<'_>| REVEALING.iter().any(|name| field.is(name));
    message.retain(|field| !field.is("Bcc") && !field.is("Return-Path") && !ours(field.name) && !reveals(field));
    let mut missing = String::new();
    if !message.fields().any(|field| field.is("Date")) {
        missing.push_str(&format!("Date: {}\r\n", base::time::rfc5322(now)));
    }
    if !message.fields().any(|field| field.is("Message-ID")) {
        missing.push_str(&format!("Message-ID: <{id}@{domain}>\r\n"));
    }
    message.prepend(&missing);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Message {
        Message::received(text.as_bytes().to_vec()).unwrap()
    }

    fn names(text: &str) -> Result<Vec<String>, AuthorError> {
        authors(&message(text)).map(|list| list.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_author_is_seen() {
        let text = "From: Ann <ann@a.org>, \"b@evil.org\" <bob@a.org>\r\nSender: <c@a.org>\r\n\r\n";
        assert_eq!(names(text).unwrap(), ["ann@a.org", "bob@a.org", "c@a.org"]);
        assert_eq!(names("From: Team: x@a.org, y@a.org;\r\n\r\n").unwrap(), ["x@a.org", "y@a.org"]);
    }

    #[test]
    fn a_message_that_hides_its_author_is_refused() {
        assert_eq!(names("Subject: x\r\n\r\nFrom: a@b.org\r\n"), Err(AuthorError::Missing));
        assert_eq!(names("From: a@b.org\r\nfrom : c@d.org\r\n\r\n"), Err(AuthorError::Several));
        assert_eq!(names("From: nobody\r\n\r\n"), Err(AuthorError::Unreadable));
        assert_eq!(names("From:\r\n\r\n"), Err(AuthorError::Unreadable));
    }

    #[test]
    fn nobody_learns_where_somebody_sits_and_with_what_program() {
        let mut it = message(
            "From: a@b.org\r\nUser-Agent: K-9\r\nX-MAILER: Apple Mail\r\nX-Originating-IP:\r\n [192.0.2.9]\r\nDate: x\r\nMessage-ID: <y>\r\n\r\nhi\r\n",
        );
        complete(&mut it, &Domain::parse("b.org").unwrap(), "id", 0);
        assert_eq!(
            String::from_utf8(it.into_bytes()).unwrap(),
            "From: a@b.org\r\nDate: x\r\nMessage-ID: <y>\r\n\r\nhi\r\n"
        );
    }

    #[test]
    fn what_is_missing_is_added_and_bcc_is_removed() {
        let mut it = message("From: a@b.org\r\nBcc: secret@c.org,\r\n d@e.org\r\n\r\nhi\r\n");
        complete(&mut it, &Domain::parse("b.org").unwrap(), "id", 0);
        let text = String::from_utf8(it.into_bytes()).unwrap();
        assert_eq!(
            text,
            "Date: Thu, 01 Jan 1970 00:00:00 +0000\r\nMessage-ID: <id@b.org>\r\nFrom: a@b.org\r\n\r\nhi\r\n"
        );
    }
}
