//! ENVELOPE, BODY and BODYSTRUCTURE as IMAP shows them (RFC 3501 §7.4.2). The index keeps them in this form, ready to be
//! sent, since clients ask for them of whole folders.

use super::{Content, Envelope, MailAddress, Part, Text};

/// NIL, or a string.
pub fn nstring(out: &mut Vec<u8>, text: Option<&[u8]>) {
    match text {
        None => out.extend_from_slice(b"NIL"),
        Some(text) => quoted_or_literal(out, text),
    }
}

/// A quoted string where one can hold the bytes, a literal where not.
pub fn quoted_or_literal(out: &mut Vec<u8>, text: &[u8]) {
    let plain = text.len() <= 1000 && text.iter().all(|byte| (b' '..0x7f).contains(byte));
    if !plain {
        out.extend_from_slice(format!("{{{}}}\r\n", text.len()).as_bytes());
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

pub fn envelope(out: &mut Vec<u8>, envelope: &Envelope) {
    out.push(b'(');
    nstring(out, envelope.date.as_deref());
    out.push(b' ');
    nstring(out, envelope.subject.as_deref());
    let lists = [&envelope.from, &envelope.sender, &envelope.reply_to, &envelope.to, &envelope.cc, &envelope.bcc];
    for list in lists {
        out.push(b' ');
        addresses(out, list);
    }
    out.push(b' ');
    nstring(out, envelope.in_reply_to.as_deref());
    out.push(b' ');
    nstring(out, envelope.message_id.as_deref());
    out.push(b')');
}

fn addresses(out: &mut Vec<u8>, list: &[MailAddress]) {
    if list.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    out.push(b'(');
    for address in list {
        out.push(b'(');
        nstring(out, address.name.as_deref());
        out.extend_from_slice(b" NIL ");
        nstring(out, address.mailbox.as_deref());
        out.push(b' ');
        nstring(out, address.host.as_deref());
        out.push(b')');
    }
    out.push(b')');
}

/// BODYSTRUCTURE, or BODY without the extension data.
pub fn body(out: &mut Vec<u8>, part: &Part, extended: bool) {
    out.push(b'(');
    match &part.content {
        Content::Multipart(parts) => multipart(out, part, parts, extended),
        content => {
            single(out, part);
            if let Content::Message(inner) = content {
                out.push(b' ');
                envelope(out, &inner.0);
                out.push(b' ');
                body(out, &inner.1, extended);
            }
            if part.is("text") || matches!(content, Content::Message(_)) {
                out.extend_from_slice(format!(" {}", part.lines).as_bytes());
            }
            if extended {
                out.push(b' ');
                nstring(out, part.md5.bytes());
                common_extension(out, part);
            }
        }
    }
    out.push(b')');
}

fn multipart(out: &mut Vec<u8>, part: &Part, parts: &[Part], extended: bool) {
    if parts.is_empty() {
        // The grammar wants at least one part; a multipart without any shows an empty text.
        out.extend_from_slice(b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0");
        out.extend_from_slice(if extended { b" NIL NIL NIL NIL)" } else { b")" });
    }
    for child in parts {
        body(out, child, extended);
    }
    out.push(b' ');
    nstring(out, Some(part.kind.1.as_bytes()));
    if extended {
        out.push(b' ');
        params(out, &part.params);
        common_extension(out, part);
    }
}

fn single(out: &mut Vec<u8>, part: &Part) {
    nstring(out, Some(part.kind.0.as_bytes()));
    out.push(b' ');
    nstring(out, Some(part.kind.1.as_bytes()));
    out.push(b' ');
    params(out, &part.params);
    out.push(b' ');
    nstring(out, part.id.bytes());
    out.push(b' ');
    nstring(out, part.description.bytes());
    out.push(b' ');
    nstring(out, Some(part.encoding.bytes().unwrap_or(b"7bit")));
    out.extend_from_slice(format!(" {}", part.body.len()).as_bytes());
}

/// Disposition, language and location.
fn common_extension(out: &mut Vec<u8>, part: &Part) {
    out.push(b' ');
    match &part.disposition {
        None => out.extend_from_slice(b"NIL"),
        Some((kind, values)) => {
            out.push(b'(');
            nstring(out, kind.bytes());
            out.push(b' ');
            params(out, values);
            out.push(b')');
        }
    }
    out.push(b' ');
    match part.language.as_slice() {
        [] => out.extend_from_slice(b"NIL"),
        [one] => nstring(out, one.bytes()),
        several => {
            for (index, language) in several.iter().enumerate() {
                out.push(if index == 0 { b'(' } else { b' ' });
                nstring(out, language.bytes());
            }
            out.push(b')');
        }
    }
    out.push(b' ');
    nstring(out, part.location.bytes());
}

fn params(out: &mut Vec<u8>, params: &[(Text, Text)]) {
    if params.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    out.push(b'(');
    for (index, (name, value)) in params.iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        nstring(out, Some(name.bytes().unwrap_or_default()));
        out.push(b' ');
        nstring(out, Some(value.bytes().unwrap_or_default()));
    }
    out.push(b')');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mime::Parsed;

    #[test]
    fn the_structure_of_a_small_message_reads_as_the_rfc_has_it() {
        let message = b"From: Ann <ann@a.org>\r\nSubject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
--b\r\n\r\nhello\r\n--b\r\nContent-Type: image/png; name=\"a b\"\r\nContent-Transfer-Encoding: base64\r\n\
Content-Disposition: attachment; filename=x.png\r\n\r\nAAAA\r\n--b--\r\n";
        let parsed = Parsed::of(message);
        let mut out = Vec::new();
        body(&mut out, &parsed.root, true);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            concat!(
                r#"(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 5 0 NIL NIL NIL NIL)"#,
                r#"("image" "png" ("name" "a b") NIL NIL "base64" 4 NIL ("attachment" ("filename" "x.png")) NIL NIL)"#,
                r#" "mixed" ("boundary" "b") NIL NIL NIL)"#
            )
        );
        let mut out = Vec::new();
        envelope(&mut out, &parsed.envelope);
        let ann = r#"(("Ann" NIL "ann" "a.org"))"#;
        assert_eq!(String::from_utf8(out).unwrap(), format!(r#"(NIL "x" {ann} {ann} {ann} NIL NIL NIL NIL NIL)"#));
    }
}
