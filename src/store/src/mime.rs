//! A message's structure as IMAP tells it (RFC 3501 §7.4.2): byte ranges of the parts, and header values undecoded,
//! since clients want encoded words as they stand. Pure; any bytes give some structure. Lines end in CRLF or LF.

mod address;
mod envelope;
mod header;
mod shown;
mod structure;
mod text;

pub use address::MailAddress;
pub use envelope::Envelope;
pub use header::{Field, fields, unfold};
pub use shown::{body, envelope, nstring, quoted_or_literal};
pub use structure::{Content, Part, Span, Text, header_length};
pub use text::{decoded_bytes, decoded_field, decoded_text};

use crate::limits;
use mail_parser::DateTime;
use serde::{Deserialize, Serialize};

/// Raised when the shape of [`Parsed`] or what is shown of it changes: what another version kept is parsed again.
const VERSION: u8 = 1;

/// 128 bits that stand for something, told as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Digest([u8; 16]);

impl Digest {
    fn of(bytes: &[u8]) -> Digest {
        let mut out = [0; 16];
        out.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
        Digest(out)
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// When a message says it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Seconds since 1970, in UTC.
    pub seconds: i64,
    /// Minutes that the sender's clock was ahead of UTC.
    pub zone: i16,
}

/// What the index caches of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parsed {
    pub envelope: Envelope,
    pub root: Part,
    /// From the Date field; none where it cannot be read.
    pub sent: Option<Sent>,
    /// The message ids of References, else of In-Reply-To (RFC 5256 §2.1), without their brackets.
    pub references: Vec<Vec<u8>>,
    /// The same for the same bytes, wherever they lie (RFC 8474 §5.1).
    pub email_id: Digest,
    /// The same for all messages that lead back to one first message (RFC 8474 §5.2).
    pub thread_id: Digest,
    pub preview: String,
}

impl Parsed {
    pub fn of(message: &[u8]) -> Parsed {
        let root = structure::parse(message);
        let header = root.header.of(message);
        let envelope = Envelope::of(header);
        let references = references(header, &envelope);
        let email_id = Digest::of(message);
        let own = envelope.message_id.as_deref().and_then(|value| message_ids(value).next());
        let first = references.first().map(Vec::as_slice).or(own);
        let thread_id = first.map_or(email_id, Digest::of);
        let sent = envelope.date.as_deref().and_then(sent);
        let preview = text::preview(message, &root);
        Parsed { envelope, root, sent, references, email_id, thread_id, preview }
    }

    /// The form that the index keeps.
    pub(crate) fn to_bytes(&self) -> Option<Vec<u8>> {
        postcard::to_extend(self, vec![VERSION]).ok()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Parsed> {
        let (version, rest) = bytes.split_first()?;
        if *version == VERSION { postcard::from_bytes(rest).ok() } else { None }
    }
}

fn references(header: &[u8], envelope: &Envelope) -> Vec<Vec<u8>> {
    let field = fields(header).find(|field| field.is("References")).map(|field| unfold(field.value));
    let mut ids: Vec<Vec<u8>> = field.iter().flat_map(|value| message_ids(value)).map(<[u8]>::to_vec).collect();
    if ids.is_empty() {
        // RFC 5256 §3: the first valid one of In-Reply-To.
        ids.extend(envelope.in_reply_to.iter().flat_map(|value| message_ids(value)).map(<[u8]>::to_vec).take(1));
    }
    if ids.len() > limits::REFERENCES {
        // The first is the thread's root, the last are those nearest.
        ids.drain(1..=ids.len() - limits::REFERENCES);
    }
    ids
}

/// What stands in angle brackets.
pub fn message_ids(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b'<').skip(1).filter_map(|rest| {
        let id = rest.split(|byte| *byte == b'>').next()?.trim_ascii();
        (!id.is_empty() && id.len() < rest.len()).then_some(id)
    })
}

fn sent(value: &[u8]) -> Option<Sent> {
    let date = DateTime::parse_rfc822(std::str::from_utf8(value).ok()?)?;
    let minutes = i16::from(date.tz_hour) * 60 + i16::from(date.tz_minute);
    let zone = if date.tz_before_gmt { -minutes } else { minutes };
    date.is_valid().then(|| Sent { seconds: date.to_timestamp(), zone })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn within(part: &Part, outer: Span, length: usize) {
        assert!(part.header.end <= part.body.start && part.body.end <= outer.end && outer.end <= length);
        for child in part.children() {
            within(child, part.body, length);
        }
    }

    #[test]
    fn a_reply_belongs_to_the_thread_of_what_it_answers() {
        let thread = |header: &str| Parsed::of(format!("{header}\r\n\r\nx").as_bytes()).thread_id;
        let first = thread("Message-ID: <a@x>");
        assert_eq!(thread("In-Reply-To: <a@x>\r\nMessage-ID: <b@x>"), first);
        assert_eq!(thread("References: <a@x>\r\n <b@x>\r\nMessage-ID: <c@x>"), first);
        assert_ne!(thread("Message-ID: <other@x>"), first);
        assert_eq!(thread("X: 1"), thread("X: 1"));
    }

    #[test]
    fn the_time_of_sending_is_read_with_its_zone() {
        let sent = |date: &str| Parsed::of(format!("Date: {date}\r\n\r\n").as_bytes()).sent;
        assert_eq!(sent("Sat, 21 Nov 2026 23:30:00 -0530"), Some(Sent { seconds: 1_795_323_600, zone: -330 }));
        assert_eq!(sent("nonsense"), None);
        let many: String = (0..5000).map(|id| format!(" <{id}@x>\r\n")).collect();
        let parsed = Parsed::of(format!("References:{many}\r\n").as_bytes());
        assert_eq!(parsed.references.len(), limits::REFERENCES);
        assert_eq!(
            (parsed.references[0].as_slice(), parsed.references.last().unwrap().as_slice()),
            (b"0@x".as_slice(), b"4999@x".as_slice())
        );
    }

    #[test]
    fn what_the_fuzz_target_keeps_is_parsed() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fuzz/corpus/mime");
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            let parsed = Parsed::of(&bytes);
            within(&parsed.root, Span { start: 0, end: bytes.len() }, bytes.len());
            count += 1;
        }
        assert!(count > 2);
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_structure_that_lies_within_them(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let parsed = Parsed::of(&bytes);
            within(&parsed.root, Span { start: 0, end: bytes.len() }, bytes.len());
        }

        #[test]
        fn anything_like_mime_has_a_structure_that_is_kept_and_read_back(
            lines in proptest::collection::vec(prop_oneof![
                Just("Content-Type: multipart/mixed; boundary=b"), Just("Content-Type: message/rfc822"),
                Just("Content-Type: text/plain; charset=\"x"), Just("From: a <b@c>, (d e"), Just("Subject: =?x"),
                Just("--b"), Just("--b--"), Just(""), Just(" folded"), Just("To: g: a@b, c@d;, e"), Just("text"),
            ], 0..60)
        ) {
            let bytes = lines.join("\r\n").into_bytes();
            let parsed = Parsed::of(&bytes);
            within(&parsed.root, Span { start: 0, end: bytes.len() }, bytes.len());
            prop_assert_eq!(Parsed::from_bytes(&parsed.to_bytes().unwrap()), Some(parsed));
        }
    }
}
