//! Telling the filter what readers moved into or out of Junk. In the background, one at a time, a bounded queue: never
//! in the way of reading mail. What is not learned is only logged.

use crate::{blocking, limits};
use base::Address;
use std::sync::Arc;
use store::{Account, FolderId, Uid};
use tokio::sync::mpsc;

/// A message to learn from, where it lies now.
pub struct Lesson {
    pub address: Address,
    pub account: Arc<Account>,
    pub folder: FolderId,
    pub uid: Uid,
    pub spam: bool,
}

#[derive(Clone)]
pub struct Learner {
    queue: mpsc::Sender<Lesson>,
}

impl Learner {
    /// Starts the background task.
    pub fn start(client: wire::Client) -> Self {
        let (queue, mut lessons) = mpsc::channel::<Lesson>(limits::LEARN_QUEUE);
        tokio::spawn(async move {
            while let Some(lesson) = lessons.recv().await {
                learn(&client, lesson).await;
            }
        });
        Self { queue }
    }

    /// Queues a lesson, or drops it when the queue is full.
    pub fn put(&self, lesson: Lesson) {
        if self.queue.try_send(lesson).is_err() {
            tracing::debug!("a message is not learned from, because too many wait already");
        }
    }
}

async fn learn(client: &wire::Client, lesson: Lesson) {
    let Lesson { address, account, folder, uid, spam } = lesson;
    let message = blocking::on(&account, move |account| {
        let image = account.image(folder)?;
        let small = image.by_uid(uid).is_some_and(|row| u64::from(row.size) <= limits::LEARN_MESSAGE);
        if small { account.read(folder, uid).map(Some) } else { Ok(None) }
    });
    match message.await {
        Ok(Some(bytes)) => {
            let request = wire::filter::Learn { account: address.clone(), spam };
            if let Err(why) = client.ask_with_body(&request, &bytes).await {
                tracing::warn!("the filter did not learn from a message of {address}: {why}");
            }
        }
        Ok(None) | Err(store::StoreError::NoMessage) => {}
        Err(why) => tracing::warn!("a message of {address} could not be read for learning: {why}"),
    }
}
