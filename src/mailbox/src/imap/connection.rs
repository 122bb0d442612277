//! Bytes in and out of one client: whole commands with their literals, bounded before they are read.

use super::compress::Deflate;
use super::proto::{self, Announced};
use crate::limits;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Flushed to the client when as much has gathered.
const OUTPUT_CHUNK: usize = 64 << 10;
/// Literals above this wait for their share of [`limits::MESSAGES_IN_MEMORY`].
const SMALL_LITERAL: usize = 64 << 10;

/// Why the conversation is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The client went away, or does not take what it asked for.
    Gone,
    /// It is told why.
    Bye(&'static str),
}

/// What came in.
pub enum Received {
    /// A command without its last line end, and its share of the memory for messages.
    Command(Vec<u8>, Option<OwnedSemaphorePermit>),
    /// A command whose literal was refused; the rest of it will not come.
    Refused(String),
}

pub struct Connection<S> {
    stream: S,
    input: Vec<u8>,
    /// Filled by the session, flushed by [`Connection::flush`].
    pub output: Vec<u8>,
    memory: Arc<Semaphore>,
    deflate: Option<Box<Deflate>>,
}

/// How many permits the memory for messages has: one for each KiB.
pub fn memory() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(limits::MESSAGES_IN_MEMORY >> 10))
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub fn new(stream: S, memory: Arc<Semaphore>) -> Self {
        Self { stream, input: Vec::new(), output: Vec::new(), memory, deflate: None }
    }

    pub async fn flush(&mut self) -> Result<(), End> {
        if self.output.is_empty() {
            return Ok(());
        }
        let chunks = self.output.len().div_ceil(OUTPUT_CHUNK);
        let within = limits::WRITE_WITHIN * u32::try_from(chunks).unwrap_or(u32::MAX);
        let packed = match &mut self.deflate {
            Some(deflate) => Some(deflate.pack(&self.output).map_err(|_| End::Gone)?),
            None => None,
        };
        let write = async {
            self.stream.write_all(packed.as_deref().unwrap_or(&self.output)).await?;
            self.stream.flush().await
        };
        match timeout(within, write).await {
            Ok(Ok(())) => {
                self.output.clear();
                // One large message must not keep its memory for the rest of a long session.
                self.output.shrink_to(2 * OUTPUT_CHUNK);
                Ok(())
            }
            _ => Err(End::Gone),
        }
    }

    /// Adds to the output; a large piece becomes it, without being copied, where there is nothing before it.
    pub fn put(&mut self, mut bytes: Vec<u8>) {
        match self.output.is_empty() {
            true => self.output = bytes,
            false => self.output.append(&mut bytes),
        }
    }

    pub async fn flush_if_full(&mut self) -> Result<(), End> {
        if self.output.len() >= OUTPUT_CHUNK { self.flush().await } else { Ok(()) }
    }

    /// Ends TLS properly.
    pub async fn close(&mut self) {
        // The client may be gone already; nobody is left to be told.
        let _ = timeout(Duration::from_secs(5), self.stream.shutdown()).await;
    }

    /// Waits until something has arrived. Can be cancelled without losing input.
    pub async fn wait(&mut self) -> Result<(), End> {
        if !self.input.is_empty() {
            return Ok(());
        }
        self.rest();
        self.fill().await
    }

    /// Lets go of memory that a session without work does not need; there are thousands of those.
    pub fn rest(&mut self) {
        if self.output.is_empty() {
            self.output = Vec::new();
        }
        if self.input.is_empty() {
            self.input = Vec::new();
        }
        if let Some(deflate) = &mut self.deflate {
            deflate.rest();
        }
    }

    /// From here on both sides are compressed (RFC 4978). What was to be said before must have been flushed.
    pub fn compress(&mut self) {
        self.deflate = Some(Box::new(Deflate::new(std::mem::take(&mut self.input))));
    }

    pub fn is_compressed(&self) -> bool {
        self.deflate.is_some()
    }

    async fn fill(&mut self) -> Result<(), End> {
        let Some(deflate) = &mut self.deflate else {
            return match self.stream.read_buf(&mut self.input).await {
                Ok(0) | Err(_) => Err(End::Gone),
                Ok(_) => Ok(()),
            };
        };
        while !deflate.unpack(&mut self.input).map_err(|_| End::Gone)? {
            match self.stream.read_buf(&mut deflate.packed).await {
                Ok(0) | Err(_) => return Err(End::Gone),
                Ok(_) => {}
            }
        }
        Ok(())
    }

    /// The next line without its end, if it is no longer than `longest`. Can be cancelled without losing input.
    pub async fn line(&mut self, longest: usize) -> Result<Vec<u8>, End> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.input[searched..].iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.input.drain(..=searched + at).collect();
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return if line.len() > longest { Err(End::Bye("the line is too long")) } else { Ok(line) };
            }
            searched = self.input.len();
            if searched > longest {
                return Err(End::Bye("the line is too long"));
            }
            self.fill().await?;
        }
    }

    /// Appends `length` octets of input to `to`, as they arrive.
    async fn exactly(&mut self, length: usize, to: &mut Vec<u8>) -> Result<(), End> {
        let buffered = length.min(self.input.len());
        to.extend(self.input.drain(..buffered));
        if self.deflate.is_some() {
            let mut missing = length - buffered;
            while missing > 0 {
                self.fill().await?;
                let arrived = missing.min(self.input.len());
                to.extend(self.input.drain(..arrived));
                missing -= arrived;
            }
            return Ok(());
        }
        let rest = (length - buffered) as u64;
        let read = (&mut self.stream).take(rest).read_to_end(to).await;
        match read {
            Ok(count) if count as u64 == rest => Ok(()),
            _ => Err(End::Gone),
        }
    }

    /// The next command. `may_append` tells whether APPEND's message is taken.
    pub async fn command(&mut self, may_append: bool) -> Result<Received, End> {
        match timeout(limits::COMMAND_WITHIN, self.gather(may_append)).await {
            Ok(received) => received,
            Err(_) => Err(End::Bye("the command took too long")),
        }
    }

    async fn gather(&mut self, may_append: bool) -> Result<Received, End> {
        let mut command = self.line(limits::COMMAND_LINE).await?;
        let append = may_append && is_append(&command);
        let (mut permit, mut lines, mut literals, mut count) = (None, command.len(), 0usize, 0usize);
        let largest = if append { limits::MESSAGE + limits::COMMAND_LITERALS } else { limits::COMMAND_LITERALS };
        let mut line_start = 0;
        while let Some(literal) = proto::announced(&command[line_start..]) {
            count += 1;
            let length = usize::try_from(literal.length).unwrap_or(usize::MAX);
            if length > largest - literals || count > limits::COMMAND_LITERAL_COUNT {
                return refuse(&command, literal, append);
            }
            literals += length;
            // What is larger than a little waits for its share; of several messages each does.
            if append && literals > SMALL_LITERAL {
                permit = self.reserve(permit, literals).await?;
            }
            if literal.waits {
                self.output.extend_from_slice(b"+ OK\r\n");
                self.flush().await?;
            }
            command.extend_from_slice(b"\r\n");
            self.exactly(length, &mut command).await?;
            line_start = command.len();
            let line = self.line(limits::COMMAND_LINE).await?;
            lines += line.len();
            if lines > limits::COMMAND_LINE {
                return Err(End::Bye("the command is too long"));
            }
            command.extend(line);
        }
        Ok(Received::Command(command, permit))
    }

    /// Makes a command's share of the memory as large as `octets`. Who has a part already and waits for more could wait
    /// for others who do the same, so that has an end.
    async fn reserve(
        &self,
        held: Option<OwnedSemaphorePermit>,
        octets: usize,
    ) -> Result<Option<OwnedSemaphorePermit>, End> {
        let wanted = octets.div_ceil(1024);
        let missing = wanted.saturating_sub(held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        if missing == 0 {
            return Ok(held);
        }
        let more = Arc::clone(&self.memory).acquire_many_owned(missing);
        let Some(mut held) = held else {
            return Ok(more.await.ok());
        };
        match timeout(limits::MEMORY_WITHIN, more).await {
            Ok(Ok(more)) => {
                held.merge(more);
                Ok(Some(held))
            }
            _ => Err(End::Bye("the server is short of memory; try again")),
        }
    }
}

/// Whether a command may carry messages: APPEND, REPLACE, UID REPLACE.
fn is_append(line: &[u8]) -> bool {
    let mut words = line.split(|byte| *byte == b' ').skip(1).map(<[u8]>::to_ascii_uppercase);
    match words.next().as_deref() {
        Some(b"APPEND" | b"REPLACE") => true,
        Some(b"UID") => words.next().as_deref() == Some(b"REPLACE"),
        _ => false,
    }
}

/// A client that waits for the go-ahead gets a tagged refusal; one that does not is sending already and can only be
/// cut off (RFC 7888 §4).
fn refuse(command: &[u8], literal: Announced, append: bool) -> Result<Received, End> {
    if !literal.waits {
        return Err(End::Bye("the literal is larger than this server takes"));
    }
    let tag = proto::tag_of(command).unwrap_or("*");
    Ok(Received::Refused(match append {
        true => format!("{tag} NO [TOOBIG] the message is larger than {} MiB\r\n", limits::MESSAGE >> 20),
        false => format!("{tag} BAD the literal is larger than this command may have\r\n"),
    }))
}
