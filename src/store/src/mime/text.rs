//! The text of a message as its reader sees it: encodings and charsets undone. Pure; any bytes give some text.

use super::header::unfold;
use super::{Content, Part};
use mail_parser::decoders::html::html_to_text;
use mail_parser::{Charset, Encoding, HeaderForm};

/// A header value with its encoded words read.
pub fn decoded_field(value: &[u8]) -> String {
    let one_line = unfold(value);
    let parsed = HeaderForm::Text.parse(&one_line);
    match parsed.value().as_text() {
        Some(text) => text.to_owned(),
        None => String::from_utf8_lossy(&one_line).into_owned(),
    }
}

/// The bytes of a part with its transfer encoding undone.
pub fn decoded_bytes<'m>(message: &'m [u8], part: &Part) -> std::borrow::Cow<'m, [u8]> {
    encoding(part).decode(part.body.of(message))
}

fn encoding(part: &Part) -> Encoding {
    match part.encoding.bytes() {
        Some(name) if name.eq_ignore_ascii_case(b"base64") => Encoding::Base64,
        Some(name) if name.eq_ignore_ascii_case(b"quoted-printable") => Encoding::QuotedPrintable,
        _ => Encoding::None,
    }
}

/// The text of a text part, or of its beginning: no more than about `most` octets are decoded.
pub fn decoded_text(message: &[u8], part: &Part, most: usize) -> String {
    let body = part.body.of(message);
    let bytes = encoding(part).decode(&body[..body.len().min(most)]);
    // What claims to be ASCII, or nothing, is UTF-8 where it is more.
    let told = part.param("charset").filter(|charset| !charset.eq_ignore_ascii_case(b"us-ascii"));
    match told.and_then(Charset::from_label) {
        Some(charset) => charset.decode(&bytes).into_owned(),
        None => String::from_utf8_lossy(&bytes).into_owned(),
    }
}

/// Octets of a part that are decoded for a preview: the beginning of newsletters is long on style.
const PREVIEW_READS: usize = 32 << 10;
/// RFC 8970 §3.1: at most 256 characters; 200 are suggested.
const PREVIEW_CHARACTERS: usize = 200;

/// The beginning of what a reader reads, on one line (RFC 8970); empty where there is no text.
pub fn preview(message: &[u8], root: &Part) -> String {
    let Some(part) = first_text(root, "plain").or_else(|| first_text(root, "html")) else { return String::new() };
    let text = decoded_text(message, part, PREVIEW_READS);
    let text = if part.kind.1.eq_ignore_ascii_case("html") { html_to_text(&text) } else { text };
    let mut out = String::with_capacity(PREVIEW_CHARACTERS);
    let words = text.lines().filter(|line| !line.trim_start().starts_with('>')).flat_map(str::split_whitespace);
    let mut count = 0;
    for word in words {
        let word: String = word.chars().filter(|c| !c.is_control()).take(PREVIEW_CHARACTERS).collect();
        let length = word.chars().count() + usize::from(count > 0);
        if count + length > PREVIEW_CHARACTERS {
            break;
        }
        if count > 0 {
            out.push(' ');
        }
        out.push_str(&word);
        count += length;
    }
    out
}

fn first_text<'p>(part: &'p Part, subtype: &str) -> Option<&'p Part> {
    let attached = part
        .disposition
        .as_ref()
        .is_some_and(|(kind, _)| kind.bytes().is_some_and(|kind| kind.eq_ignore_ascii_case(b"attachment")));
    match &part.content {
        Content::Leaf if part.is("text") && part.kind.1.eq_ignore_ascii_case(subtype) && !attached => Some(part),
        Content::Leaf => None,
        _ => part.children().iter().find_map(|child| first_text(child, subtype)),
    }
}

#[cfg(test)]
mod tests {
    use crate::mime::Parsed;

    #[test]
    fn a_preview_is_the_beginning_of_what_is_read() {
        let shown = |message: &str| Parsed::of(message.as_bytes()).preview;
        assert_eq!(shown("Subject: x\r\n\r\n> quoted\r\nHello\r\n  there\r\n"), "Hello there");
        let html = "Content-Type: text/html; charset=utf-8\r\n\r\n<style>p{}</style><p>Gr&uuml;&szlig;e <b>an</b> alle";
        assert_eq!(shown(html), "Grüße an alle");
        assert_eq!(shown("Content-Type: image/png\r\n\r\nxxx"), "");
        assert!(shown(&format!("\r\n{}", "wörter ".repeat(500))).chars().count() <= 200);
    }
}
