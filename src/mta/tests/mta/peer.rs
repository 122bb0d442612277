//! Another mail server, as simple as can be.

use crate::house::{House, Io, eventually, read_message};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

type Transaction = (Vec<String>, String);

#[derive(Clone, Default)]
pub struct Peer {
    /// Recipients and message of each transaction.
    got: Arc<Mutex<Vec<Transaction>>>,
    /// Every command that was heard.
    pub heard: Arc<Mutex<Vec<String>>>,
    tls: Option<Arc<rustls::ServerConfig>>,
}

impl Peer {
    /// Takes mail, but for `refused@` (550) and `later@` (450); offers a STARTTLS that does not work.
    pub async fn start(port: u16) -> Self {
        Self::default().listen(port).await
    }

    /// The same with a STARTTLS that works, with a certificate that nobody vouches for.
    pub async fn with_tls(house: &House) -> Self {
        let tls = base::tls::server(&house.paths, base::tls::Tickets::Yes).unwrap();
        Self { tls: Some(tls), ..Self::default() }.listen(house.remote_port).await
    }

    async fn listen(self, port: u16) -> Self {
        let peer = self;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let here = peer.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let peer = here.clone();
                tokio::spawn(async move { peer.converse(Box::new(stream)).await });
            }
        });
        peer
    }

    async fn converse(&self, stream: Box<dyn Io>) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 mx.example.net ESMTP\r\n").await?;
        let (mut recipients, mut line) = (Vec::new(), String::new());
        while stream.read_line(&mut line).await? > 0 {
            let command = line.trim_end().to_owned();
            line.clear();
            self.heard.lock().unwrap().push(command.clone());
            let reply: &[u8] = match command.get(..4).unwrap_or_default() {
                "EHLO" => b"250-mx.example.net\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 SIZE 1000000\r\n",
                "STAR" if self.tls.is_some() => {
                    stream.write_all(b"220 go\r\n").await?;
                    let acceptor = tokio_rustls::TlsAcceptor::from(self.tls.clone().unwrap());
                    let inner: Box<dyn Io> = Box::new(acceptor.accept(stream.into_inner()).await?);
                    stream = BufReader::new(inner);
                    continue;
                }
                "STAR" => {
                    stream.write_all(b"220 go\r\nthis is no TLS\r\n").await?;
                    return Ok(());
                }
                "RCPT" if command.contains("<refused@") => b"550 5.1.1 no such user\r\n",
                "RCPT" if command.contains("<later@") => b"450 4.2.1 not now\r\n",
                "RCPT" => {
                    recipients.push(command.trim_start_matches("RCPT TO:<").trim_end_matches('>').to_owned());
                    b"250 ok\r\n"
                }
                "DATA" => {
                    stream.write_all(b"354 go\r\n").await?;
                    let message = read_message(&mut stream).await?;
                    self.got.lock().unwrap().push((std::mem::take(&mut recipients), message));
                    b"250 2.0.0 thanks\r\n"
                }
                _ => b"250 ok\r\n",
            };
            stream.write_all(reply).await?;
        }
        Ok(())
    }

    pub fn transactions(&self) -> usize {
        self.got.lock().unwrap().len()
    }

    /// The sender that was said for the first transaction to a recipient.
    pub fn sender_for(&self, recipient: &str) -> String {
        let heard = self.heard.lock().unwrap();
        let at = heard.iter().position(|command| command.starts_with(&format!("RCPT TO:<{recipient}>"))).unwrap();
        let mail = heard[..at].iter().rev().find(|command| command.starts_with("MAIL FROM:<")).unwrap();
        mail.trim_start_matches("MAIL FROM:<").split('>').next().unwrap().to_owned()
    }

    /// The Subject lines of all that it got, each once.
    pub fn subjects(&self) -> BTreeSet<String> {
        let got = self.got.lock().unwrap();
        got.iter()
            .flat_map(|(_, message)| message.lines().find(|line| line.starts_with("Subject:")))
            .map(str::to_owned)
            .collect()
    }

    fn find(&self, recipient: &str) -> Option<String> {
        let got = self.got.lock().unwrap();
        got.iter().find(|(to, _)| to.iter().any(|to| to == recipient)).map(|(_, message)| message.clone())
    }

    pub async fn message_for(&self, recipient: &str) -> String {
        eventually(|| self.find(recipient).is_some()).await;
        self.find(recipient).unwrap()
    }
}
