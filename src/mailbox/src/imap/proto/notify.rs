//! NOTIFY (RFC 5465 §3).

use super::fetch::{Item, fetch_items};
use super::mailboxes::Mailboxes;
use super::parser::{Parsed, Parser, bad};

/// What a client wants to hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// Whether STATUS of each mailbox is wanted at once.
    pub status: bool,
    /// In the order given: the first group that a mailbox is in counts.
    pub groups: Vec<Group>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub mailboxes: Mailboxes,
    pub events: Vec<Event>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// With what is to be fetched of new messages of the selected mailbox.
    MessageNew(Vec<Item>),
    MessageExpunge,
    FlagChange,
    MailboxName,
    SubscriptionChange,
    MailboxMetadataChange,
    ServerMetadataChange,
    /// One that this server does not know, by its name.
    Unknown(String),
}

/// Groups of one NOTIFY.
const GROUPS: usize = 50;

impl Notify {
    /// What follows the command's name; `None` is NOTIFY NONE.
    pub fn parse(p: &mut Parser<'_>) -> Parsed<Option<Notify>> {
        p.space()?;
        if p.take_word("NONE") {
            return Ok(None);
        }
        if !p.take_word("SET") {
            return bad(format!("expected NONE or SET {}", p.here()));
        }
        let mut notify = Notify { status: false, groups: Vec::new() };
        p.space()?;
        if p.take_word("STATUS") {
            notify.status = true;
            p.space()?;
        }
        loop {
            notify.groups.push(group(p)?);
            if notify.groups.len() > GROUPS {
                return bad("NOTIFY has too many groups");
            }
            if !p.take(b' ') || p.at_end() {
                return Ok(Some(notify));
            }
        }
    }
}

fn group(p: &mut Parser<'_>) -> Parsed<Group> {
    p.expect(b'(')?;
    let mailboxes = Mailboxes::parse(p)?;
    p.space()?;
    let events = if p.take_word("NONE") { Vec::new() } else { p.list(event)? };
    p.expect(b')')?;
    let has = |wanted: fn(&Event) -> bool| events.iter().any(wanted);
    // RFC 5465 §5: new messages and removals come together or not at all, and flags only with both.
    let (new, gone) =
        (has(|event| matches!(event, Event::MessageNew(_))), has(|event| *event == Event::MessageExpunge));
    if new != gone || (has(|event| *event == Event::FlagChange) && !new) {
        return bad("MessageNew and MessageExpunge are asked for together, FlagChange only with both");
    }
    let of_selected = matches!(mailboxes, Mailboxes::Selected | Mailboxes::SelectedDelayed);
    let fetches = |event: &Event| matches!(event, Event::MessageNew(items) if !items.is_empty());
    if !of_selected && events.iter().any(fetches) {
        return bad("what is to be fetched is named for the selected mailbox only");
    }
    Ok(Group { mailboxes, events })
}

fn event(p: &mut Parser<'_>) -> Parsed<Event> {
    let name = p.atom()?;
    Ok(match name.to_ascii_uppercase().as_str() {
        "MESSAGENEW" => {
            let fetches = p.rest().starts_with(b" (");
            Event::MessageNew(if fetches { p.space().and_then(|()| fetch_items(p))? } else { Vec::new() })
        }
        "MESSAGEEXPUNGE" => Event::MessageExpunge,
        "FLAGCHANGE" => Event::FlagChange,
        "MAILBOXNAME" => Event::MailboxName,
        "SUBSCRIPTIONCHANGE" => Event::SubscriptionChange,
        "MAILBOXMETADATACHANGE" => Event::MailboxMetadataChange,
        "SERVERMETADATACHANGE" => Event::ServerMetadataChange,
        _ => Event::Unknown(name.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notify(text: &str) -> Parsed<Option<Notify>> {
        let mut p = Parser::new(text.as_bytes());
        let notify = Notify::parse(&mut p)?;
        p.end()?;
        Ok(notify)
    }

    #[test]
    fn the_examples_of_the_rfc_are_understood() {
        let text = " SET STATUS (selected MessageNew (uid body.peek[header.fields (from to subject)]) MessageExpunge)";
        assert!(notify(text).is_err());
        let text = " SET STATUS (selected (MessageNew (uid body.peek[header.fields (from to)]) MessageExpunge)) \
                    (subtree Lists (MessageNew MessageExpunge)) (mailboxes (misc other) NONE)";
        let parsed = notify(text).unwrap().unwrap();
        assert!(parsed.status && parsed.groups.len() == 3);
        assert_eq!(parsed.groups[1].mailboxes, Mailboxes::Subtree(vec![b"Lists".to_vec()]));
        assert_eq!(notify(" NONE").unwrap(), None);
    }

    #[test]
    fn events_that_make_no_sense_alone_are_refused() {
        for wrong in [" SET (selected (MessageNew))", " SET (personal (FlagChange))", " SET", " SET (inboxes)"] {
            assert!(notify(wrong).is_err(), "{wrong}");
        }
    }
}
