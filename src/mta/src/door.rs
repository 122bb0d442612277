//! The control door: the box's own mail, and a look into the queue.

use crate::house::House;
use crate::message::submitted;
use crate::message::{Message, with_crlf};
use crate::queue::entry::Recipient;
use crate::queue::{Outgoing, new_id};
use base::Role;
use std::sync::Arc;
use wire::mta::{Request, Send};
use wire::{Answer, Kind, Refusal, Serve, WireError};

/// Answers at `mta.sock`.
pub struct Door {
    pub house: Arc<House>,
}

impl Serve for Door {
    type Request = Request;

    async fn answer(&self, _peer: Role, request: Request, body: Vec<u8>) -> Result<Answer, Refusal> {
        match request {
            Request::Send(send) => {
                self.send(&send, &body).await?;
                send.answer(())
            }
            Request::Queue(queue) => queue.answer(self.house.queue.waiting()),
        }
    }
}

impl Door {
    /// Signs and queues a message of the box itself.
    async fn send(&self, send: &Send, body: &[u8]) -> Result<(), Refusal> {
        let invalid = |error: &dyn std::fmt::Display| Refusal::new(Kind::Invalid, error.to_string());
        let busy = |error: &dyn std::fmt::Display| Refusal::new(Kind::Busy, error.to_string());
        let away = |error: WireError| busy(&error);
        let mut message = Message::received(with_crlf(body)).map_err(|error| invalid(&error))?;
        let authors = submitted::authors(&message).map_err(|error| invalid(&error))?;
        if authors.iter().any(|author| *author != send.from) {
            return Err(invalid(&"the From field names another sender"));
        }
        let (id, now) = (new_id(), base::time::now_unix());
        submitted::complete(&mut message, send.from.domain(), &id, now);
        let signature = self.house.neighbours.sign(send.from.domain(), &message).await.map_err(away)?;
        message.prepend(&signature);
        let local = self.house.neighbours.is_local(&send.to).await.map_err(away)?;
        let recipients = vec![Recipient::new(send.to.clone(), local, now)];
        let outgoing = Outgoing { id, sender: Some(send.from.clone()), recipients, judged: false };
        self.house.queue.add(outgoing, Arc::new(message)).await.map_err(|error| busy(&error))
    }
}
