//! A message as bytes: its header fields seen, removed and added, its body never touched.
//!
//! Every line of a message that came through [`crate::proto::dot`] ends with CRLF, and this relies on it.

pub mod binary;
pub mod submitted;
pub mod trace;

use crate::limits;

/// A message in two pieces that are sent and stored one after the other, so that adding a field on top does not copy
/// a body of many megabytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The header fields, without the empty line.
    pub head: Vec<u8>,
    /// From the empty line on.
    pub body: Vec<u8>,
}

/// Why a message is refused for its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    #[error("the header is longer than {} octets", limits::HEADER)]
    HeaderTooLong,
    #[error("a NUL stands in the header")]
    Nul,
    #[error("the message has passed more than {} servers: a loop", limits::HOPS)]
    Loop,
}

/// One header field: its name and all its bytes, folded lines and CRLF included.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    pub name: &'a str,
    pub bytes: &'a [u8],
}

impl Field<'_> {
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// What follows the colon, unfolded and trimmed, as text.
    pub fn value(&self) -> String {
        let after = self.bytes.iter().position(|byte| *byte == b':').map_or(self.bytes.len(), |at| at + 1);
        let value = String::from_utf8_lossy(self.bytes.get(after..).unwrap_or_default());
        value.replace("\r\n", "").trim().to_owned()
    }
}

impl Message {
    /// Splits what was received into header and body, and checks its form.
    pub fn received(mut bytes: Vec<u8>) -> Result<Self, FormError> {
        let end = check(&bytes)?;
        let mut body = bytes.split_off(end);
        if !body.is_empty() && !body.starts_with(b"\r\n") {
            // A first line that is no field begins the body of a message without a header.
            body.splice(0..0, *b"\r\n");
        }
        Ok(Self { head: bytes, body })
    }

    /// Octets in all.
    pub fn size(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// The header fields in their order.
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        fields(&self.head)
    }

    /// Puts fields (each ending in CRLF) on top.
    pub fn prepend(&mut self, fields: &str) {
        self.head.splice(0..0, fields.bytes());
    }

    /// Keeps only the fields that `keep` wants.
    pub fn retain(&mut self, keep: impl Fn(&Field<'_>) -> bool) {
        let mut head = Vec::with_capacity(self.head.len());
        fields(&self.head).filter(keep).for_each(|field| head.extend_from_slice(field.bytes));
        self.head = head;
    }

    /// Whether any octet needs eight bits.
    pub fn is_eight_bit(&self) -> bool {
        !(self.head.is_ascii() && self.body.is_ascii())
    }

    /// Both pieces as one, where a caller needs them so.
    pub fn into_bytes(self) -> Vec<u8> {
        let mut bytes = self.head;
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// Checks the form of a message as received; gives the length of its header.
pub fn check(bytes: &[u8]) -> Result<usize, FormError> {
    let end = header_length(bytes);
    let head = bytes.get(..end).unwrap_or_default();
    if end > limits::HEADER {
        return Err(FormError::HeaderTooLong);
    }
    if head.contains(&0) {
        return Err(FormError::Nul);
    }
    if fields(head).filter(|field| field.is("Received")).count() > limits::HOPS {
        return Err(FormError::Loop);
    }
    Ok(end)
}

/// The same text with every line ending in CRLF, for messages that did not come by SMTP.
pub fn with_crlf(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        out.extend(text.iter().filter(|byte| **byte != b'\r'));
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// The length of the lines at the start that are header fields or their continuations.
fn header_length(bytes: &[u8]) -> usize {
    let mut length = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let continues = length > 0 && matches!(line.first(), Some(b' ' | b'\t'));
        if !continues && field_name(line).is_none() {
            break;
        }
        length += line.len();
    }
    length
}

/// The name of the field that a line begins (RFC 5322 §2.2); white space before the colon is the obsolete syntax.
fn field_name(line: &[u8]) -> Option<&str> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = std::str::from_utf8(line.get(..colon)?).ok()?.trim_end_matches([' ', '\t']);
    let printable = !name.is_empty() && name.bytes().all(|byte| (33..=126).contains(&byte));
    printable.then_some(name)
}

fn fields(head: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = head;
    std::iter::from_fn(move || {
        let mut length = 0;
        for line in rest.split_inclusive(|byte| *byte == b'\n') {
            if length > 0 && !matches!(line.first(), Some(b' ' | b'\t')) {
                break;
            }
            length += line.len();
        }
        let (bytes, after) = rest.split_at_checked(length)?;
        rest = after;
        if bytes.is_empty() { None } else { Some(Field { name: field_name(bytes).unwrap_or_default(), bytes }) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn header_and_body_are_told_apart() {
        let message = Message::received(b"A: 1\r\n 2\r\nB:3\r\n\r\nC: body\r\n".to_vec()).unwrap();
        let names: Vec<_> = message.fields().map(|field| (field.name.to_owned(), field.value())).collect();
        assert_eq!(names, [("A".into(), "1 2".into()), ("B".into(), "3".into())]);
        assert_eq!(message.body, b"\r\nC: body\r\n");
        let bare = Message::received(b"no header here\r\n".to_vec()).unwrap();
        assert_eq!((bare.head.len(), bare.body.as_slice()), (0, b"\r\nno header here\r\n".as_slice()));
    }

    #[test]
    fn a_message_that_goes_in_circles_is_stopped() {
        let hops = |count: usize| Message::received("Received: x\r\n".repeat(count).into_bytes());
        assert!(hops(limits::HOPS).is_ok());
        assert_eq!(hops(limits::HOPS + 1), Err(FormError::Loop));
    }

    #[test]
    fn a_header_without_end_is_refused() {
        let bytes = b"A: 1\r\n".repeat(limits::HEADER / 6 + 1);
        assert_eq!(Message::received(bytes), Err(FormError::HeaderTooLong));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_apart_without_a_crash_or_a_loss(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b':'), Just(b' '), any::<u8>()], 0..200),
        ) {
            if let Ok(message) = Message::received(bytes.clone()) {
                let head: Vec<u8> = message.fields().flat_map(|field| field.bytes.to_vec()).collect();
                prop_assert_eq!(&head, &message.head);
                let whole = message.into_bytes();
                prop_assert!(whole == bytes || whole.len() == bytes.len() + 2);
            }
        }
    }
}
