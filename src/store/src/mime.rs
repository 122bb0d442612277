//! A message's structure as IMAP tells it (RFC 3501 §7.4.2): byte ranges of the parts, and header values undecoded,
//! since clients want encoded words as they stand. Pure; any bytes give some structure. Lines end in CRLF or LF.

mod address;
mod envelope;
mod header;
mod structure;

pub use address::MailAddress;
pub use envelope::Envelope;
pub use header::{Field, fields, unfold};
pub use structure::{Content, Part, Span, Text};

use serde::{Deserialize, Serialize};

/// Raised when the shape of [`Parsed`] changes: what another version kept is parsed again.
const VERSION: u32 = 1;

/// What the index caches of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parsed {
    version: u32,
    pub envelope: Envelope,
    pub root: Part,
}

impl Parsed {
    pub fn of(message: &[u8]) -> Parsed {
        let root = structure::parse(message);
        let envelope = Envelope::of(root.header.of(message));
        Parsed { version: VERSION, envelope, root }
    }

    pub(crate) fn to_json(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(self).ok()
    }

    pub(crate) fn from_json(json: &[u8]) -> Option<Parsed> {
        serde_json::from_slice(json).ok().filter(|parsed: &Parsed| parsed.version == VERSION)
    }
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
            prop_assert_eq!(Parsed::from_json(&parsed.to_json().unwrap()), Some(parsed));
        }
    }
}
