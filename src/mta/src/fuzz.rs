//! Ways in for the fuzz targets of `tests/fuzz`: parsers by themselves, and whole sessions over a stream in memory.
//! Built with the feature `fuzz` and for this room's own tests, which play everything in `tests/fuzz/corpus`. Nothing
//! here decides anything; it only hands over.

use crate::delivery::mailboxes::Mailboxes;
use crate::house::{House, known};
use crate::message::{self, binary};
use crate::proto::dot::{self, DotReader, DotWriter, Taken};
use crate::proto::reply::ReplyReader;
use crate::proto::{Command, line};
use crate::session::{Kind, Session};
use crate::{Clock, Schedule, Tuning, callout, list, memory, neighbours, policy, queue, rates, server, srs};
use base::{Address, Domain, Paths};
use bytes::BytesMut;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A session that takes longer on what a fuzzer sends is one that hangs.
const WITHIN: Duration = Duration::from_secs(20);

/// Lines as commands.
pub fn commands(bytes: &[u8]) {
    let mut buffer = BytesMut::from(bytes);
    while let line::Line::Whole(line) = line::take(&mut buffer, crate::limits::COMMAND_LINE) {
        // Whether it is a command does not matter, only that the question is answered.
        let _ = Command::parse(&line);
    }
}

/// Lines as another server's replies.
pub fn replies(bytes: &[u8]) {
    let mut reader = ReplyReader::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Ok(Some(reply)) = reader.feed(line) {
            let mut said = Vec::new();
            reply.write(&mut said);
            assert!(said.ends_with(b"\r\n") && !reply.words().contains('\n'));
        }
    }
}

/// Any octets as a bounce to a mailing list.
pub fn bounces(bytes: &[u8]) {
    if let Ok(message) = message::Message::received(bytes.to_vec()) {
        let _ = list::has_failed(&message);
    }
}

/// A message as it comes after DATA, in pieces, and as it comes by BDAT.
pub fn messages(bytes: &[u8]) {
    let (mut reader, mut out) = (DotReader::default(), Vec::new());
    for piece in bytes.chunks(7) {
        match reader.feed(piece, &mut out) {
            Ok(Taken::All) => {}
            Ok(Taken::End(_)) => {
                assert_eq!(dot::check(&out), Ok(()), "what came through is well formed");
                break;
            }
            Err(_) => break,
        }
    }
    if let Ok(text) = binary::to_text(bytes) {
        assert_eq!(dot::check(&text), Ok(()), "what is made fit is well formed");
        let mut sent = Vec::new();
        let mut writer = DotWriter::default();
        writer.feed(&text, &mut sent);
        writer.finish(&mut sent);
        let (mut again, mut reader) = (Vec::new(), DotReader::default());
        assert_eq!(reader.feed(&sent, &mut again), Ok(Taken::End(sent.len())), "it is read back whole");
    }
    if let Ok(message) = message::Message::received(bytes.to_vec()) {
        let _ = message::submitted::authors(&message);
    }
}

/// The MTA without its sockets. The neighbours are asked at their doors, which somebody else has to serve.
pub struct Place {
    house: Arc<House>,
}

impl Place {
    /// Called inside a runtime. `None`: the folder cannot be used.
    pub fn new(paths: &Paths) -> Option<Self> {
        let home = Domain::parse("example.org").ok()?;
        std::fs::create_dir_all(paths.queue()).ok()?;
        let house = House {
            paths: paths.clone(),
            hostname: Domain::parse("box.example.org").ok()?,
            site: "https://box.example.org".to_owned(),
            home: home.clone(),
            neighbours: neighbours::Neighbours::new(
                paths,
                srs::Srs::open(&paths.queue().join(".keys/srs")).ok()?,
                list::Tokens::open(&paths.queue().join(".keys/lists")).ok()?,
            ),
            mailboxes: Arc::new(Mailboxes::new(paths.clone(), Domain::parse("box.example.org").ok()?)),
            lists: list::Shelves::open(paths).ok()?,
            callout: callout::Callout::open(
                paths.queue().join(".backup/known.json"),
                Domain::parse("box.example.org").ok()?,
                25,
            ),
            queue: queue::Queue::open(paths.queue(), Clock::default(), Schedule::default().rests()).ok()?,
            history: crate::history::History::open(&paths.queue()).ok()?,
            memory: memory::Memory::default(),
            owner: Address::new("ann", home).ok()?,
            own_addresses: Vec::new(),
            blocklists: Vec::new().into(),
            known: known(paths),
            arrivals: policy::network::Arrivals::default(),
            tuning: Tuning { messages_per_hour: u32::MAX, ..Tuning::default() },
            automatic: rates::Rates::default(),
            round_trips: crate::round_trips::RoundTrips::default(),
        };
        Some(Self { house: Arc::new(house) })
    }

    /// Sends `input` to a session of its own on port 25, ends the stream, and returns all that was said; `None` when the
    /// session did not come to its end in time or panicked.
    pub async fn inbound(&self, input: &[u8]) -> Option<Vec<u8>> {
        self.converse(Kind::Inbound, input).await
    }

    /// The same on a submission port, inside TLS.
    pub async fn submission(&self, input: &[u8]) -> Option<Vec<u8>> {
        self.converse(Kind::Submission, input).await
    }

    async fn converse(&self, kind: Kind, input: &[u8]) -> Option<Vec<u8>> {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let mut session = Session::new(Arc::clone(&self.house), kind, IpAddr::V4(Ipv4Addr::LOCALHOST));
        if kind == Kind::Submission {
            session.secured("TLS".to_owned(), None);
        }
        let session = tokio::spawn(async move {
            // A client that goes away is an error to the session, and what is meant here.
            let _ = server::conversation::converse(theirs, None, session, false).await;
        });
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// Every input of a target that is kept: seeds, and what once found something.
    fn kept(target: &str) -> Vec<Vec<u8>> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus").join(target);
        let paths = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let all: Vec<_> = paths.map(|path| std::fs::read(path).unwrap()).collect();
        assert!(!all.is_empty(), "{}", folder.display());
        all
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_fuzz_targets_keep_is_answered() {
        kept("smtp_command").iter().for_each(|input| commands(input));
        kept("smtp_reply").iter().for_each(|input| replies(input));
        kept("bounce").iter().for_each(|input| bounces(input));
        kept("smtp_message").iter().for_each(|input| messages(input));
        let dir = tempfile::tempdir().unwrap();
        // No neighbour answers, so nothing is taken, and everything is answered.
        let place = Place::new(&Paths::under(dir.path())).unwrap();
        for input in kept("smtp_session") {
            let said = place.inbound(&[b"EHLO x\r\n", &input[..], b"\r\n"].concat()).await.expect("an end");
            assert!(said.starts_with(b"220 ") && said.windows(4).any(|four| four == b"250-"));
            assert!(place.submission(&input).await.expect("an end").starts_with(b"220 "));
        }
    }
}
