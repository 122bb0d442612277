//! Another mail server with a certificate, or with something wrong.

use super::Chain;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

pub fn acceptor(chain: &Chain) -> TlsAcceptor {
    let certificates = chain.der.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let key = PrivateKeyDer::try_from(chain.key.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// How a peer behaves.
#[derive(Clone)]
pub struct Manners {
    pub tls: Option<TlsAcceptor>,
    pub implicit: bool,
    pub greeting: &'static str,
    /// Further EHLO lines, each `250-…`.
    pub offers: &'static str,
    /// What comes after the final dot; empty closes the connection.
    pub last: &'static str,
    /// Messages after which each connection is closed without a word.
    pub closes_after: usize,
    /// Whether STARTTLS has been taken out on the way.
    pub stripped: Arc<Mutex<bool>>,
}

impl Manners {
    pub fn plain() -> Self {
        Self {
            tls: None,
            implicit: false,
            greeting: "220 mx ESMTP",
            offers: "",
            last: "250 2.0.0 thanks",
            closes_after: usize::MAX,
            stripped: Arc::default(),
        }
    }

    pub fn with(chain: &Chain) -> Self {
        Self { tls: Some(acceptor(chain)), ..Self::plain() }
    }
}

/// What a peer saw.
#[derive(Clone)]
pub struct Peer {
    pub port: u16,
    pub connections: Arc<Mutex<usize>>,
    /// Each command, with whether it came inside TLS.
    pub heard: Arc<Mutex<Vec<(bool, String)>>>,
}

impl Peer {
    pub async fn start(manners: Manners) -> Self {
        Self::at(IpAddr::from([127, 0, 0, 1]), 0, manners).await
    }

    pub async fn at(address: IpAddr, port: u16, manners: Manners) -> Self {
        let listener = TcpListener::bind(SocketAddr::new(address, port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let peer = Self { port, connections: Arc::default(), heard: Arc::default() };
        let here = peer.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *here.connections.lock().unwrap() += 1;
                stream.set_nodelay(true).unwrap();
                let (peer, manners) = (here.clone(), manners.clone());
                tokio::spawn(async move { peer.converse(Box::new(stream), manners).await });
            }
        });
        peer
    }

    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    /// Whether a message or its envelope ever went over the wire in the clear.
    pub fn saw_plain_text(&self) -> bool {
        let envelope = |command: &str| ["MAIL", "RCPT", "DATA", "AUTH"].iter().any(|verb| command.starts_with(verb));
        self.heard.lock().unwrap().iter().any(|(tls, command)| !tls && envelope(command))
    }

    pub fn said(&self, start: &str) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|(_, command)| command.starts_with(start)).map(|(_, command)| command.clone()).collect()
    }

    async fn converse(&self, stream: Box<dyn Io>, manners: Manners) -> std::io::Result<()> {
        let mut secure = manners.implicit;
        let stream = match manners.tls.as_ref().filter(|_| secure) {
            Some(tls) => Box::new(tls.accept(stream).await?) as Box<dyn Io>,
            None => stream,
        };
        let mut stream = BufReader::new(stream);
        stream.write_all(format!("{}\r\n", manners.greeting).as_bytes()).await?;
        stream.flush().await?;
        let (mut line, mut messages) = (String::new(), 0);
        while stream.read_line(&mut line).await? > 0 {
            let command = line.trim_end().to_owned();
            line.clear();
            self.heard.lock().unwrap().push((secure, command.clone()));
            let reply = match command.get(..4).unwrap_or_default() {
                "EHLO" => {
                    let starttls = manners.tls.is_some() && !secure && !*manners.stripped.lock().unwrap();
                    let starttls = if starttls { "250-STARTTLS\r\n" } else { "" };
                    format!("250-mx\r\n{starttls}{}250 PIPELINING", manners.offers)
                }
                "STAR" => {
                    stream.write_all(b"220 go\r\n").await?;
                    stream.flush().await?;
                    let accepted = manners.tls.as_ref().unwrap().accept(stream.into_inner()).await?;
                    stream = BufReader::new(Box::new(accepted));
                    secure = true;
                    continue;
                }
                "AUTH" if command == "AUTH PLAIN AGFubgBodW50ZXIy" => "235 2.7.0 welcome".to_owned(),
                "AUTH" => "535 5.7.8 wrong password".to_owned(),
                "RCPT" if command.contains("<refused@") => "550 5.1.1 no such user".to_owned(),
                "DATA" => {
                    stream.write_all(b"354 go\r\n").await?;
                    stream.flush().await?;
                    while stream.read_line(&mut line).await? > 0 && line != ".\r\n" {
                        line.clear();
                    }
                    line.clear();
                    messages += 1;
                    if manners.last.is_empty() {
                        return Ok(());
                    }
                    manners.last.to_owned()
                }
                "QUIT" => {
                    stream.write_all(b"221 bye\r\n").await?;
                    return stream.flush().await;
                }
                _ => "250 2.0.0 ok".to_owned(),
            };
            stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
            stream.flush().await?;
            if messages >= manners.closes_after {
                return Ok(());
            }
        }
        Ok(())
    }
}
