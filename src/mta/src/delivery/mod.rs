//! Bringing mail to where it goes: other people's servers by SMTP, this box's mailboxes by LMTP.

pub mod client;
pub mod mailboxes;
pub mod names;
pub mod remote;
pub mod route;
pub mod tls;

use crate::proto::Reply;
use base::Address;

/// How one recipient's delivery ended this time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Delivered {
        words: String,
    },
    /// Worth another try.
    Deferred(Trouble),
    /// No use trying again.
    Failed(Trouble),
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
}

impl Trouble {
    pub fn new(status: &str, words: impl Into<String>) -> Self {
        Self { status: status.to_owned(), reply: None, server: None, words: words.into() }
    }
}

impl Outcome {
    /// What a server's reply means for a recipient.
    pub fn of(reply: &Reply, server: &str) -> Self {
        let words = format!("{server} said: {}", reply.words());
        if reply.is_success() {
            return Self::Delivered { words };
        }
        let trouble =
            Trouble { status: reply.status(), reply: Some(reply.clone()), server: Some(server.to_owned()), words };
        if reply.is_permanent() { Self::Failed(trouble) } else { Self::Deferred(trouble) }
    }

    pub fn words(&self) -> &str {
        match self {
            Self::Delivered { words } => words,
            Self::Deferred(trouble) | Self::Failed(trouble) => &trouble.words,
        }
    }
}

/// The same outcome for each of several recipients.
pub fn all(recipients: &[Address], outcome: &Outcome) -> Vec<(Address, Outcome)> {
    recipients.iter().map(|address| (address.clone(), outcome.clone())).collect()
}
