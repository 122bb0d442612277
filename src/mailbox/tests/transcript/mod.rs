//! Reading and running one transcript.

use crate::common::{Imap, PASSWORD, Running};
use std::collections::HashMap;
use std::time::Duration;

/// One step, with the number of its line.
struct Step {
    line: usize,
    who: String,
    what: What,
}

enum What {
    /// Everything up to the end of a command, as pieces: text, and literals.
    Send(Vec<Piece>),
    Expect(String),
    Compress,
    Wait(u64),
}

enum Piece {
    Text(String),
    Literal(String),
}

pub struct Transcript {
    steps: Vec<Step>,
    login: bool,
    users: HashMap<String, String>,
}

impl Transcript {
    pub fn parse(text: &str) -> Result<Transcript, String> {
        let first = text.lines().next().unwrap_or_default();
        if !(first.starts_with("# RFC ") && first.contains('§') && first.contains(": ")) {
            return Err("the first line names the RFC, the section and what is shown".into());
        }
        let mut transcript = Transcript { steps: Vec::new(), login: true, users: HashMap::new() };
        for (line, text) in (1..).zip(text.lines()) {
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            transcript.line(line, text).map_err(|why| format!("line {line}: {why}"))?;
        }
        Ok(transcript)
    }

    fn line(&mut self, line: usize, text: &str) -> Result<(), String> {
        if let Some(directive) = text.strip_prefix("! ") {
            let words: Vec<&str> = directive.split(' ').collect();
            match words.as_slice() {
                ["login", "none"] => self.login = false,
                ["login", who, user] => drop(self.users.insert((*who).to_owned(), (*user).to_owned())),
                ["compress", who] => self.steps.push(Step { line, who: (*who).to_owned(), what: What::Compress }),
                ["wait", millis] => {
                    let millis = millis.parse().map_err(|_| "a pause is in milliseconds")?;
                    self.steps.push(Step { line, who: String::new(), what: What::Wait(millis) });
                }
                _ => return Err(format!("there is no directive {directive}")),
            }
            return Ok(());
        }
        let (who, rest) = match text.split_once(' ') {
            Some((who, rest)) if who.len() == 1 && who.chars().all(|c| c.is_ascii_uppercase()) => (who, rest),
            _ => ("A", text),
        };
        let (mark, rest) = rest.split_at_checked(2).ok_or("a line begins with C: or S:")?;
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        let who = who.to_owned();
        match mark {
            "C:" => self.steps.push(Step { line, who, what: What::Send(vec![Piece::Text(rest.to_owned())]) }),
            "S:" => self.steps.push(Step { line, who, what: What::Expect(rest.to_owned()) }),
            "C|" | "C+" => {
                // What the server says in between (a go-ahead) is looked for when the literal is sent.
                let last = self.steps.iter_mut().rev().find(|step| step.who == who);
                let Some(Step { what: What::Send(pieces), .. }) = last else {
                    return Err("a literal follows the line that announces it".into());
                };
                if mark == "C+" {
                    pieces.push(Piece::Text(rest.to_owned()));
                } else {
                    let content = rest.strip_suffix('\\').map_or_else(|| format!("{rest}\r\n"), str::to_owned);
                    match pieces.last_mut() {
                        Some(Piece::Literal(literal)) => literal.push_str(&content),
                        _ => pieces.push(Piece::Literal(content)),
                    }
                }
            }
            _ => return Err("a line begins with C:, C|, C+ or S:".into()),
        }
        Ok(())
    }

    pub async fn run(&self, running: &Running) -> Result<(), String> {
        let mut connections: HashMap<String, Imap> = HashMap::new();
        let mut known: HashMap<String, String> = HashMap::new();
        let mut at = 0;
        while let Some(step) = self.steps.get(at) {
            at += 1;
            if let What::Wait(millis) = step.what {
                tokio::time::sleep(Duration::from_millis(millis)).await;
                continue;
            }
            if !connections.contains_key(&step.who) {
                connections.insert(step.who.clone(), self.connect(running, &step.who).await);
            }
            let imap = connections.get_mut(&step.who).unwrap();
            let outcome = match &step.what {
                What::Send(pieces) => send(imap, pieces, &known).await,
                What::Expect(pattern) if pattern == "<more>" => {
                    let Some(Step { what: What::Expect(next), .. }) = self.steps.get(at) else {
                        return Err(format!("line {}: <more> goes on up to a line that is expected", step.line));
                    };
                    at += 1;
                    more(imap, next, &mut known).await
                }
                What::Expect(pattern) => expect(imap, pattern, &mut known).await,
                What::Compress => {
                    imap.compress();
                    Ok(())
                }
                What::Wait(_) => Ok(()),
            };
            outcome.map_err(|why| format!("line {}: {why}", step.line))?;
        }
        Ok(())
    }

    async fn connect(&self, running: &Running, who: &str) -> Imap {
        if !self.login {
            return Imap::connect_silently(running).await;
        }
        let user = self.users.get(who).map_or("ann@example.org", String::as_str);
        let mut imap = Imap::connect(running).await;
        imap.ok(&format!("LOGIN {user} \"{PASSWORD}\"")).await;
        imap
    }
}

async fn send(imap: &mut Imap, pieces: &[Piece], known: &HashMap<String, String>) -> Result<(), String> {
    let mut rest = pieces.iter().peekable();
    while let Some(piece) = rest.next() {
        match piece {
            Piece::Text(text) => {
                let mut text = filled(text, known);
                match rest.peek() {
                    Some(Piece::Literal(literal)) => {
                        let length = filled(literal, known).len().to_string();
                        text = text.replace("{*", &format!("{{{length}"));
                        imap.send(&format!("{text}\r\n")).await;
                        if text.ends_with('}') && !text.ends_with("+}") {
                            let line = imap.line().await;
                            if !line.starts_with('+') {
                                return Err(format!("expected a go-ahead, got {line:?}"));
                            }
                        }
                    }
                    _ => imap.send(&format!("{text}\r\n")).await,
                }
            }
            Piece::Literal(literal) => {
                imap.send(&filled(literal, known)).await;
                if rest.peek().is_none() {
                    imap.send("\r\n").await;
                }
            }
        }
    }
    Ok(())
}

async fn expect(imap: &mut Imap, pattern: &str, known: &mut HashMap<String, String>) -> Result<(), String> {
    if pattern == "<end>" {
        let rest = imap.rest().await;
        return if rest.is_empty() { Ok(()) } else { Err(format!("expected the end, got {rest:?}")) };
    }
    let line = imap.line().await;
    if fits(pattern, &line, known) {
        Ok(())
    } else {
        Err(format!("expected {:?}, got {line:?}", filled(pattern, known)))
    }
}

async fn more(imap: &mut Imap, next: &str, known: &mut HashMap<String, String>) -> Result<(), String> {
    let mut passed = Vec::new();
    loop {
        let line = imap.line().await;
        if fits(next, &line, known) {
            return Ok(());
        }
        let ended = line.is_empty() && imap.has_ended();
        passed.push(line);
        // A tagged reply is the last of a command, so waiting on would be in vain.
        let tagged = passed.last().is_some_and(|line| {
            let mut words = line.split(' ').skip(1);
            !line.starts_with('*') && matches!(words.next(), Some("OK" | "NO" | "BAD"))
        });
        if ended || tagged || passed.len() > 10_000 {
            return Err(format!("expected {:?} among {passed:#?}", filled(next, known)));
        }
    }
}

/// What was remembered, put in.
fn filled(text: &str, known: &HashMap<String, String>) -> String {
    let mut out = text.replace("<nul>", "\0");
    for (name, value) in known {
        out = out.replace(&format!("<${name}>"), value);
    }
    out
}

/// Whether a line fits a pattern; remembers what it names.
fn fits(pattern: &str, line: &str, known: &mut HashMap<String, String>) -> bool {
    let mut learned = known.clone();
    let fits = fits_from(&filled(pattern, known), line, &mut learned);
    if fits {
        *known = learned;
    }
    fits
}

fn fits_from(pattern: &str, line: &str, learned: &mut HashMap<String, String>) -> bool {
    let wildcards = ["<any>", "<number>", "<word>", "<$"];
    let next = wildcards.iter().filter_map(|wildcard| pattern.find(wildcard)).min();
    let Some(at) = next else { return pattern == line };
    let Some(rest) = line.strip_prefix(&pattern[..at]) else { return false };
    let (wildcard, after) = pattern[at..].split_at(pattern[at..].find('>').unwrap() + 1);
    if wildcard == "<any>" {
        let ends = (0..=rest.len()).filter(|end| rest.is_char_boundary(*end));
        return ends.rev().any(|end| {
            fits_from(after, &rest[end..], &mut learned.clone()) && { fits_from(after, &rest[end..], learned) }
        });
    }
    let allowed = |c: char| match wildcard {
        "<number>" => c.is_ascii_digit(),
        _ => !c.is_whitespace() && !"()[]\"".contains(c),
    };
    let end = rest.find(|c| !allowed(c)).unwrap_or(rest.len());
    if end == 0 {
        return false;
    }
    if let Some(name) = wildcard.strip_prefix("<$") {
        let value = rest[..end].to_owned();
        let name = name.trim_end_matches('>').to_owned();
        if learned.get(&name).is_some_and(|before| *before != value) {
            return false;
        }
        learned.insert(name, value);
    }
    fits_from(after, &rest[end..], learned)
}
