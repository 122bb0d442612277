//! The text of a message as its reader sees it, for searching: encodings and charsets undone, lower case. Pure.

use mail_parser::{Charset, Encoding, HeaderForm};
use store::mime::{Content, Parsed, Part, fields, unfold};
use store::text::extract::Extract;
use store::text::{Query, words};

/// Whether a header field of the message has the text; an empty text asks whether the field is there.
pub fn header_has(message: &[u8], field: &str, text: &str) -> bool {
    let header = Parsed::of(message).root.header.of(message);
    fields(header).any(|own| own.is(field) && contains(&decoded_field(own.value), text))
}

/// Whether the text parts have the text.
pub fn body_has(message: &[u8], text: &str) -> bool {
    part_has(message, &Parsed::of(message).root, text, false)
}

/// Whether header or body have the text.
pub fn message_has(message: &[u8], text: &str) -> bool {
    let root = Parsed::of(message).root;
    header_text_has(message, &root, text) || part_has(message, &root, text, true)
}

/// Whether a message holds a needle, folded as the full-text index folds. Where the needle's punctuation counts, it has
/// to be there; else one blank between words is all there is.
pub fn holds(message: &[u8], query: &Query) -> bool {
    let counts = punctuation_counts(&query.needle);
    let flat = |text: &str| {
        let mut folded = String::new();
        words::fold(text, &mut folded);
        if counts { folded.split_whitespace().collect::<Vec<_>>().join(" ") } else { words::separated(&folded) }
    };
    let wanted = flat(&query.needle);
    let texts = Extract::of(message).texts;
    texts.iter().any(|(place, text)| query.scope.includes(*place) && flat(text).contains(&wanted))
}

/// Whether a needle has punctuation that the index, which knows words alone, cannot tell. What stands between the parts
/// of addresses and names of hosts and files does not count: the same words in the same order without it are not met in
/// practice.
pub fn punctuation_counts(needle: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || !c.is_ascii();
    let inner = needle.trim_matches(' ');
    let edges = inner.chars().next().into_iter().chain(inner.chars().next_back());
    edges.into_iter().any(|c| !word(c)) || inner.chars().any(|c| !word(c) && !" @._-".contains(c))
}

/// A header value with its encoded words undone.
pub fn decoded_value(value: &[u8]) -> String {
    // Most have none, and parsing costs.
    match std::str::from_utf8(value) {
        Ok(plain) if !plain.contains("=?") => plain.to_owned(),
        _ => decoded_field(value),
    }
}

fn contains(text: &str, lower_case: &str) -> bool {
    lower_case.is_empty() || text.to_lowercase().contains(lower_case)
}

fn decoded_field(value: &[u8]) -> String {
    let one_line = unfold(value);
    let parsed = HeaderForm::Text.parse(&one_line);
    match parsed.value().as_text() {
        Some(text) => text.to_owned(),
        None => String::from_utf8_lossy(&one_line).into_owned(),
    }
}

fn header_text_has(message: &[u8], part: &Part, text: &str) -> bool {
    fields(part.header.of(message)).any(|field| {
        let name = String::from_utf8_lossy(field.name);
        contains(&format!("{name}: {}", decoded_field(field.value)), text)
    })
}

fn part_has(message: &[u8], part: &Part, text: &str, headers: bool) -> bool {
    match &part.content {
        Content::Leaf if part.is("text") => contains(&decoded_body(message, part), text),
        Content::Leaf => false,
        Content::Multipart(parts) => parts
            .iter()
            .any(|child| (headers && header_text_has(message, child, text)) || part_has(message, child, text, headers)),
        // The header of an embedded message is text of its body.
        Content::Message(inner) => {
            header_text_has(message, &inner.1, text) || part_has(message, &inner.1, text, headers)
        }
    }
}

fn decoded_body(message: &[u8], part: &Part) -> String {
    let encoding = match part.encoding.bytes() {
        Some(name) if name.eq_ignore_ascii_case(b"base64") => Encoding::Base64,
        Some(name) if name.eq_ignore_ascii_case(b"quoted-printable") => Encoding::QuotedPrintable,
        _ => Encoding::None,
    };
    let bytes = encoding.decode(part.body.of(message));
    let charset = part
        .params
        .iter()
        .find_map(|(name, value)| name.bytes()?.eq_ignore_ascii_case(b"charset").then(|| value.bytes())?);
    // What claims to be ASCII, or nothing, is UTF-8 where it is more.
    let told = charset.filter(|charset| !charset.eq_ignore_ascii_case(b"us-ascii"));
    match told.and_then(Charset::from_label) {
        Some(charset) => charset.decode(&bytes).into_owned(),
        None => String::from_utf8_lossy(&bytes).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = b"Subject: =?utf-8?B?R3LDvMOfZQ==?=\r\nDate: Sat, 21 Nov 2026 23:30:00 -0500\r\n\
Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\
Content-Transfer-Encoding: quoted-printable\r\n\r\nSch=F6ne Gr=\r\n=FC=DFe\r\n--b\r\nContent-Type: image/png\r\n\
Content-Disposition: attachment; filename=hidden.png\r\n\r\nbinary needle\r\n--b--\r\n";

    #[test]
    fn text_is_found_as_its_reader_sees_it() {
        assert!(header_has(MESSAGE, "subject", "grüße"));
        assert!(header_has(MESSAGE, "SUBJECT", ""));
        assert!(!header_has(MESSAGE, "x-none", ""));
        assert!(body_has(MESSAGE, "schöne grüße"));
        assert!(!body_has(MESSAGE, "needle"));
        assert!(!body_has(MESSAGE, "hidden.png"));
        assert!(message_has(MESSAGE, "hidden.png"));
        assert!(message_has(MESSAGE, "grüße"));
    }
}
