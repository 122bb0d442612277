//! The client's side of a conversation: SMTP (RFC 5321) or LMTP (RFC 2033), with PIPELINING where it is offered.

use super::Outcome;
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

/// The extensions that a server offers and that matter here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offer {
    pub pipelining: bool,
    pub size: bool,
    pub eight_bit: bool,
    pub starttls: bool,
}

/// A conversation under way.
pub struct Conversation {
    channel: Channel,
    protocol: Protocol,
    /// The server's name, for the words in results.
    server: String,
    patience: Duration,
    offer: Offer,
}

impl Conversation {
    /// Waits for the greeting and introduces us.
    pub async fn open(channel: Channel, protocol: Protocol, server: &str, own: &Domain) -> Result<Self, ClientError> {
        let patience = match protocol {
            Protocol::Smtp => limits::REPLY_WITHIN,
            Protocol::Lmtp => limits::LMTP_REPLY_WITHIN,
        };
        let mut it = Self { channel, protocol, server: server.to_owned(), patience, offer: Offer::default() };
        let greeting = it.reply(patience).await?;
        if greeting.code != 220 {
            return Err(ClientError::Refused(greeting));
        }
        it.introduce(own).await?;
        Ok(it)
    }

    pub fn offer(&self) -> Offer {
        self.offer
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
        let patience = limits::REPLY_WITHIN;
        let mut it =
            Self { channel, protocol: Protocol::Smtp, server: server.to_owned(), patience, offer: Offer::default() };
        it.introduce(own).await?;
        Ok(it)
    }

    /// Sends one message and says what became of each recipient, in their order.
    pub async fn send(&mut self, it: &Transaction<'_>) -> Result<Vec<Outcome>, ClientError> {
        let mail = self.mail_command(it);
        let commands = || it.recipients.iter().map(|to| format!("RCPT TO:<{}>", to.address));
        let mut replies = Vec::new();
        let mail = if self.offer.pipelining {
            self.say(&mail);
            commands().for_each(|command| self.say(&command));
            self.flush().await?;
            let mail = self.reply(self.patience).await?;
            for _ in it.recipients {
                replies.push(self.reply(self.patience).await?);
            }
            mail
        } else {
            let mail = self.ask(&mail).await?;
            if mail.is_success() {
                for command in commands() {
                    replies.push(self.ask(&command).await?);
                }
            }
            mail
        };
        if !mail.is_success() {
            return Ok(vec![Outcome::of(&mail, &self.server); it.recipients.len()]);
        }
        let mut outcomes: Vec<_> = replies.iter().map(|reply| Outcome::of(reply, &self.server)).collect();
        let taken = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Delivered(_))).count();
        if taken > 0 {
            self.transfer(it, &mut outcomes).await?;
        }
        Ok(outcomes)
    }

    fn mail_command(&self, it: &Transaction<'_>) -> String {
        let sender = it.sender.map(ToString::to_string).unwrap_or_default();
        let size: usize = it.pieces.iter().map(|piece| piece.len()).sum();
        let size = if self.offer.size { format!(" SIZE={size}") } else { String::new() };
        // A server without 8BITMIME gets eight-bit text as it is: all that are left in use pass it through, and a
        // conversion would break every signature.
        let body = if self.offer.eight_bit && it.eight_bit { " BODY=8BITMIME" } else { "" };
        format!("MAIL FROM:<{sender}>{size}{body}")
    }

    /// DATA and the message, for the recipients that were taken; replaces their outcomes by the final ones.
    async fn transfer(&mut self, it: &Transaction<'_>, outcomes: &mut [Outcome]) -> Result<(), ClientError> {
        let taken = outcomes.iter_mut().filter(|outcome| matches!(outcome, Outcome::Delivered(_)));
        let go = self.ask("DATA").await?;
        if go.code != 354 {
            let refused = match Outcome::of(&go, &self.server) {
                // A success where 354 belongs makes no sense and proves no delivery.
                Outcome::Delivered(_) => return Err(ClientError::Garbled),
                refused => refused,
            };
            taken.for_each(|outcome| *outcome = refused.clone());
            return Ok(());
        }
        let mut writer = DotWriter::default();
        for chunk in it.pieces.iter().flat_map(|piece| piece.chunks(64 << 10)) {
            writer.feed(chunk, self.channel.output());
            self.channel.flush_if_large(limits::DATA_BLOCK_WITHIN).await?;
        }
        writer.finish(self.channel.output());
        self.flush().await?;
        let patience = if self.protocol == Protocol::Lmtp { self.patience } else { limits::FINAL_REPLY_WITHIN };
        let mut last = None;
        for outcome in taken {
            let reply = match (self.protocol, last.take()) {
                (Protocol::Smtp, Some(reply)) => reply,
                _ => self.reply(patience).await?,
            };
            *outcome = Outcome::of(&reply, &self.server);
            last = Some(reply);
        }
        Ok(())
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

    async fn reply(&mut self, within: Duration) -> Result<Reply, ClientError> {
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
    }
}

impl Offer {
    fn read(reply: &Reply) -> Self {
        let has = |keyword: &str| {
            let first = |line: &String| line.split(' ').next().is_some_and(|word| word.eq_ignore_ascii_case(keyword));
            reply.lines.iter().skip(1).any(first)
        };
        Self { pipelining: has("PIPELINING"), size: has("SIZE"), eight_bit: has("8BITMIME"), starttls: has("STARTTLS") }
    }
}
