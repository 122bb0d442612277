//! The rules against loops: which messages are never answered (RFC 3834 §2, RFC 5230 §4.6) and which are not passed on
//! again. Pure.

use base::Address;
use mail_parser::HeaderForm;
use store::mime::{fields, unfold};

/// Whether an automatic answer may go to the sender of a message. `sender` is the reverse-path.
pub fn may_answer(message: &[u8], sender: &str) -> bool {
    let Ok(sender) = Address::parse(sender) else { return false };
    let local = sender.local().to_ascii_lowercase();
    let robot = local.starts_with("owner-")
        || local.ends_with("-owner")
        || local.ends_with("-request")
        || local.ends_with("-bounces")
        || local.contains("-bounces+")
        || matches!(local.as_str(), "mailer-daemon" | "listserv" | "majordomo" | "noreply" | "no-reply");
    !robot && !fields(message).any(|field| forbids(field.name, field.value))
}

/// Whether a header field says that its message is not to be answered.
fn forbids(name: &[u8], value: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    let value = String::from_utf8_lossy(&unfold(value)).trim().to_ascii_lowercase();
    match name.as_str() {
        "auto-submitted" => value.split([';', ' ', '(']).next() != Some("no"),
        "precedence" => matches!(value.as_str(), "bulk" | "list" | "junk"),
        "x-auto-response-suppress" => value.split(',').any(|word| matches!(word.trim(), "all" | "oof" | "autoreply")),
        name => name.starts_with("list-"),
    }
}

/// Whether a message has been in this account's mailbox before: each delivery puts `Delivered-To` on top (RFC 9228).
pub fn came_round(message: &[u8], account: &Address) -> bool {
    fields(message).filter(|field| field.is("Delivered-To")).any(|field| {
        let value = String::from_utf8_lossy(field.value).trim().to_owned();
        Address::parse(&value).is_ok_and(|address| address.account() == *account)
    })
}

/// Whether a header field, its encoded words undone, has a line break in it: nobody writes such a thing but to have it
/// copied into the header of an automatic answer.
pub fn hides_lines(message: &[u8]) -> bool {
    fields(message).any(|field| {
        let one_line = unfold(field.value);
        let parsed = HeaderForm::Text.parse(&one_line);
        parsed.value().as_text().is_some_and(|text| text.trim_end().contains(['\r', '\n', '\0']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn robots_and_lists_are_not_answered() {
        assert!(may_answer(b"Subject: hi\r\nAuto-Submitted: No\r\n\r\n", "bob@example.net"));
        assert!(may_answer(b"Subject: hi\r\n\r\nList-Id: x\r\n", "bob@example.net"));
        for header in [
            "Auto-Submitted: auto-replied",
            "auto-submitted:\r\n auto-generated; x=y",
            "List-Id: <x.example.net>",
            "List-Unsubscribe: <mailto:x@example.net>",
            "Precedence: Bulk",
            "Precedence: list",
            "X-Auto-Response-Suppress: DR, OOF",
        ] {
            assert!(!may_answer(format!("{header}\r\n\r\n").as_bytes(), "bob@example.net"), "{header}");
        }
        for sender in
            ["", "MAILER-DAEMON@example.net", "owner-list@example.net", "list-request@example.net", "x-bounces@a.org"]
        {
            assert!(!may_answer(b"Subject: hi\r\n\r\n", sender), "{sender}");
        }
    }

    #[test]
    fn a_message_that_was_here_before_is_known_again() {
        let ann = Address::parse("ann@example.org").unwrap();
        assert!(came_round(b"X: y\r\nDelivered-To: Ann+x@example.org\r\n\r\n", &ann));
        assert!(!came_round(b"Delivered-To: bob@example.org\r\n\r\nDelivered-To: ann@example.org\r\n", &ann));
    }

    #[test]
    fn a_line_break_hidden_in_an_encoded_word_is_seen() {
        assert!(hides_lines(b"Subject: =?utf-8?q?x=0D=0ABcc:_y@example.net?=\r\n\r\n"));
        assert!(!hides_lines(b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n folded\r\n\r\n"));
    }
}
