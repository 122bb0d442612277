//! A stranger's message: judged, cleaned of what strangers may not say, and in the mailboxes before the 250.

use super::envelope::Envelope;
use super::{Session, not_now};
use crate::delivery::client::{To, Transaction};
use crate::delivery::{Outcome, mailboxes};
use crate::message::trace::{self, From, Hop};
use crate::message::{self, FormError, Message};
use crate::proto::Reply;
use crate::proto::delivery_status::ReportWish;
use crate::queue::entry::{Needs, Recipient};
use crate::queue::{Outgoing, new_id};
use base::Address;
use std::sync::Arc;
use wire::filter::{Action, Judge, Verdict};

impl Session {
    pub(super) async fn take_in(&mut self, envelope: Envelope, bytes: Vec<u8>) -> Reply {
        let id = new_id();
        if let Err(error) = message::check(&bytes) {
            return malformed(error);
        }
        let verdict = match self.judge(&envelope, &bytes).await {
            Ok(verdict) => verdict,
            Err(reply) => return reply,
        };
        if let Some(reply) = refusal(&verdict) {
            tracing::info!("{id}: from {} at {} refused: {}", shown(&envelope.sender), self.client, reply.words());
            return reply;
        }
        let mut message = match Message::received(bytes) {
            Ok(message) => message,
            Err(error) => return malformed(error),
        };
        trace::distrust(&mut message, &self.house.hostname);
        message.prepend(&self.top(&id, &envelope, &verdict));
        self.store(id, envelope, message).await
    }

    async fn judge(&self, envelope: &Envelope, bytes: &[u8]) -> Result<Verdict, Reply> {
        let question = Judge {
            client: self.client,
            helo: self.hello.as_ref().map(|hello| hello.name.clone()).unwrap_or_default(),
            sender: envelope.sender.clone(),
            recipients: envelope.recipients.iter().map(|recipient| recipient.address.clone()).collect(),
            tls: self.tls.is_some(),
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
            protocol: self.protocol(),
            tls: self.tls.as_deref(),
            id,
            recipient,
            at: base::time::now_unix(),
        };
        format!("{}{}", hop.field(), verdict_fields(verdict))
    }

    /// Delivers; what only some mailboxes cannot take just now waits in the queue.
    async fn store(&self, id: String, envelope: Envelope, message: Message) -> Reply {
        let recipients: Vec<To> = envelope.recipients.into_iter().map(|recipient| To::new(recipient.address)).collect();
        let it = Transaction {
            sender: envelope.sender.as_ref(),
            recipients: &recipients,
            pieces: [&message.head, &message.body],
            eight_bit: message.is_eight_bit(),
            needs: Needs::default(),
            wish: &ReportWish::default(),
        };
        let outcomes = mailboxes::deliver(&self.house.paths, &self.house.hostname, &it).await;
        for (address, outcome) in &outcomes {
            tracing::info!("{id}: from {} to <{address}>: {}", shown(&envelope.sender), outcome.words());
        }
        let (stored, rest): (Vec<_>, Vec<_>) =
            outcomes.into_iter().partition(|(_, outcome)| matches!(outcome, Outcome::Delivered(_)));
        match (stored.is_empty(), rest.is_empty()) {
            (_, true) => Reply::new(250, "2.0.0", format!("stored as {id}")),
            (true, false) => nobody_took_it(&rest),
            (false, false) => self.queue_rest(id, envelope.sender, rest, message).await,
        }
    }

    /// Some have it and some do not, and one reply must do for all. It is ours now: what failed for a passing reason
    /// is tried again, and what failed for good is reported by the queue, after one more try.
    async fn queue_rest(
        &self,
        id: String,
        sender: Option<Address>,
        rest: Vec<(Address, Outcome)>,
        message: Message,
    ) -> Reply {
        let now = base::time::now_unix();
        let recipients = rest.into_iter().map(|(address, _)| Recipient::new(address, true, now)).collect();
        let outgoing = Outgoing { judged: true, ..Outgoing::new(id.clone(), sender, recipients) };
        match self.house.queue.add(outgoing, Arc::new(message)).await {
            Ok(()) => Reply::new(250, "2.0.0", format!("stored and queued as {id}")),
            Err(error) => {
                tracing::error!("{id}: {error}");
                Reply::new(451, "4.3.1", "some mailboxes cannot take this just now; try again later")
            }
        }
    }
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
            Some(Reply::new(code, enhanced, text.as_str()))
        }
        Action::Defer { text } => Some(Reply::new(451, "4.7.1", text.as_str())),
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
            Reply::new(code, &trouble.status, text)
        }
        None => for_now(outcomes),
    }
}

/// A full mailbox is told as such where it is the only one; all else that passes is nobody's business.
fn for_now(outcomes: &[(Address, Outcome)]) -> Reply {
    match outcomes {
        [(_, Outcome::Deferred(trouble))] if trouble.status.starts_with("4.2.2") => {
            let text = trouble.reply.as_ref().map_or(trouble.words.clone(), |reply| reply.lines.join(" "));
            Reply::new(452, &trouble.status, text)
        }
        _ => Reply::new(451, "4.3.0", "the mailbox cannot take this just now; try again later"),
    }
}

pub(super) fn malformed(error: FormError) -> Reply {
    match error {
        FormError::Loop => Reply::new(554, "5.4.6", error.to_string()),
        FormError::HeaderTooLong => Reply::new(552, "5.3.4", error.to_string()),
        FormError::Nul => Reply::new(554, "5.6.0", error.to_string()),
    }
}

fn shown(sender: &Option<Address>) -> String {
    sender.as_ref().map_or_else(|| "<>".to_owned(), |sender| format!("<{sender}>"))
}
