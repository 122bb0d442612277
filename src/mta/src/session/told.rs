//! What the history is told of a session: who came with what, and why it was turned away.

use super::envelope::Envelope;
use super::{Kind, Session};
use crate::history;
use crate::message::Message;
use crate::proto::Reply;
use crate::queue::new_id;
use base::Address;
use wire::filter::{Action, Verdict};
use wire::mta::{Arrival, Judged, Step, Way, What};

/// Refusals of one connection that are told. A peer that is refused without end is not worth more.
const TOLD: usize = 20;

impl Session {
    /// Tells of a refusal outside of a message, where it says something about the mail: mistakes in the protocol do not.
    pub(super) fn note(&mut self, reply: &Reply, recipient: Option<&Address>) {
        let protocol = (500..=504).contains(&reply.code) || matches!(reply.code, 530 | 538 | 555);
        if reply.code < 400 || protocol || self.counts.told >= TOLD {
            return;
        }
        self.counts.told += 1;
        let recipient = recipient.cloned().or_else(|| self.asked_for.take());
        let envelope = self.envelope.as_ref();
        let mut arrival = self.met(&new_id());
        arrival.sender = envelope.and_then(|envelope| envelope.sender.clone());
        arrival.recipients = recipient.iter().cloned().collect();
        arrival.bytes = envelope.and_then(|envelope| envelope.size).unwrap_or_default();
        let id = arrival.id.clone();
        self.house.history.arrived(arrival);
        self.tell_refusal(&id, recipient.as_ref(), reply);
    }

    /// Tells of a message that is refused before it is looked at.
    pub(super) fn note_message(&self, envelope: &Envelope, reply: &Reply) {
        let arrival = self.arrival(&new_id(), envelope, b"", envelope.size.unwrap_or_default());
        self.turned_away(arrival, reply.clone());
    }

    /// Tells of a message that is refused; gives the reply.
    pub(super) fn turned_away(&self, arrival: Arrival, reply: Reply) -> Reply {
        let id = arrival.id.clone();
        self.house.history.arrived(arrival);
        self.tell_refusal(&id, None, &reply);
        reply
    }

    pub(super) fn tell_refusal(&self, id: &str, recipient: Option<&Address>, reply: &Reply) {
        let what = if reply.is_permanent() { What::Refused } else { What::Deferred };
        let enhanced = Some(reply.enhanced.clone()).filter(|enhanced| !enhanced.is_empty());
        let step = Step { code: Some(reply.code), enhanced, ..Step::new(what, reply.lines.join(" ")) };
        self.house.history.step(id, recipient, step);
    }

    /// A message with what its header says.
    pub(super) fn arrival(&self, id: &str, envelope: &Envelope, head: &[u8], bytes: u64) -> Arrival {
        let head = Message { head: head.to_vec(), body: Vec::new() };
        let value = |name: &str| history::value(&head, name);
        Arrival {
            sender: envelope.sender.clone(),
            recipients: envelope.recipients.iter().map(|to| to.address.clone()).collect(),
            subject: value("Subject"),
            message_id: value("Message-ID"),
            bytes,
            ..self.met(id)
        }
    }

    /// Who is connected.
    fn met(&self, id: &str) -> Arrival {
        Arrival {
            id: id.to_owned(),
            at: self.house.now(),
            way: if self.kind == Kind::Submission { Way::Submitted } else { Way::Inbound },
            client: Some(self.client),
            helo: self.hello.as_ref().map(|hello| hello.name.clone()),
            tls: self.tls.clone(),
            account: self.account.clone(),
            sender: None,
            recipients: Vec::new(),
            subject: None,
            message_id: None,
            bytes: 0,
            judged: None,
        }
    }
}

/// The filter's opinion, for the history.
pub fn judged(verdict: &Verdict) -> Judged {
    let action = match verdict.action {
        Action::Accept => "accept",
        Action::Junk => "junk",
        Action::Refuse { .. } => "refuse",
        Action::Defer { .. } => "defer",
    };
    let reason = |it: &wire::filter::Reason| format!("{} {:+.1} ({})", it.rule, it.score, it.words);
    let results = verdict.headers.split_once("Authentication-Results:").map(|(_, rest)| {
        let end = rest.match_indices("\r\n").find(|(at, _)| !rest[at + 2..].starts_with([' ', '\t']));
        rest[..end.map_or(rest.len(), |(at, _)| at)].replace("\r\n", "").replace('\t', " ").trim().to_owned()
    });
    Judged {
        action: action.to_owned(),
        tenths: (verdict.score * 10.0).round() as i32,
        reasons: verdict.reasons.iter().filter(|it| it.score.abs() >= 0.1).map(reason).collect(),
        authentication: results,
    }
}
