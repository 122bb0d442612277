//! What the history keeps of a message that the box itself passes on or writes.

use crate::message::Message;
use crate::queue::Outgoing;
use wire::mta::{Arrival, Way};

/// Characters of a field that are kept.
const LONGEST_VALUE: usize = 300;

/// A message that goes into the queue without a session.
pub fn arrival(message: &Message, outgoing: &Outgoing, way: Way) -> Arrival {
    Arrival {
        id: outgoing.id.clone(),
        at: base::time::now_unix(),
        way,
        client: None,
        helo: None,
        tls: None,
        account: outgoing.account.clone(),
        sender: outgoing.sender.clone(),
        recipients: outgoing.recipients.iter().map(|to| to.address.clone()).collect(),
        subject: value(message, "Subject"),
        message_id: value(message, "Message-ID"),
        bytes: message.size() as u64,
        judged: None,
    }
}

/// What a field says, in the form in which an owner would type it.
pub fn value(message: &Message, name: &str) -> Option<String> {
    message.fields().find(|field| field.is(name)).map(|field| decoded(field.bytes, field.value()))
}

/// A field's text with its encoded words read (RFC 2047), as an owner would type it.
fn decoded(field: &[u8], plain: String) -> String {
    let mut head = field.to_vec();
    head.extend_from_slice(b"\r\n");
    let parsed = mail_parser::MessageParser::default().parse_headers(&head);
    let text = parsed.and_then(|message| message.subject().map(str::to_owned)).unwrap_or(plain);
    text.chars().filter(|c| !c.is_control()).take(LONGEST_VALUE).collect()
}
