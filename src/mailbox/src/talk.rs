//! Bytes in and out of one client of a line protocol (POP3, ManageSieve), bounded before they are read.

use crate::limits;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Flushed to the client when as much has gathered.
const OUTPUT_CHUNK: usize = 64 << 10;

/// A connection, encrypted or not.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// Why the conversation is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The client went away, or does not take what it asked for.
    Gone,
    /// It is told why.
    Bye(&'static str),
}

pub struct Talk<S> {
    stream: S,
    input: Vec<u8>,
    /// Filled by the session, sent by [`Talk::flush`].
    pub output: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Talk<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, input: Vec::new(), output: Vec::new() }
    }

    pub fn say(&mut self, line: &str) {
        self.output.extend_from_slice(line.as_bytes());
        self.output.extend_from_slice(b"\r\n");
    }

    pub async fn flush(&mut self) -> Result<(), End> {
        if self.output.is_empty() {
            return Ok(());
        }
        let chunks = self.output.len().div_ceil(OUTPUT_CHUNK);
        let within = limits::WRITE_WITHIN * u32::try_from(chunks).unwrap_or(u32::MAX);
        let write = async {
            self.stream.write_all(&self.output).await?;
            self.stream.flush().await
        };
        match timeout(within, write).await {
            Ok(Ok(())) => {
                self.output.clear();
                // One large message must not keep its memory for the rest of the session.
                self.output.shrink_to(2 * OUTPUT_CHUNK);
                Ok(())
            }
            _ => Err(End::Gone),
        }
    }

    /// Sends what has gathered, unless a whole line more is here already: then its answer goes along.
    pub async fn flush_unless_more(&mut self) -> Result<(), End> {
        if self.input.contains(&b'\n') && self.output.len() < OUTPUT_CHUNK { Ok(()) } else { self.flush().await }
    }

    /// The next line without its end, if it is no longer than `longest` and comes within the time.
    pub async fn line(&mut self, longest: usize, within: Duration) -> Result<Vec<u8>, End> {
        match timeout(within, self.next_line(longest)).await {
            Ok(line) => line,
            Err(_) => Err(End::Bye("idle for too long")),
        }
    }

    async fn next_line(&mut self, longest: usize) -> Result<Vec<u8>, End> {
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

    async fn fill(&mut self) -> Result<(), End> {
        match self.stream.read_buf(&mut self.input).await {
            Ok(0) | Err(_) => Err(End::Gone),
            Ok(_) => Ok(()),
        }
    }

    /// The next `length` octets, within the time. With `keep` false they are read and forgotten.
    pub async fn octets(&mut self, length: usize, keep: bool, within: Duration) -> Result<Vec<u8>, End> {
        let read = async {
            let (mut kept, mut rest) = (Vec::new(), length);
            while rest > 0 {
                if self.input.is_empty() {
                    self.fill().await?;
                }
                let taken = rest.min(self.input.len());
                let part = self.input.drain(..taken);
                if keep {
                    kept.extend(part);
                }
                rest -= taken;
            }
            Ok(kept)
        };
        timeout(within, read).await.unwrap_or(Err(End::Bye("what was announced did not come")))
    }

    /// The bare stream, for TLS to begin on. What a client sent in plain text after asking for TLS would be taken for
    /// something said inside of it, so then there is none (CVE-2011-0411).
    pub fn into_stream(self) -> Option<S> {
        self.input.is_empty().then_some(self.stream)
    }

    /// Ends TLS properly.
    pub async fn close(&mut self) {
        // The client may be gone already; nobody is left to be told.
        let _ = timeout(Duration::from_secs(5), self.stream.shutdown()).await;
    }
}
