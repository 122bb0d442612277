//! One LMTP conversation. A recipient gets its 250 when the message is on the disk in its mailbox, and not before.

use super::deliver::{Context, Incoming};
use super::message::DataReader;
use super::proto::{self, Command};
use crate::limits;
use crate::quota::Over;
use base::Address;
use memchr::memchr_iter;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::time::timeout;
use wire::directory::Resolution;

/// Octets read at once: a small message in one piece.
const READ_AT_ONCE: usize = 32 << 10;

pub struct Session<R, W> {
    reader: BufReader<R>,
    writer: W,
    /// Replies that go out together before the next wait (RFC 2920 §3.2).
    replies: Vec<u8>,
    context: Arc<Context>,
    greeted: bool,
    /// The reverse-path, and the size that was announced.
    sender: Option<(String, Option<usize>)>,
    /// Each accepted RCPT with the accounts it leads to.
    recipients: Vec<(Address, Vec<Address>)>,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Session<R, W> {
    pub fn new(reader: R, writer: W, context: Arc<Context>) -> Self {
        let reader = BufReader::with_capacity(READ_AT_ONCE, reader);
        Self { reader, writer, replies: Vec::new(), context, greeted: false, sender: None, recipients: Vec::new() }
    }

    pub async fn run(mut self) -> io::Result<()> {
        let ended = self.converse().await;
        // The last words, where somebody is still there to hear them.
        let _ = self.flush().await;
        ended
    }

    async fn converse(&mut self) -> io::Result<()> {
        let greeting = format!("220 {} LMTP Mailstead", self.context.hostname);
        self.reply(&greeting).await?;
        loop {
            let line = self.line(limits::LMTP_LINE).await?;
            let Some(line) = line.strip_suffix(b"\r\n").or_else(|| line.strip_suffix(b"\n")) else {
                if line.is_empty() {
                    return Ok(());
                }
                return self.reply("500 5.5.2 the line is too long").await;
            };
            match proto::parse(line) {
                Ok(Command::Quit) => return self.reply("221 2.0.0 bye").await,
                Ok(command) => self.execute(command).await?,
                Err(refusal) => self.reply(&refusal).await?,
            }
        }
    }

    async fn execute(&mut self, command: Command) -> io::Result<()> {
        match command {
            Command::Lhlo => {
                self.reset();
                self.greeted = true;
                let hello = format!(
                    "250-{}\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE {}",
                    self.context.hostname,
                    limits::MESSAGE
                );
                self.reply(&hello).await
            }
            Command::Mail { .. } if !self.greeted => self.reply("503 5.5.1 begin with LHLO").await,
            Command::Mail { .. } if self.sender.is_some() => self.reply("503 5.5.1 there is a sender already").await,
            Command::Mail { size: Some(size), .. } if size > limits::MESSAGE => {
                self.reply("552 5.3.4 the message is too large").await
            }
            Command::Mail { sender, size } => {
                self.sender = Some((sender, size));
                self.reply("250 2.1.0 sender taken").await
            }
            Command::Rcpt(_) if self.sender.is_none() => self.reply("503 5.5.1 MAIL comes first").await,
            Command::Rcpt(_) if self.recipients.len() >= limits::LMTP_RECIPIENTS => {
                self.reply("452 4.5.3 too many recipients").await
            }
            Command::Rcpt(address) => self.recipient(address).await,
            Command::Data if self.recipients.is_empty() => self.reply("503 5.5.1 there are no recipients").await,
            Command::Data => self.data().await,
            Command::Rset => {
                self.reset();
                self.reply("250 2.0.0 forgotten").await
            }
            Command::Noop => self.reply("250 2.0.0 done").await,
            Command::Vrfy => self.reply("252 2.5.0 try RCPT").await,
            Command::Quit => Ok(()),
        }
    }

    async fn recipient(&mut self, address: Address) -> io::Result<()> {
        match self.context.recipients.resolve(&address).await {
            Ok(Resolution::Accounts(accounts)) if !accounts.is_empty() => {
                if let Some(over) = self.all_full(&accounts).await {
                    return self.reply(&format!("452 4.2.2 {}", over.words(&address))).await;
                }
                self.recipients.push((address, accounts));
                self.reply("250 2.1.5 recipient taken").await
            }
            Ok(_) => self.reply(&format!("550 5.1.1 there is no mailbox {address}")).await,
            Err(why) => {
                tracing::error!("a recipient could not be looked up: {why}");
                self.reply("451 4.3.0 recipients cannot be looked up just now").await
            }
        }
    }

    /// What keeps even small mail from all of the accounts; the owner may make room, so the sender is to try again.
    async fn all_full(&self, accounts: &[Address]) -> Option<Over> {
        let mut reason = None;
        for account in accounts {
            reason = Some(self.context.over(account, limits::SMALL_MAIL).await?);
        }
        reason
    }

    async fn data(&mut self) -> io::Result<()> {
        let (sender, size) = self.sender.take().unwrap_or_default();
        let most = size.map_or(limits::MESSAGE, |size| (size + limits::LMTP_SIZE_SLACK).min(limits::MESSAGE));
        // All of it at once and before anything is read, so that sessions never wait for each other's shares.
        let kib = u32::try_from(3 * most.div_ceil(1024)).unwrap_or(u32::MAX);
        let Ok(Ok(share)) =
            timeout(limits::LMTP_WITHIN, Arc::clone(&self.context.memory).acquire_many_owned(kib)).await
        else {
            self.recipients.clear();
            return self.reply("451 4.3.0 too much mail is on its way just now").await;
        };
        let done = self.take_message(sender, most).await;
        drop(share);
        done
    }

    async fn take_message(&mut self, sender: String, most: usize) -> io::Result<()> {
        self.reply("354 end with CRLF.CRLF").await?;
        let mut reader = DataReader::default();
        while !self.take_buffered(&mut reader, most) {
            let line = self.line(most).await?;
            if line.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if reader.take(&line, most) {
                break;
            }
        }
        let recipients = std::mem::take(&mut self.recipients);
        let Some(message) = reader.finish() else {
            for _ in recipients {
                self.reply("552 5.3.4 the message is too large").await?;
            }
            return Ok(());
        };
        let message = Arc::new(message);
        // An account that several recipients lead to gets one copy.
        let mut done: HashMap<Address, String> = HashMap::new();
        for (recipient, accounts) in recipients {
            let mut outcome = String::new();
            for account in accounts {
                if !done.contains_key(&account) {
                    let (recipient, sender, message) = (recipient.clone(), sender.clone(), Arc::clone(&message));
                    let incoming = Incoming { account: account.clone(), recipient, sender, message };
                    let reply = self.context.deliver(incoming).await;
                    done.insert(account.clone(), reply);
                }
                // The worst of them is the recipient's; replies compare by their first digit.
                let reply = done.get(&account).cloned().unwrap_or_default();
                if outcome.is_empty() || !reply.starts_with('2') {
                    outcome = reply;
                }
            }
            self.reply(&outcome).await?;
        }
        Ok(())
    }

    /// Takes the whole lines that are here already, without a copy and a timer for each. Tells whether the message ended.
    fn take_buffered(&mut self, reader: &mut DataReader, most: usize) -> bool {
        let (mut taken, mut ended) = (0, false);
        let buffered = self.reader.buffer();
        for end in memchr_iter(b'\n', buffered).map(|at| at + 1) {
            let line = buffered.get(taken..end).unwrap_or_default();
            taken = end;
            if reader.take(line, most) {
                ended = true;
                break;
            }
        }
        self.reader.consume(taken);
        ended
    }

    fn reset(&mut self) {
        self.sender = None;
        self.recipients.clear();
    }

    /// A line with its end; cut off at `longest`, empty at the end of input.
    async fn line(&mut self, longest: usize) -> io::Result<Vec<u8>> {
        if !self.reader.buffer().contains(&b'\n') {
            self.flush().await?;
        }
        let mut line = Vec::new();
        let mut bounded = (&mut self.reader).take(longest as u64);
        timeout(limits::LMTP_WITHIN, bounded.read_until(b'\n', &mut line)).await??;
        Ok(line)
    }

    /// Says something with the next flush, which comes before the next wait for the client.
    async fn reply(&mut self, text: &str) -> io::Result<()> {
        self.replies.extend_from_slice(text.as_bytes());
        self.replies.extend_from_slice(b"\r\n");
        if self.replies.len() >= READ_AT_ONCE { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> io::Result<()> {
        if !self.replies.is_empty() {
            timeout(limits::LMTP_WITHIN, self.writer.write_all(&self.replies)).await??;
            self.replies.clear();
        }
        Ok(())
    }
}
