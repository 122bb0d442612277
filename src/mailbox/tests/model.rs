//! Three connections to one account at once, each doing what comes to its mind while mail arrives. Each keeps a picture
//! of its folder as mail programs do, from nothing but what the server says; at the end every picture is what a fresh
//! session is shown. One of the three speaks QRESYNC, so that it hears of removals as VANISHED.

mod common;

use common::{Imap, Lmtp, Running, running};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeSet;
use std::time::Duration;

const USER: &str = "ann@example.org";
const FOLDERS: [&str; 2] = ["INBOX", "Archive"];
const WORDS: [&str; 5] = ["\\Seen", "\\Flagged", "\\Answered", "$Forwarded", "Blue"];

/// What a mail program knows of a message: its UID and its flags, once it has been told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Known {
    uid: Option<u32>,
    flags: Option<BTreeSet<String>>,
}

struct Client {
    imap: Imap,
    folder: &'static str,
    picture: Vec<Known>,
    chance: StdRng,
    /// The highest UID seen of each folder: what is new comes after it.
    highest: [u32; 2],
}

/// The flags in a line, without \Recent, which is one session's own.
fn flags(line: &str) -> Option<BTreeSet<String>> {
    let (_, rest) = line.split_once("FLAGS (")?;
    let (inside, _) = rest.split_once(')')?;
    Some(inside.split(' ').filter(|word| !word.is_empty() && *word != "\\Recent").map(str::to_owned).collect())
}

fn uid(line: &str) -> Option<u32> {
    let (_, rest) = line.split_once("UID ")?;
    rest.split([' ', ')']).next()?.parse().ok()
}

fn numbers(set: &str) -> Vec<u32> {
    let number = |text: &str| text.parse::<u32>().unwrap();
    set.split(',')
        .flat_map(|part| match part.split_once(':') {
            Some((low, high)) => (number(low)..=number(high)).collect(),
            None => vec![number(part)],
        })
        .collect()
}

impl Client {
    async fn new(running: &Running, seed: u64, resync: bool) -> Client {
        let mut imap = Imap::login(running, USER).await;
        if resync {
            imap.ok("ENABLE QRESYNC").await;
        }
        let mut client = Client {
            imap,
            folder: FOLDERS[0],
            picture: Vec::new(),
            chance: StdRng::seed_from_u64(seed),
            highest: [0, 0],
        };
        client.select(FOLDERS[0]).await;
        client
    }

    fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["*", count, "EXISTS"] => {
                let count: usize = count.parse().unwrap();
                assert!(count >= self.picture.len(), "{count} EXISTS, and {} were known", self.picture.len());
                self.picture.resize(count, Known::default());
            }
            ["*", place, "EXPUNGE"] => {
                self.picture.remove(place.parse::<usize>().unwrap() - 1);
            }
            ["*", "VANISHED", set] => numbers(set).into_iter().for_each(|uid| self.vanish(uid)),
            ["*", place, "FETCH", ..] => {
                let place: usize = place.parse().unwrap();
                assert!(place <= self.picture.len(), "{line}, and {} are there", self.picture.len());
                let known = &mut self.picture[place - 1];
                if let Some(uid) = uid(line) {
                    assert!(known.uid.is_none_or(|before| before == uid), "{line}, and it was {known:?}");
                    known.uid = Some(uid);
                }
                known.flags = flags(line).or(known.flags.take());
            }
            _ => {}
        }
    }

    /// One that this client never heard the UID of lies between its neighbours; which of several is all the same.
    fn vanish(&mut self, uid: u32) {
        let place = self.picture.iter().position(|known| known.uid == Some(uid)).or_else(|| {
            let after = self.picture.iter().position(|known| known.uid.is_some_and(|other| other > uid));
            let before = after.unwrap_or(self.picture.len()).checked_sub(1)?;
            self.picture[before].uid.is_none().then_some(before)
        });
        self.picture.remove(place.unwrap_or_else(|| panic!("VANISHED {uid}, which was never there")));
    }

    async fn command(&mut self, command: &str) {
        let lines = self.imap.command(command).await;
        lines.iter().for_each(|line| self.hear(line));
        let last = lines.last().unwrap();
        // What others removed meanwhile is refused; nothing here is wrong in itself.
        assert!(last.starts_with("OK") || last.starts_with("NO"), "{command}: {lines:#?}");
    }

    async fn select(&mut self, folder: &'static str) {
        self.picture.clear();
        self.folder = folder;
        let lines = self.imap.ok(&format!("SELECT {folder}")).await;
        lines.iter().for_each(|line| self.hear(line));
        self.learn().await;
    }

    /// Asks for what it has not been told of new messages.
    async fn learn(&mut self) {
        let missing = |known: &Known| known.uid.is_none() || known.flags.is_none();
        if let Some(first) = self.picture.iter().position(missing) {
            self.command(&format!("FETCH {}:{} (UID FLAGS)", first + 1, self.picture.len())).await;
        }
        let uids: Vec<u32> = self.picture.iter().filter_map(|known| known.uid).collect();
        assert!(uids.windows(2).all(|pair| pair[0] < pair[1]), "UIDs ascend: {uids:?}");
        let at = FOLDERS.iter().position(|folder| *folder == self.folder).unwrap();
        self.highest[at] = uids.last().copied().unwrap_or(0).max(self.highest[at]);
    }

    async fn step(&mut self) {
        let count = self.picture.len();
        let place = if count == 0 { 0 } else { self.chance.random_range(1..=count) };
        let upto = if count == 0 { 0 } else { self.chance.random_range(place..=count.min(place + 3)) };
        let uid = place.checked_sub(1).and_then(|place| self.picture[place].uid);
        let word = WORDS[self.chance.random_range(0..WORDS.len())];
        let sign = ["", "+", "-"][self.chance.random_range(0..3)];
        let other = FOLDERS[usize::from(self.folder == FOLDERS[0])];
        let message = format!("Subject: {}\r\n\r\ntext\r\n", self.chance.random::<u32>());
        match self.chance.random_range(0..20) {
            0..3 => self.command(&format!("APPEND {} ({word}) {{{}+}}\r\n{message}", self.folder, message.len())).await,
            3 => self.command(&format!("APPEND {other} {{{}+}}\r\n{message}", message.len())).await,
            4..8 if count > 0 => self.command(&format!("STORE {place}:{upto} {sign}FLAGS ({word})")).await,
            8..10 if uid.is_some() => {
                self.command(&format!("UID STORE {} {sign}FLAGS ({word})", uid.unwrap_or(0))).await
            }
            10 if count > 4 => self.command(&format!("STORE {place} +FLAGS (\\Deleted)")).await,
            11 => self.command("EXPUNGE").await,
            12 if count > 6 => self.command(&format!("MOVE {place}:{upto} {other}")).await,
            13 if count > 0 => self.command(&format!("COPY {place} {other}")).await,
            14 if count > 0 => {
                self.command(&format!("FETCH {place} (UID FLAGS BODY.PEEK[HEADER.FIELDS (X)]<0.1>)")).await
            }
            15 if uid.is_some() => self.command(&format!("UID EXPUNGE {}", uid.unwrap_or(0))).await,
            16 => self.idle().await,
            17 => self.select(other).await,
            _ => self.command("NOOP").await,
        }
        self.learn().await;
    }

    /// Waits for news for a moment.
    async fn idle(&mut self) {
        self.imap.send("i IDLE\r\n").await;
        loop {
            let line = self.imap.line().await;
            if line.starts_with("+ ") {
                break;
            }
            self.hear(&line);
        }
        tokio::time::sleep(Duration::from_millis(self.chance.random_range(0..40))).await;
        self.imap.send("DONE\r\n").await;
        let lines = self.imap.reply("i").await;
        assert!(lines.last().unwrap().starts_with("OK"), "{lines:#?}");
        lines.iter().for_each(|line| self.hear(line));
    }
}

/// What a session that has just begun is shown.
async fn fresh(running: &Running, folder: &str) -> Vec<Known> {
    let mut imap = Imap::login(running, USER).await;
    imap.ok(&format!("EXAMINE {folder}")).await;
    let lines = imap.command("FETCH 1:* (UID FLAGS)").await;
    lines
        .iter()
        .filter(|line| line.contains(" FETCH "))
        .map(|line| Known { uid: uid(line), flags: flags(line) })
        .collect()
}

async fn round(running: &Running, seed: u64) {
    let deliveries = async {
        let mut lmtp = Lmtp::connect(&running.paths).await.unwrap();
        for count in 0..25 {
            let replies = lmtp.deliver(&[USER], &format!("Subject: {seed} {count}\r\n\r\nx")).await.unwrap();
            assert!(replies[0].starts_with("250"), "{replies:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let one = |number: u64| async move {
        let mut client = Client::new(running, seed * 10 + number, number == 2).await;
        for _ in 0..60 {
            client.step().await;
            let pause = client.chance.random_range(0..8);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        client
    };
    let (a, b, c, ()) = tokio::join!(one(0), one(1), one(2), deliveries);
    for (number, mut client) in [a, b, c].into_iter().enumerate() {
        client.command("NOOP").await;
        client.learn().await;
        let shown = fresh(running, client.folder).await;
        assert_eq!(client.picture, shown, "seed {seed}, client {number}, {}", client.folder);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_three_sessions_are_told_adds_up_to_what_is_there() {
    let running = running().await;
    let rounds = std::env::var("MODEL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    for seed in 0..rounds {
        round(&running, seed).await;
    }
}
