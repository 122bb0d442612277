//! The bytes of a section of a message (RFC 3501 §6.4.5). Pure.

use crate::imap::proto::{Partial, Section, Text};
use std::borrow::Cow;
use store::mime::{Content, Part, fields, header_length};

/// The section's bytes; `None` when the message has no such part.
pub fn bytes<'m>(message: &'m [u8], root: &Part, section: &Section) -> Option<Cow<'m, [u8]>> {
    // HEADER and TEXT of a part are those of the message that the part embeds.
    let entity = || match section.path.as_slice() {
        [] => Some(root),
        path => match &part(root, path)?.content {
            Content::Message(inner) => Some(&inner.1),
            _ => None,
        },
    };
    Some(match &section.text {
        Text::All if section.path.is_empty() => Cow::Borrowed(message),
        Text::All => Cow::Borrowed(part(root, &section.path)?.body.of(message)),
        Text::Mime => Cow::Borrowed(part(root, &section.path)?.header.of(message)),
        Text::Header => Cow::Borrowed(entity()?.header.of(message)),
        Text::Body => Cow::Borrowed(entity()?.body.of(message)),
        Text::Fields { names, not } => Cow::Owned(selected(entity()?.header.of(message), names, *not)),
    })
}

/// Whether a section can be found without the message's structure: all of it, or its own header or text.
pub fn is_plain(section: &Section) -> bool {
    section.path.is_empty() && section.text != Text::Mime
}

/// The bytes of a section that is plain.
pub fn plain<'m>(message: &'m [u8], section: &Section) -> Option<Cow<'m, [u8]>> {
    let (header, body) = message.split_at(header_length(message));
    match &section.text {
        Text::All => Some(Cow::Borrowed(message)),
        Text::Header => Some(Cow::Borrowed(header)),
        Text::Body => Some(Cow::Borrowed(body)),
        Text::Fields { names, not } => Some(Cow::Owned(selected(header, names, *not))),
        Text::Mime => None,
    }
}

/// The octets that a partial fetch asks for.
pub fn cut(bytes: &[u8], partial: Option<Partial>) -> &[u8] {
    let Some(Partial { first, count }) = partial else { return bytes };
    let start = (first as usize).min(bytes.len());
    let end = start.saturating_add(count as usize).min(bytes.len());
    &bytes[start..end]
}

/// A part by its number: parts of a multipart are numbered; what is not a multipart has one part, itself.
pub fn part<'p>(root: &'p Part, path: &[u32]) -> Option<&'p Part> {
    let mut current = root;
    for (depth, number) in path.iter().enumerate() {
        let within = match &current.content {
            _ if depth == 0 => current,
            Content::Message(inner) => &inner.1,
            Content::Multipart(_) => current,
            Content::Leaf => return None,
        };
        let index = usize::try_from(*number).ok()?.checked_sub(1)?;
        current = match &within.content {
            Content::Multipart(parts) => parts.get(index)?,
            _ if index == 0 => within,
            _ => return None,
        };
    }
    Some(current)
}

/// The fields of these names, or all others, as they stand, and an empty line.
fn selected(header: &[u8], names: &[Vec<u8>], not: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for field in fields(header) {
        let named = names.iter().any(|name| name.eq_ignore_ascii_case(field.name));
        if named != not {
            out.extend_from_slice(field.raw);
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::mime::Parsed;

    const MESSAGE: &[u8] = b"Subject: outer\r\nFrom: a@b.c\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n\
--o\r\nContent-Type: text/plain\r\n\r\none\r\n\
--o\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n\
--i\r\n\r\ntwo\r\n--i\r\n\r\nthree\r\n--i--\r\n\
--o--\r\n";

    fn get(path: &[u32], text: Text) -> Option<String> {
        let section = Section { path: path.to_vec(), text };
        let bytes = bytes(MESSAGE, &Parsed::of(MESSAGE).root, &section);
        if is_plain(&section) {
            assert_eq!(plain(MESSAGE, &section), bytes);
        }
        let bytes = bytes?;
        Some(String::from_utf8(bytes.into_owned()).unwrap())
    }

    #[test]
    fn parts_are_numbered_as_the_rfc_says() {
        assert_eq!(get(&[1], Text::All).unwrap(), "one");
        assert_eq!(get(&[1], Text::Mime).unwrap(), "Content-Type: text/plain\r\n\r\n");
        assert!(get(&[2], Text::Header).unwrap().starts_with("Subject: inner\r\n"));
        assert_eq!(get(&[2, 2], Text::All).unwrap(), "three");
        assert!(get(&[2], Text::Body).unwrap().starts_with("--i\r\n"));
        assert_eq!(get(&[3], Text::All), None);
        assert_eq!(get(&[1, 1], Text::All), None);
        assert_eq!(get(&[1], Text::Header), None);
        let fields = |not| Text::Fields { names: vec![b"SUBJECT".to_vec()], not };
        assert_eq!(get(&[], fields(false)).unwrap(), "Subject: outer\r\n\r\n");
        assert!(get(&[], fields(true)).unwrap().starts_with("From: a@b.c\r\nContent-Type:"));
    }

    #[test]
    fn a_message_without_parts_is_its_own_first_part() {
        let message = b"Subject: x\r\n\r\nbody";
        let section = Section { path: vec![1], text: Text::All };
        assert_eq!(bytes(message, &Parsed::of(message).root, &section).unwrap().as_ref(), b"body");
        assert_eq!(cut(b"body", Some(Partial { first: 1, count: 2 })), b"od");
        assert_eq!(cut(b"body", Some(Partial { first: 9, count: 2 })), b"");
    }
}
