//! Makes what a script's interpreter wrote (vacation notices, notifications) fit to be sent: the header checked to be
//! what the interpreter meant, words outside of ASCII encoded (RFC 2047). Pure.
//!
//! The interpreter copies text of the message into headers. The line that it writes itself after all of those,
//! `Auto-Submitted`, must be there exactly once and within the header; so no copied text can have ended the header,
//! or have brought one of its own.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use store::mime::{fields, unfold};

/// Fields that an answer must not have, because they decide about its way.
const FORBIDDEN: [&str; 8] = [
    "Bcc",
    "Return-Path",
    "Received",
    "Delivered-To",
    "DKIM-Signature",
    "Resent-From",
    "Sender",
    "Authentication-Results",
];

/// The message as it may be sent, or `None` when it is not what was meant.
pub fn tidy(message: &[u8]) -> Option<Vec<u8>> {
    let split = message.windows(4).position(|window| window == b"\r\n\r\n")? + 2;
    let (head, body) = message.split_at(split);
    let lower = String::from_utf8_lossy(message).to_ascii_lowercase();
    let marks = lower.matches("\r\nauto-submitted:").count();
    let own: Vec<_> = fields(head).collect();
    let in_head = own.iter().filter(|field| field.is("Auto-Submitted")).count();
    if marks != 1 || in_head != 1 {
        return None;
    }
    let mut out = Vec::with_capacity(message.len() + 200);
    let mut names: Vec<String> = Vec::new();
    let mut mime = false;
    for field in &own {
        let name = String::from_utf8_lossy(field.name).into_owned();
        let lower = name.to_ascii_lowercase();
        if names.contains(&lower) || FORBIDDEN.iter().any(|forbidden| field.is(forbidden)) {
            return None;
        }
        mime |= lower == "mime-version";
        names.push(lower);
        let value = unfold(field.value);
        let value = String::from_utf8_lossy(&value);
        out.extend_from_slice(format!("{name}: {}\r\n", encoded(value.trim(), address_like(&name))).as_bytes());
    }
    if !mime {
        out.extend_from_slice(b"MIME-Version: 1.0\r\n");
    }
    if !names.iter().any(|name| name == "content-transfer-encoding") && !body.is_ascii() && !multipart(&own) {
        out.extend_from_slice(b"Content-Transfer-Encoding: 8bit\r\n");
    }
    out.extend_from_slice(body);
    Some(out)
}

fn multipart(own: &[store::mime::Field<'_>]) -> bool {
    let kind = own.iter().find(|field| field.is("Content-Type"));
    kind.is_some_and(|field| field.value.trim_ascii_start().to_ascii_lowercase().starts_with(b"multipart"))
}

fn address_like(name: &str) -> bool {
    ["From", "To", "Cc", "Reply-To"].iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// A value in ASCII. Of an address only the words outside of the angle brackets are encoded.
fn encoded(value: &str, address: bool) -> String {
    if value.is_ascii() {
        return fold(value);
    }
    match value.rfind('<').filter(|_| address) {
        Some(at) => {
            let (words, rest) = value.split_at(at);
            let rest: String = rest.chars().filter(char::is_ascii).collect();
            format!("{} {rest}", words_of(words.trim().trim_matches('"')))
        }
        None => words_of(value),
    }
}

/// RFC 2047 §2: encoded words of at most 75 characters, each with whole characters.
fn words_of(text: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut piece = String::new();
    for c in text.chars() {
        if piece.len() + c.len_utf8() > 42 {
            words.push(std::mem::take(&mut piece));
        }
        piece.push(c);
    }
    words.push(piece);
    let encoded = words.into_iter().map(|word| format!("=?utf-8?B?{}?=", STANDARD.encode(word)));
    encoded.collect::<Vec<_>>().join("\r\n ")
}

/// Breaks a long value at spaces, well below the 998 octets that a line may have (RFC 5322 §2.1.1).
fn fold(value: &str) -> String {
    let (mut out, mut width) = (String::with_capacity(value.len()), 0);
    for (index, word) in value.split(' ').enumerate() {
        if index > 0 {
            let fits = width + word.len() < 70 || word.is_empty();
            out.push_str(if fits { " " } else { "\r\n " });
            width = if fits { width + 1 } else { 0 };
        }
        out.push_str(word);
        width += word.len();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TAIL: &str =
        "Date: x\r\nMessage-ID: <a@b>\r\nAuto-Submitted: auto-replied\r\nContent-type: text/plain\r\n\r\n";

    #[test]
    fn words_outside_of_ascii_are_encoded() {
        let message = format!("From: \"Änn\" <ann@example.org>\r\nSubject: Auto: Grüße\r\n{TAIL}schön");
        let text = String::from_utf8(tidy(message.as_bytes()).unwrap()).unwrap();
        assert!(text.starts_with(
            "From: =?utf-8?B?w4Rubg==?= <ann@example.org>\r\nSubject: =?utf-8?B?QXV0bzogR3LDvMOfZQ==?=\r\n"
        ));
        assert!(text.contains("\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\r\nschön"), "{text}");
    }

    #[test]
    fn copied_text_that_brings_lines_of_its_own_is_not_sent() {
        let from = "From: <ann@example.org>\r\nSubject: ";
        for subject in [
            "x\r\n\r\nbody".to_owned(),
            format!("x\r\n{TAIL}evil"),
            "x\r\nBcc: <y@example.net>".into(),
            "x\r\nFrom: <y@example.net>".into(),
            "x\r\nDate: y".into(),
        ] {
            assert_eq!(tidy(format!("{from}{subject}\r\n{TAIL}text").as_bytes()), None, "{subject}");
        }
        assert!(tidy(format!("{from}x\r\n{TAIL}text").as_bytes()).is_some());
    }

    proptest! {
        #[test]
        fn any_bytes_are_sent_with_an_ascii_header_or_not_at_all(text in "(\r\n|Auto-Submitted: x|[a-zé:<> ]{0,9}){0,20}") {
            if let Some(sent) = tidy(text.as_bytes()) {
                let end = sent.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
                prop_assert!(sent[..end].is_ascii());
            }
        }
    }
}
