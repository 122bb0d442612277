//! Address lists (RFC 5322 §3.4, with the obsolete forms that real mail has) as IMAP envelopes want them.

use super::header::Scanner;
use crate::limits;
use serde::{Deserialize, Serialize};

/// One entry of an envelope's address list (RFC 3501 §7.4.2). A group begins with an entry that has only a mailbox
/// (its name) and ends with one that has nothing. Bytes, because header text need not be UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MailAddress {
    pub name: Option<Vec<u8>>,
    pub mailbox: Option<Vec<u8>>,
    pub host: Option<Vec<u8>>,
}

/// Where a phrase or local part ends.
const STOPS: &[u8] = b"<>,;:@\"(";

/// Reads a list, as far as it can be read.
pub fn list(value: &[u8]) -> Vec<MailAddress> {
    let mut scan = Scanner::new(value);
    let mut out = Vec::new();
    let mut in_group = false;
    while out.len() < limits::ADDRESSES {
        scan.space();
        match scan.peek() {
            None => break,
            Some(b',') => scan.skip(),
            Some(b';') => {
                scan.skip();
                if std::mem::take(&mut in_group) {
                    out.push(MailAddress::default());
                }
            }
            Some(_) => match entry(&mut scan) {
                Entry::Address(address) => out.push(address),
                Entry::Group(name) => {
                    in_group = true;
                    out.push(MailAddress { mailbox: Some(name), ..MailAddress::default() });
                }
                Entry::Nothing => {}
            },
        }
    }
    if in_group {
        out.push(MailAddress::default());
    }
    out
}

enum Entry {
    Address(MailAddress),
    Group(Vec<u8>),
    Nothing,
}

fn entry(scan: &mut Scanner<'_>) -> Entry {
    let (words, mut comment) = phrase(scan);
    match scan.peek() {
        Some(b'<') => {
            scan.skip();
            let mut address = angle(scan);
            address.name = (!words.is_empty()).then_some(words);
            if let Some(late) = scan.space() {
                address.name = address.name.or(Some(late));
            }
            Entry::Address(address)
        }
        Some(b':') => {
            scan.skip();
            Entry::Group(words)
        }
        Some(b'@') => {
            scan.skip();
            scan.space();
            let host = host(scan);
            comment = scan.space().or(comment);
            let mailbox = words.into_iter().filter(|byte| *byte != b' ').collect();
            Entry::Address(MailAddress { name: comment, mailbox: Some(mailbox), host: Some(host) })
        }
        Some(b'>') => {
            scan.skip();
            Entry::Nothing
        }
        _ if words.is_empty() => Entry::Nothing,
        // A bare word: some mail has "root" or "undisclosed recipients" here.
        _ => Entry::Address(MailAddress { name: comment, mailbox: Some(words), host: Some(Vec::new()) }),
    }
}

/// Words up to a special; quoted strings lose their quotes. With the last comment on the way.
fn phrase(scan: &mut Scanner<'_>) -> (Vec<u8>, Option<Vec<u8>>) {
    let (mut text, mut comment) = (Vec::new(), None);
    loop {
        comment = scan.space().or(comment);
        let word = match scan.peek() {
            // An empty quoted string is no name.
            Some(b'"') => match scan.quoted() {
                quoted if quoted.is_empty() => continue,
                quoted => quoted,
            },
            Some(byte) if !STOPS.contains(&byte) => scan.atom(STOPS).to_vec(),
            _ => return (text, comment),
        };
        if !text.is_empty() {
            text.push(b' ');
        }
        text.extend(word);
    }
}

/// What stands between `<` and `>`; a route (RFC 5322 §4.4) is dropped.
fn angle(scan: &mut Scanner<'_>) -> MailAddress {
    scan.space();
    if scan.peek() == Some(b'@') {
        while scan.peek().is_some_and(|byte| byte != b':' && byte != b'>') {
            scan.skip();
        }
        scan.take(b':');
    }
    let (local, _) = phrase(scan);
    let mailbox: Vec<u8> =
        if scan.peek() == Some(b'@') { local.into_iter().filter(|byte| *byte != b' ').collect() } else { local };
    let mut domain = Vec::new();
    if scan.take(b'@') {
        scan.space();
        domain = host(scan);
    }
    while scan.peek().is_some_and(|byte| byte != b'>' && byte != b',') {
        scan.skip();
    }
    scan.take(b'>');
    MailAddress { name: None, mailbox: Some(mailbox), host: Some(domain) }
}

fn host(scan: &mut Scanner<'_>) -> Vec<u8> {
    if scan.peek() == Some(b'[') {
        let mut literal = scan.atom(b"]>,;(").to_vec();
        if scan.take(b']') {
            literal.push(b']');
        }
        return literal;
    }
    scan.atom(b"<>,;:\"(").to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> Vec<String> {
        let part =
            |text: &Option<Vec<u8>>| text.as_deref().map_or("-".into(), |t| String::from_utf8_lossy(t).into_owned());
        list(text.as_bytes())
            .iter()
            .map(|a| format!("{}|{}|{}", part(&a.name), part(&a.mailbox), part(&a.host)))
            .collect()
    }

    #[test]
    fn the_forms_of_real_mail_are_read() {
        assert_eq!(shown("Ann Lee <ann@example.org>"), ["Ann Lee|ann|example.org"]);
        assert_eq!(shown("\"Lee, Ann\" <ann@a.org>, bob@b.org"), ["Lee, Ann|ann|a.org", "-|bob|b.org"]);
        assert_eq!(shown("ann@a.org (Ann Lee)"), ["Ann Lee|ann|a.org"]);
        assert_eq!(shown("<@r.org,@s.org:ann@a.org>"), ["-|ann|a.org"]);
        assert_eq!(
            shown("Team: ann@a.org, bob@b.org; , eve@c.org"),
            ["-|Team|-", "-|ann|a.org", "-|bob|b.org", "-|-|-", "-|eve|c.org"]
        );
        assert_eq!(shown("undisclosed-recipients:;"), ["-|undisclosed-recipients|-", "-|-|-"]);
        assert_eq!(shown("=?utf-8?q?J=C3=B6rg?= <j@x.de>"), ["=?utf-8?q?J=C3=B6rg?=|j|x.de"]);
        assert_eq!(shown("a@[192.0.2.1]"), ["-|a|[192.0.2.1]"]);
        assert_eq!(shown("root"), ["-|root|"]);
        assert_eq!(shown("\"\" <a@b.c>"), ["-|a|b.c"]);
        assert!(shown(" , ,").is_empty());
    }

    #[test]
    fn a_form_feed_in_a_list_is_white_space_and_does_not_hold_it_up() {
        assert_eq!(shown("Eve\u{c} <eve@example.net>\u{c}, \u{c}b@b.org\u{c}"), ["Eve|eve|example.net", "-|b|b.org"]);
    }

    proptest! {
        #[test]
        fn any_list_of_what_structures_one_comes_to_its_end(text in "[<>,;:@\"()\\\\\\[\\] \t\r\n\u{c}\u{b}\u{0}a.]{0,60}") {
            list(text.as_bytes());
        }
    }

    #[test]
    fn an_escape_that_escapes_nothing_ends_with_the_text() {
        for text in ["@(\\", "\"\\", "a (b\\", "(\\"] {
            list(text.as_bytes());
        }
    }
}
