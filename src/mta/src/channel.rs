//! A conversation of lines over any stream, plain or TLS, as server or client.
//!
//! What is read is bounded by the caller's limits; what is written is gathered until [`Channel::flush`], so that the
//! replies to pipelined commands leave together (RFC 2920 §3.2).

use crate::limits;
use crate::proto::line::{self, Line};
use bytes::BytesMut;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Anything that bytes go through both ways.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// How much is asked of the stream at once.
const PIECE: usize = 16 << 10;
/// Gathered output beyond this is written without waiting for the flush.
const GATHER: usize = 256 << 10;

/// A stream with its buffers.
pub struct Channel {
    stream: Box<dyn Io>,
    pub input: BytesMut,
    output: Vec<u8>,
}

impl Channel {
    pub fn new(stream: impl Io + 'static) -> Self {
        Self { stream: Box::new(stream), input: BytesMut::new(), output: Vec::new() }
    }

    /// Gives the stream back for a TLS handshake. What was read and not yet understood is dropped: after STARTTLS
    /// nothing said before the handshake may count (RFC 3207 §4.2, CVE-2011-0411).
    pub fn into_stream(self) -> Box<dyn Io> {
        self.stream
    }

    /// Reads more into the buffer; `false` when the peer has closed.
    pub async fn fill(&mut self, within: Duration) -> io::Result<bool> {
        self.input.reserve(PIECE);
        let read = timeout(within, self.stream.read_buf(&mut self.input)).await;
        Ok(read.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? > 0)
    }

    /// The next line, as [`line::take`] sees it; `None` when the peer has closed. Never `Line::Partial`.
    pub async fn line(&mut self, longest: usize, within: Duration) -> io::Result<Option<Line>> {
        let read = async {
            loop {
                match line::take(&mut self.input, longest) {
                    Line::Partial if !self.fill(within).await? => return Ok(None),
                    Line::Partial => {}
                    whole => return Ok(Some(whole)),
                }
            }
        };
        timeout(within, read).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// Whether a whole line waits in the buffer already.
    pub fn has_line(&self) -> bool {
        self.input.contains(&b'\n')
    }

    /// Where to put what is to be written.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Writes when much is gathered, so that a large message does not stand in memory twice.
    pub async fn flush_if_large(&mut self, within: Duration) -> io::Result<()> {
        if self.output.len() >= GATHER { self.flush(within).await } else { Ok(()) }
    }

    pub async fn flush(&mut self, within: Duration) -> io::Result<()> {
        let write = async {
            self.stream.write_all(&self.output).await?;
            self.stream.flush().await
        };
        timeout(within, write).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        self.output.clear();
        Ok(())
    }

    /// Says goodbye so that the last reply arrives: closes our side, then reads on for a moment what the peer was
    /// still sending. Closing at once would send a reset, which may overtake the reply.
    pub async fn close(mut self) {
        if self.flush(limits::WRITE_WITHIN).await.is_err() || self.stream.shutdown().await.is_err() {
            return;
        }
        let drain = async {
            loop {
                self.input.clear();
                if !matches!(self.fill(limits::LINGER).await, Ok(true)) {
                    return;
                }
            }
        };
        let _ = timeout(limits::LINGER, drain).await;
    }
}
