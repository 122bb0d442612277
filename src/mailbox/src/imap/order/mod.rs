//! What SORT and THREAD need to know of messages, and their orders (RFC 5256, RFC 5957). Pure.

mod sort;
mod subject;
mod thread;

pub use sort::sorted;
pub use thread::{ordered_subject, references, write_threads};

use crate::{limits, text};
use store::Row;
use store::mime::{MailAddress, Parsed, message_ids};
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
    /// Of a message that goes by this number.
    pub fn new(number: u32, row: &Row, parsed: Parsed) -> Facts {
        let Parsed { envelope, references, sent, .. } = parsed;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let own = envelope.message_id.as_deref().and_then(|value| message_ids(value).next());
        Facts {
            number,
            received: u64::from(row.received),
            sent: sent.map_or(i64::from(row.received), |sent| sent.seconds),
            size: u64::from(row.size),
            relevancy: 0,
            subject: Base::of(&text::decoded_value(envelope.subject.as_deref().unwrap_or_default())),
            from: Party::of(&envelope.from),
            to: Party::of(&envelope.to),
            cc: Party::of(&envelope.cc),
            message_id: own.map(text),
            references: references.iter().map(|id| text(id)).collect(),
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

#[cfg(test)]
impl Facts {
    /// Of a message received at a second.
    fn of(number: u32, received: u32, message: &str) -> Facts {
        use store::{Flags, Keywords, MessageId, ModSeq, Uid};
        let row = Row {
            uid: Uid(number),
            flags: Flags::NONE,
            keywords: Keywords::default(),
            modseq: ModSeq(0),
            id: MessageId(0),
            size: number * 10,
            received,
            saved: received,
        };
        Facts::new(number, &row, Parsed::of(message.as_bytes()))
    }
}
