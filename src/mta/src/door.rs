//! The control door: the box's own mail, and a look into the queue.

use crate::delivery::names::Names;
use crate::delivery::remote::Remote;
use crate::forward;
use crate::history;
use crate::house::House;
use crate::limits;
use crate::list;
use crate::message::trace::{From, Hop};
use crate::message::{Message, submitted, with_crlf};
use crate::queue::{Outgoing, new_id};
use crate::snapshot;
use base::{Address, Role};
use std::sync::Arc;
use std::time::Instant;
use wire::mta::{Automatic, ChangeQueue, HeldPost, QueueChange, Request, Send, SendAs, Step, Way, What};
use wire::{Answer, Kind, Refusal, Serve, WireError};

/// Answers at `mta.sock`.
pub struct Door<N> {
    pub house: Arc<House>,
    pub remote: Arc<Remote<N>>,
}

impl<N: Names> Serve for Door<N> {
    type Request = Request;

    async fn answer(&self, _peer: Role, request: Request, body: Vec<u8>) -> Result<Answer, Refusal> {
        match request {
            Request::Send(send) => {
                self.house.send(&send, &body).await?;
                send.answer(())
            }
            Request::SendAs(send) => {
                self.send_as(&send, &body).await?;
                send.answer(())
            }
            Request::TestRelay(test) => {
                let tried = tokio::time::timeout(limits::RELAY_TRIED_WITHIN, self.remote.try_relay(&test.relay)).await;
                let tried = tried.unwrap_or_else(|_| Err(format!("the relay {} is too slow", test.relay.host)));
                tried.map_err(|why| Refusal::new(Kind::Invalid, why))?;
                test.answer(())
            }
            Request::ExpectRoundTrip(ask) => {
                self.house.round_trips.expect(ask.token.clone(), Instant::now());
                ask.answer(())
            }
            Request::RoundTrip(ask) => ask.answer(self.house.round_trips.outcome(&ask.token, Instant::now())),
            Request::Queue(ask) => ask.answer(self.house.queue.waiting().await.map_err(Refusal::internal)?),
            Request::HowFull(ask) => ask.answer(self.house.queue.size().await.map_err(Refusal::internal)?),
            Request::QueueShow(ask) => {
                let (queued, message) =
                    self.house.queue.show(&ask.id).await.map_err(Refusal::internal)?.ok_or_else(|| {
                        let words =
                            format!("no message {} waits; see: mailstead queue, and mailstead trace {0}", ask.id);
                        Refusal::new(Kind::NotFound, words)
                    })?;
                Ok(ask.answer(queued)?.with_body(message))
            }
            Request::HeldPosts(ask) => ask.answer(self.held_posts().await?),
            Request::DecidePost(ask) => ask.answer(self.decide_post(&ask.id, ask.approve).await?),
            Request::LeaveList(ask) => {
                let left =
                    list::leave_by_token(&self.house, &ask.list, &ask.token).await.map_err(|error| busy(&error))?;
                let words = "this way out of the list is no good any more";
                ask.answer(left.ok_or_else(|| Refusal::new(Kind::NotFound, words))?)
            }
            Request::ChangeQueue(ask) => ask.answer(self.change_queue(&ask).await?),
            Request::TakeSnapshot(ask) => {
                let folder = self.house.paths.queue();
                let copied = tokio::task::spawn_blocking(move || snapshot::take(&folder)).await;
                copied.map_err(Refusal::internal)?.map_err(Refusal::internal)?;
                ask.answer(())
            }
            Request::Sending(ask) => match &self.house.known {
                Some(known) => ask.answer(known.sending(self.house.now()).map_err(Refusal::internal)?),
                None => ask.answer(Vec::new()),
            },
            Request::LiftBrake(ask) => {
                let known = self.house.known.as_ref().ok_or_else(|| busy(&"what was sent is not known just now"))?;
                let braked = known.lift(&ask.account.account(), self.house.now()).map_err(Refusal::internal)?;
                tracing::info!("the owner lets {} send again", ask.account);
                ask.answer(braked)
            }
            Request::Volume(ask) => {
                let history = self.house.history.clone();
                let volume = tokio::task::spawn_blocking(move || history.volume()).await;
                ask.answer(volume.map_err(Refusal::internal)?.map_err(Refusal::internal)?)
            }
            Request::Trace(ask) => {
                let (history, question) = (self.house.history.clone(), ask.clone());
                let found = tokio::task::spawn_blocking(move || history.search(&question)).await;
                let found = found.map_err(Refusal::internal)?.map_err(Refusal::internal)?;
                ask.answer(found)
            }
        }
    }
}

impl<N: Names> Door<N> {
    async fn held_posts(&self) -> Result<Vec<HeldPost>, Refusal> {
        let house = Arc::clone(&self.house);
        let posts = tokio::task::spawn_blocking(move || house.lists.held.all()).await;
        let posts = posts.map_err(Refusal::internal)?.map_err(Refusal::internal)?;
        let shown = |post: list::Post| HeldPost {
            id: post.id,
            list: post.list,
            from: post.from,
            subject: post.subject,
            author: post.author,
            at: post.at,
        };
        Ok(posts.into_iter().map(shown).collect())
    }

    async fn decide_post(&self, id: &str, approve: bool) -> Result<(), Refusal> {
        let done = match approve {
            true => list::approve(&self.house, id).await,
            false => list::reject(&self.house, id).await,
        };
        done.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Refusal::new(Kind::NotFound, format!("no post {id} waits; see: mailstead list pending"))
            }
            _ => busy(&error),
        })
    }

    async fn change_queue(&self, ask: &ChangeQueue) -> Result<Vec<String>, Refusal> {
        if ask.change == QueueChange::Retry {
            self.remote.wake();
        }
        let changed = self.house.queue.change(&ask.which, ask.change).await.map_err(Refusal::internal)?;
        let (what, words) = match ask.change {
            QueueChange::Retry => (What::Noted, "the owner wants it tried now"),
            QueueChange::Hold => (What::Held, "the owner keeps it back"),
            QueueChange::Release => (What::Released, "the owner lets it go"),
            QueueChange::Remove => (What::Removed, "the owner took it out of the queue"),
        };
        for id in &changed {
            tracing::info!("{id}: {words}");
            self.house.history.step(id, None, Step::new(what, words));
        }
        Ok(changed)
    }

    /// Queues what an account's script sends, as much as the account itself might.
    async fn send_as(&self, send: &SendAs, body: &[u8]) -> Result<(), Refusal> {
        if send.to.is_empty() || send.to.len() > limits::RECIPIENTS {
            return Err(Refusal::new(Kind::Invalid, format!("the message has {} recipients", send.to.len())));
        }
        if !self.house.automatic.take(&send.account, send.to.len(), std::time::Instant::now()) {
            return Err(Refusal::new(
                Kind::Busy,
                format!("{} has redirected and answered too much for now", send.account),
            ));
        }
        let (id, now) = (new_id(), base::time::now_unix());
        let mut message = Message::received(with_crlf(body)).map_err(|error| invalid(&error))?;
        let sender = match send.what {
            Automatic::Redirect { is_report } => {
                let sender = self.redirected_sender(send, is_report, &message).await?;
                self.trace(&mut message, &id, now);
                let seal = self.house.neighbours.seal(send.account.domain(), &message, &[]).await.map_err(away)?;
                message.prepend(&seal);
                sender
            }
            Automatic::Answer => {
                self.sign_answer(&send.account, &mut message, &id, now).await?;
                None
            }
        };
        let mut recipients = Vec::with_capacity(send.to.len());
        for to in &send.to {
            recipients.extend(self.house.neighbours.recipients(to, now).await.map_err(away)?);
        }
        let outgoing = Outgoing { account: Some(send.account.clone()), ..Outgoing::new(id, sender, recipients) };
        self.house.queue.add(outgoing, Arc::new(message)).await.map_err(|error| busy(&error))
    }

    /// Whose name a redirected message bears on its envelope: its sender's, rewritten as an alias would. Where the mailbox
    /// did not write down who that was, the account's.
    async fn redirected_sender(
        &self,
        send: &SendAs,
        is_report: bool,
        message: &Message,
    ) -> Result<Option<Address>, Refusal> {
        let path = message.fields().find(|field| field.is("Return-Path")).map(|field| field.value());
        match path.as_deref() {
            _ if is_report => Ok(None),
            Some("<>") => Ok(None),
            Some(path) => match Address::parse(path.trim_matches(['<', '>'])) {
                Ok(real) => self.house.neighbours.sender_of_forwarded(Some(&real), &send.account).await.map_err(away),
                Err(_) => Ok(Some(send.account.clone())),
            },
            None => Ok(Some(send.account.clone())),
        }
    }

    /// A redirected message keeps its author and signatures. What the filter said of it is nobody else's business.
    fn trace(&self, message: &mut Message, id: &str, at: u64) {
        forward::clean(message);
        let hop =
            Hop { by: &self.house.hostname, from: From::User, protocol: "LMTP", tls: None, id, recipient: None, at };
        message.prepend(&hop.field());
    }

    async fn sign_answer(&self, account: &Address, message: &mut Message, id: &str, now: u64) -> Result<(), Refusal> {
        let authors = submitted::authors(message).map_err(|error| invalid(&error))?;
        for author in &authors {
            if !self.house.neighbours.may_send(account, author).await.map_err(away)? {
                return Err(invalid(&format!("{account} may not send as {author}")));
            }
        }
        let domain = authors.first().unwrap_or(account).domain();
        submitted::complete(message, domain, id, now);
        let signature = self.house.neighbours.sign(domain, message).await.map_err(away)?;
        message.prepend(&signature);
        Ok(())
    }
}

impl House {
    /// Signs and queues a message of the box itself; durable when this returns.
    pub async fn send(&self, send: &Send, body: &[u8]) -> Result<(), Refusal> {
        let mut message = Message::received(with_crlf(body)).map_err(|error| invalid(&error))?;
        let authors = submitted::authors(&message).map_err(|error| invalid(&error))?;
        if authors.iter().any(|author| *author != send.from) {
            return Err(invalid(&"the From field names another sender"));
        }
        let (id, now) = (new_id(), base::time::now_unix());
        submitted::complete(&mut message, send.from.domain(), &id, now);
        let signature = self.neighbours.sign(send.from.domain(), &message).await.map_err(away)?;
        message.prepend(&signature);
        let recipients = self.neighbours.recipients(&send.to, now).await.map_err(away)?;
        let outgoing = Outgoing::new(id, Some(send.from.clone()), recipients);
        self.history.arrived(history::arrival(&message, &outgoing, Way::Own));
        self.queue.add(outgoing, Arc::new(message)).await.map_err(|error| busy(&error))
    }
}

fn invalid(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(Kind::Invalid, error.to_string())
}

fn busy(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(Kind::Busy, error.to_string())
}

fn away(error: WireError) -> Refusal {
    busy(&error)
}
