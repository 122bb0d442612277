//! A user's message: checked that it is theirs, completed, signed, and in the queue before the 250 (RFC 6409).

use super::envelope::Envelope;
use super::inbound::malformed;
use super::{Session, not_now};
use crate::message::Message;
use crate::message::submitted;
use crate::message::trace::{From, Hop};
use crate::proto::Reply;
use crate::queue::entry::Recipient;
use crate::queue::{Outgoing, QueueError, new_id};
use base::Address;
use std::sync::Arc;

impl Session {
    pub(super) async fn submit(&mut self, envelope: Envelope, account: Address, bytes: Vec<u8>) -> Reply {
        let mut message = match Message::received(bytes) {
            Ok(message) => message,
            Err(error) => return malformed(error),
        };
        let author = match self.author(&account, &message).await {
            Ok(author) => author,
            Err(reply) => return reply,
        };
        let (id, now) = (new_id(), base::time::now_unix());
        submitted::complete(&mut message, author.domain(), &id, now);
        match self.house.neighbours.sign(author.domain(), &message).await {
            Ok(signature) => message.prepend(&signature),
            Err(error) => return not_now(&error),
        }
        message.prepend(&self.trace(&id, &envelope, now));
        let recipients = envelope.recipients.into_iter();
        let recipients = recipients.map(|to| Recipient::new(to.address, to.local, now)).collect();
        let outgoing =
            Outgoing { account: Some(account.clone()), ..Outgoing::new(id.clone(), envelope.sender, recipients) };
        match self.house.queue.add(outgoing, Arc::new(message)).await {
            Ok(()) => {
                tracing::info!("{id}: queued for {account}");
                Reply::new(250, "2.0.0", format!("queued as {id}"))
            }
            Err(error) => no_room(&error),
        }
    }

    /// The address that the message is from, when all that it names belong to the account (RFC 6409 §6.1).
    async fn author(&self, account: &Address, message: &Message) -> Result<Address, Reply> {
        let refuse = |text: String| Reply::new(550, "5.7.1", text);
        let authors = submitted::authors(message).map_err(|error| refuse(error.to_string()))?;
        for author in &authors {
            match self.house.neighbours.may_send(account, author).await {
                Ok(true) => {}
                Ok(false) => return Err(refuse(format!("{account} may not write {author} into From or Sender"))),
                Err(error) => return Err(not_now(&error)),
            }
        }
        authors.into_iter().next().ok_or_else(|| refuse("the message names nobody it is from".to_owned()))
    }

    fn trace(&self, id: &str, envelope: &Envelope, now: u64) -> String {
        let recipient = match envelope.recipients.as_slice() {
            [only] => Some(&only.address),
            _ => None,
        };
        let hop = Hop {
            by: &self.house.hostname,
            from: From::User,
            protocol: self.protocol(),
            tls: self.tls.as_deref(),
            id,
            recipient,
            at: now,
        };
        hop.field()
    }
}

fn no_room(error: &QueueError) -> Reply {
    tracing::error!("a message cannot be queued: {error}");
    match error {
        QueueError::Full | QueueError::DiskFull => Reply::new(452, "4.3.1", format!("{error}; try again later")),
        QueueError::Io(_) => Reply::new(451, "4.3.0", "the queue cannot be written just now; try again later"),
    }
}
