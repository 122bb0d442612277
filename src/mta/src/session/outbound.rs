//! A user's message: checked that it is theirs, completed, signed, and in the queue before the 250 (RFC 6409).

use super::envelope::{Addressee, Envelope};
use super::inbound::{fit, malformed};
use super::{Session, not_now, replies};
use crate::forward::{self, Onward, Origin, Passage};
use crate::message::Message;
use crate::message::submitted;
use crate::message::trace::{From, Hop};
use crate::proto::Reply;
use crate::queue::{Outgoing, QueueError, new_id};
use base::Address;
use std::sync::Arc;
use wire::mta::{Step, What};

impl Session {
    pub(super) async fn submit(&mut self, envelope: Envelope, account: Address, bytes: Vec<u8>) -> Reply {
        let id = new_id();
        let message = match self.completed(&id, &envelope, &account, bytes).await {
            Ok(message) => message,
            Err(refusal) => {
                self.note_message(&envelope, &refusal);
                return refusal;
            }
        };
        let now = self.house.now();
        let undo = match self.house.neighbours.undo_window(&account).await {
            Ok(seconds) => u64::from(seconds),
            Err(error) => return not_now(&error),
        };
        let due = envelope.release.map_or(now, |release| release.at(now)).max(now + undo);
        let arrival = self.arrival(&id, &envelope, &message.head, message.size() as u64);
        let author = submitted::authors(&message).ok().and_then(|authors| authors.into_iter().next());
        let origin = Origin {
            id: &id,
            sender: envelope.sender.as_ref(),
            account: Some(&account),
            author: author.as_ref(),
            junk: false,
            strict: false,
            needs: self.needs(&envelope, &message),
            wish: &envelope.wish,
            due,
        };
        // An alias is followed in the message's own entry; a list and a way back have entries of their own.
        let passages: Vec<Passage> = envelope.recipients.iter().filter_map(Addressee::passage).collect();
        let passages: Vec<Passage> =
            passages.into_iter().filter(|passage| !matches!(passage.onward, Onward::Alias(_))).collect();
        let prepared = match forward::prepare(&self.house, &origin, &passages, &message).await {
            Ok(prepared) => prepared,
            Err(reply) => return self.turned_away(arrival, reply),
        };
        let recipients = envelope.recipients.iter().map(|to| (to.in_queue(due), to.onward.as_ref())).collect();
        let outgoing = Outgoing {
            account: Some(account.clone()),
            needs: origin.needs,
            wish: envelope.wish.clone(),
            ..Outgoing::new(id.clone(), envelope.sender.clone(), forward::expand(recipients))
        };
        if let Err(reply) = forward::commit(&self.house, &origin, prepared).await {
            return self.turned_away(arrival, reply);
        }
        let queued = match outgoing.recipients.is_empty() {
            true => Ok(()),
            false => self.house.queue.add(outgoing, Arc::new(message)).await,
        };
        match queued {
            Ok(()) => {
                tracing::info!("{id}: queued for {account}");
                self.wrote_to(&account, &envelope);
                self.house.history.arrived(arrival);
                let words = match due > now {
                    true => format!("it is in the queue, to leave at {}", base::time::readable(due)),
                    false => "it is in the queue".to_owned(),
                };
                self.house.history.step(&id, None, Step::new(What::Queued, words));
                replies::QUEUED.with(&[&id])
            }
            Err(error) => self.turned_away(arrival, no_room(&error)),
        }
    }

    /// Remembers whom our users write to: their answers are welcome.
    fn wrote_to(&self, account: &Address, envelope: &Envelope) {
        let Some(known) = &self.house.known else { return };
        let recipients: Vec<_> = envelope.recipients.iter().map(|to| to.address.clone()).collect();
        if let Err(error) = known.wrote_to(account, &recipients, self.house.now()) {
            tracing::warn!("whom {account} has written to cannot be noted: {error}");
        }
    }

    /// The message with all that a submission server adds, signed.
    async fn completed(
        &self,
        id: &str,
        envelope: &Envelope,
        account: &Address,
        bytes: Vec<u8>,
    ) -> Result<Message, Reply> {
        let mut message = Message::received(fit(envelope, bytes)?).map_err(malformed)?;
        let author = self.author(account, &message).await?;
        let now = self.house.now();
        submitted::complete(&mut message, author.domain(), id, now);
        let signature = self.house.neighbours.sign(author.domain(), &message).await.map_err(|error| not_now(&error))?;
        message.prepend(&signature);
        message.prepend(&self.trace(id, envelope, now));
        Ok(message)
    }

    /// The address that the message is from, when all that it names belong to the account (RFC 6409 §6.1).
    async fn author(&self, account: &Address, message: &Message) -> Result<Address, Reply> {
        let authors = submitted::authors(message).map_err(|error| replies::NO_AUTHOR.with(&[&error]))?;
        for author in &authors {
            match self.house.neighbours.may_send(account, author).await {
                Ok(true) => {}
                Ok(false) => return Err(replies::NOT_THE_AUTHOR.with(&[account, author])),
                Err(error) => return Err(not_now(&error)),
            }
        }
        authors.into_iter().next().ok_or_else(|| replies::NO_AUTHOR.with(&[&"the message names nobody it is from"]))
    }

    fn trace(&self, id: &str, envelope: &Envelope, now: u64) -> String {
        let recipient = match envelope.recipients.as_slice() {
            [only] => Some(&only.address),
            _ => None,
        };
        let hop = Hop {
            by: &self.house.hostname,
            from: From::User,
            protocol: self.protocol(envelope.utf8),
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
        QueueError::Full | QueueError::DiskFull => replies::QUEUE_FULL.with(&[error]),
        QueueError::Io(_) => replies::QUEUE_NOT_NOW.reply(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// # Shows: QUEUE_FULL
    #[test]
    fn a_full_queue_is_told_as_such() {
        let reply = no_room(&QueueError::Full);
        assert_eq!(reply.words(), "452 4.3.1 the queue is full; try again later");
    }
}
