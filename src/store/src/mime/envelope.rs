//! The envelope (RFC 3501 §7.4.2, ENVELOPE).

use super::address::{self, MailAddress};
use super::header::{fields, unfold};
use serde::{Deserialize, Serialize};

/// Header values as they stand, unfolded and undecoded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Envelope {
    pub date: Option<Vec<u8>>,
    pub subject: Option<Vec<u8>>,
    pub from: Vec<MailAddress>,
    /// As From when the message has none, as the RFC wants it.
    pub sender: Vec<MailAddress>,
    /// As From when the message has none.
    pub reply_to: Vec<MailAddress>,
    pub to: Vec<MailAddress>,
    pub cc: Vec<MailAddress>,
    pub bcc: Vec<MailAddress>,
    pub in_reply_to: Option<Vec<u8>>,
    pub message_id: Option<Vec<u8>>,
}

impl Envelope {
    pub fn of(header: &[u8]) -> Envelope {
        let mut out = Envelope::default();
        for field in fields(header) {
            let name = field.name.to_ascii_lowercase();
            let (text, list) = match name.as_slice() {
                b"date" => (Some(&mut out.date), None),
                b"subject" => (Some(&mut out.subject), None),
                b"in-reply-to" => (Some(&mut out.in_reply_to), None),
                b"message-id" => (Some(&mut out.message_id), None),
                b"from" => (None, Some(&mut out.from)),
                b"sender" => (None, Some(&mut out.sender)),
                b"reply-to" => (None, Some(&mut out.reply_to)),
                b"to" => (None, Some(&mut out.to)),
                b"cc" => (None, Some(&mut out.cc)),
                b"bcc" => (None, Some(&mut out.bcc)),
                _ => continue,
            };
            // A field that may stand once counts once; recipients of several fields are one list.
            if let Some(text) = text.filter(|text| text.is_none()) {
                *text = Some(unfold(field.value));
            }
            if let Some(list) = list {
                let room = crate::limits::ADDRESSES.saturating_sub(list.len());
                list.extend(address::list(field.value).into_iter().take(room));
            }
        }
        if out.sender.is_empty() {
            out.sender.clone_from(&out.from);
        }
        if out.reply_to.is_empty() {
            out.reply_to.clone_from(&out.from);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sender_and_reply_to_fall_back_to_from_and_folds_are_undone() {
        let header = b"From: Ann <ann@a.org>\r\nSubject: one\r\n two\r\nTo: b@b.org\r\nTo: c@c.org\r\n\r\n";
        let envelope = Envelope::of(header);
        assert_eq!(envelope.subject.as_deref(), Some(b"one two".as_slice()));
        assert_eq!(envelope.sender, envelope.from);
        assert_eq!(envelope.to.len(), 2);
        assert_eq!(envelope.date, None);
    }
}
