//! Ways in for the fuzz targets of `tests/fuzz`: parsers by themselves, and whole sessions over a stream in memory.
//! Built with the feature `fuzz` and for this room's own tests, which play everything in `tests/fuzz/corpus`. Nothing here decides anything; it only hands over.

use crate::{accounts, imap, learn, lmtp, login, managesieve, pop3, quota, sieve};
use base::{Address, Paths};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use store::{Account, StoreError};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

/// A session that takes longer on what a fuzzer sends is one that hangs.
const WITHIN: Duration = Duration::from_secs(20);

/// One IMAP command with its literals.
pub fn imap_command(bytes: &[u8]) {
    // Whether it is a command does not matter, only that the question is answered.
    let _ = imap::proto::parse(bytes);
}

/// One line of POP3, of LMTP and of ManageSieve.
pub fn lines(bytes: &[u8]) {
    let _ = pop3::proto::parse(bytes);
    let _ = lmtp::proto::parse(bytes);
    let _ = managesieve::proto::announced(bytes);
    let _ = managesieve::proto::parse(bytes);
    let _ = managesieve::proto::response(bytes);
}

/// The mailbox role without its sockets. The directory is asked at its door, which somebody else has to serve.
pub struct Place {
    accounts: Arc<accounts::Accounts>,
    logins: Arc<login::Logins>,
    shared: Arc<imap::server::Shared>,
    context: Arc<lmtp::server::LmtpContext>,
}

impl Place {
    /// Called inside a runtime.
    pub fn new(paths: &Paths) -> Self {
        let directory = wire::Client::new(paths.clone());
        let accounts = Arc::new(accounts::Accounts::new(paths.clone()));
        let hostname = "box.example.org".to_owned();
        let quotas = Arc::new(quota::Quotas::new(hostname.clone(), directory.clone(), Arc::clone(&accounts)));
        let logins = Arc::new(login::Logins::new(Arc::clone(&accounts), directory.clone()));
        let learner = learn::Learner::start(directory.clone());
        let shared = Arc::new(imap::server::Shared::new(Arc::clone(&logins), learner, Arc::clone(&quotas)));
        let context = Arc::new(lmtp::server::LmtpContext {
            hostname,
            accounts: Arc::clone(&accounts),
            directory: directory.clone(),
            recipients: lmtp::recipients::Recipients::new(directory),
            memory: Arc::clone(&shared.memory),
            sieve: Arc::new(sieve::language::runtime()),
            quotas,
            late: Arc::default(),
        });
        Self { accounts, logins, shared, context }
    }

    /// An account's mail.
    pub async fn account(&self, address: &Address) -> Result<Arc<Account>, StoreError> {
        self.accounts.get(address).await
    }

    /// Each of these sends `input` to a session of its own, ends the stream, and returns all that was said; `None` when
    /// the session did not come to its end in time or panicked.
    pub async fn imap(&self, input: &[u8]) -> Option<Vec<u8>> {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let conn = imap::connection::Connection::new(theirs, Arc::clone(&self.shared.memory));
        let offer = self.logins.offer(None).await;
        let session = imap::session::Session::new(conn, Arc::clone(&self.shared), client(), offer);
        converse(ours, input, tokio::spawn(session.run())).await
    }

    pub async fn pop3(&self, input: &[u8]) -> Option<Vec<u8>> {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let session = pop3::session::Session::new(theirs, Arc::clone(&self.logins), client(), None).await;
        converse(ours, input, tokio::spawn(session.run())).await
    }

    /// As inside TLS, so that one can log in.
    pub async fn managesieve(&self, input: &[u8]) -> Option<Vec<u8>> {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let offer = self.logins.offer(None).await;
        let session = managesieve::session::Session::new(theirs, Arc::clone(&self.logins), client(), Some(offer));
        let run = async {
            session.run().await;
        };
        converse(ours, input, tokio::spawn(run)).await
    }

    pub async fn lmtp(&self, input: &[u8]) -> Option<Vec<u8>> {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let (read, write) = tokio::io::split(theirs);
        let session = lmtp::session::Session::new(read, write, Arc::clone(&self.context));
        let run = async {
            // A client that goes away is an error to the session, and what is meant here.
            let _ = session.run().await;
        };
        converse(ours, input, tokio::spawn(run)).await
    }

    /// Compiles a script and, where it is one, runs it on a message.
    pub async fn sieve(&self, account: &Arc<Account>, script: &[u8], message: &[u8]) {
        if sieve::language::check(script).is_err() {
            return;
        }
        let scripts = sieve::scripts::Scripts::of(account);
        let Ok(name) = sieve::scripts::ScriptName::parse("fuzz") else { return };
        if scripts.put(&name, script).and_then(|()| scripts.set_active(Some(&name))).is_err() {
            return;
        }
        if let Ok(address) = Address::parse("ann@example.org") {
            let delivery = sieve::run::Delivery {
                account: &address,
                recipient: &address,
                sender: "eve@example.net",
                message,
                hostname: "box.example.org",
                now: 1_800_000_000,
            };
            // A script may fail; it must come to an end.
            let _ = sieve::run::active(&self.context.sieve, account, &delivery);
        }
    }
}

fn client() -> IpAddr {
    IpAddr::V4(Ipv4Addr::LOCALHOST)
}

async fn converse(ours: DuplexStream, input: &[u8], session: JoinHandle<()>) -> Option<Vec<u8>> {
    let (mut read, mut write) = tokio::io::split(ours);
    let speak = async {
        // The session may have ended before all was sent.
        let _ = write.write_all(input).await;
        let _ = write.shutdown().await;
    };
    let mut said = Vec::new();
    let listen = async {
        let _ = read.read_to_end(&mut said).await;
    };
    let all = async {
        let ((), (), ended) = tokio::join!(speak, listen, session);
        ended.is_ok()
    };
    let ended = tokio::time::timeout(WITHIN, all).await.unwrap_or(false);
    ended.then_some(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Role;
    use std::path::PathBuf;
    use wire::directory::{AccountQuota, Login, Request, Resolution};
    use wire::{Answer, Kind, Refusal, Serve};

    fn ann() -> Address {
        Address::parse("ann@example.org").unwrap()
    }

    struct Directory;

    impl Serve for Directory {
        type Request = Request;

        async fn answer(&self, _: Role, request: Request, _: Vec<u8>) -> Result<Answer, Refusal> {
            match request {
                Request::Resolve(ask) => ask.answer(Resolution::Accounts(vec![ann()])),
                Request::Authenticate(ask) => ask.answer(Login::Granted { account: ann(), admin: false }),
                Request::QuotaOf(ask) => ask.answer(AccountQuota { account_bytes: None, domain_bytes: None }),
                other => Err(Refusal::new(Kind::Invalid, wire::server::Request::name(&other))),
            }
        }
    }

    /// Every input of a target that is kept: seeds, and what once found something.
    fn kept(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus").join(target);
        let paths = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let all: Vec<_> = paths.map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect();
        assert!(!all.is_empty(), "{}", folder.display());
        all
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_fuzz_targets_keep_is_answered_and_leaves_the_account_sound() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        let own = paths.clone();
        tokio::spawn(async move { wire::serve(&own, Arc::new(Directory)).await.unwrap() });
        while tokio::net::UnixStream::connect(paths.socket(Role::Directory, "directory")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let place = Place::new(&paths);
        let with = |before: &str, input: &[u8]| [before.as_bytes(), input, b"\r\n"].concat();
        let text = |said: Option<Vec<u8>>| String::from_utf8_lossy(&said.expect("an end")).into_owned();
        kept("imap_command").iter().for_each(|(_, input)| imap_command(input));
        for (path, input) in kept("lmtp") {
            lines(&input);
            let said = text(place.lmtp(&with("LHLO x\r\n", &input)).await);
            assert!(said.contains("250-"), "{}: {said}", path.display());
        }
        for (path, input) in kept("imap_session") {
            let said = text(place.imap(&with("a LOGIN ann@example.org x\r\nb SELECT INBOX\r\n", &input)).await);
            assert!(said.contains("b OK"), "{}: {said}", path.display());
        }
        for (path, input) in kept("pop3") {
            lines(&input);
            let said = text(place.pop3(&with("USER ann@example.org\r\nPASS x\r\n", &input)).await);
            assert!(said.matches("+OK").count() >= 3, "{}: {said}", path.display());
        }
        for (path, input) in kept("managesieve") {
            lines(&input);
            // base64 of NUL ann@example.org NUL x
            let login = "AUTHENTICATE \"PLAIN\" \"AGFubkBleGFtcGxlLm9yZwB4\"\r\n";
            let said = text(place.managesieve(&with(login, &input)).await);
            assert!(said.matches("OK").count() >= 2, "{}: {said}", path.display());
        }
        let account = place.account(&ann()).await.unwrap();
        for (_, input) in kept("sieve") {
            let end = input.iter().position(|byte| *byte == 0).unwrap_or(input.len());
            place.sieve(&account, &input[..end], input.get(end + 1..).unwrap_or_default()).await;
        }
        assert_eq!(account.fsck(false).unwrap(), []);
    }
}
