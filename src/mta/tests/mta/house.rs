//! A box in a temporary folder around one MTA, and a client that talks to it.

use base::config::DemoOptions;
use base::{Address, BoxConfig, DnsMode, Domain, Paths, Role};
use mta::{Clock, LookupError, Mx, Names, Schedule};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixListener};
use wire::directory::{self, BackupMx, Bounced, Forwarding, Login, MailingList, Member, Posting, Resolution, Writers};
use wire::filter::{self, Action, Signed, Verdict};
use wire::mta::{Trace, Traced, What};
use wire::{Answer, Kind, Refusal, Serve};

/// The members of the list club@example.org, and whether mail to them came back.
pub type Members = Arc<Mutex<BTreeMap<Address, bool>>>;

/// What the mailbox has got: recipient and message.
pub type Mail = Arc<Mutex<Vec<(String, String)>>>;

pub struct House {
    /// Removed with everything in it when the house goes.
    _dir: tempfile::TempDir,
    pub paths: Paths,
    pub port: u16,
    /// Where this house's outgoing mail goes.
    pub remote_port: u16,
    pub mail: Mail,
    /// While set, `slow@example.org` cannot be delivered to.
    pub slow: Arc<AtomicBool>,
    pub certificate: Vec<u8>,
    pub members: Members,
}

pub fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// Forty ports in a row whose first three are free; each caller gets others.
fn free_ports() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % 200;
        let base = 21_000 + (std::process::id() as u16 % 50) * 40 + step * 200;
        let free = |offset: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, base + offset)).is_ok();
        if base < 60_000 && (0..3).chain([20]).all(free) {
            return base;
        }
    }
}

impl House {
    /// A box with its neighbours answering, and no MTA yet.
    pub async fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        let port = free_ports();
        let remote_port = port + 20;
        let hostname = Domain::parse("box.example.org").unwrap();
        let mut config = BoxConfig::new(address("ann@example.org"), hostname, DnsMode::External);
        config.demo =
            Some(DemoOptions { base_port: port, resolver: None, remote_smtp_port: remote_port, retry_seconds: None });
        std::fs::create_dir_all(paths.etc()).unwrap();
        config.save(&paths).unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["box.example.org".to_owned()]).unwrap();
        std::fs::create_dir_all(paths.tls()).unwrap();
        std::fs::write(paths.tls().join("chain.pem"), made.cert.pem()).unwrap();
        std::fs::write(paths.tls().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let certificate = made.cert.der().to_vec();
        let (mail, slow) = (Mail::default(), Arc::new(AtomicBool::new(false)));
        let members = [address("joe@example.net"), address("pat@example.net"), address("ann@example.org")];
        let members = Members::new(Mutex::new(members.into_iter().map(|member| (member, false)).collect()));
        let house = Self { _dir: dir, paths, port, remote_port, mail, slow, certificate, members };
        house.start_neighbours();
        house.await_sockets(&[(Role::Directory, "directory"), (Role::Filter, "filter"), (Role::Mailbox, "lmtp")]).await;
        house
    }

    /// A box with everything running in this process.
    pub async fn start() -> Self {
        Self::start_by(quick(), Clock::default()).await
    }

    /// The same with other waits and a clock that can be turned on.
    pub async fn start_by(schedule: Schedule, clock: Clock) -> Self {
        let house = Self::empty().await;
        house.run_by(schedule, clock).await;
        house
    }

    /// Starts the MTA in this process.
    pub async fn run_by(&self, schedule: Schedule, clock: Clock) {
        let paths = self.paths.clone();
        tokio::spawn(async move { mta::run_by(paths, Table, schedule, clock).await.unwrap() });
        self.await_sockets(&[(Role::Mta, "mta")]).await;
    }

    /// The same with all that can be turned.
    pub async fn run(&self, schedule: Schedule, tuning: mta::Tuning) {
        let paths = self.paths.clone();
        tokio::spawn(async move { mta::run_tuned(paths, Table, schedule, tuning).await.unwrap() });
        self.await_sockets(&[(Role::Mta, "mta")]).await;
    }

    /// Adds a blocklist that weighs little to the box's configuration.
    pub fn use_blocklist(&self, zone: &str) {
        let mut config = BoxConfig::load(&self.paths).unwrap();
        let zone = Domain::parse(zone).unwrap();
        config.blocklists.push(base::config::Blocklist { zone, weight: base::config::Weight::Weak });
        config.save(&self.paths).unwrap();
    }

    /// From here on the queue cannot be written.
    pub fn break_queue(&self) {
        let queue = rusqlite::Connection::open(self.paths.queue().join("queue.db")).unwrap();
        queue.execute_batch("DROP TABLE content; DROP TABLE entry;").unwrap();
    }

    fn start_neighbours(&self) {
        let members = Arc::clone(&self.members);
        let paths = self.paths.clone();
        tokio::spawn(async move { wire::serve(&paths, Arc::new(Mailbox)).await });
        let paths = self.paths.clone();
        tokio::spawn(async move { wire::serve(&paths, Arc::new(Directory { members })).await });
        let paths = self.paths.clone();
        tokio::spawn(async move { wire::serve(&paths, Arc::new(Filter)).await });
        let socket = self.paths.socket(Role::Mailbox, "lmtp");
        std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
        let listener = UnixListener::bind(socket).unwrap();
        let (mail, slow) = (Arc::clone(&self.mail), Arc::clone(&self.slow));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(lmtp(stream, Arc::clone(&mail), Arc::clone(&slow)));
            }
        });
    }

    pub async fn await_sockets(&self, sockets: &[(Role, &str)]) {
        for (role, name) in sockets {
            let socket = self.paths.socket(*role, name);
            eventually(|| std::os::unix::net::UnixStream::connect(&socket).is_ok()).await;
        }
    }

    /// What waits, as its owner sees it.
    pub async fn queue(&self) -> Vec<wire::mta::Waiting> {
        wire::Client::new(self.paths.clone()).ask(&wire::mta::Queue {}).await.unwrap()
    }

    /// What the history tells of the one message that these words fit and that has come to `last`.
    pub async fn told(&self, words: &[&str], last: What) -> Traced {
        let words = words.iter().map(|word| word.to_string()).collect();
        let ask = Trace { words, since: None, until: None, limit: 10 };
        for _ in 0..500 {
            let found = wire::Client::new(self.paths.clone()).ask(&ask).await.unwrap();
            let there = |it: &Traced| it.steps.iter().any(|step| step.what == last);
            if let Some(it) = found.into_iter().find(there) {
                return it;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the history has no {last:?} of {:?}", ask.words);
    }

    pub async fn await_empty_queue(&self) {
        for _ in 0..3_000 {
            if self.queue().await.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{:?}", self.queue().await);
    }

    pub async fn connect(&self) -> Client {
        Client::to(self.port).await
    }

    /// A logged-in client on the submission port.
    pub async fn user(&self) -> Client {
        let mut client = Client::to(self.port + 1).await.hello().await.starttls(self).await;
        // ann@example.org, secret
        client.expect("AUTH PLAIN AGFubkBleGFtcGxlLm9yZwBzZWNyZXQ=", "235").await;
        client
    }

    pub fn messages_for(&self, recipient: &str) -> Vec<String> {
        let mail = self.mail.lock().unwrap();
        mail.iter().filter(|(to, _)| to == recipient).map(|(_, message)| message.clone()).collect()
    }

    pub async fn message_for(&self, recipient: &str) -> String {
        eventually(|| !self.messages_for(recipient).is_empty()).await;
        self.messages_for(recipient).remove(0)
    }
}

/// Retries in seconds rather than minutes.
pub fn quick() -> Schedule {
    let second = Duration::from_secs(1);
    Schedule { first: second, longest: second, give_up: 3 * second }
}

/// Waits until something is so, and fails when it does not become so.
pub async fn eventually(mut so: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not happen within a minute");
}

/// The DNS of the tests: every domain's mail goes to loopback, but for a few with special records.
pub struct Table;

impl Names for Table {
    async fn mx(&self, domain: &Domain) -> Result<Vec<Mx>, LookupError> {
        match domain.as_str() {
            "nomail.example" => Ok(vec![Mx { preference: 0, exchange: String::new() }]),
            "missing.example" => Err(LookupError::NoSuchName),
            name => Ok(vec![Mx { preference: 10, exchange: format!("mx.{name}") }]),
        }
    }

    async fn txt(&self, name: &str) -> Result<Vec<String>, LookupError> {
        Ok(match name {
            "_smtp._tls.reported.example" => vec!["v=TLSRPTv1; rua=mailto:tls@reported.example".to_owned()],
            _ => Vec::new(),
        })
    }

    async fn addresses(&self, _: &Domain) -> Result<Vec<IpAddr>, LookupError> {
        Ok(vec![Ipv4Addr::LOCALHOST.into()])
    }
}

struct Directory {
    members: Members,
}

impl Serve for Directory {
    type Request = directory::Request;
    async fn answer(&self, _: Role, request: Self::Request, _: Vec<u8>) -> Result<Answer, Refusal> {
        match request {
            directory::Request::Resolve(ask) => {
                let account = ask.address.account();
                ask.answer(match (account.domain().as_str(), account.local()) {
                    ("example.org", "away") => return Err(Refusal::new(Kind::Busy, "away")),
                    (
                        "example.org",
                        "ann" | "bob" | "slow" | "full" | "stuffed" | "nearly" | "postmaster" | "mailstead-reports",
                    ) => Resolution::Accounts(vec![account]),
                    ("friend.example", _) => Resolution::BackupFor(BackupMx {
                        domain: account.domain().clone(),
                        primary: Domain::parse("mx.friend.example").unwrap(),
                    }),
                    ("example.org", "club" | "talk" | "news") => Resolution::List(account),
                    ("example.org", "both") => passed_on(&account, &["ann@example.org"], Writers::Everyone),
                    ("example.org", "out") => passed_on(&account, &[], Writers::Everyone),
                    ("example.org", "staff") => passed_on(&account, &["ann@example.org"], Writers::Inside),
                    ("example.org", "press") => {
                        passed_on(&account, &[], Writers::Listed(vec![address("joe@example.net")]))
                    }
                    ("example.org", _) => Resolution::Unknown,
                    _ => Resolution::Elsewhere,
                })
            }
            directory::Request::Relays(ask) => ask.answer(Vec::new()),
            directory::Request::Authenticate(ask) => ask.answer(match (ask.login.as_str(), ask.password.expose()) {
                ("ann@example.org", "secret") => Login::Granted { account: address("ann@example.org"), admin: true },
                ("bob@example.org", "secret") => Login::Granted { account: address("bob@example.org"), admin: false },
                ("many@example.org", _) => Login::Throttled { retry_after_seconds: 60 },
                ("away@example.org", _) => return Err(Refusal::new(Kind::Busy, "away")),
                _ => Login::Denied,
            }),
            directory::Request::ListOf(ask) => {
                let list = ask.address.account();
                let posting = match list.local() {
                    "club" => Posting::Members,
                    "talk" => Posting::Open,
                    "news" => Posting::Moderated,
                    _ => return Err(Refusal::new(Kind::NotFound, "no list")),
                };
                let (name, moderators) = ("The club".to_owned(), vec![address("bob@example.org")]);
                ask.answer(MailingList { address: list, name, posting, moderators, created: 0, members: 3 })
            }
            directory::Request::Members(ask) => {
                let members = self.members.lock().unwrap();
                let member = |(address, _): (&Address, &bool)| Member {
                    address: address.clone(),
                    joined: 0,
                    bounces: 0,
                    suspended: false,
                };
                ask.answer(members.iter().map(member).collect())
            }
            directory::Request::Subscribe(ask) => {
                ask.answer(self.members.lock().unwrap().insert(ask.member.clone(), false).is_none())
            }
            directory::Request::Unsubscribe(ask) => {
                ask.answer(self.members.lock().unwrap().remove(&ask.member).is_some())
            }
            directory::Request::NoteBounce(ask) => {
                self.members.lock().unwrap().insert(ask.member.clone(), true);
                ask.answer(Bounced::Suspended)
            }
            directory::Request::MaySend(ask) => ask.answer(ask.account == ask.sender.account()),
            directory::Request::SendingOf(ask) => {
                ask.answer(directory::Sending { undo_seconds: if ask.account.local() == "bob" { 2 } else { 0 } })
            }
            directory::Request::ScramOffered(ask) => ask.answer(true),
            directory::Request::ScramChallenge(ask) => ask.answer(crate::scram::parameters()),
            directory::Request::ScramVerify(ask) => ask.answer(crate::scram::verify(&ask)),
            other => Err(Refusal::new(Kind::Invalid, format!("{other:?}"))),
        }
    }
}

/// What the mailbox says besides LMTP.
struct Mailbox;

impl Serve for Mailbox {
    type Request = wire::mailbox::Request;
    async fn answer(&self, _: Role, request: Self::Request, _: Vec<u8>) -> Result<Answer, Refusal> {
        match request {
            wire::mailbox::Request::RoomFor(ask) => {
                let full = |even_for_small_mail| wire::mailbox::Room::Full {
                    words: format!("the mailbox {} is full", ask.account),
                    even_for_small_mail,
                };
                ask.answer(match ask.account.local() {
                    "stuffed" => full(true),
                    "nearly" => full(false),
                    _ => wire::mailbox::Room::Enough,
                })
            }
            other => Err(Refusal::new(Kind::Invalid, format!("{other:?}"))),
        }
    }
}

/// An alias that leads to `friend@example.net` too.
fn passed_on(alias: &Address, accounts: &[&str], writers: Writers) -> Resolution {
    let accounts = accounts.iter().map(|account| address(account)).collect();
    Resolution::Alias(Forwarding {
        alias: alias.clone(),
        accounts,
        outside: vec![address("friend@example.net")],
        writers,
    })
}

struct Filter;

impl Serve for Filter {
    type Request = filter::Request;
    async fn answer(&self, _: Role, request: Self::Request, body: Vec<u8>) -> Result<Answer, Refusal> {
        let text = String::from_utf8_lossy(&body).into_owned();
        match request {
            filter::Request::Judge(ask) => {
                let action = match () {
                    () if text.contains("FILTER-AWAY") => return Err(Refusal::new(Kind::Busy, "away")),
                    () if text.contains("SPAM-REFUSE") => {
                        Action::Refuse { code: 550, enhanced: "5.7.1".into(), text: "spam".into() }
                    }
                    () if text.contains("SPAM-DEFER") => Action::Defer { text: "later".into() },
                    () if text.contains("SPAM-JUNK") => Action::Junk,
                    () => Action::Accept,
                };
                let headers = "Authentication-Results: box.example.org; spf=none\r\n".into();
                let mut reasons = ask.notes.clone();
                if text.contains("AUTHENTIC") {
                    let words = "it is really from the domain that it names".into();
                    reasons.push(filter::Reason { rule: "authenticated".into(), score: -0.5, words });
                }
                let score = if text.contains("SCORE-FOUR") { 4.0 } else { 1.5 };
                let author =
                    text.contains("AUTHENTIC").then(|| text.lines().find_map(|line| line.strip_prefix("From: ")));
                let author = author.flatten().and_then(|author| Address::parse(author.trim()).ok());
                ask.answer(Verdict { action, score, reasons, headers, author, strict: text.contains("STRICT") })
            }
            filter::Request::Seal(_) if text.contains("SEAL-AWAY") => Err(Refusal::new(Kind::Busy, "away")),
            filter::Request::Seal(ask) => {
                ask.answer(Signed { headers: format!("ARC-Seal: i=1; d={}; was={}\r\n", ask.domain, ask.as_received) })
            }
            filter::Request::TakeReport(_) if !text.contains("<feedback>") => {
                Err(Refusal::new(Kind::Invalid, "the message holds no report"))
            }
            filter::Request::TakeReport(ask) => ask.answer(filter::TakenReport {
                id: 7,
                kind: filter::ReportKind::Dmarc,
                organisation: "peer.example".into(),
                domain: Domain::parse("example.org").unwrap(),
                begin: 0,
                end: 0,
                good: 12,
                bad: 3,
                authenticated: ask.authenticated,
            }),
            filter::Request::Sign(ask) if text.contains("FILTER-AWAY") => {
                Err(Refusal::new(Kind::Busy, ask.domain.as_str()))
            }
            filter::Request::Sign(ask) => {
                ask.answer(Signed { headers: format!("DKIM-Signature: v=1; d={}\r\n", ask.domain) })
            }
            other => Err(Refusal::new(Kind::Invalid, format!("{other:?}"))),
        }
    }
}

async fn lmtp(stream: tokio::net::UnixStream, mail: Mail, slow: Arc<AtomicBool>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 mailbox LMTP\r\n").await?;
    let mut recipients = Vec::new();
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        let command = line.trim_end().to_owned();
        line.clear();
        let reply = match command.get(..4).unwrap_or_default() {
            "LHLO" => "250-mailbox\r\n250-PIPELINING\r\n250 8BITMIME\r\n".to_owned(),
            "RCPT" => {
                recipients.push(command.trim_start_matches("RCPT TO:<").trim_end_matches('>').to_owned());
                "250 ok\r\n".to_owned()
            }
            "DATA" => {
                stream.write_all(b"354 go\r\n").await?;
                let message = read_message(&mut stream).await?;
                recipients.drain(..).map(|to| store(&to, &message, &mail, &slow)).collect()
            }
            _ => "250 ok\r\n".to_owned(),
        };
        stream.write_all(reply.as_bytes()).await?;
    }
    Ok(())
}

fn store(to: &str, message: &str, mail: &Mail, slow: &AtomicBool) -> String {
    match to {
        "full@example.org" => "552 5.2.2 mailbox full\r\n".into(),
        "slow@example.org" if slow.load(Ordering::Relaxed) => "451 4.2.0 not now\r\n".into(),
        _ => {
            mail.lock().unwrap().push((to.to_owned(), message.to_owned()));
            "250 2.0.0 stored\r\n".into()
        }
    }
}

/// Reads up to the final dot and undoes the dot-stuffing, simply.
pub async fn read_message(stream: &mut (impl AsyncBufReadExt + Unpin)) -> std::io::Result<String> {
    let (mut message, mut line) = (String::new(), Vec::new());
    loop {
        line.clear();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if line == b".\r\n" {
            return Ok(message);
        }
        let text = String::from_utf8_lossy(&line);
        message.push_str(text.strip_prefix('.').unwrap_or(&text));
    }
}

pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A client that says what it is told and checks what it hears.
pub struct Client {
    stream: BufReader<Box<dyn Io>>,
    /// The connection's `tls-exporter` value, inside TLS.
    pub binding: Vec<u8>,
}

impl Client {
    pub async fn to(port: u16) -> Self {
        let mut client = Self::silent(port).await;
        assert!(client.reply().await.starts_with("220 box.example.org"));
        client
    }

    /// Connects without waiting for the greeting.
    pub async fn silent(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        Self { stream: BufReader::new(Box::new(stream)), binding: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // A server that has refused may have closed already; the reply tells.
        let _ = self.stream.write_all(bytes.as_ref()).await;
        let _ = self.stream.flush().await;
    }

    /// The whole next reply; empty when the server has closed.
    pub async fn reply(&mut self) -> String {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            let read = self.stream.read_line(&mut line);
            let read = tokio::time::timeout(Duration::from_secs(20), read).await.expect("no reply in time");
            if !matches!(read, Ok(1..)) {
                return all;
            }
            all.push_str(&line);
            if line.as_bytes().get(3) != Some(&b'-') {
                return all;
            }
        }
    }

    /// The next line without its end; empty when the server has closed.
    pub async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line);
        let read = tokio::time::timeout(Duration::from_secs(20), read).await.expect("no reply in time");
        if read.is_err() { String::new() } else { line.trim_end_matches(['\r', '\n']).to_owned() }
    }

    pub async fn ask(&mut self, command: &str) -> String {
        self.send(format!("{command}\r\n")).await;
        self.reply().await
    }

    pub async fn expect(&mut self, command: &str, start: &str) -> String {
        let reply = self.ask(command).await;
        assert!(reply.starts_with(start), "{command}: {reply:?} instead of {start}");
        reply
    }

    pub async fn hello(mut self) -> Self {
        self.expect("EHLO client.example.net", "250-").await;
        self
    }

    /// MAIL, RCPT… and DATA, up to the 354.
    pub async fn begin(&mut self, from: &str, to: &[&str]) {
        self.expect(&format!("MAIL FROM:<{from}>"), "250").await;
        for to in to {
            self.expect(&format!("RCPT TO:<{to}>"), "250").await;
        }
        self.expect("DATA", "354").await;
    }

    /// A whole message; gives the final reply.
    pub async fn mail(&mut self, from: &str, to: &[&str], message: &str) -> String {
        self.begin(from, to).await;
        self.send(format!("{message}\r\n.\r\n")).await;
        self.reply().await
    }

    pub async fn starttls(mut self, house: &House) -> Self {
        self.expect("STARTTLS", "220").await;
        self.secure(house).await.hello().await
    }

    /// The handshake alone.
    pub async fn secure(self, house: &House) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(house.certificate.clone().into()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = "box.example.org".try_into().unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = connector.connect(name, self.stream.into_inner()).await.unwrap();
        let exported =
            stream.get_ref().1.export_keying_material([0u8; 32], b"EXPORTER-Channel-Binding", Some(b"")).unwrap();
        Self { stream: BufReader::new(Box::new(stream)), binding: exported.to_vec() }
    }

    /// Everything that still comes, up to the end.
    pub async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let read = self.stream.read_to_end(&mut rest);
        let _ = tokio::time::timeout(Duration::from_secs(20), read).await.expect("the connection stays open");
        String::from_utf8_lossy(&rest).into_owned()
    }
}
