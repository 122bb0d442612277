//! Text keys of a search, answered by the full-text index; messages that are not in it yet are looked at themselves, in
//! the same way. FUZZY (RFC 6203) is the index's as well.

use crate::imap::proto::Key;
use crate::text;
use std::collections::HashMap;
use store::text::{Query, Scope};
use store::{Account, MessageId, StoreError, TextHits};

/// What the index says about the text keys of one search.
#[derive(Default)]
pub struct Texts {
    /// A search has a few of them at most, so that they are found by looking.
    exact: Vec<(Query, TextHits)>,
    /// With the relevancy of each message.
    fuzzy: Vec<(Query, HashMap<i64, u8>)>,
}

impl Texts {
    /// Asks the index for every text key.
    pub fn of(account: &Account, keys: &[Key]) -> Result<Texts, StoreError> {
        let mut texts = Texts::default();
        for key in keys {
            texts.ask(account, key, false)?;
        }
        Ok(texts)
    }

    fn ask(&mut self, account: &Account, key: &Key, fuzzily: bool) -> Result<(), StoreError> {
        match key {
            Key::Not(inner) => self.ask(account, inner, fuzzily),
            Key::Fuzzy(inner) => self.ask(account, inner, true),
            Key::Or(a, b) => {
                self.ask(account, a, fuzzily)?;
                self.ask(account, b, fuzzily)
            }
            Key::And(keys) => keys.iter().try_for_each(|key| self.ask(account, key, fuzzily)),
            key => match query(key) {
                Some((scope, needle)) => self.look_up(account, Query { scope, needle: needle.to_owned() }, fuzzily),
                None => Ok(()),
            },
        }
    }

    fn look_up(&mut self, account: &Account, query: Query, fuzzily: bool) -> Result<(), StoreError> {
        if fuzzily && let Some(scored) = account.search_fuzzily(&query)? {
            let scores = scored.into_iter().map(|one| (one.id, one.relevancy)).collect();
            self.fuzzy.push((query.clone(), scores));
        }
        if let Some(hits) = account.search_text(&query)? {
            self.exact.push((query, hits));
        }
        Ok(())
    }

    /// Whether a message meets a text key; `None` for a key that is none, or of which the index can tell nothing.
    /// `bytes` gives the message where it has to be looked at.
    pub fn meets<'m>(
        &self,
        key: &Key,
        id: MessageId,
        fuzzily: bool,
        bytes: impl FnOnce() -> Result<&'m [u8], StoreError>,
    ) -> Result<Option<bool>, StoreError> {
        let Some(query) = query(key) else { return Ok(None) };
        if fuzzily && find(&self.fuzzy, query).is_some_and(|(_, scores)| scores.contains_key(&id.0)) {
            return Ok(Some(true));
        }
        let Some((query, hits)) = find(&self.exact, query) else { return Ok(None) };
        match hits.holds(id) {
            Some(false) => Ok(Some(false)),
            Some(true) if !text::punctuation_counts(&query.needle) => Ok(Some(true)),
            _ => Ok(Some(text::holds(bytes()?, query))),
        }
    }

    /// How well a message fits the fuzzy keys, 1 to 100: as well as the one it fits best (RFC 6203 §4). Without any, or
    /// where only the exact words were found, 100.
    pub fn relevancy(&self, id: MessageId) -> u8 {
        self.fuzzy.iter().filter_map(|(_, scores)| scores.get(&id.0)).max().copied().unwrap_or(100)
    }
}

fn find<'a, T>(all: &'a [(Query, T)], (scope, needle): (Scope, &str)) -> Option<&'a (Query, T)> {
    all.iter().find(|(query, _)| query.scope == scope && query.needle == needle)
}

/// What the index is asked for a key.
fn query(key: &Key) -> Option<(Scope, &str)> {
    let (scope, needle) = match key {
        Key::Header { field, text } => (
            match field.as_str() {
                "from" => Scope::From,
                "to" => Scope::To,
                "cc" => Scope::Cc,
                "bcc" => Scope::Bcc,
                "subject" => Scope::Subject,
                _ => return None,
            },
            text,
        ),
        Key::Body(text) => (Scope::Body, text),
        Key::Text(text) => (Scope::Any, text),
        _ => return None,
    };
    Some((scope, needle))
}
