//! Messages with binary parts (RFC 3030) made fit for DATA, LMTP and mailboxes, whose lines end with CRLF.
//!
//! A part that says `Content-Transfer-Encoding: binary` is written in base64; a multipart or a message within the message
//! that says so says `8bit` instead, for those may not be encoded (RFC 2045 §6.4). All else stays as it is. Signatures
//! over such a body no longer fit, so it is done after judging.

use super::{fields, header_length};
use crate::limits;
use crate::proto::dot::{self, DotError};
use base64::{Engine, engine::general_purpose::STANDARD};
use mail_parser::MessageParser;

/// Why a binary message cannot be made fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BinaryError {
    /// A part that does not say that it is binary, and has octets that only such a part may have.
    #[error(transparent)]
    Form(#[from] DotError),
    #[error("the parts of the message lie more than {} deep in each other", limits::MIME_DEPTH)]
    TooDeep,
}

/// The message without binary parts.
pub fn to_text(message: &[u8]) -> Result<Vec<u8>, BinaryError> {
    let mut out = Vec::with_capacity(message.len() + message.len() / 2);
    entity(message, 0, &mut out)?;
    dot::check(&out)?;
    Ok(out)
}

/// What an entity's header says that matters here.
struct Kind {
    binary: bool,
    /// `None`: not a multipart.
    boundary: Option<String>,
    message: bool,
}

/// Writes a header with its body.
fn entity(bytes: &[u8], depth: usize, out: &mut Vec<u8>) -> Result<(), BinaryError> {
    if depth > limits::MIME_DEPTH {
        return Err(BinaryError::TooDeep);
    }
    let (head, body) = bytes.split_at(header_length(bytes).min(bytes.len()));
    let kind = kind(head);
    let encoding = match &kind {
        Kind { binary: false, .. } => None,
        Kind { boundary: None, message: false, .. } => Some("base64"),
        _ => Some("8bit"),
    };
    for field in fields(head) {
        match encoding {
            Some(encoding) if field.is("Content-Transfer-Encoding") => {
                out.extend_from_slice(format!("Content-Transfer-Encoding: {encoding}\r\n").as_bytes());
            }
            _ => out.extend_from_slice(field.bytes),
        }
    }
    let (line, body) = body.split_at(if body.starts_with(b"\r\n") { 2 } else { 0 });
    out.extend_from_slice(line);
    match kind {
        Kind { boundary: Some(boundary), .. } => parts(body, &boundary, depth, out),
        Kind { message: true, .. } => entity(body, depth + 1, out),
        Kind { binary: true, .. } => {
            encoded(body, out);
            Ok(())
        }
        _ => {
            out.extend_from_slice(body);
            Ok(())
        }
    }
}

fn kind(head: &[u8]) -> Kind {
    let value = |name: &str| fields(head).find(|field| field.is(name)).map(|field| field.value());
    let binary = value("Content-Transfer-Encoding").is_some_and(|value| value.eq_ignore_ascii_case("binary"));
    let mut ended = head.to_vec();
    ended.extend_from_slice(b"\r\n");
    let parsed = MessageParser::default().parse_headers(&ended);
    let kind = parsed.as_ref().and_then(|parsed| parsed.content_type());
    let Some(kind) = kind else { return Kind { binary, boundary: None, message: false } };
    let multipart = kind.ctype().eq_ignore_ascii_case("multipart");
    let boundary = kind.attribute("boundary").filter(|boundary| multipart && !boundary.is_empty());
    let sub = kind.subtype().unwrap_or_default();
    let message = kind.ctype().eq_ignore_ascii_case("message")
        && (sub.eq_ignore_ascii_case("rfc822") || sub.eq_ignore_ascii_case("global"));
    Kind { binary, boundary: boundary.map(str::to_owned), message }
}

/// Writes a multipart's body: what stands before, between and behind the parts as it is, and each part.
fn parts(body: &[u8], boundary: &str, depth: usize, out: &mut Vec<u8>) -> Result<(), BinaryError> {
    let delimiter = format!("--{boundary}");
    let (mut at, mut part) = (0, None::<usize>);
    while let Some(found) = next_delimiter(body, at, delimiter.as_bytes()) {
        // The CRLF before a delimiter belongs to it (RFC 2046 §5.1.1).
        let end = found.start.saturating_sub(2).max(part.unwrap_or(0));
        match part {
            Some(start) => entity(body.get(start..end).unwrap_or_default(), depth + 1, out)?,
            None => out.extend_from_slice(body.get(..end).unwrap_or_default()),
        }
        out.extend_from_slice(body.get(end..found.end).unwrap_or_default());
        (at, part) = (found.end, Some(found.end));
        if found.last {
            out.extend_from_slice(body.get(found.end..).unwrap_or_default());
            return Ok(());
        }
    }
    // The last delimiter is missing: what is left is a part like the others.
    match part {
        Some(start) => entity(body.get(start..).unwrap_or_default(), depth + 1, out),
        None => {
            out.extend_from_slice(body);
            Ok(())
        }
    }
}

struct Delimiter {
    start: usize,
    /// Behind its CRLF.
    end: usize,
    last: bool,
}

/// The next line, from `from` on, that is the delimiter: behind a CRLF or at the very start.
fn next_delimiter(body: &[u8], from: usize, delimiter: &[u8]) -> Option<Delimiter> {
    let mut at = from;
    loop {
        let rest = body.get(at..)?;
        let line_end = rest.windows(2).position(|two| two == b"\r\n").map(|end| at + end + 2);
        let end = line_end.unwrap_or(body.len());
        if let Some(behind) = body.get(at..end).and_then(|line| line.strip_prefix(delimiter)) {
            let behind = behind.trim_ascii_end();
            if behind.is_empty() || behind == b"--" {
                return Some(Delimiter { start: at, end, last: behind == b"--" });
            }
        }
        at = line_end?;
    }
}

/// RFC 2045 §6.8: lines of 76 characters. Without a line end at the end, which belongs to what follows.
fn encoded(body: &[u8], out: &mut Vec<u8>) {
    for (index, piece) in body.chunks(57).enumerate() {
        if index > 0 {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(STANDARD.encode(piece).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MULTIPART: &[u8] = b"Subject: x\r\nContent-Type: multipart/mixed; boundary=\"b d\"\r\n\
        Content-Transfer-Encoding: binary\r\n\r\nbefore\r\n--b d\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b d \r\n\
        Content-Type: image/png\r\ncontent-transfer-encoding: BINARY\r\n\r\n";

    fn with(data: &[u8]) -> Vec<u8> {
        [MULTIPART, data, b"\r\n--b d--\r\nafter\r\n"].concat()
    }

    #[test]
    fn binary_parts_are_encoded_and_nothing_else_is_touched() {
        let text = String::from_utf8(to_text(&with(b"\0\n\r\xff--b d\r")).unwrap()).unwrap();
        assert!(text.contains("\r\nContent-Transfer-Encoding: 8bit\r\n\r\nbefore\r\n--b d\r\n"), "{text}");
        assert!(text.contains("\r\n\r\nhi\r\n--b d \r\n"), "{text}");
        let end = "Content-Transfer-Encoding: base64\r\n\r\nAAoN/y0tYiBkDQ==\r\n--b d--\r\nafter\r\n";
        assert!(text.ends_with(end), "{text}");
        let plain = b"Subject: x\r\n\r\ntext\r\n".to_vec();
        assert_eq!(to_text(&plain).unwrap(), plain);
    }

    #[test]
    fn octets_of_a_part_that_does_not_say_so_are_refused() {
        let lie = b"Content-Type: image/png\r\n\r\na\nb".to_vec();
        assert_eq!(to_text(&lie), Err(BinaryError::Form(DotError::BareNewline)));
        assert_eq!(to_text(b"Subject: a\nb\r\n\r\n"), Err(BinaryError::Form(DotError::BareNewline)));
    }

    #[test]
    fn a_message_of_nothing_but_messages_comes_to_an_end() {
        let deep = b"Content-Type: message/rfc822\r\n\r\n".repeat(limits::MIME_DEPTH + 2);
        assert_eq!(to_text(&deep), Err(BinaryError::TooDeep));
    }

    proptest! {
        #[test]
        fn any_data_arrives_as_it_was_sent(data in proptest::collection::vec(any::<u8>(), 0..400)) {
            // A line of the data that looks like the delimiter would be one; a sender sees to it that there is none.
            prop_assume!(!data.windows(5).any(|five| five == b"--b d"));
            let text = to_text(&with(&data)).unwrap();
            let parsed = MessageParser::default().parse(&text).unwrap();
            let part = parsed.parts().find(|part| part.content_type().is_some_and(|kind| kind.ctype() == "image"));
            prop_assert_eq!(&part.unwrap().decoded()[..], &data[..]);
        }

        #[test]
        fn any_bytes_are_made_fit_or_refused(
            head in "(Content-Type: (multipart/x; boundary=a|message/rfc822|text/plain)\r\n|Content-Transfer-Encoding: binary\r\n|\r\n|--a\r\n|--a--\r\n|x\r\n){0,12}",
            bytes in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            if let Ok(text) = to_text(&[head.as_bytes(), &bytes].concat()) {
                prop_assert!(dot::check(&text).is_ok());
            }
        }
    }
}
