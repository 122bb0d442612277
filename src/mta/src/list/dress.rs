//! What a post wears when it goes out to a list's members (RFC 2369, RFC 2919). Pure.

use super::role::{self, id_field, phrase};
use crate::forward;
use crate::message::Message;
use base::Address;
use mail_parser::MessageParser;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use wire::directory::MailingList;

/// Fields that only the list itself may say of its mail, and wishes to be told of reading, which would tell everyone who
/// the members are.
const REPLACED: [&str; 12] = [
    "List-Id",
    "List-Post",
    "List-Help",
    "List-Subscribe",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Owner",
    "List-Archive",
    "Precedence",
    "Sender",
    "Disposition-Notification-To",
    "Return-Receipt-To",
];

/// The message for all members. `munge`: the author's domain asks to refuse what others send in its name, so the list
/// says that it is the list that writes; answers go to the author all the same.
pub fn dress(list: &MailingList, message: &Message, munge: bool) -> Message {
    let mut dressed = message.clone();
    forward::clean(&mut dressed);
    let author = munge.then(|| author(message)).flatten();
    dressed.retain(|field| {
        let replaced = REPLACED.iter().any(|name| field.is(name));
        let munged = author.is_some() && field.is("From");
        !(replaced || munged)
    });
    let mut top = id_field(&list.name, &list.address);
    let mut line = |name: &str, tag: &str| {
        let address = if tag.is_empty() { Some(list.address.clone()) } else { role::tagged(&list.address, tag) };
        if let Some(address) = address {
            top.push_str(&format!("{name}: <mailto:{address}>\r\n"));
        }
    };
    line("List-Post", "");
    line("List-Help", "help");
    line("List-Subscribe", "subscribe");
    line("List-Owner", "owner");
    top.push_str("Precedence: list\r\n");
    top.push_str(&format!("Sender: <{}>\r\n", list.address));
    if let Some((name, address)) = author {
        let shown = phrase(&format!("{name} via {}", list.name));
        top.push_str(&format!("From: {shown} <{}>\r\n", list.address));
        if !message.fields().any(|field| field.is("Reply-To")) {
            top.push_str(&format!("Reply-To: <{address}>\r\n"));
        }
    }
    dressed.prepend(&top);
    dressed
}

/// The fields with a member's own way out: a letter to the address is enough, whatever it says and wherever it comes
/// from, and so is one click (RFC 8058). `site` is the box's web server: `https://box.example.org`.
pub fn way_out(site: &str, list: &Address, token: &str) -> String {
    let Some(address) = role::tagged(list, &format!("unsubscribe-{token}")) else { return String::new() };
    let name = utf8_percent_encode(&list.to_string(), NON_ALPHANUMERIC).to_string();
    format!(
        "List-Unsubscribe: <mailto:{address}>,\r\n <{site}/list/leave?list={name}&token={token}>\r\n\
         List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    )
}

/// The name and address of the first author.
fn author(message: &Message) -> Option<(String, Address)> {
    let mut head = message.head.clone();
    head.extend_from_slice(b"\r\n");
    let parsed = MessageParser::default().parse_headers(&head)?;
    let first = parsed.from()?.mailboxes().next()?;
    let address = Address::parse(first.address()?).ok()?;
    let name = first.name().map(str::trim).filter(|name| !name.is_empty() && !name.contains('@'));
    Some((name.unwrap_or(address.local()).to_owned(), address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::directory::Posting;

    fn list() -> MailingList {
        MailingList {
            address: Address::parse("club@example.org").unwrap(),
            name: "The club".into(),
            posting: Posting::Open,
            moderators: Vec::new(),
            created: 0,
            members: 0,
        }
    }

    fn dressed(text: &str, munge: bool) -> String {
        let message = Message::received(text.as_bytes().to_vec()).unwrap();
        String::from_utf8(dress(&list(), &message, munge).into_bytes()).unwrap()
    }

    #[test]
    fn a_post_bears_the_lists_fields_once_and_keeps_its_author() {
        let text = dressed(
            "X-Mailstead-Verdict: accept\r\nList-Id: <other.example>\r\nSender: x@y.example\r\nFrom: Joe <joe@example.net>\r\n\
             Disposition-Notification-To: joe@example.net\r\nSubject: hi\r\n\r\ntext\r\n",
            false,
        );
        assert_eq!(
            text,
            "List-Id: The club <club.example.org>\r\nList-Post: <mailto:club@example.org>\r\n\
             List-Help: <mailto:club+help@example.org>\r\nList-Subscribe: <mailto:club+subscribe@example.org>\r\n\
             List-Owner: <mailto:club+owner@example.org>\r\nPrecedence: list\r\nSender: <club@example.org>\r\n\
             From: Joe <joe@example.net>\r\nSubject: hi\r\n\r\ntext\r\n"
        );
    }

    #[test]
    fn a_strict_domains_author_is_named_but_does_not_seem_to_send() {
        let text = dressed("From: =?utf-8?Q?Jos=C3=A9?= <joe@bank.example>\r\nSubject: hi\r\n\r\ntext\r\n", true);
        assert!(text.contains("\r\nFrom: =?utf-8?B?Sm9zw6kgdmlhIFRoZSBjbHVi?= <club@example.org>\r\n"), "{text}");
        assert!(text.contains("\r\nReply-To: <joe@bank.example>\r\n") && text.matches("From:").count() == 1, "{text}");
        let own = dressed("From: joe@bank.example\r\nReply-To: me@home.example\r\n\r\ntext\r\n", true);
        assert!(own.contains("\r\nFrom: joe via The club <club@example.org>\r\n"), "{own}");
        assert!(own.contains("Reply-To: me@home.example") && own.matches("Reply-To:").count() == 1, "{own}");
    }
}
