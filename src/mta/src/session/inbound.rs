//! A stranger's message: judged, cleaned of what strangers may not say, and in the mailboxes before the 250.

use super::envelope::{Addressee, Envelope};
use super::told;
use super::{Session, not_now, replies, too_large};
use crate::delivery::Outcome;
use crate::delivery::client::{To, Transaction};
use crate::forward::{self, Origin, Passage};
use crate::limits;
use crate::message::trace::{self, From, Hop};
use crate::message::{self, FormError, Message, binary};
use crate::proto::Reply;
use crate::proto::envelope::Body;
use crate::queue::entry::Needs;
use crate::queue::{Outgoing, new_id};
use base::Address;
use std::sync::Arc;
use wire::filter::{Action, Judge, Verdict};
use wire::mta::{Arrival, Step, What};

impl Session {
    pub(super) async fn take_in(&mut self, envelope: Envelope, bytes: Vec<u8>) -> Reply {
        let id = new_id();
        let (bytes, mut arrival) = match self.arrive(&id, &envelope, bytes) {
            Ok(arrived) => arrived,
            Err(refusal) => {
                self.note_message(&envelope, &refusal);
                return refusal;
            }
        };
        let verdict = match self.judge(&envelope, &bytes).await {
            Ok(verdict) => verdict,
            Err(reply) => return self.turned_away(arrival, reply),
        };
        arrival.judged = Some(told::judged(&verdict));
        if let Some(reply) = refusal(&verdict) {
            tracing::info!("{id}: from {} at {} refused: {}", shown(&envelope.sender), self.client, reply.words());
            return self.turned_away(arrival, reply);
        }
        if let Some(reply) = self.greylisted(&envelope, &verdict, &bytes).await {
            return self.turned_away(arrival, reply);
        }
        let message = match self.made_fit(&envelope, bytes) {
            Ok(mut message) => {
                trace::distrust(&mut message, &self.house.hostname);
                message.prepend(&self.top(&id, &envelope, &verdict));
                message
            }
            Err(reply) => return self.turned_away(arrival, reply),
        };
        let passages: Vec<Passage> = envelope.recipients.iter().filter_map(Addressee::passage).collect();
        if passages.is_empty() {
            // The owner's history is of mail, and this is none.
            if self.is_round_trip(&envelope, &verdict, &message) {
                return replies::STORED.with(&[&id]);
            }
            self.house.history.arrived(arrival);
            if self.is_kept_report(&id, &envelope, &verdict, &message).await {
                return replies::STORED.with(&[&id]);
            }
            return self.store(id, envelope, message).await;
        }
        let (wish, sender) = (envelope.wish.clone(), envelope.sender.clone());
        let origin = Origin {
            id: &id,
            sender: sender.as_ref(),
            account: None,
            author: verdict.author.as_ref(),
            junk: verdict.action == Action::Junk,
            strict: verdict.strict,
            needs: self.needs(&envelope, &message),
            wish: &wish,
            due: self.house.now(),
        };
        self.pass_on(arrival, &origin, &passages, envelope, message).await
    }

    /// Stores what is for mailboxes here, and then queues what goes on; why in this order is told in `forward`.
    async fn pass_on(
        &self,
        arrival: Arrival,
        origin: &Origin<'_>,
        passages: &[Passage],
        mut envelope: Envelope,
        message: Message,
    ) -> Reply {
        let prepared = match forward::prepare(&self.house, origin, passages, &message).await {
            Ok(prepared) => prepared,
            Err(reply) => return self.turned_away(arrival, reply),
        };
        self.house.history.arrived(arrival);
        envelope.recipients.retain(|to| to.local);
        let stored = match envelope.recipients.is_empty() {
            true => replies::QUEUED.with(&[&origin.id]),
            false => self.store(origin.id.to_owned(), envelope, message).await,
        };
        if !stored.is_success() {
            return stored;
        }
        match forward::commit(&self.house, origin, prepared).await {
            Ok(()) => stored,
            Err(reply) => {
                self.tell_refusal(origin.id, None, &reply);
                reply
            }
        }
    }

    /// Checks the message's form, and that there is room for it; gives what the history is told of it.
    fn arrive(&self, id: &str, envelope: &Envelope, bytes: Vec<u8>) -> Result<(Vec<u8>, Arrival), Reply> {
        let header = message::check(&bytes).map_err(malformed)?;
        self.house.check_disk(bytes.len() as u64)?;
        let arrival = self.arrival(id, envelope, bytes.get(..header).unwrap_or_default(), bytes.len() as u64);
        Ok((bytes, arrival))
    }

    /// The message as it may be stored: without octets that only BDAT can carry.
    fn made_fit(&self, envelope: &Envelope, bytes: Vec<u8>) -> Result<Message, Reply> {
        Message::received(fit(envelope, bytes)?).map_err(malformed)
    }

    async fn judge(&mut self, envelope: &Envelope, bytes: &[u8]) -> Result<Verdict, Reply> {
        let question = Judge {
            client: self.client,
            helo: self.hello.as_ref().map(|hello| hello.name.clone()).unwrap_or_default(),
            sender: envelope.sender.clone(),
            recipients: envelope.recipients.iter().map(|recipient| recipient.address.clone()).collect(),
            tls: self.tls.is_some(),
            notes: self.notes().await,
        };
        self.house.neighbours.judge(&question, bytes).await.map_err(|error| not_now(&error))
    }

    /// The fields that go on top: our Received, then what the filter found.
    fn top(&self, id: &str, envelope: &Envelope, verdict: &Verdict) -> String {
        let helo = self.hello.as_ref().map(|hello| hello.name.as_str()).unwrap_or_default();
        let recipient = match envelope.recipients.as_slice() {
            [only] => Some(&only.address),
            _ => None,
        };
        let hop = Hop {
            by: &self.house.hostname,
            from: From::Stranger { helo, client: self.client },
            protocol: self.protocol(envelope.utf8),
            tls: self.tls.as_deref(),
            id,
            recipient,
            at: self.house.now(),
        };
        format!("{}{}", hop.field(), verdict_fields(verdict))
    }

    /// Delivers; what only some mailboxes cannot take just now waits in the queue.
    async fn store(&self, id: String, envelope: Envelope, message: Message) -> Reply {
        if envelope.recipients.iter().any(|recipient| recipient.notify.success) {
            // The queue is what tells senders of success.
            let recipients = envelope.recipients.clone();
            return self.queue_rest(id, &envelope, recipients, message).await;
        }
        let recipients: Vec<To> = envelope.recipients.iter().map(Addressee::to).collect();
        let it = Transaction {
            sender: envelope.sender.as_ref(),
            recipients: &recipients,
            pieces: [&message.head, &message.body],
            eight_bit: message.is_eight_bit(),
            needs: self.needs(&envelope, &message),
            wish: &envelope.wish,
        };
        let outcomes = self.house.mailboxes.deliver(&it).await;
        for (address, outcome) in &outcomes {
            tracing::info!("{id}: from {} to <{address}>: {}", shown(&envelope.sender), outcome.words());
            if matches!(outcome, Outcome::Delivered(_)) {
                let step = Step::new(What::Stored, "it is in the mailbox");
                self.house.history.step(&id, Some(address), step);
            }
        }
        let (stored, rest): (Vec<_>, Vec<_>) =
            outcomes.into_iter().partition(|(_, outcome)| matches!(outcome, Outcome::Delivered(_)));
        match (stored.is_empty(), rest.is_empty()) {
            (_, true) => replies::STORED.with(&[&id]),
            (true, false) => {
                let reply = nobody_took_it(&rest);
                self.tell_refusal(&id, None, &reply);
                reply
            }
            (false, false) => {
                let left = |to: &Addressee| rest.iter().any(|(address, _)| *address == to.address);
                let recipients = envelope.recipients.iter().filter(|to| left(to)).cloned().collect();
                self.queue_rest(id, &envelope, recipients, message).await
            }
        }
    }

    /// Some have it and some do not, and one reply must do for all. It is ours now: what failed for a passing reason
    /// is tried again, and what failed for good is reported by the queue, after one more try.
    async fn queue_rest(&self, id: String, envelope: &Envelope, rest: Vec<Addressee>, message: Message) -> Reply {
        let now = self.house.now();
        let recipients = rest.iter().map(|to| to.in_queue(now)).collect();
        let outgoing = Outgoing {
            judged: true,
            needs: self.needs(envelope, &message),
            wish: envelope.wish.clone(),
            ..Outgoing::new(id.clone(), envelope.sender.clone(), recipients)
        };
        match self.house.queue.add(outgoing, Arc::new(message)).await {
            Ok(()) => {
                for to in &rest {
                    let step = Step::new(What::Queued, "it is in the queue for the mailbox");
                    self.house.history.step(&id, Some(&to.address), step);
                }
                replies::STORED_AND_QUEUED.with(&[&id])
            }
            Err(error) => {
                tracing::error!("{id}: {error}");
                let reply = replies::SOME_NOT_NOW.reply();
                self.tell_refusal(&id, None, &reply);
                reply
            }
        }
    }

    /// What servers must be able to do to whom the message is passed on.
    pub(super) fn needs(&self, envelope: &Envelope, message: &Message) -> Needs {
        let addresses = envelope.recipients.iter().map(|to| &to.address).chain(&envelope.sender);
        let beyond_ascii = !message.head.is_ascii() || addresses.into_iter().any(|address| !address.is_ascii());
        Needs { utf8: envelope.utf8 && beyond_ascii, require_tls: envelope.require_tls }
    }
}

/// Makes a binary message one of lines.
pub(super) fn fit(envelope: &Envelope, bytes: Vec<u8>) -> Result<Vec<u8>, Reply> {
    if envelope.body != Body::Binary {
        return Ok(bytes);
    }
    let text = binary::to_text(&bytes).map_err(|error| replies::BAD_FORM.with(&[&error]))?;
    if text.len() > limits::MESSAGE + limits::MESSAGE / 2 { Err(too_large()) } else { Ok(text) }
}

/// The filter's fields, with the decision for the mailbox in any case.
fn verdict_fields(verdict: &Verdict) -> String {
    let mut fields = verdict.headers.clone();
    if !fields.is_empty() && !fields.ends_with("\r\n") {
        fields.push_str("\r\n");
    }
    let named = |line: &str| line.to_ascii_lowercase().starts_with("x-mailstead-verdict:");
    if !fields.lines().any(named) {
        let decision = if verdict.action == Action::Junk { "junk" } else { "accept" };
        fields.push_str(&format!("X-Mailstead-Verdict: {decision}; score={:.1}\r\n", verdict.score));
    }
    fields
}

fn refusal(verdict: &Verdict) -> Option<Reply> {
    match &verdict.action {
        Action::Accept | Action::Junk => None,
        Action::Refuse { code, enhanced, text } => {
            // Whatever code the filter gave, a refusal must not read as a success.
            let code = if (500..600).contains(code) { *code } else { 550 };
            Some(replies::passed_on(code, enhanced, text.as_str()))
        }
        Action::Defer { text } => Some(replies::LISTED_FOR_NOW.with(&[text])),
    }
}

fn nobody_took_it(outcomes: &[(Address, Outcome)]) -> Reply {
    let all_for_good = outcomes.iter().all(|(_, outcome)| matches!(outcome, Outcome::Failed(_)));
    let trouble = outcomes.iter().find_map(|(_, outcome)| match outcome {
        Outcome::Failed(trouble) if all_for_good => Some(trouble),
        _ => None,
    });
    match trouble {
        Some(trouble) => {
            let text = trouble.reply.as_ref().map_or(trouble.words.clone(), |reply| reply.lines.join(" "));
            // A full mailbox has a code of its own; whatever else the mailbox said is a plain refusal here.
            let code = if trouble.status.starts_with("5.2.2") { 552 } else { 550 };
            replies::passed_on(code, &trouble.status, text)
        }
        None => for_now(outcomes),
    }
}

/// A full mailbox is told as such where it is the only one; all else that passes is nobody's business.
fn for_now(outcomes: &[(Address, Outcome)]) -> Reply {
    match outcomes {
        [(_, Outcome::Deferred(trouble))] if trouble.status.starts_with("4.2.2") => {
            let text = trouble.reply.as_ref().map_or(trouble.words.clone(), |reply| reply.lines.join(" "));
            replies::passed_on(452, &trouble.status, text)
        }
        _ => replies::MAILBOX_NOT_NOW.reply(),
    }
}

pub(super) fn malformed(error: FormError) -> Reply {
    match error {
        FormError::Loop => replies::LOOP.with(&[&error]),
        FormError::HeaderTooLong => replies::LONG_HEADER.with(&[&error]),
        FormError::Nul => replies::BAD_FORM.with(&[&error]),
    }
}

fn shown(sender: &Option<Address>) -> String {
    sender.as_ref().map_or_else(|| "<>".to_owned(), |sender| format!("<{sender}>"))
}
