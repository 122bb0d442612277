//! A mailbox role in a folder of its own, with a directory that knows ann and bob, and small clients for its sockets.
#![allow(dead_code)]

use base::config::DemoOptions;
use base::{Address, BoxConfig, DnsMode, Domain, Paths, Role};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wire::directory::{
    Account, AccountQuota, Forwarding, Login, Request, Resolution, ScramLogin, ScramParameters, Writers,
};
use wire::{Answer, Kind, Refusal, Serve};

pub const PASSWORD: &str = "correct horse";

pub fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// Knows ann@ and bob@example.org, the alias both@, and dave@example.org, who may keep 4 KiB.
pub struct FakeDirectory;

impl Serve for FakeDirectory {
    type Request = Request;

    async fn answer(&self, _: Role, request: Request, _: Vec<u8>) -> Result<Answer, Refusal> {
        let (ann, bob) = (address("ann@example.org"), address("bob@example.org"));
        match request {
            Request::Resolve(ask) => {
                let account = ask.address.account();
                let found = match account.to_string().as_str() {
                    "ann@example.org" | "bob@example.org" | "dave@example.org" => Resolution::Accounts(vec![account]),
                    "both@example.org" => Resolution::Accounts(vec![ann, bob]),
                    // Its copies for other servers are the MTA's business.
                    "mixed@example.org" => Resolution::Alias(Forwarding {
                        alias: account,
                        accounts: vec![bob],
                        outside: vec![address("joe@example.net")],
                        writers: Writers::Inside,
                    }),
                    "out@example.org" => Resolution::Alias(Forwarding {
                        alias: account,
                        accounts: Vec::new(),
                        outside: vec![address("joe@example.net")],
                        writers: Writers::Everyone,
                    }),
                    _ => Resolution::Unknown,
                };
                ask.answer(found)
            }
            Request::Authenticate(ask) => {
                let login = match (ask.login.as_str(), ask.password.expose()) {
                    ("ann@example.org" | "bob@example.org" | "dave@example.org", PASSWORD) => {
                        Login::Granted { account: address(&ask.login), admin: false }
                    }
                    ("throttled@example.org", _) => Login::Throttled { retry_after_seconds: 60 },
                    _ => Login::Denied,
                };
                ask.answer(login)
            }
            Request::ScramOffered(ask) => ask.answer(true),
            Request::ScramChallenge(ask) => {
                ask.answer(ScramParameters { salt: scram::SALT.to_vec(), iterations: scram::ITERATIONS })
            }
            Request::ScramVerify(ask) => {
                let signature = scram::verify(&ask.auth_message, &ask.client_proof);
                ask.answer(match signature {
                    Some(server_signature) if ask.login == "ann@example.org" => {
                        ScramLogin::Granted { account: ann, admin: false, server_signature }
                    }
                    _ => ScramLogin::Denied,
                })
            }
            Request::QuotaOf(ask) => {
                let small = ask.account == address("dave@example.org");
                ask.answer(AccountQuota { account_bytes: small.then_some(4096), domain_bytes: None })
            }
            Request::Accounts(ask) => {
                let account = |address| Account { address, admin: false, second_factor: false, created: 0 };
                ask.answer(vec![account(ann), account(bob)])
            }
            other => Err(Refusal::new(Kind::Invalid, wire::server::Request::name(&other))),
        }
    }
}

/// SCRAM-SHA-256 (RFC 5802) with the one app password that ann has: the directory's side and the client's.
pub mod scram {
    use aws_lc_rs::{digest, hmac, pbkdf2};

    pub const APP_PASSWORD: &str = "abcd-efgh-ijkl";
    pub const SALT: &[u8] = b"a salt of some length";
    pub const ITERATIONS: u32 = 4096;

    fn mac(key: &[u8], data: &[u8]) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data).as_ref().to_vec()
    }

    fn xor(a: &[u8], b: &[u8]) -> Vec<u8> {
        a.iter().zip(b).map(|(a, b)| a ^ b).collect()
    }

    /// Salted password to client key, stored key and server key.
    fn keys(password: &str, salt: &[u8], iterations: u32) -> [Vec<u8>; 3] {
        let mut salted = [0; 32];
        let rounds = iterations.try_into().unwrap();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, password.as_bytes(), &mut salted);
        let client = mac(&salted, b"Client Key");
        let stored = digest::digest(&digest::SHA256, &client).as_ref().to_vec();
        [client, stored, mac(&salted, b"Server Key")]
    }

    /// The server's signature when the proof is right.
    pub fn verify(auth_message: &str, proof: &[u8]) -> Option<Vec<u8>> {
        let [client, stored, server] = keys(APP_PASSWORD, SALT, ITERATIONS);
        let right = xor(&client, &mac(&stored, auth_message.as_bytes()));
        (right == proof).then(|| mac(&server, auth_message.as_bytes()))
    }

    /// The client's proof, and the signature it expects of the server.
    pub fn prove(password: &str, salt: &[u8], iterations: u32, auth_message: &str) -> (Vec<u8>, Vec<u8>) {
        let [client, stored, server] = keys(password, salt, iterations);
        let proof = xor(&client, &mac(&stored, auth_message.as_bytes()));
        (proof, mac(&server, auth_message.as_bytes()))
    }
}

/// What the filter was told to learn: whether spam, and the message.
#[derive(Default)]
pub struct FakeFilter {
    pub learned: Mutex<Vec<(bool, Vec<u8>)>>,
}

impl Serve for FakeFilter {
    type Request = wire::filter::Request;

    async fn answer(&self, _: Role, request: Self::Request, body: Vec<u8>) -> Result<Answer, Refusal> {
        match request {
            wire::filter::Request::Learn(ask) => {
                self.learned.lock().unwrap().push((ask.spam, body));
                ask.answer(())
            }
            other => Err(Refusal::new(Kind::Invalid, wire::server::Request::name(&other))),
        }
    }
}

/// A free port that lies `offset` above a base port.
pub fn base_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port() - 3
}

/// Writes configuration and certificate; returns the certificate's PEM.
pub fn furnish(dir: &Path, base_port: u16) -> Paths {
    let paths = Paths::under(dir);
    let hostname = Domain::parse("box.example.org").unwrap();
    let mut config = BoxConfig::new(address("ann@example.org"), hostname, DnsMode::External);
    config.demo = Some(DemoOptions { base_port, resolver: None, remote_smtp_port: 25, retry_seconds: None });
    std::fs::create_dir_all(paths.etc()).unwrap();
    config.save(&paths).unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
    std::fs::create_dir_all(paths.tls()).unwrap();
    std::fs::write(paths.tls().join("chain.pem"), made.cert.pem()).unwrap();
    std::fs::write(paths.tls().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    paths
}

/// Starts the directory and the mailbox in this process.
pub fn start(paths: &Paths) {
    let own = paths.clone();
    tokio::spawn(async move { wire::serve(&own, Arc::new(FakeDirectory)).await.unwrap() });
    let own = paths.clone();
    tokio::spawn(async move { mailbox::run(own).await.unwrap() });
}

pub struct Running {
    pub dir: tempfile::TempDir,
    pub paths: Paths,
    pub port: u16,
}

pub async fn running() -> Running {
    let dir = tempfile::tempdir().unwrap();
    let port = base_port();
    let paths = furnish(dir.path(), port);
    start(&paths);
    until_ready(&paths).await;
    Running { dir, paths, port: port + 3 }
}

pub async fn until_ready(paths: &Paths) {
    for _ in 0..500 {
        let ready = [(Role::Mailbox, "lmtp"), (Role::Mailbox, "mailbox"), (Role::Directory, "directory")];
        let mut all = true;
        for (role, name) in ready {
            all &= UnixStream::connect(paths.socket(role, name)).await.is_ok();
        }
        if all {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the mailbox did not come up");
}

/// An IMAP client that shows what went over the wire.
pub struct Imap {
    stream: TlsStream<TcpStream>,
    input: Vec<u8>,
    ended: bool,
    count: u32,
    /// Once the connection is compressed (RFC 4978): both directions.
    deflate: Option<(flate2::Compress, flate2::Decompress)>,
}

impl Imap {
    pub async fn connect(running: &Running) -> Imap {
        let mut imap = Imap::connect_silently(running).await;
        assert!(imap.line().await.starts_with("* OK [CAPABILITY IMAP4rev1 "));
        imap
    }

    /// Leaves the greeting to be read.
    pub async fn connect_silently(running: &Running) -> Imap {
        Imap::connect_to(&running.paths, running.port).await.unwrap()
    }

    /// Logged in as ann to a server that may go away at any moment.
    pub async fn until_gone(paths: &Paths, port: u16) -> Option<Imap> {
        let mut imap = Imap::connect_to(paths, port).await.ok()?;
        imap.line().await;
        imap.try_command(&format!("LOGIN ann@example.org \"{PASSWORD}\"")).await.map(|_| imap)
    }

    /// Like [`Imap::command`]; `None` once the server is gone.
    pub async fn try_command(&mut self, command: &str) -> Option<Vec<String>> {
        self.count += 1;
        let tag = format!("t{} ", self.count);
        self.send(&format!("{tag}{command}\r\n")).await;
        let mut lines = Vec::new();
        loop {
            let line = self.line().await;
            if self.ended {
                return None;
            }
            if let Some(rest) = line.strip_prefix(&tag) {
                lines.push(rest.to_owned());
                return Some(lines);
            }
            lines.push(line);
        }
    }

    async fn connect_to(paths: &Paths, port: u16) -> std::io::Result<Imap> {
        use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(paths.tls().join("chain.pem")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
        Ok(Imap { stream, input: Vec::new(), ended: false, count: 0, deflate: None })
    }

    pub async fn login(running: &Running, user: &str) -> Imap {
        let mut imap = Imap::connect(running).await;
        imap.ok(&format!("LOGIN {user} \"{PASSWORD}\"")).await;
        imap
    }

    /// From here on both sides compress.
    pub fn compress(&mut self) {
        assert!(self.input.is_empty());
        let compress = flate2::Compress::new(flate2::Compression::default(), false);
        self.deflate = Some((compress, flate2::Decompress::new(false)));
    }

    /// Logs in by SCRAM, with the channel binding of this connection for -PLUS; gives the tagged line.
    pub async fn scram(&mut self, mechanism: &str, user: &str, password: &str) -> String {
        use base64::prelude::{BASE64_STANDARD as BASE64, Engine};
        let (header, mut binding) = match mechanism.ends_with("-PLUS") {
            true => {
                let exported =
                    self.stream.get_ref().1.export_keying_material([0u8; 32], b"EXPORTER-Channel-Binding", Some(b""));
                ("p=tls-exporter,,", exported.unwrap().to_vec())
            }
            false => ("n,,", Vec::new()),
        };
        let first = format!("n={user},r=clientnonce");
        self.send(&format!("s AUTHENTICATE {mechanism} {}\r\n", BASE64.encode(format!("{header}{first}")))).await;
        let line = self.line().await;
        let Some(challenge) = line.strip_prefix("+ ") else { return line };
        let challenge = String::from_utf8(BASE64.decode(challenge).unwrap()).unwrap();
        let part = |name: &str| challenge.split(',').find_map(|part| part.strip_prefix(name)).unwrap().to_owned();
        let (nonce, salt, iterations) = (part("r="), BASE64.decode(part("s=")).unwrap(), part("i=").parse().unwrap());
        let mut bound = header.as_bytes().to_vec();
        bound.append(&mut binding);
        let last = format!("c={},r={nonce}", BASE64.encode(&bound));
        let message = format!("{first},{challenge},{last}");
        let (proof, signature) = scram::prove(password, &salt, iterations, &message);
        self.send(&format!("{}\r\n", BASE64.encode(format!("{last},p={}", BASE64.encode(proof))))).await;
        let line = self.line().await;
        let Some(verdict) = line.strip_prefix("+ ") else { return line };
        assert_eq!(BASE64.decode(verdict).unwrap(), format!("v={}", BASE64.encode(signature)).into_bytes());
        self.send("\r\n").await;
        self.line().await
    }

    pub fn has_ended(&self) -> bool {
        self.ended
    }

    pub async fn send(&mut self, text: &str) {
        let mut bytes = text.as_bytes().to_vec();
        if let Some((compress, _)) = &mut self.deflate {
            let mut packed = Vec::with_capacity(2 * bytes.len() + 1000);
            compress.compress_vec(&bytes, &mut packed, flate2::FlushCompress::Sync).unwrap();
            bytes = packed;
        }
        // The server may have closed already, which the next read shows.
        let _ = self.stream.write_all(&bytes).await;
        let _ = self.stream.flush().await;
    }

    /// Reads what has come; `false` at the end.
    async fn fill(&mut self) -> bool {
        let mut buffer = vec![0; 16 << 10];
        let read = tokio::time::timeout(Duration::from_secs(20), self.stream.read(&mut buffer));
        // The server closing without TLS's goodbye is not of interest here.
        let count = read.await.expect("a reply in time").unwrap_or(0);
        let mut rest = &buffer[..count];
        match &mut self.deflate {
            None => self.input.extend_from_slice(rest),
            Some((_, decompress)) => loop {
                let before = (decompress.total_in(), decompress.total_out());
                let mut out = Vec::with_capacity(64 << 10);
                decompress.decompress_vec(rest, &mut out, flate2::FlushDecompress::Sync).unwrap();
                self.input.extend_from_slice(&out);
                rest = &rest[(decompress.total_in() - before.0) as usize..];
                if decompress.total_out() == before.1 {
                    break;
                }
            },
        }
        self.ended |= count == 0;
        count > 0
    }

    /// The next line, empty at the end; panics when none comes.
    pub async fn line(&mut self) -> String {
        loop {
            if let Some(at) = self.input.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.input.drain(..=at).collect();
                return String::from_utf8_lossy(&line).trim_end_matches("\r\n").to_owned();
            }
            if !self.fill().await {
                let rest = std::mem::take(&mut self.input);
                return String::from_utf8_lossy(&rest).into_owned();
            }
        }
    }

    /// Sends a command; returns all lines of the reply, the tagged one last and without its tag.
    pub async fn command(&mut self, command: &str) -> Vec<String> {
        self.count += 1;
        let tag = format!("t{}", self.count);
        self.send(&format!("{tag} {command}\r\n")).await;
        self.reply(&tag).await
    }

    pub async fn reply(&mut self, tag: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.line().await;
            assert!(!line.is_empty() || !lines.is_empty(), "the connection was closed");
            if let Some(rest) = line.strip_prefix(&format!("{tag} ")) {
                lines.push(rest.to_owned());
                return lines;
            }
            lines.push(line);
        }
    }

    pub async fn ok(&mut self, command: &str) -> Vec<String> {
        let lines = self.command(command).await;
        assert!(lines.last().unwrap().starts_with("OK"), "{command}: {lines:#?}");
        lines
    }

    /// What is left until the server closes.
    pub async fn rest(&mut self) -> String {
        while self.fill().await {}
        String::from_utf8_lossy(&std::mem::take(&mut self.input)).into_owned()
    }

    pub async fn append(&mut self, folder: &str, message: &str) -> Vec<String> {
        self.ok(&format!("APPEND {folder} {{{}+}}\r\n{message}", message.len())).await
    }
}

/// An LMTP client.
pub struct Lmtp {
    stream: BufReader<UnixStream>,
}

impl Lmtp {
    pub async fn connect(paths: &Paths) -> std::io::Result<Lmtp> {
        let stream = UnixStream::connect(paths.socket(Role::Mailbox, "lmtp")).await?;
        let mut lmtp = Lmtp { stream: BufReader::new(stream) };
        lmtp.line().await?;
        lmtp.command("LHLO test").await?;
        Ok(lmtp)
    }

    async fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line);
        let count = tokio::time::timeout(Duration::from_secs(20), read).await.map_err(std::io::Error::other)??;
        if count == 0 { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(line.trim_end().to_owned()) }
    }

    /// The last line of a reply.
    pub async fn reply(&mut self) -> std::io::Result<String> {
        loop {
            let line = self.line().await?;
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(line);
            }
        }
    }

    pub async fn send(&mut self, text: &str) -> std::io::Result<()> {
        self.stream.get_mut().write_all(text.as_bytes()).await
    }

    pub async fn command(&mut self, text: &str) -> std::io::Result<String> {
        self.send(&format!("{text}\r\n")).await?;
        self.reply().await
    }

    /// Sends a message in one go, as PIPELINING allows; returns the reply of each recipient.
    pub async fn deliver(&mut self, recipients: &[&str], message: &str) -> std::io::Result<Vec<String>> {
        let mut text = String::from("MAIL FROM:<eve@example.net>\r\n");
        recipients.iter().for_each(|to| text.push_str(&format!("RCPT TO:<{to}>\r\n")));
        text.push_str("DATA\r\n");
        self.send(&text).await?;
        self.reply().await?;
        let mut replies = Vec::new();
        let mut taken = 0;
        for _ in recipients {
            let reply = self.reply().await?;
            taken += usize::from(reply.starts_with("250"));
            replies.push(reply);
        }
        let data = self.reply().await?;
        if taken == 0 {
            return Ok(replies);
        }
        assert!(data.starts_with("354"), "{data}");
        self.send(&format!("{message}\r\n.\r\n")).await?;
        for reply in replies.iter_mut().filter(|reply| reply.starts_with("250")) {
            *reply = self.reply().await?;
        }
        Ok(replies)
    }
}
