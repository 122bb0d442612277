//! One LMTP conversation. A recipient gets its 250 when the message is on the disk in its mailbox, and not before.

use super::message::{DataReader, is_junk, kept};
use super::proto::{self, Command};
use crate::accounts::Accounts;
use crate::{blocking, limits};
use base::Address;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use store::{Flags, FolderName, Keywords, New, SpecialUse, StoreError};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use wire::directory::{Resolution, Resolve};

/// What every session needs.
pub struct Context {
    pub hostname: String,
    pub accounts: Arc<Accounts>,
    pub directory: wire::Client,
    pub memory: Arc<Semaphore>,
}

pub struct Session<R, W> {
    reader: R,
    writer: W,
    context: Arc<Context>,
    greeted: bool,
    sender: Option<String>,
    /// Each accepted RCPT with the accounts it leads to.
    recipients: Vec<Vec<Address>>,
}

impl<R: AsyncBufRead + Unpin, W: AsyncWrite + Unpin> Session<R, W> {
    pub fn new(reader: R, writer: W, context: Arc<Context>) -> Self {
        Self { reader, writer, context, greeted: false, sender: None, recipients: Vec::new() }
    }

    pub async fn run(mut self) -> io::Result<()> {
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
                    "250-{}\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE {}",
                    self.context.hostname,
                    limits::MESSAGE
                );
                self.reply(&hello).await
            }
            Command::Mail(_) if !self.greeted => self.reply("503 5.5.1 begin with LHLO").await,
            Command::Mail(_) if self.sender.is_some() => self.reply("503 5.5.1 there is a sender already").await,
            Command::Mail(sender) => {
                self.sender = Some(sender);
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
        match self.context.directory.ask(&Resolve { address: address.clone() }).await {
            Ok(Resolution::Accounts(accounts)) if !accounts.is_empty() => {
                self.recipients.push(accounts);
                self.reply("250 2.1.5 recipient taken").await
            }
            Ok(_) => self.reply(&format!("550 5.1.1 there is no mailbox {address}")).await,
            Err(why) => {
                tracing::error!("a recipient could not be looked up: {why}");
                self.reply("451 4.3.0 recipients cannot be looked up just now").await
            }
        }
    }

    async fn data(&mut self) -> io::Result<()> {
        self.reply("354 end with CRLF.CRLF").await?;
        let mut reader = DataReader::default();
        loop {
            let line = self.line(limits::MESSAGE).await?;
            if line.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if reader.take(&line, limits::MESSAGE) {
                break;
            }
        }
        let sender = self.sender.take().unwrap_or_default();
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
        for accounts in recipients {
            let mut outcome = String::new();
            for account in accounts {
                if !done.contains_key(&account) {
                    let reply = self.deliver(&account, &sender, &message).await;
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

    /// Delivers to one account; returns the reply.
    async fn deliver(&self, address: &Address, sender: &str, message: &Arc<Vec<u8>>) -> String {
        let account = match self.context.accounts.get(address).await {
            Ok(account) => account,
            Err(why) => return refusal(address, &why),
        };
        let kib = u32::try_from(message.len().div_ceil(1024)).unwrap_or(u32::MAX);
        let Ok(_permit) = self.context.memory.acquire_many(kib).await else {
            return "451 4.3.0 the server is stopping".into();
        };
        let (owner, sender, message) = (address.clone(), sender.to_owned(), Arc::clone(message));
        let stored = blocking::on(&account, move |account| {
            let junk = if is_junk(&message) { account.special(SpecialUse::Junk)? } else { None };
            let folder = junk.map_or_else(FolderName::inbox, |folder| folder.name);
            let bytes = kept(&message, &sender, &owner);
            let received = base::time::now_unix();
            let new = New { bytes: &bytes, flags: Flags::NONE, keywords: Keywords::default(), received };
            account.deliver(&folder, &new).map(|stored| (folder, stored))
        });
        match stored.await {
            Ok((folder, stored)) => {
                tracing::info!("delivered to {address}, {folder}, UID {}", stored.uid.0);
                format!("250 2.0.0 <{address}> stored in {}", folder.to_wire())
            }
            Err(why) => refusal(address, &why),
        }
    }

    fn reset(&mut self) {
        self.sender = None;
        self.recipients.clear();
    }

    /// A line with its end; cut off at `longest`, empty at the end of input.
    async fn line(&mut self, longest: usize) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.reader).take(longest as u64);
        timeout(limits::LMTP_WITHIN, bounded.read_until(b'\n', &mut line)).await??;
        Ok(line)
    }

    async fn reply(&mut self, text: &str) -> io::Result<()> {
        let bytes = format!("{text}\r\n");
        timeout(limits::LMTP_WITHIN, self.writer.write_all(bytes.as_bytes())).await?
    }
}

/// Every failure of the store is passing: the MTA keeps the message and tries again.
fn refusal(address: &Address, why: &StoreError) -> String {
    tracing::error!("a message for {address} was not stored: {why}");
    match why.is_full() {
        true => "452 4.3.1 the server's disk is full".into(),
        false => "451 4.3.0 the mailbox cannot be written just now".into(),
    }
}
