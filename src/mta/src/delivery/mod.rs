//! Bringing mail to where it goes: other people's servers by SMTP, this box's mailboxes by LMTP.

pub mod client;
pub mod dane;
pub mod dial;
pub mod dns;
pub mod extensions;
pub mod health;
pub mod ipv6;
pub mod mailboxes;
pub mod names;
pub mod place;
pub mod pool;
pub mod relay;
pub mod remote;
pub mod results;
pub mod route;
pub mod sts;
pub mod tls;

#[cfg(test)]
mod tests;

use crate::limits;
use crate::proto::Reply;
use base::Address;
use client::To;

/// How one recipient's delivery ended this time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Delivered(Delivery),
    /// Worth another try.
    Deferred(Trouble),
    /// No use trying again.
    Failed(Trouble),
}

/// A success: whose hands the message is in now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivery {
    /// `mx.example.net [192.0.2.1]`.
    pub server: Option<String>,
    /// How the connection was protected, in words: `TLS 1.3, verified by DANE`.
    pub security: Option<String>,
    /// What the server said.
    pub reply: Option<Reply>,
    /// A sentence.
    pub words: String,
    /// Whether the server took over the sender's wish to be told of success (RFC 3461 §5.2.2).
    pub reports: bool,
}

/// Whether the next message to the same place would meet the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope {
    /// This message or recipient.
    #[default]
    Message,
    /// The place itself: no server answers, or all of them turn us away. Other mail for it waits too.
    Place,
}

/// What was met, for a report or a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// RFC 3463.
    pub status: String,
    /// The server's own reply, when there was one.
    pub reply: Option<Reply>,
    /// The server that said it.
    pub server: Option<String>,
    /// A sentence.
    pub words: String,
    pub scope: Scope,
}

impl Trouble {
    pub fn new(status: &str, words: impl Into<String>) -> Self {
        Self { status: status.to_owned(), reply: None, server: None, words: words.into(), scope: Scope::Message }
    }

    /// The same for everything that goes there.
    pub fn of_place(self) -> Self {
        Self { scope: Scope::Place, ..self }
    }
}

impl Outcome {
    /// What a server's reply means for a recipient.
    pub fn of(reply: &Reply, server: &str) -> Self {
        let said: String = reply.words().chars().take(limits::REPLY_KEPT).collect();
        let words = format!("{server} said: {said}");
        if reply.is_success() {
            let (server, reply) = (Some(server.to_owned()), Some(reply.clone()));
            return Self::Delivered(Delivery { server, reply, words, ..Delivery::default() });
        }
        let trouble = Trouble {
            reply: Some(reply.clone()),
            server: Some(server.to_owned()),
            ..Trouble::new(&reply.status(), words)
        };
        if reply.is_permanent() { Self::Failed(trouble) } else { Self::Deferred(trouble) }
    }

    pub fn words(&self) -> &str {
        match self {
            Self::Delivered(delivery) => &delivery.words,
            Self::Deferred(trouble) | Self::Failed(trouble) => &trouble.words,
        }
    }
}

/// What several servers of one destination came to: the last trouble that may pass, else the last one at all.
#[derive(Debug, Default)]
pub struct Tally(Option<Outcome>);

impl Tally {
    pub fn add(&mut self, outcome: Outcome) {
        if !matches!((&self.0, &outcome), (Some(Outcome::Deferred(_)), Outcome::Failed(_))) {
            self.0 = Some(outcome);
        }
    }

    pub fn end(self, otherwise: impl FnOnce() -> Trouble) -> Outcome {
        self.0.unwrap_or_else(|| Outcome::Deferred(otherwise()))
    }
}

/// The same outcome for each of several recipients.
pub fn all(recipients: &[To], outcome: &Outcome) -> Vec<(Address, Outcome)> {
    recipients.iter().map(|to| (to.address.clone(), outcome.clone())).collect()
}
