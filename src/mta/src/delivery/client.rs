//! The client's side of a conversation: SMTP (RFC 5321) or LMTP (RFC 2033), with PIPELINING where it is offered.

use super::Outcome;
use super::extensions::Offer;
use crate::channel::Channel;
use crate::limits;
use crate::proto::delivery_status::{Notify, ReportWish};
use crate::proto::dot::DotWriter;
use crate::proto::line::Line;
use crate::proto::reply::{Reply, ReplyReader};
use crate::queue::entry::{Needs, Recipient};
use base::{Address, Domain};
use std::io;
use std::time::Duration;
use tokio::time::timeout;

/// Which of the two is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Smtp,
    /// One reply per recipient after the message.
    Lmtp,
}

/// What is sent in one transaction.
#[derive(Debug, Clone, Copy)]
pub struct Transaction<'a> {
    pub sender: Option<&'a Address>,
    pub recipients: &'a [To],
    /// The message, in pieces that follow each other.
    pub pieces: [&'a [u8]; 2],
    pub eight_bit: bool,
    pub needs: Needs,
    pub wish: &'a ReportWish,
}

/// A recipient with its sender's wishes (RFC 3461).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct To {
    pub address: Address,
    pub notify: Notify,
    pub original: Option<String>,
}

impl To {
    #[cfg(test)]
    pub fn new(address: Address) -> Self {
        Self { address, notify: Notify::default(), original: None }
    }

    pub fn of(recipient: &Recipient) -> Self {
        Self { address: recipient.address.clone(), notify: recipient.notify, original: recipient.original.clone() }
    }
}

/// Why a conversation ended before it had results.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it closed the connection")]
    Closed,
    #[error("its reply is not SMTP")]
    Garbled,
    /// A reply that ends the conversation: to the greeting or EHLO.
    #[error("it said: {}", .0.words())]
    Refused(Reply),
}

/// How far a transaction got: what a connection that breaks means depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// No reply to MAIL has come: the server knows nothing of the message.
    Before,
    /// MAIL was answered; nothing is delivered.
    Envelope,
    /// The final dot went out: the message may have arrived.
    Dotted,
}

/// A conversation under way.
pub struct Conversation {
    channel: Channel,
    protocol: Protocol,
    /// The server's name, for the words in results.
    server: String,
    patience: Duration,
    offer: Offer,
    stage: Stage,
    /// Whether another transaction may follow.
    alive: bool,
    /// Whether RSET must come before it.
    unclean: bool,
}

impl Conversation {
    /// Waits for the greeting and introduces us.
    pub async fn open(channel: Channel, protocol: Protocol, server: &str, own: &Domain) -> Result<Self, ClientError> {
        let patience = match protocol {
            Protocol::Smtp => limits::REPLY_WITHIN,
            Protocol::Lmtp => limits::LMTP_REPLY_WITHIN,
        };
        let mut it = Self::new(channel, protocol, server, patience);
        let greeting = it.reply(patience).await?;
        if greeting.code != 220 {
            return Err(ClientError::Refused(greeting));
        }
        it.introduce(own).await?;
        Ok(it)
    }

    fn new(channel: Channel, protocol: Protocol, server: &str, patience: Duration) -> Self {
        let (server, offer) = (server.to_owned(), Offer::default());
        Self { channel, protocol, server, patience, offer, stage: Stage::Before, alive: true, unclean: false }
    }

    pub fn offer(&self) -> Offer {
        self.offer
    }

    pub fn server(&self) -> &str {
        &self.server
    }

    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Whether another transaction may follow.
    pub fn is_alive(&self) -> bool {
        self.alive
    }

    /// Logs in (RFC 4954), with what the server offers of PLAIN and LOGIN. Only ever called inside verified TLS.
    pub async fn log_in(&mut self, login: &str, password: &base::Secret) -> Result<(), ClientError> {
        use base64::prelude::{BASE64_STANDARD, Engine};
        let reply = if self.offer.auth_plain || !self.offer.auth_login {
            let response = BASE64_STANDARD.encode(format!("\0{login}\0{}", password.expose()));
            self.ask(&format!("AUTH PLAIN {response}")).await?
        } else {
            let mut reply = self.ask("AUTH LOGIN").await?;
            for answer in [login, password.expose()] {
                if reply.code == 334 {
                    reply = self.ask(&BASE64_STANDARD.encode(answer)).await?;
                }
            }
            reply
        };
        if reply.code == 235 { Ok(()) } else { Err(ClientError::Refused(reply)) }
    }

    async fn introduce(&mut self, own: &Domain) -> Result<(), ClientError> {
        let verb = if self.protocol == Protocol::Lmtp { "LHLO" } else { "EHLO" };
        let reply = self.ask(&format!("{verb} {own}")).await?;
        if reply.code == 250 {
            self.offer = Offer::read(&reply);
            return Ok(());
        }
        self.offer = Offer::default();
        if self.protocol == Protocol::Smtp && reply.is_permanent() {
            // RFC 5321 §3.2: an old server that does not know EHLO.
            let reply = self.ask(&format!("HELO {own}")).await?;
            return if reply.code == 250 { Ok(()) } else { Err(ClientError::Refused(reply)) };
        }
        Err(ClientError::Refused(reply))
    }

    /// Asks for TLS; gives the channel for the handshake, or `None` when the server says no after all.
    pub async fn starttls(mut self) -> Result<Channel, ClientError> {
        let reply = self.ask("STARTTLS").await?;
        if reply.code == 220 { Ok(self.channel) } else { Err(ClientError::Refused(reply)) }
    }

    /// Takes the conversation up again inside TLS.
    pub async fn resume(channel: Channel, server: &str, own: &Domain) -> Result<Self, ClientError> {
        let mut it = Self::new(channel, Protocol::Smtp, server, limits::REPLY_WITHIN);
        it.introduce(own).await?;
        Ok(it)
    }

    /// Sends one message and says what became of each recipient, in their order. After an error, [`Self::stage`] tells
    /// what it means.
    pub async fn send(&mut self, it: &Transaction<'_>) -> Result<Vec<Outcome>, ClientError> {
        self.stage = Stage::Before;
        let result = match self.offer.unfit(it, self.protocol, &self.server) {
            Some(trouble) => Ok(vec![Outcome::Failed(trouble); it.recipients.len()]),
            None => self.transact(it).await,
        };
        self.alive &= result.is_ok();
        result
    }

    async fn transact(&mut self, it: &Transaction<'_>) -> Result<Vec<Outcome>, ClientError> {
        if self.unclean {
            let reply = self.ask("RSET").await?;
            if !reply.is_success() {
                return Err(ClientError::Refused(reply));
            }
        }
        self.unclean = true;
        let (mail, replies) = self.envelope(it).await?;
        if !mail.is_success() {
            if self.says_data_at_once() {
                self.not_after_all().await?;
            }
            return Ok(vec![Outcome::of(&mail, &self.server); it.recipients.len()]);
        }
        let mut outcomes: Vec<_> = replies.iter().map(|reply| Outcome::of(reply, &self.server)).collect();
        if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Delivered(_))) {
            let go = if self.says_data_at_once() { self.reply(self.patience).await } else { self.ask("DATA").await };
            self.transfer(it, not_closing(go?)?, &mut outcomes).await?;
        } else if self.says_data_at_once() {
            self.not_after_all().await?;
        }
        Ok(outcomes)
    }

    /// Whether DATA goes out with the recipients (RFC 2920 §3.1). The box's own mailbox answers it with 354 only where it took
    /// one; other servers are asked when that is known.
    fn says_data_at_once(&self) -> bool {
        self.protocol == Protocol::Lmtp && self.offer.pipelining
    }

    /// The answer to a DATA for which there is nobody: a refusal, or the conversation is out of step.
    async fn not_after_all(&mut self) -> Result<(), ClientError> {
        let reply = self.reply(self.patience).await?;
        if reply.code == 354 { Err(ClientError::Garbled) } else { Ok(()) }
    }

    /// MAIL and RCPT. A 421 ends the conversation (RFC 5321 §3.8), so it is no recipient's answer.
    async fn envelope(&mut self, it: &Transaction<'_>) -> Result<(Reply, Vec<Reply>), ClientError> {
        let (offer, mut replies) = (self.offer, Vec::with_capacity(it.recipients.len()));
        let commands = it.recipients.iter().map(|to| offer.rcpt_command(to));
        self.say(&offer.mail_command(it));
        if offer.pipelining {
            commands.clone().for_each(|command| self.say(&command));
        }
        if self.says_data_at_once() {
            self.say("DATA");
        }
        self.flush().await?;
        let mail = not_closing(self.reply(self.patience).await?)?;
        self.stage = Stage::Envelope;
        for command in commands {
            let reply = match (offer.pipelining, mail.is_success()) {
                (true, _) => self.reply(self.patience).await?,
                (false, true) => self.ask(&command).await?,
                (false, false) => break,
            };
            replies.push(not_closing(reply)?);
        }
        Ok((mail, replies))
    }

    /// The message, for the recipients that were taken, after DATA was answered; replaces their outcomes by the final ones.
    async fn transfer(&mut self, it: &Transaction<'_>, go: Reply, outcomes: &mut [Outcome]) -> Result<(), ClientError> {
        let taken = outcomes.iter_mut().filter(|outcome| matches!(outcome, Outcome::Delivered(_)));
        if go.code != 354 {
            let refused = match Outcome::of(&go, &self.server) {
                // A success where 354 belongs makes no sense and proves no delivery.
                Outcome::Delivered(_) => return Err(ClientError::Garbled),
                refused => refused,
            };
            taken.for_each(|outcome| *outcome = refused.clone());
            return Ok(());
        }
        if let Err(error) = self.pour(it).await {
            // A server that has had enough may have said why before it closed.
            let reply = self.reply(limits::LINGER).await.map_err(|_| error)?;
            let refused = match Outcome::of(&reply, &self.server) {
                Outcome::Delivered(_) => return Err(ClientError::Garbled),
                refused => refused,
            };
            self.alive = false;
            taken.for_each(|outcome| *outcome = refused.clone());
            return Ok(());
        }
        let patience = if self.protocol == Protocol::Lmtp { self.patience } else { limits::FINAL_REPLY_WITHIN };
        let mut last = None;
        for outcome in taken {
            let reply = match (self.protocol, last.take()) {
                (Protocol::Smtp, Some(reply)) => reply,
                _ => self.reply(patience).await?,
            };
            self.alive &= reply.code != 421;
            *outcome = Outcome::of(&reply, &self.server);
            if let Outcome::Delivered(delivery) = outcome {
                delivery.reports = self.offer.dsn;
            }
            last = Some(reply);
        }
        self.unclean = false;
        Ok(())
    }

    /// The message and its final dot.
    async fn pour(&mut self, it: &Transaction<'_>) -> Result<(), ClientError> {
        let mut writer = DotWriter::default();
        for chunk in it.pieces.iter().flat_map(|piece| piece.chunks(64 << 10)) {
            writer.feed(chunk, self.channel.output());
            self.channel.flush_if_large(limits::DATA_BLOCK_WITHIN).await?;
        }
        writer.finish(self.channel.output());
        self.stage = Stage::Dotted;
        self.flush().await
    }

    /// Says goodbye; what comes back no longer matters.
    pub async fn quit(mut self) {
        let goodbye = async {
            let _ = self.ask("QUIT").await;
        };
        let _ = tokio::time::timeout(limits::LINGER, goodbye).await;
    }

    fn say(&mut self, command: &str) {
        self.channel.output().extend_from_slice(command.as_bytes());
        self.channel.output().extend_from_slice(b"\r\n");
    }

    async fn flush(&mut self) -> Result<(), ClientError> {
        Ok(self.channel.flush(limits::DATA_BLOCK_WITHIN).await?)
    }

    async fn ask(&mut self, command: &str) -> Result<Reply, ClientError> {
        self.say(command);
        self.flush().await?;
        self.reply(self.patience).await
    }

    /// The whole reply, however many lines it has: a server that says one every few minutes has no more time than others.
    async fn reply(&mut self, within: Duration) -> Result<Reply, ClientError> {
        let read = async {
            let mut reader = ReplyReader::default();
            loop {
                let line = match self.channel.line(limits::REPLY_LINE, within).await? {
                    Some(Line::Whole(line)) => line,
                    Some(_) => return Err(ClientError::Garbled),
                    None => return Err(ClientError::Closed),
                };
                if let Some(reply) = reader.feed(&line).map_err(|_| ClientError::Garbled)? {
                    return Ok(reply);
                }
            }
        };
        timeout(within, read).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}

/// A 421 in place of an answer: the server closes.
fn not_closing(reply: Reply) -> Result<Reply, ClientError> {
    if reply.code == 421 { Err(ClientError::Refused(reply)) } else { Ok(reply) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn a_reply_that_comes_line_by_line_has_no_more_time_than_one_line() {
        let (mut server, client) = tokio::io::duplex(1_024);
        let patience = Duration::from_millis(300);
        let mut it = Conversation::new(Channel::new(client), Protocol::Smtp, "mx.example.net", patience);
        let tarpit = tokio::spawn(async move {
            while server.write_all(b"220-not yet\r\n").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let error = timeout(Duration::from_secs(5), it.reply(patience)).await.expect("it waits on and on").unwrap_err();
        assert!(matches!(&error, ClientError::Io(it) if it.kind() == io::ErrorKind::TimedOut), "{error}");
        drop(it);
        tarpit.await.unwrap();
    }
}
