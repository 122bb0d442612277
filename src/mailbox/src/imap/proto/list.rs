//! LIST with what RFC 5258, 5819, 6154, 8440 and 9590 add, and STATUS.

use super::access;
use super::command::{Command, mailbox};
use super::parser::{Parsed, Parser, bad};
use crate::limits;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListCommand {
    pub only_subscribed: bool,
    pub only_special: bool,
    pub recursive_match: bool,
    pub reference: Vec<u8>,
    pub patterns: Vec<Vec<u8>>,
    pub return_subscribed: bool,
    pub return_status: Option<Vec<StatusItem>>,
    pub return_rights: bool,
    /// Entries of METADATA.
    pub return_metadata: Option<Vec<String>>,
    /// Whether any of the extended syntax was used.
    pub extended: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusItem {
    Messages,
    Recent,
    UidNext,
    UidValidity,
    Unseen,
    HighestModSeq,
    /// RFC 8438.
    Size,
    /// RFC 9051.
    Deleted,
    /// RFC 9208.
    DeletedStorage,
    /// RFC 8474.
    MailboxId,
    /// RFC 7889.
    AppendLimit,
}

pub fn pattern(p: &mut Parser<'_>) -> Parsed<Vec<u8>> {
    p.space()?;
    let pattern = p.list_mailbox()?;
    if pattern.len() > limits::LIST_PATTERN { bad("the pattern is too long") } else { Ok(pattern) }
}

pub fn list(p: &mut Parser<'_>) -> Parsed<ListCommand> {
    let mut list = ListCommand::default();
    p.space()?;
    if p.peek() == Some(b'(') {
        list.extended = true;
        p.list(|p| selection(p, &mut list))?;
        if list.recursive_match && !list.only_subscribed {
            return bad("RECURSIVEMATCH goes with another selection option, such as SUBSCRIBED");
        }
        p.space()?;
    }
    list.reference = p.astring()?;
    p.space()?;
    if p.peek() == Some(b'(') {
        list.extended = true;
        list.patterns = p.list(Parser::list_mailbox)?;
    } else {
        list.patterns.push(p.list_mailbox()?);
    }
    let bounded = list.patterns.len() <= limits::LIST_PATTERNS;
    if !bounded || list.patterns.iter().any(|pattern| pattern.len() > limits::LIST_PATTERN) {
        return bad("the patterns are too long or too many");
    }
    if p.take(b' ') && p.take_word("RETURN") {
        list.extended = true;
        p.space()?;
        p.list(|p| returns(p, &mut list))?;
    }
    Ok(list)
}

fn selection(p: &mut Parser<'_>, list: &mut ListCommand) -> Parsed<()> {
    match p.atom()?.to_ascii_uppercase().as_str() {
        "SUBSCRIBED" => list.only_subscribed = true,
        "SPECIAL-USE" => list.only_special = true,
        "RECURSIVEMATCH" => list.recursive_match = true,
        // No mailbox is on another server.
        "REMOTE" => {}
        other => return bad(format!("there is no list selection option {other}")),
    }
    Ok(())
}

fn returns(p: &mut Parser<'_>, list: &mut ListCommand) -> Parsed<()> {
    match p.atom()?.to_ascii_uppercase().as_str() {
        "SUBSCRIBED" => list.return_subscribed = true,
        // Told in any case.
        "CHILDREN" | "SPECIAL-USE" => {}
        "STATUS" => {
            p.space()?;
            list.return_status = Some(p.list(status_item)?);
        }
        "MYRIGHTS" => list.return_rights = true,
        "METADATA" => {
            p.space()?;
            list.return_metadata = Some(p.list(access::entry)?);
        }
        other => return bad(format!("there is no list return option {other}")),
    }
    Ok(())
}

pub fn status(p: &mut Parser<'_>) -> Parsed<Command> {
    let mailbox = mailbox(p)?;
    p.space()?;
    let items = p.list(status_item)?;
    if items.is_empty() { bad("STATUS names what to tell") } else { Ok(Command::Status { mailbox, items }) }
}

fn status_item(p: &mut Parser<'_>) -> Parsed<StatusItem> {
    Ok(match p.atom()?.to_ascii_uppercase().as_str() {
        "MESSAGES" => StatusItem::Messages,
        "RECENT" => StatusItem::Recent,
        "UIDNEXT" => StatusItem::UidNext,
        "UIDVALIDITY" => StatusItem::UidValidity,
        "UNSEEN" => StatusItem::Unseen,
        "HIGHESTMODSEQ" => StatusItem::HighestModSeq,
        "SIZE" => StatusItem::Size,
        "DELETED" => StatusItem::Deleted,
        "DELETED-STORAGE" => StatusItem::DeletedStorage,
        "MAILBOXID" => StatusItem::MailboxId,
        "APPENDLIMIT" => StatusItem::AppendLimit,
        other => return bad(format!("there is no status item {other}")),
    })
}
