//! Delivery into this box's mailboxes, by LMTP over a Unix socket. A success means that the message is on disk there.

use super::client::{Conversation, Protocol, Transaction};
use super::{Outcome, Trouble, all};
use crate::channel::Channel;
use base::{Address, Domain, Paths, Role};
use tokio::net::UnixStream;

/// What is said of the mailbox in results.
const SERVER: &str = "the mailbox";

/// Delivers and says what became of each recipient. A mailbox that does not answer defers all.
pub async fn deliver(paths: &Paths, own: &Domain, it: &Transaction<'_>) -> Vec<(Address, Outcome)> {
    match converse(paths, own, it).await {
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

async fn converse(
    paths: &Paths,
    own: &Domain,
    it: &Transaction<'_>,
) -> Result<Vec<Outcome>, super::client::ClientError> {
    let stream = UnixStream::connect(paths.socket(Role::Mailbox, "lmtp")).await?;
    let mut conversation = Conversation::open(Channel::new(stream), Protocol::Lmtp, SERVER, own).await?;
    let outcomes = conversation.send(it).await?;
    conversation.quit().await;
    Ok(outcomes)
}
