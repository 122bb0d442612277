//! Answering: a needle to the messages that hold it.

use super::extract::Place;
use super::stream::{Numbers, holds};
use super::vocabulary::{expand, token};
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

/// Every message of the index that holds the needle, ascending; None if the needle has no word in it, of which the index
/// cannot tell anything.
pub fn search(connection: &Connection, query: &Query) -> rusqlite::Result<Option<Vec<i64>>> {
    let steps = needle(&query.needle);
    if steps.is_empty() {
        return Ok(None);
    }
    let mut expansions = Vec::new();
    for step in &steps {
        let words = expand(connection, step)?;
        if words.is_empty() {
            return Ok(Some(Vec::new()));
        }
        expansions.push(words);
    }
    let mut search = Search { connection, scope: query.scope, found: Numbers::default() };
    match expansions.as_slice() {
        [words] => search.single(words)?,
        [first, middle @ .., last] => search.phrase(first, middle, last, &expansions)?,
        [] => {}
    }
    Ok(Some(search.found.sorted()))
}

/// A search under way.
struct Search<'a> {
    connection: &'a Connection,
    scope: Scope,
    found: Numbers,
}

impl Search<'_> {
    /// Messages with any of these words. Common words come first and find most. When they find little more, either the
    /// other words are looked up or the other messages looked through, whichever is less.
    fn single(&mut self, words: &[i64]) -> rusqlite::Result<()> {
        let messages: i64 =
            self.connection.prepare_cached("SELECT count(*) FROM indexed")?.query_row([], |row| row.get(0))?;
        let messages = usize::try_from(messages).unwrap_or(usize::MAX);
        let mut rare = words;
        for (asked, word) in words.iter().take(ONE_BY_ONE).enumerate() {
            let before = self.found.len();
            let rows = self.ask(&quoted(&[*word]))?;
            rare = &words[asked + 1..];
            let new = self.found.len() - before;
            if rows > FEW_ROWS && new.saturating_mul(ROWS_PER_LOOK) < rows {
                break;
            }
        }
        let others = messages.saturating_sub(self.found.len());
        if others < rare.len().saturating_mul(LOOKS_PER_WORD) {
            return self.look_through_all(&[words.iter().copied().collect()]);
        }
        for chunk in rare.chunks(TOGETHER) {
            let any: Vec<String> = chunk.iter().map(|word| quoted(&[*word])).collect();
            self.ask(&any.join(" OR "))?;
        }
        Ok(())
    }

    /// Messages with these words one after the other. Only the first and the last stand for several.
    fn phrase(&mut self, first: &[i64], middle: &[Vec<i64>], last: &[i64], all: &[Vec<i64>]) -> rusqlite::Result<()> {
        let between: Vec<i64> = middle.iter().flatten().copied().collect();
        let few = first.len().saturating_mul(last.len()) <= FEW_PHRASES;
        let most = if few { usize::MAX } else { COMMON_WORDS };
        for begin in first.iter().take(most) {
            for end in last.iter().take(most) {
                let words: Vec<i64> = [*begin].into_iter().chain(between.iter().copied()).chain([*end]).collect();
                self.ask(&quoted(&words))?;
            }
        }
        if few {
            return Ok(());
        }
        let sets: Vec<Numbers> = all.iter().map(|words| words.iter().copied().collect()).collect();
        let fewer = if first.len() <= last.len() { first } else { last };
        let mut candidates = Search { connection: self.connection, scope: self.scope, found: Numbers::default() };
        match between.is_empty() {
            false => candidates.ask(&quoted(&between)).map(drop)?,
            true if fewer.len() <= MOST_CANDIDATE_WORDS => candidates.single(fewer)?,
            true => return self.look_through_all(&sets),
        }
        self.look_through(&candidates.found, &sets)
    }

    /// Adds what an FTS5 expression finds in the places searched. Returns how many messages that are.
    fn ask(&mut self, expression: &str) -> rusqlite::Result<usize> {
        let mut query = self.connection.prepare_cached("SELECT rowid FROM message WHERE message MATCH ?1")?;
        let mut rows = query.query([format!("{}({expression})", self.scope.columns())])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            self.found.insert(row.get(0)?);
            count += 1;
        }
        Ok(count)
    }

    /// Adds those of the candidates that hold the phrase.
    fn look_through(&mut self, candidates: &Numbers, phrase: &[Numbers]) -> rusqlite::Result<()> {
        let mut query = self.connection.prepare_cached("SELECT words FROM stream WHERE id = ?1")?;
        for id in candidates.sorted() {
            if self.found.contains(id.unsigned_abs()) {
                continue;
            }
            let mut rows = query.query([id])?;
            if let Some(row) = rows.next()?
                && holds(row.get_ref(0)?.as_blob().unwrap_or_default(), self.scope, phrase)
            {
                self.found.insert(id);
            }
        }
        Ok(())
    }

    /// Adds all messages that hold the phrase.
    fn look_through_all(&mut self, phrase: &[Numbers]) -> rusqlite::Result<()> {
        let mut query = self.connection.prepare_cached("SELECT id FROM indexed")?;
        let all: Numbers = query.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        // Few of many are read one by one, most of them in the order of the file.
        if self.found.len() > all.len() / 2 {
            return self.look_through(&all, phrase);
        }
        let mut query = self.connection.prepare_cached("SELECT id, words FROM stream")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            if !self.found.contains(id.unsigned_abs())
                && holds(row.get_ref(1)?.as_blob().unwrap_or_default(), self.scope, phrase)
            {
                self.found.insert(id);
            }
        }
        Ok(())
    }
}

/// A phrase as FTS5 reads it.
fn quoted(words: &[i64]) -> String {
    let tokens: Vec<String> = words.iter().map(|word| token(*word)).collect();
    format!("\"{}\"", tokens.join(" "))
}

// The costs that these weigh against each other were measured with `examples/text_bench.rs`.

/// Words asked for one by one: the common ones, which have long lists of their own.
const ONE_BY_ONE: usize = 48;
/// Rows that a query gives in the time of looking through one message.
const ROWS_PER_LOOK: usize = 25;
/// A query with fewer rows than this costs next to nothing, whatever it finds.
const FEW_ROWS: usize = 1000;
/// Words asked for together. FTS5 looks at each of them for each message found, so that few are better; a query of its
/// own for each costs more than some hundred looks.
const TOGETHER: usize = 128;
/// Messages that can be looked through in the time of looking up one rare word.
const LOOKS_PER_WORD: usize = 2;
/// Sequences of words that are each asked for as a phrase.
const FEW_PHRASES: usize = 32;
/// If there are more: so many of the most common first and last words are paired and asked for, which finds most; the
/// rest is looked through.
const COMMON_WORDS: usize = 3;
/// Words whose messages are gathered to be looked through; with more, all messages are.
const MOST_CANDIDATE_WORDS: usize = 2000;
