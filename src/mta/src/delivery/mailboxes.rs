//! Delivery into this box's mailboxes, by LMTP over a Unix socket. A success means that the message is on disk there.
//! Conversations are used again: a burst of mail needs no greeting for each message.

use super::client::{ClientError, Conversation, Protocol, Stage, Transaction};
use super::{Outcome, Trouble, all};
use crate::channel::Channel;
use crate::limits;
use base::{Address, Domain, Paths, Role};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::net::UnixStream;

/// What is said of the mailbox in results.
const SERVER: &str = "the mailbox";

/// The way to the mailboxes.
pub struct Mailboxes {
    paths: Paths,
    own: Domain,
    /// Conversations between two messages, with since when they wait.
    idle: Mutex<Vec<(Instant, Conversation)>>,
}

impl std::fmt::Debug for Mailboxes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mailboxes")
    }
}

impl Mailboxes {
    pub fn new(paths: Paths, own: Domain) -> Self {
        Self { paths, own, idle: Mutex::default() }
    }

    /// Delivers and says what became of each recipient. A mailbox that does not answer defers all.
    pub async fn deliver(&self, it: &Transaction<'_>) -> Vec<(Address, Outcome)> {
        match self.send(it).await {
            Ok(outcomes) => it.recipients.iter().map(|to| to.address.clone()).zip(outcomes).collect(),
            Err(why) => {
                tracing::warn!(
                    "the mailbox service did not take a message: {why}. See: systemctl status mailstead-mailbox"
                );
                let words = "the mailbox service does not answer just now";
                all(it.recipients, &Outcome::Deferred(Trouble::new("4.3.2", words)))
            }
        }
    }

    async fn send(&self, it: &Transaction<'_>) -> Result<Vec<Outcome>, ClientError> {
        if let Some(mut kept) = self.take() {
            match kept.send(it).await {
                // It ended before it had the message, as when the mailbox starts anew.
                Err(_) if kept.stage() != Stage::Dotted => {}
                result => return self.done(kept, result),
            }
        }
        let stream = UnixStream::connect(self.paths.socket(Role::Mailbox, "lmtp")).await?;
        let mut opened = Conversation::open(Channel::new(stream), Protocol::Lmtp, SERVER, &self.own).await?;
        let result = opened.send(it).await;
        self.done(opened, result)
    }

    /// Gives up conversations that have waited too long, until the process ends.
    pub async fn end_old(self: Arc<Self>) {
        loop {
            tokio::time::sleep(limits::CONNECTION_IDLE).await;
            self.waiting().retain(|(since, _)| since.elapsed() < limits::CONNECTION_IDLE);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<(Instant, Conversation)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Conversation> {
        let newest = self.waiting().pop();
        newest.filter(|(since, _)| since.elapsed() < limits::CONNECTION_IDLE).map(|(_, conversation)| conversation)
    }

    fn done<T>(&self, it: Conversation, result: Result<T, ClientError>) -> Result<T, ClientError> {
        let mut idle = self.waiting();
        if it.is_alive() && idle.len() < limits::IDLE_CONNECTIONS {
            idle.push((Instant::now(), it));
        }
        result
    }
}
