//! What a list itself writes to people. Each letter says what happened and what to do. Pure.

use super::role::{phrase, tagged};
use super::shelf::Post;
use crate::message::{Message, with_crlf};
use base::{Address, Domain};
use wire::directory::MailingList;

/// A letter of a list to one person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    pub to: Address,
    pub subject: String,
    pub text: String,
    /// Where an answer goes, if not to the list's moderators.
    pub reply_to: Option<Address>,
}

impl Letter {
    /// The whole message, for signing and sending.
    pub fn message(&self, list: &MailingList, hostname: &Domain, id: &str, now: u64) -> std::io::Result<Message> {
        let owner = tagged(&list.address, "owner").unwrap_or_else(|| list.address.clone());
        let mut head = format!("From: {} <{owner}>\r\nTo: <{}>\r\n", phrase(&list.name), self.to);
        head.push_str(&format!("Subject: {}\r\n", phrase(&self.subject)));
        head.push_str(&format!("Date: {}\r\nMessage-ID: <{id}@{hostname}>\r\n", base::time::rfc5322(now)));
        if let Some(address) = &self.reply_to {
            head.push_str(&format!("Reply-To: <{address}>\r\n"));
        }
        head.push_str("Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n");
        head.push_str("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&with_crlf(self.text.as_bytes()));
        Message::received(bytes).map_err(std::io::Error::other)
    }
}

fn address(list: &MailingList, tag: &str) -> String {
    tagged(&list.address, tag).map(|address| address.to_string()).unwrap_or_default()
}

/// Asks whether somebody really wants in.
pub fn please_confirm(list: &MailingList, to: &Address, token: &str) -> Letter {
    let reply_to = tagged(&list.address, &format!("confirm-{token}"));
    let shown = reply_to.as_ref().map(Address::to_string).unwrap_or_default();
    let text = format!(
        "Somebody, most likely you, asked to add {to} to the mailing list {} ({}).\n\n\
         To join, answer this letter, or write to {shown} from this address within a week.\n\
         If it was not you, do nothing.\n",
        list.name, list.address
    );
    Letter { to: to.clone(), subject: format!("Confirm that you join {}", list.name), text, reply_to }
}

/// Asks whether somebody really wants out.
pub fn please_leave(list: &MailingList, to: &Address, token: &str) -> Letter {
    let reply_to = tagged(&list.address, &format!("unsubscribe-{token}"));
    let shown = reply_to.as_ref().map(Address::to_string).unwrap_or_default();
    let text = format!(
        "To leave the mailing list {} ({}), answer this letter, or write to {shown}.\n\
         If it was not you who asked, do nothing.\n",
        list.name, list.address
    );
    Letter { to: to.clone(), subject: format!("Confirm that you leave {}", list.name), text, reply_to }
}

pub fn welcome(list: &MailingList, to: &Address, token: &str) -> Letter {
    let text = format!(
        "{to} is a member of the mailing list {} now.\n\nTo post, write to {}.\nTo leave, write to {}.\n\
         To reach the moderators, write to {}.\n",
        list.name,
        list.address,
        address(list, &format!("unsubscribe-{token}")),
        address(list, "owner")
    );
    Letter { to: to.clone(), subject: format!("Welcome to {}", list.name), text, reply_to: None }
}

pub fn goodbye(list: &MailingList, to: &Address) -> Letter {
    let text = format!(
        "{to} is no member of the mailing list {} any more, and gets nothing more from it.\n\nTo come back, write to {}.\n",
        list.name,
        address(list, "subscribe")
    );
    Letter { to: to.clone(), subject: format!("You have left {}", list.name), text, reply_to: None }
}

pub fn help(list: &MailingList, to: &Address) -> Letter {
    let text = format!(
        "This is the mailing list {}.\n\nTo post, write to {}.\nTo join, write to {}.\nTo leave, write to {}, or use the \
         address in the List-Unsubscribe field of any of its mails.\nTo reach the moderators, write to {}.\n",
        list.name,
        list.address,
        address(list, "subscribe"),
        address(list, "unsubscribe"),
        address(list, "owner")
    );
    Letter { to: to.clone(), subject: format!("How to use {}", list.name), text, reply_to: None }
}

/// Tells a moderator that a post waits.
pub fn please_decide(list: &MailingList, to: &Address, post: &Post, token: &str) -> Letter {
    let proved = match &post.author {
        Some(author) => format!("It is shown to be from {author}."),
        None => "Nothing shows that it is really from there.".to_owned(),
    };
    let text = format!(
        "A post to the mailing list {} waits for a moderator.\n\n  From:    {}\n  Subject: {}\n\n{proved}\n\n\
         To let it through, write to {}.\nTo drop it, write to {}.\nAn empty letter is enough, and the first one decides. \
         On the box: mailstead list pending\n",
        list.name,
        post.from,
        post.subject,
        address(list, &format!("approve-{token}")),
        address(list, &format!("reject-{token}"))
    );
    Letter { to: to.clone(), subject: format!("A post to {} waits for you", list.name), text, reply_to: None }
}

/// Tells a moderator that a member gets nothing more.
pub fn suspended(list: &MailingList, to: &Address, member: &Address) -> Letter {
    let text = format!(
        "Mail of the list {} to {member} came back on several days, so nothing more is sent there.\n\n\
         When the address works again: mailstead list member add {} {member}\nOtherwise: mailstead list member remove {} {member}\n",
        list.name, list.address, list.address
    );
    Letter { to: to.clone(), subject: format!("{member} gets no more mail of {}", list.name), text, reply_to: None }
}
