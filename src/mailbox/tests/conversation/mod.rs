//! Conversations that are played from text files, to be read as what went over the wire.
//!
//! `C: ` is what the client sends and `S: ` what the server must say; `…` in it stands for any text. `{+}` in a line of
//! the client announces the literal that the following `L: ` lines make. A line `TLS` begins the handshake, and one with
//! `#` is for the reader; the first names the RFC's section.
#![allow(dead_code)]

use crate::common::Running;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// A client of a line protocol.
pub struct Lines {
    stream: Option<BufReader<Box<dyn Duplex>>>,
    /// What TLS 1.3 exports for channel binding.
    pub binding: Vec<u8>,
}

/// Sets the certificate of the box up as the only one to trust.
fn connector(running: &Running) -> TlsConnector {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(running.paths.tls().join("chain.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

impl Lines {
    pub async fn plain(port: u16) -> Self {
        let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        Self { stream: Some(BufReader::new(Box::new(tcp))), binding: Vec::new() }
    }

    pub async fn tls(running: &Running, port: u16) -> Self {
        let mut lines = Self::plain(port).await;
        lines.begin_tls(running).await;
        lines
    }

    pub async fn begin_tls(&mut self, running: &Running) {
        let stream = self.stream.take().unwrap().into_inner();
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let tls = connector(running).connect(name, stream).await.unwrap();
        let exported = tls.get_ref().1.export_keying_material([0u8; 32], b"EXPORTER-Channel-Binding", Some(b""));
        self.binding = exported.unwrap().to_vec();
        self.stream = Some(BufReader::new(Box::new(tls)));
    }

    pub async fn send(&mut self, text: &str) {
        let stream = self.stream.as_mut().unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
    }

    /// The next line without its end; empty at the end of the connection.
    pub async fn line(&mut self) -> String {
        let mut line = Vec::new();
        let read = self.stream.as_mut().unwrap().read_until(b'\n', &mut line);
        // The server closing without TLS's goodbye is an end like another.
        let _ = tokio::time::timeout(Duration::from_secs(20), read).await.expect("a reply in time");
        String::from_utf8_lossy(&line).trim_end_matches("\r\n").to_owned()
    }

    pub async fn ask(&mut self, command: &str) -> String {
        self.send(&format!("{command}\r\n")).await;
        self.line().await
    }

    /// The lines up to one that is `end`, or that one alone when it begins otherwise.
    pub async fn until(&mut self, is_last: impl Fn(&str) -> bool) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.line().await;
            let last = is_last(&line) || line.is_empty() && lines.len() > 500;
            lines.push(line);
            if last {
                return lines;
            }
        }
    }
}

/// Plays every file of a folder, each on a connection of its own made by `connect`.
pub async fn play_all<F: Future<Output = Lines>>(running: &Running, folder: &str, connect: impl Fn() -> F) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conversations").join(folder);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# RFC "), "{} does not name its RFC", file.display());
        play(running, &mut connect().await, &file.display().to_string(), &text).await;
    }
}

async fn play(running: &Running, lines: &mut Lines, name: &str, text: &str) {
    let script: Vec<&str> = text.lines().collect();
    let mut at = 0;
    while at < script.len() {
        let step = script[at];
        at += 1;
        match step.split_once(": ").unwrap_or((step.trim_end_matches(':'), "")) {
            ("C", sent) => {
                let literal: Vec<&str> = script[at..].iter().map_while(|line| line.strip_prefix("L: ")).collect();
                at += literal.len();
                let body: String = literal.iter().map(|line| format!("{line}\r\n")).collect();
                match sent.contains("{+}") {
                    true => {
                        let head = sent.replace("{+}", &format!("{{{}+}}", body.len()));
                        lines.send(&format!("{head}\r\n{body}\r\n")).await;
                    }
                    false => lines.send(&format!("{sent}\r\n")).await,
                }
            }
            ("S", pattern) => {
                let said = lines.line().await;
                assert!(matches(pattern, &said), "{name}, line {at}:\n  expected {pattern}\n  got      {said}");
            }
            ("TLS", _) => lines.begin_tls(running).await,
            _ => assert!(step.starts_with('#') || step.is_empty(), "{name}, line {at}: {step}"),
        }
    }
}

/// Whether a line is as the pattern has it; `…` stands for any text.
fn matches(pattern: &str, line: &str) -> bool {
    let mut pieces = pattern.split('…');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else { return rest.is_empty() };
    for piece in middle {
        match rest.find(piece) {
            Some(found) => rest = &rest[found + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}
