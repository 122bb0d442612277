//! What SORT and THREAD need to know of messages, and their orders (RFC 5256, RFC 5957). Pure.

mod sort;
mod subject;
mod thread;

pub use sort::sorted;
pub use thread::{ordered_subject, references, write_threads};

use crate::{limits, text};
use store::mime::{Envelope, MailAddress};
use subject::Base;

/// A message in a sort or a thread.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Its number or UID, as the answer names it.
    pub number: u32,
    /// Seconds since 1970.
    pub received: u64,
    /// Seconds since 1970, in UTC; when received, where the header does not say.
    pub sent: i64,
    pub size: u64,
    /// Better is higher; for RELEVANCY alone.
    pub relevancy: u32,
    subject: Base,
    from: Party,
    to: Party,
    cc: Party,
    message_id: Option<String>,
    /// What it answers, the oldest first.
    references: Vec<String>,
}

/// The first address of a field.
#[derive(Debug, Clone, Default)]
struct Party {
    mailbox: String,
    display: String,
}

impl Facts {
    /// `sent` of the header, if it can be read; `references` is the value of the References field.
    pub fn new(number: u32, received: u64, size: u64, envelope: &Envelope, references: &[u8]) -> Facts {
        let sent = envelope.date.as_deref().and_then(text::sent_at);
        let mut ids = message_ids(references);
        if ids.is_empty() {
            // RFC 5256 §3: of In-Reply-To the first one counts.
            ids = message_ids(envelope.in_reply_to.as_deref().unwrap_or_default());
            ids.truncate(1);
        }
        let oldest_kept = ids.len().saturating_sub(limits::REFERENCES);
        Facts {
            number,
            received,
            sent: sent.unwrap_or_else(|| i64::try_from(received).unwrap_or(i64::MAX)),
            size,
            relevancy: 0,
            subject: Base::of(&text::decoded_value(envelope.subject.as_deref().unwrap_or_default())),
            from: Party::of(&envelope.from),
            to: Party::of(&envelope.to),
            cc: Party::of(&envelope.cc),
            message_id: message_ids(envelope.message_id.as_deref().unwrap_or_default()).into_iter().next(),
            references: ids.split_off(oldest_kept),
        }
    }
}

impl Party {
    fn of(addresses: &[MailAddress]) -> Party {
        let Some(first) = addresses.first() else { return Party::default() };
        let part = |bytes: &Option<Vec<u8>>| String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
        let (mailbox, host) = (part(&first.mailbox), part(&first.host));
        // RFC 5957 §3: the name, or the address when there is none; of a group its name.
        let display = match (first.name.as_deref(), &first.host) {
            (Some(name), _) if !name.is_empty() => text::decoded_value(name),
            (_, None) => mailbox.clone(),
            _ => format!("{mailbox}@{host}"),
        };
        Party { mailbox: folded(&mailbox), display: folded(&display) }
    }
}

/// The form in which texts are compared: RFC 5051 maps to upper case, and bounded.
fn folded(text: &str) -> String {
    text.chars().flat_map(char::to_uppercase).take(limits::SORT_TEXT).collect()
}

/// `<…>` after `<…>`, without the brackets.
fn message_ids(value: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(value);
    let after_open = text.split('<').skip(1);
    after_open
        .filter_map(|rest| rest.split_once('>'))
        .map(|(id, _)| id.chars().filter(|c| !c.is_whitespace()).take(limits::SORT_TEXT).collect::<String>())
        .filter(|id| !id.is_empty())
        .collect()
}
