//! Answering: a needle to the messages that hold it.

use super::extract::Place;
use super::limits::PHRASES;
use super::vocabulary::{Expansion, token};
use super::words::needle;
use rusqlite::Connection;

/// Where to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Headers, body and names of attachments: IMAP's TEXT.
    Any,
    /// Every header field that is indexed.
    Headers,
    /// The text of all parts and the names of attachments: IMAP's BODY.
    Body,
    From,
    To,
    Cc,
    Bcc,
    Subject,
    /// The names of attachments.
    AttachmentName,
}

impl Scope {
    /// The columns of the index, as FTS5 wants them before a colon; empty for all.
    pub(super) fn columns(self) -> &'static str {
        match self {
            Scope::Any => "",
            Scope::Headers => "{sender recipient copied blind subject other} : ",
            Scope::Body => "{body attachment} : ",
            Scope::From => "sender : ",
            Scope::To => "recipient : ",
            Scope::Cc => "copied : ",
            Scope::Bcc => "blind : ",
            Scope::Subject => "subject : ",
            Scope::AttachmentName => "attachment : ",
        }
    }

    pub fn includes(self, place: Place) -> bool {
        match self {
            Scope::Any => true,
            Scope::Headers => !matches!(place, Place::Body | Place::Name),
            Scope::Body => matches!(place, Place::Body | Place::Name),
            Scope::From => place == Place::From,
            Scope::To => place == Place::To,
            Scope::Cc => place == Place::Cc,
            Scope::Bcc => place == Place::Bcc,
            Scope::Subject => place == Place::Subject,
            Scope::AttachmentName => place == Place::Name,
        }
    }
}

/// What to look for, and where.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Query {
    pub scope: Scope,
    pub needle: String,
}

/// The messages that were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Ascending.
    pub ids: Vec<i64>,
    /// Whether these are all. A needle of one or two letters can stand for more words than are looked up
    /// ([`limits::EXPANSION`](super::limits::EXPANSION)); what is here fits all the same.
    pub complete: bool,
}

/// Every message of the index that holds the needle; None if the needle has no word in it, of which the index cannot
/// tell anything.
pub fn search(connection: &Connection, query: &Query) -> rusqlite::Result<Option<Found>> {
    let steps = needle(&query.needle);
    if steps.is_empty() {
        return Ok(None);
    }
    let mut expansions = Vec::new();
    for step in &steps {
        let expansion = Expansion::of(connection, step)?;
        if expansion.words.is_empty() {
            return Ok(Some(Found { ids: Vec::new(), complete: true }));
        }
        expansions.push(expansion);
    }
    let (phrases, complete) = phrases(expansions);
    let mut ids = Ids::default();
    union(connection, query.scope, &phrases, &mut ids)?;
    Ok(Some(Found { ids: ids.sorted(), complete }))
}

/// The sequences of words, quoted, that the steps stand for. Only the first and the last step have several.
fn phrases(mut expansions: Vec<Expansion>) -> (Vec<String>, bool) {
    let mut complete = expansions.iter().all(|expansion| expansion.complete);
    if let [only] = expansions.as_slice() {
        return (only.words.iter().map(|word| format!("\"{}\"", token(*word))).collect(), complete);
    }
    // The longer of the two is cut, so that no more than so many phrases come out.
    let last = expansions.len() - 1;
    while expansions[0].words.len() * expansions[last].words.len() > PHRASES {
        complete = false;
        let longer = if expansions[0].words.len() > expansions[last].words.len() { 0 } else { last };
        let half = expansions[longer].words.len() / 2;
        expansions[longer].words.truncate(half);
    }
    let mut phrases = vec![String::new()];
    for expansion in &expansions {
        let with = |phrase: &String| {
            let phrase = phrase.clone();
            expansion.words.iter().map(move |word| format!("{phrase} {}", token(*word)))
        };
        phrases = phrases.iter().flat_map(with).collect();
    }
    (phrases.iter().map(|phrase| format!("\"{}\"", phrase.trim_start())).collect(), complete)
}

/// Phrases asked for one by one: those of common words, which have long lists of their own.
const ONE_BY_ONE: usize = 24;
/// Phrases asked for together. FTS5 looks at each of them for each message found, so that few are better; opening a
/// query costs as much as some thousand looks, so that many are better.
const TOGETHER: usize = 128;

fn union(connection: &Connection, scope: Scope, phrases: &[String], ids: &mut Ids) -> rusqlite::Result<()> {
    let mut query = connection.prepare_cached("SELECT rowid FROM message WHERE message MATCH ?1")?;
    let (common, rare) = phrases.split_at(phrases.len().min(ONE_BY_ONE));
    for chunk in common.chunks(1).chain(rare.chunks(TOGETHER)) {
        let expression = format!("{}({})", scope.columns(), chunk.join(" OR "));
        let mut rows = query.query([expression])?;
        while let Some(row) = rows.next()? {
            ids.insert(row.get(0)?);
        }
    }
    Ok(())
}

/// A set of message ids, which are dense: one bit for each up to the largest.
#[derive(Debug, Default)]
struct Ids(Vec<u64>);

impl Ids {
    fn insert(&mut self, id: i64) {
        let id = id.unsigned_abs() as usize;
        if id / 64 >= self.0.len() {
            self.0.resize(id / 64 + 1, 0);
        }
        self.0[id / 64] |= 1 << (id % 64);
    }

    fn sorted(&self) -> Vec<i64> {
        let mut ids = Vec::new();
        for (at, bits) in self.0.iter().enumerate() {
            let mut bits = *bits;
            while bits != 0 {
                ids.push((at * 64) as i64 + i64::from(bits.trailing_zeros()));
                bits &= bits - 1;
            }
        }
        ids
    }
}
