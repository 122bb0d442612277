//! Runs the transcripts in `tests/smtp/*.session`, whose format `tests/smtp/README.md` describes.

use crate::house::{Client, House, quick};
use base::Domain;
use mta::{Clock, LookupAnswer, Lookups, Tuning};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What the DNS says of the client.
#[derive(Debug, Clone, Copy)]
enum Guest {
    InOrder,
    Nameless,
    Listed,
    WeaklyListed,
    /// A blocklist that answers with an error, and a DNS without names.
    Refused,
}

impl Lookups for Guest {
    fn names_of(&self, _: IpAddr) -> LookupAnswer<'_, Domain> {
        let named = !matches!(self, Self::Nameless);
        let names = if named { vec![Domain::parse("client.example.net").unwrap()] } else { Vec::new() };
        Box::pin(std::future::ready((!matches!(self, Self::Refused)).then_some(names)))
    }
    fn addresses_of<'a>(&'a self, _: &'a Domain, _: IpAddr) -> LookupAnswer<'a, IpAddr> {
        Box::pin(std::future::ready(Some(vec![Ipv4Addr::LOCALHOST.into()])))
    }
    fn codes_at<'a>(&'a self, name: &'a str) -> LookupAnswer<'a, Ipv4Addr> {
        let code = match self {
            Self::Listed if name.ends_with("zen.spamhaus.org") => Some([127, 0, 0, 4]),
            Self::WeaklyListed if name.ends_with("weak.example.net") => Some([127, 0, 0, 2]),
            Self::Refused => Some([127, 255, 255, 254]),
            _ => None,
        };
        Box::pin(std::future::ready(Some(code.into_iter().map(Ipv4Addr::from).collect())))
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/smtp")
}

/// Where a transcript is played.
struct Stage {
    house: House,
    clock: Clock,
    port: u16,
    client: Option<Client>,
    held: Vec<Client>,
    known: HashMap<String, String>,
}

/// Turns what the head of a transcript asks for.
fn tuned(text: &str) -> (Tuning, u16) {
    let (mut tuning, mut port) = (Tuning::default(), 0);
    for directive in text.lines().filter_map(|line| line.strip_prefix("! ")) {
        match directive {
            "port 25" => port = 0,
            "port 587" => port = 1,
            "port 465" => port = 2,
            "impatient" => {
                let short = Duration::from_millis(300);
                (tuning.command_within, tuning.piece_within, tuning.message_within) = (short, short, short);
            }
            "disk full" => tuning.free_disk = u64::MAX / 2,
            "memory full" => tuning.memory = 64 << 10,
            "few messages" => tuning.messages_per_hour = 1,
            "guest in order" => tuning.lookups = Arc::new(Guest::InOrder),
            "guest nameless" => tuning.lookups = Arc::new(Guest::Nameless),
            "guest listed" => tuning.lookups = Arc::new(Guest::Listed),
            "guest weakly listed" => tuning.lookups = Arc::new(Guest::WeaklyListed),
            "guest refused" => tuning.lookups = Arc::new(Guest::Refused),
            _ => continue,
        }
        if directive.starts_with("guest") {
            tuning.judge_loopback = true;
        }
    }
    (tuning, port)
}

impl Stage {
    async fn client(&mut self) -> &mut Client {
        if self.client.is_none() {
            let mut client = Client::silent(self.house.port + self.port).await;
            if self.port == 2 {
                client = client.secure(&self.house).await;
            }
            self.client = Some(client);
        }
        self.client.as_mut().unwrap()
    }

    async fn line(&mut self, line: &str) -> Result<(), String> {
        match line.split_at_checked(2) {
            Some(("C:", text)) => {
                let text = filled(text.strip_prefix(' ').unwrap_or(text), &self.known);
                self.client().await.send(format!("{text}\r\n")).await;
                Ok(())
            }
            Some(("C\\", text)) => {
                let bytes = unescaped(text.strip_prefix(' ').unwrap_or(text))?;
                self.client().await.send(bytes).await;
                Ok(())
            }
            Some(("S:", pattern)) => {
                let pattern = pattern.strip_prefix(' ').unwrap_or(pattern).to_owned();
                let said = self.client().await.line().await;
                match fits(&filled(&pattern, &self.known), &said, &mut self.known) {
                    true => Ok(()),
                    false => Err(format!("expected {pattern:?}, got {said:?}")),
                }
            }
            Some(("! ", directive)) => self.directive(directive).await,
            _ => Err("a line begins with C:, C\\, S: or !".into()),
        }
    }

    async fn directive(&mut self, directive: &str) -> Result<(), String> {
        let (word, rest) = directive.split_once(' ').unwrap_or((directive, ""));
        match word {
            // These stand at the head.
            "port" | "impatient" | "disk" | "memory" | "few" | "guest" => {}
            "tls" => {
                let client = self.client.take().ok_or("TLS begins on a connection")?;
                self.client = Some(client.secure(&self.house).await);
            }
            "again" => self.client = None,
            "hold" => {
                for _ in 0..rest.parse::<usize>().map_err(|error| error.to_string())? {
                    self.held.push(self.house.connect().await);
                }
            }
            "knock" => {
                for _ in 0..rest.parse::<usize>().map_err(|error| error.to_string())? {
                    drop(self.house.connect().await);
                }
            }
            "slow" => self.house.slow.store(true, Ordering::Relaxed),
            "break" => self.house.break_queue(),
            "repeat" => {
                let (count, command) = rest.split_once(' ').ok_or("repeat how often what")?;
                for _ in 0..count.parse::<usize>().map_err(|error| error.to_string())? {
                    self.client().await.ask(command).await;
                }
            }
            "turn" => self.clock.turn(rest.parse().map_err(|_| "the clock is turned by seconds")?),
            "mailbox" => {
                let (to, word) = rest.split_once(' ').ok_or("mailbox of whom has what")?;
                let mail = self.house.message_for(to).await;
                if !mail.contains(&unescaped_text(word)?) {
                    return Err(format!("{word} is not in {mail}"));
                }
            }
            "empty" => {
                let there = self.house.messages_for(rest);
                if !there.is_empty() {
                    return Err(format!("{rest} has {there:?}"));
                }
            }
            _ => return Err(format!("there is no directive {directive}")),
        }
        Ok(())
    }
}

fn unescaped_text(text: &str) -> Result<String, String> {
    String::from_utf8(unescaped(text)?).map_err(|error| error.to_string())
}

/// `\r`, `\n`, `\0`, `\\` and `\xNN`.
fn unescaped(text: &str) -> Result<Vec<u8>, String> {
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let mut skip = 2;
        match rest.as_bytes().get(at + 1) {
            Some(b'r') => out.push(b'\r'),
            Some(b'n') => out.push(b'\n'),
            Some(b'0') => out.push(0),
            Some(b'\\') => out.push(b'\\'),
            Some(b'x') => {
                let digits = rest.get(at + 2..at + 4).ok_or("two digits follow \\x")?;
                out.push(u8::from_str_radix(digits, 16).map_err(|error| error.to_string())?);
                skip = 4;
            }
            _ => return Err(format!("there is no such escape in {text}")),
        }
        rest = &rest[at + skip..];
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(out)
}

fn filled(text: &str, known: &HashMap<String, String>) -> String {
    known.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("<${name}>"), value))
}

/// Whether a line fits a pattern with `<any>`, `<number>` and `<$name>`.
fn fits(pattern: &str, line: &str, known: &mut HashMap<String, String>) -> bool {
    let Some(at) = ["<any>", "<number>", "<$"].iter().filter_map(|wildcard| pattern.find(wildcard)).min() else {
        return pattern == line;
    };
    let Some(rest) = line.strip_prefix(&pattern[..at]) else { return false };
    let (wildcard, after) = pattern[at..].split_at(pattern[at..].find('>').unwrap() + 1);
    if wildcard == "<any>" {
        return (0..=rest.len()).any(|end| rest.is_char_boundary(end) && fits(after, &rest[end..], known));
    }
    let allowed = |c: char| if wildcard == "<number>" { c.is_ascii_digit() } else { !c.is_whitespace() };
    let end = rest.find(|c| !allowed(c)).unwrap_or(rest.len());
    if let Some(name) = wildcard.strip_prefix("<$") {
        known.insert(name.trim_end_matches('>').to_owned(), rest[..end].to_owned());
    }
    end > 0 && fits(after, &rest[end..], known)
}

async fn play(text: &str) -> Result<(), String> {
    if !(text.starts_with("# RFC ") && text.lines().next().is_some_and(|first| first.contains(": "))) {
        return Err("the first line names the RFC and says what is shown".into());
    }
    let (mut tuning, port) = tuned(text);
    tuning.clock = Clock::default();
    let clock = tuning.clock.clone();
    let house = House::empty().await;
    house.use_blocklist("weak.example.net");
    house.run(quick(), tuning).await;
    let mut stage = Stage { house, clock, port, client: None, held: Vec::new(), known: HashMap::new() };
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let played = tokio::time::timeout(Duration::from_secs(60), stage.line(line)).await;
        played.unwrap_or(Err("it took too long".into())).map_err(|why| format!("line {number}: {why}"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transcript_goes_as_it_is_written() {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|it| it == "session")).collect();
    files.sort();
    // One can be run alone: SESSION=bdat cargo test -p mta transcript
    if let Ok(only) = std::env::var("SESSION") {
        files.retain(|path| path.to_string_lossy().contains(&only));
    }
    assert!(!files.is_empty());
    let mut failures = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        if let Err(why) = play(&text).await {
            failures.push(format!("{}: {why}", path.file_name().unwrap().to_string_lossy()));
        }
    }
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
}
