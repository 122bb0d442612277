//! BINARY (RFC 3516): the content of a part with its transfer encoding undone. Pure.

use super::section;
use crate::imap::proto::{Section, Text};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use std::borrow::Cow;
use store::mime::Part;

/// Why there is no content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The message has no such part.
    NoPart,
    /// Its transfer encoding is not known (RFC 3516 §4.3, UNKNOWN-CTE).
    Encoding,
}

/// The content of a part; with an empty path, the message as it stands.
pub fn content<'m>(message: &'m [u8], root: &Part, path: &[u32]) -> Result<Cow<'m, [u8]>, Missing> {
    if path.is_empty() {
        return Ok(Cow::Borrowed(message));
    }
    let wanted = Section { path: path.to_vec(), text: Text::All };
    let body = section::bytes(message, root, &wanted).ok_or(Missing::NoPart)?;
    let part = section::part(root, path).ok_or(Missing::NoPart)?;
    let encoding = part.encoding.bytes().unwrap_or(b"7bit").to_ascii_lowercase();
    match encoding.as_slice() {
        b"7bit" | b"8bit" | b"binary" => Ok(body),
        b"base64" => Ok(Cow::Owned(base64(&body))),
        b"quoted-printable" => Ok(Cow::Owned(quoted_printable(&body))),
        _ => Err(Missing::Encoding),
    }
}

/// As far as it goes: what is no base64 is passed over (RFC 2045 §6.8), and an end that is cut off is left out.
fn base64(text: &[u8]) -> Vec<u8> {
    let lenient = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let known = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let end = text.iter().position(|byte| *byte == b'=').unwrap_or(text.len());
    let mut digits: Vec<u8> = text[..end].iter().copied().filter(known).collect();
    if digits.len() % 4 == 1 {
        digits.pop();
    }
    GeneralPurpose::new(&STANDARD, lenient).decode(&digits).unwrap_or_default()
}

/// RFC 2045 §6.7; what is malformed stands for itself.
fn quoted_printable(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let (content, end) = match line {
            [content @ .., b'\r', b'\n'] => (content, b"\r\n".as_slice()),
            [content @ .., b'\n'] => (content, b"\n".as_slice()),
            content => (content, b"".as_slice()),
        };
        // Space at the end of a line was added on the way.
        let content = content.trim_ascii_end();
        let (content, end) = match content.strip_suffix(b"=") {
            Some(soft) => (soft, b"".as_slice()),
            None => (content, end),
        };
        let mut rest = content;
        while let Some((byte, after)) = rest.split_first() {
            let pair = after.get(..2).filter(|_| *byte == b'=').and_then(octet);
            out.push(pair.unwrap_or(*byte));
            rest = if pair.is_some() { &after[2..] } else { after };
        }
        out.extend_from_slice(end);
    }
    out
}

fn octet(pair: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(pair[0])? * 16 + digit(pair[1])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use store::mime::Parsed;

    fn of(encoding: &str, body: &str) -> Result<Vec<u8>, Missing> {
        let message = format!("Content-Transfer-Encoding: {encoding}\r\n\r\n{body}");
        let root = Parsed::of(message.as_bytes()).root;
        content(message.as_bytes(), &root, &[1]).map(Cow::into_owned)
    }

    #[test]
    fn transfer_encodings_are_undone() {
        assert_eq!(of("base64", "AAEC\r\n/w==\r\n").unwrap(), [0, 1, 2, 255]);
        assert_eq!(of("BASE64", "AAEC!AA").unwrap(), [0, 1, 2, 0]);
        assert_eq!(of("quoted-printable", "sch=C3=B6n=\r\n er  \r\n=x=").unwrap(), "schön er\r\n=x".as_bytes());
        assert_eq!(of("8bit", "a\r\n").unwrap(), b"a\r\n");
        assert_eq!(of("x-uuencode", "a"), Err(Missing::Encoding));
        let message = b"Subject: x\r\n\r\nbody";
        let root = Parsed::of(message).root;
        assert_eq!(content(message, &root, &[2]), Err(Missing::NoPart));
        assert_eq!(content(message, &root, &[]).unwrap().as_ref(), message);
    }

    proptest! {
        #[test]
        fn any_base64_is_read_back(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let text = base64::engine::general_purpose::STANDARD.encode(&bytes);
            prop_assert_eq!(base64(text.as_bytes()), bytes);
        }

        #[test]
        fn any_bytes_are_decoded_as_far_as_they_go(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            base64(&bytes);
            quoted_printable(&bytes);
        }
    }
}
