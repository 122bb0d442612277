//! Groups of mailboxes, as MULTISEARCH and NOTIFY name them (RFC 5465 §6, RFC 7377 §2.2).

use super::parser::{Parsed, Parser, bad};

/// One group. Names are as they came over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mailboxes {
    Selected,
    /// As `Selected`, but removals wait until numbers may shift.
    SelectedDelayed,
    /// Where mail is delivered to.
    Inboxes,
    /// All of the user's own.
    Personal,
    Subscribed,
    /// The named ones and all below them.
    Subtree(Vec<Vec<u8>>),
    /// The named ones and those directly below them.
    SubtreeOne(Vec<Vec<u8>>),
    Named(Vec<Vec<u8>>),
}

impl Mailboxes {
    pub fn parse(p: &mut Parser<'_>) -> Parsed<Mailboxes> {
        let name = p.atom()?.to_ascii_uppercase();
        Ok(match name.as_str() {
            "SELECTED" => Mailboxes::Selected,
            "SELECTED-DELAYED" => Mailboxes::SelectedDelayed,
            "INBOXES" => Mailboxes::Inboxes,
            "PERSONAL" => Mailboxes::Personal,
            "SUBSCRIBED" => Mailboxes::Subscribed,
            "SUBTREE" => Mailboxes::Subtree(names(p)?),
            "SUBTREE-ONE" => Mailboxes::SubtreeOne(names(p)?),
            "MAILBOXES" => Mailboxes::Named(names(p)?),
            other => return bad(format!("there is no group of mailboxes {other}")),
        })
    }
}

fn names(p: &mut Parser<'_>) -> Parsed<Vec<Vec<u8>>> {
    p.space()?;
    let names = if p.peek() == Some(b'(') { p.list(Parser::astring)? } else { vec![p.astring()?] };
    if names.is_empty() { bad("a group of mailboxes names at least one") } else { Ok(names) }
}
