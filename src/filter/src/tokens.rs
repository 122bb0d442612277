//! What the classifier sees of a message: words and traits, bounded, the same for training and for judging. Pure.

use crate::limits::{MAX_PARTS, MAX_TEXT, MAX_TOKENS};
use mail_parser::{Message, MessageParser, PartKind};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

/// The traits of a message, without repetition.
///
/// Header fields that tell who carried the message (Received, addresses) are left out on purpose: authentication
/// judges those, and a corpus's own route would be learned as a trait.
pub fn tokens(raw: &[u8]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let Some(message) = MessageParser::new().parse(raw) else { return found };
    if let Some(subject) = message.subject() {
        words(subject, "s:", &mut found);
        if is_shouting(subject) {
            found.insert("trait:shouting-subject".to_owned());
        }
    }
    let mut room = MAX_TEXT;
    for text in message.text_bodies().take(MAX_PARTS) {
        let text = cut(&text, room);
        room -= text.len();
        words(text, "", &mut found);
        urls(text, &mut found);
    }
    for html in html_parts(&message) {
        let html = cut(&html, room);
        room -= html.len();
        urls(html, &mut found);
        markup(html, &mut found);
    }
    attachments(&message, &mut found);
    found
}

/// The parts that are HTML. (A message's HTML *body* is its plain text where it has no other.)
pub fn html_parts<'m>(message: &'m Message<'_>) -> impl Iterator<Item = Cow<'m, str>> {
    let parts = message.html_body().take(MAX_PARTS).filter(|part| matches!(part.kind(), PartKind::Html));
    parts.filter_map(|part| part.text())
}

/// The names of attached files, lower case.
pub fn attachment_names(message: &Message) -> Vec<String> {
    let parts = message.attachments().take(MAX_PARTS);
    parts.filter_map(|part| part.attachment_name().map(str::to_lowercase)).collect()
}

/// Hosts of the links in a text, lower case.
pub fn link_hosts(text: &str) -> impl Iterator<Item = String> + '_ {
    text.match_indices("://").take(MAX_PARTS).filter_map(|(at, _)| {
        let rest = &text[at + 3..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || ".-_".contains(c))).unwrap_or(rest.len());
        let host = rest.get(..end.min(253))?.trim_matches('.').to_ascii_lowercase();
        (!host.is_empty()).then_some(host)
    })
}

/// More than half of a subject's letters are capitals, and there are enough of them to mean it.
pub fn is_shouting(subject: &str) -> bool {
    let letters = subject.chars().filter(|c| c.is_alphabetic()).count();
    let capitals = subject.chars().filter(|c| c.is_uppercase()).count();
    letters >= 10 && capitals * 2 > letters
}

fn words(text: &str, prefix: &str, found: &mut BTreeSet<String>) {
    // Most words of a text come again and again, and one look is enough.
    let mut seen = HashSet::new();
    for word in text.split(|c: char| !(c.is_alphanumeric() || matches!(c, '$' | '\'' | '!' | '%' | '-'))) {
        if found.len() >= MAX_TOKENS {
            return;
        }
        let word = word.trim_matches(['-', '\'']);
        if word.len() < 3 {
            continue;
        }
        let length = word.chars().count();
        let numeric = word.bytes().all(|byte| byte.is_ascii_digit());
        if (3..=24).contains(&length) && !numeric && seen.insert(word) {
            found.insert(format!("{prefix}{}", word.to_lowercase()));
        }
    }
}

fn urls(text: &str, found: &mut BTreeSet<String>) {
    for host in link_hosts(text) {
        if found.len() >= MAX_TOKENS {
            return;
        }
        if host.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            found.insert("trait:link-to-a-number".to_owned());
        } else if let Some((_, top)) = host.rsplit_once('.') {
            found.insert(format!("top:{top}"));
            found.insert(format!("host:{host}"));
        }
    }
}

fn markup(html: &str, found: &mut BTreeSet<String>) {
    let lower = html.to_ascii_lowercase();
    for (needle, name) in [
        ("<form", "form"),
        ("<script", "script"),
        ("<img", "image"),
        ("<iframe", "frame"),
        ("bgcolor", "background"),
        ("display:none", "hidden"),
        ("font-size:0", "hidden"),
        ("color=\"red\"", "red"),
        ("color=red", "red"),
    ] {
        if lower.contains(needle) {
            found.insert(format!("html:{name}"));
        }
    }
    found.insert("html:any".to_owned());
}

fn attachments(message: &Message, found: &mut BTreeSet<String>) {
    for name in attachment_names(message) {
        if let Some((_, extension)) = name.rsplit_once('.').filter(|(_, extension)| extension.len() <= 5) {
            found.insert(format!("file:{extension}"));
        }
    }
}

fn cut(text: &str, room: usize) -> &str {
    let mut end = text.len().min(room);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_links_and_files_are_seen() {
        let raw = b"Subject: WIN A FREE PRIZE\r\nContent-Type: text/html\r\n\r\n<p>Click <a href=\"http://192.0.2.1/x\">now</a> at https://shop.example.com/</p>";
        let found = tokens(raw);
        for wanted in ["s:free", "trait:shouting-subject", "click", "trait:link-to-a-number", "host:shop.example.com"] {
            assert!(found.contains(wanted), "{wanted} is missing from {found:?}");
        }
    }

    #[test]
    fn plain_text_is_not_taken_for_html() {
        let plain = tokens(b"Subject: hello\r\n\r\nHello, <b>see</b> you at ten.\r\n");
        assert!(plain.contains("hello") && !plain.iter().any(|token| token.starts_with("html:")), "{plain:?}");
        let html = tokens(b"Subject: hello\r\nContent-Type: text/html\r\n\r\n<p bgcolor=red>Hello</p>\r\n");
        assert!(html.contains("html:any") && html.contains("html:background"), "{html:?}");
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_bounded_number_of_tokens(raw in proptest::collection::vec(any::<u8>(), 0..4000)) {
            prop_assert!(tokens(&raw).len() <= MAX_TOKENS + 200);
        }
    }
}
