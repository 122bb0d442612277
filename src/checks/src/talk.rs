//! Short conversations with servers, line by line, each step with a limit.

use crate::limits::{CONNECT_WITHIN, MAX_LINE, MAX_PAGE, MAX_REPLY_LINES, READ_WITHIN};
use crate::tls::{self, Tls};
use rustls_pki_types::CertificateDer;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// What went wrong, as a sentence that continues “it …”.
pub type Trouble = String;

async fn within<T>(limit: Duration, doing: &str, work: impl Future<Output = std::io::Result<T>>) -> Result<T, Trouble> {
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(format!("{doing}: {error}")),
        Err(_) => Err(format!("{doing}: no answer within {} s", limit.as_secs())),
    }
}

/// A server at the other end.
pub struct Talk<S> {
    stream: BufReader<S>,
}

/// An SMTP reply (RFC 5321 §4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    /// The texts of its lines.
    pub lines: Vec<String>,
}

impl Reply {
    pub fn offers(&self, keyword: &str) -> bool {
        let first = |line: &String| line.split_whitespace().next().map(str::to_ascii_uppercase);
        self.lines.iter().filter_map(first).any(|word| word == keyword)
    }

    pub fn text(&self) -> String {
        format!("{} {}", self.code, self.lines.join(" / "))
    }
}

impl Talk<TcpStream> {
    pub async fn connect(address: SocketAddr) -> Result<Self, Trouble> {
        let stream = within(CONNECT_WITHIN, &format!("connecting to {address}"), TcpStream::connect(address)).await?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Goes on over TLS. Anything the server sent too early is dropped with the buffer (RFC 3207 §4.2).
    pub async fn secure(self, tls: &Tls, name: &str) -> Result<Talk<TlsStream<TcpStream>>, Trouble> {
        let stream = within(READ_WITHIN, "the TLS handshake", tls.connect(name, self.stream.into_inner())).await?;
        Ok(Talk { stream: BufReader::new(stream) })
    }
}

impl Talk<TlsStream<TcpStream>> {
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        tls::chain(self.stream.get_ref())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    pub fn over(stream: S) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    pub async fn line(&mut self) -> Result<String, Trouble> {
        let mut bytes = Vec::new();
        let mut bounded = (&mut self.stream).take(MAX_LINE as u64);
        let got = within(READ_WITHIN, "waiting for a line", bounded.read_until(b'\n', &mut bytes)).await?;
        if got == 0 {
            return Err("it closed the connection".to_owned());
        }
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    }

    pub async fn send(&mut self, text: &str) -> Result<(), Trouble> {
        within(READ_WITHIN, "sending", self.stream.write_all(format!("{text}\r\n").as_bytes())).await?;
        within(READ_WITHIN, "sending", self.stream.flush()).await
    }

    /// Reads one SMTP reply.
    pub async fn reply(&mut self) -> Result<Reply, Trouble> {
        let mut lines = Vec::new();
        for _ in 0..MAX_REPLY_LINES {
            let line = self.line().await?;
            let (code, last, text) = reply_line(&line).ok_or_else(|| format!("it said “{line}”, which is not SMTP"))?;
            lines.push(text.to_owned());
            if last {
                return Ok(Reply { code, lines });
            }
        }
        Err("its reply does not end".to_owned())
    }

    /// Sends an SMTP command and reads the reply.
    pub async fn command(&mut self, text: &str) -> Result<Reply, Trouble> {
        self.send(text).await?;
        self.reply().await
    }

    /// Asks for a page over HTTP/1.1 and reads all of it: the status code, and the body.
    pub async fn get(mut self, host: &str, path: &str) -> Result<(u16, String), Trouble> {
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nUser-Agent: mailstead-checks\r\n"
        ))
        .await?;
        let status = self.line().await?;
        let code = status_code(&status).ok_or_else(|| format!("it said “{status}”, which is not HTTP"))?;
        let mut rest = Vec::new();
        let mut bounded = (&mut self.stream).take(MAX_PAGE);
        // A server that ends TLS without saying so has still sent its page.
        let ended = within(READ_WITHIN, "reading the page", bounded.read_to_end(&mut rest)).await;
        if rest.is_empty() {
            ended?;
        }
        let text = String::from_utf8_lossy(&rest).into_owned();
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
        Ok((code, body.unwrap_or_default()))
    }
}

fn reply_line(line: &str) -> Option<(u16, bool, &str)> {
    let code = line.get(..3)?.parse().ok().filter(|code| (200..600).contains(code))?;
    match line.get(3..4) {
        None => Some((code, true, "")),
        Some(" ") => Some((code, true, &line[4..])),
        Some("-") => Some((code, false, &line[4..])),
        Some(_) => None,
    }
}

fn status_code(line: &str) -> Option<u16> {
    line.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[tokio::test]
    async fn a_reply_of_several_lines_is_read_to_its_end() {
        let (near, mut far) = tokio::io::duplex(512);
        far.write_all(b"250-box.example.org\r\n250-STARTTLS\r\n250 SIZE 1000\r\n").await.unwrap();
        let reply = Talk::over(near).reply().await.unwrap();
        assert!(reply.code == 250 && reply.offers("STARTTLS") && reply.offers("SIZE") && !reply.offers("AUTH"));
    }

    #[tokio::test]
    async fn a_server_that_is_no_mail_server_or_hangs_up_is_described() {
        let (near, mut far) = tokio::io::duplex(512);
        far.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").await.unwrap();
        assert!(Talk::over(near).reply().await.unwrap_err().contains("OpenSSH"));
        let (near, far) = tokio::io::duplex(512);
        drop(far);
        assert!(Talk::over(near).reply().await.unwrap_err().contains("closed"));
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line in ".{0,40}") {
            let _ = reply_line(&line);
            let _ = status_code(&line);
        }
    }
}
