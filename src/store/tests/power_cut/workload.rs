//! What the child does, and what it says of it: `TRY` before and `ACK` after each operation, on its standard output,
//! which stands in the trace among the other system calls.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use store::{Account, FlagChange, FlagUpdate, Flags, FolderName, Keywords, New, Stored, Uid, Which};

const FLAGS: [Flags; 5] = [Flags::SEEN, Flags::ANSWERED, Flags::FLAGGED, Flags::DELETED, Flags::DRAFT];

pub fn bits(flags: Flags) -> u8 {
    FLAGS.iter().enumerate().filter(|(_, flag)| flags.contains(**flag)).map(|(bit, _)| 1 << bit).sum()
}

/// The bytes of a message by its name, long enough to take more than one write to the index.
pub fn bytes_of(content: &str) -> Vec<u8> {
    format!("Subject: {content}\r\nMessage-ID: <{content}@test>\r\n\r\n{}", "some text\r\n".repeat(40)).into_bytes()
}

/// Which message this is; one that is not whole is none of them.
pub fn content_of(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let name = text.lines().next().and_then(|line| line.strip_prefix("Subject: ")).unwrap_or_default().to_owned();
    if bytes == bytes_of(&name) || name == "after" { name } else { format!("not whole: {text:.60}") }
}

/// What was said up to a moment.
#[derive(Default)]
pub struct Told {
    /// Messages that were stored.
    pub stored: BTreeSet<String>,
    pub uids: BTreeMap<(u32, u32), String>,
    pub highest: BTreeMap<u32, u64>,
    /// Keywords and flags that stand whatever is under way.
    pub keywords: BTreeMap<String, Vec<String>>,
    pub flags: BTreeMap<String, (u32, u32, u8)>,
    /// Of those under way it cannot be said whether they are removed.
    pub may_be_removed: BTreeSet<String>,
    pub removed: BTreeSet<String>,
    bringing_back: bool,
    count: usize,
}

impl Told {
    pub fn acknowledged(&self) -> usize {
        self.count
    }

    pub fn must_stay_removed(&self, content: &str) -> bool {
        !self.bringing_back && self.removed.contains(content)
    }

    pub fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |text: &str| text.parse::<u32>().unwrap();
        self.count += usize::from(words.first() == Some(&"ACK"));
        match words.as_slice() {
            ["ACK", "stored", content, validity, uid] => {
                self.stored.insert((*content).to_owned());
                self.uids.insert((number(validity), number(uid)), (*content).to_owned());
            }
            ["TRY", "flags", content] => {
                self.keywords.remove(*content);
                self.flags.remove(*content);
            }
            ["ACK", "flags", content, validity, uid, bits, keywords @ ..] => {
                let bits = bits.parse().unwrap();
                self.flags.insert((*content).to_owned(), (number(validity), number(uid), bits));
                self.keywords.insert((*content).to_owned(), keywords.iter().map(|word| (*word).to_owned()).collect());
            }
            ["TRY", "remove", content] => {
                self.may_be_removed.insert((*content).to_owned());
                // Brought back, it is not flagged as deleted any more.
                self.flags.remove(*content);
            }
            ["ACK", "remove", content] => {
                self.removed.insert((*content).to_owned());
            }
            ["TRY", "back"] => self.bringing_back = true,
            ["ACK", "back"] => {
                self.bringing_back = false;
                self.removed.clear();
                self.may_be_removed.clear();
            }
            ["ACK", "highest", validity, highest] => {
                self.highest.insert(number(validity), highest.parse().unwrap());
            }
            _ => {}
        }
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()).unwrap();
}

fn name(text: &str) -> FolderName {
    FolderName::parse(text).unwrap()
}

fn deliver(account: &Account, folder: &str, contents: &[String], keywords: &[&str]) {
    let all: Vec<Vec<u8>> = contents.iter().map(|content| bytes_of(content)).collect();
    let new = |bytes| New { bytes, flags: Flags::NONE, keywords: Keywords::new(keywords.iter().copied()), received: 9 };
    let news: Vec<New<'_>> = all.iter().map(|bytes| new(bytes.as_slice())).collect();
    let stored: Vec<Stored> = account.deliver_many(&name(folder), &news).unwrap();
    for (stored, content) in stored.iter().zip(contents) {
        say(&format!("ACK stored {content} {} {}", stored.validity.0, stored.uid.0));
        if !keywords.is_empty() {
            say(&format!("ACK flags {content} {} {} 0 {}", stored.validity.0, stored.uid.0, keywords.join(" ")));
        }
    }
}

/// A folder's messages, with their names; what a session sees of it is told.
fn look(account: &Account, folder: &str) -> Vec<(Uid, String)> {
    let id = account.folder(&name(folder)).unwrap().unwrap().id;
    let selected = account.select(id, true).unwrap();
    let mut all = Vec::new();
    let validity = selected.folder.validity.0;
    for row in selected.image.rows() {
        let content = content_of(&account.read(id, row.uid).unwrap());
        all.push((row.uid, content));
    }
    say(&format!("ACK highest {validity} {}", selected.image.highest.0));
    all
}

fn flag(account: &Account, folder: &str, which: &[(Uid, String)], change: FlagChange, flags: Flags, words: &[&str]) {
    let found = account.folder(&name(folder)).unwrap().unwrap();
    which.iter().for_each(|(_, content)| say(&format!("TRY flags {content}")));
    let keywords = Keywords::new(words.iter().copied());
    let update = FlagUpdate { change, flags, keywords, unchanged_since: None };
    let uids: Vec<Uid> = which.iter().map(|(uid, _)| *uid).collect();
    let changed = account.update_flags(found.id, &uids, &update).unwrap();
    for (row, (_, content)) in changed.rows.iter().zip(which) {
        let words: Vec<&str> = row.keywords.iter().collect();
        let (validity, bits) = (found.validity.0, bits(row.flags));
        say(&format!("ACK flags {content} {validity} {} {bits} {}", row.uid.0, words.join(" ")));
    }
}

fn transfer(account: &Account, from: &str, which: &[(Uid, String)], to: &str, moving: bool) {
    let id = |folder: &str| account.folder(&name(folder)).unwrap().unwrap().id;
    let uids: Vec<Uid> = which.iter().map(|(uid, _)| *uid).collect();
    let done = account.transfer(id(from), &uids, id(to), moving).unwrap();
    for ((_, uid), (_, content)) in done.uids.iter().zip(which) {
        say(&format!("ACK stored {content} {} {}", done.validity.0, uid.0));
    }
}

fn expunge(account: &Account, folder: &str, which: &[(Uid, String)]) {
    flag(account, folder, which, FlagChange::Add, Flags::DELETED, &[]);
    which.iter().for_each(|(_, content)| say(&format!("TRY remove {content}")));
    let id = account.folder(&name(folder)).unwrap().unwrap().id;
    account.expunge(id, None).unwrap();
    which.iter().for_each(|(_, content)| say(&format!("ACK remove {content}")));
}

fn bring_back(account: &Account) {
    say("TRY back");
    account.bring_back(&Which::default()).unwrap();
    say("ACK back");
}

/// Makes SQLite write its log into the database, as it does by itself once in a while.
fn checkpoint(dir: &Path) {
    let conn = rusqlite::Connection::open(dir.join("index.db")).unwrap();
    conn.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
}

pub fn run(dir: &Path) {
    say("");
    let account = Arc::new(Account::open(dir).unwrap());
    account.create_folder(&name("Work/Deep")).unwrap();
    for count in 0..3 {
        deliver(&account, "INBOX", &[format!("first-{count}")], if count == 1 { &["$Label1", "Blue"] } else { &[] });
    }
    at_once(&account);
    let inbox = look(&account, "INBOX");
    flag(&account, "INBOX", &inbox[..4], FlagChange::Add, Flags::SEEN, &[]);
    flag(&account, "INBOX", &inbox[2..6], FlagChange::Add, Flags::FLAGGED, &["$Forwarded"]);
    transfer(&account, "INBOX", &inbox[1..5], "Work/Deep", true);
    checkpoint(dir);
    deliver(&account, "Work/Deep", &["deep-1".into(), "deep-2".into()], &[]);
    let deep = look(&account, "Work/Deep");
    transfer(&account, "Work/Deep", &deep[..2], "Archive", false);
    expunge(&account, "Work/Deep", &deep[4..5]);
    account.rename_folder(&name("Work"), &name("Play")).unwrap();
    let deep = look(&account, "Play/Deep");
    flag(&account, "Play/Deep", &deep[..3], FlagChange::Replace, Flags::ANSWERED, &["Green"]);
    bring_back(&account);
    checkpoint(dir);
    at_once_again(&account, dir)
}

/// Deliveries from several sides, to two folders.
fn at_once(account: &Arc<Account>) {
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let account = Arc::clone(account);
            std::thread::spawn(move || {
                for count in 0..4 {
                    let folder = if (thread + count) % 3 == 0 { "Work/Deep" } else { "INBOX" };
                    deliver(&account, folder, &[format!("at-once-{thread}-{count}")], &[]);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// The second half: after a clean close, with folders that go.
fn at_once_again(account: &Arc<Account>, dir: &Path) {
    let inbox = look(account, "INBOX");
    transfer(account, "INBOX", &inbox[..2], "Trash", true);
    let trash = look(account, "Trash");
    expunge(account, "Trash", &trash[..1]);
    account.retire();
    let account = Arc::new(Account::open(dir).unwrap());
    deliver(&account, "INBOX", &["reopened-1".into()], &["Red"]);
    let deep = look(&account, "Play/Deep");
    deep.iter().for_each(|(_, content)| say(&format!("TRY remove {content}")));
    account.delete_folder(&name("Play/Deep")).unwrap();
    // Two of them have copies in the archive, so none is said to be removed.
    bring_back(&account);
    let deep = look(&account, "Play/Deep");
    transfer(&account, "Play/Deep", &deep, "INBOX", true);
    account.delete_folder(&name("Play/Deep")).unwrap();
    let inbox = look(&account, "INBOX");
    flag(&account, "INBOX", &inbox, FlagChange::Remove, Flags::SEEN | Flags::FLAGGED, &["Green"]);
    let copied = look(&account, "Archive");
    let alone = inbox.iter().filter(|(_, content)| !copied.iter().any(|(_, other)| other == content));
    expunge(&account, "INBOX", &alone.skip(5).take(2).cloned().collect::<Vec<_>>());
    checkpoint(dir);
    for count in 0..6 {
        deliver(&account, "INBOX", &[format!("last-{count}")], &[]);
    }
    look(&account, "INBOX");
}
