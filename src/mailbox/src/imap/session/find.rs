//! Which messages meet the keys of a search: keys against the view first, then the index, then the file.

use super::texts::Texts;
use super::{Session, Stop};
use crate::imap::proto::{Key, Set};
use crate::{blocking, limits, text};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::cell::OnceCell;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::mime::Parsed;
use store::{Account, Flags, FolderId, Image, ModSeq, Row, StoreError, Uid};
use tokio::io::{AsyncRead, AsyncWrite};

/// How long one piece of a search may take before it is looked whether the client should hear of it.
const SLICE: Duration = Duration::from_secs(2);

/// A message that was found.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    pub number: u32,
    pub uid: Uid,
    pub modseq: ModSeq,
    /// 1 to 100; less than that for what FUZZY found (RFC 6203 §4).
    pub relevancy: u8,
}

/// A folder to be searched: its messages with their numbers, and what `*` and `$` stand for.
pub struct Scope {
    pub id: FolderId,
    pub image: Arc<Image>,
    /// The UIDs that are recent.
    pub recent: Range<Uid>,
    pub saved: Arc<Vec<Uid>>,
}

/// A search under way.
struct Run {
    scope: Scope,
    keys: Arc<Vec<Key>>,
    sets: Sets,
    /// Asked for with the first piece.
    texts: Option<Texts>,
    at: usize,
    found: Vec<Found>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// The messages that meet all keys, in the order of their numbers. A long search is told of (RFC 9585).
    pub(super) async fn find(
        &mut self,
        account: &Arc<Account>,
        scope: Scope,
        keys: &Arc<Vec<Key>>,
    ) -> Result<Vec<Found>, Stop> {
        let sets = Sets::of(&scope);
        let mut run = Run { scope, keys: Arc::clone(keys), sets, texts: None, at: 0, found: Vec::new() };
        let mut told = Instant::now();
        loop {
            run = blocking::on(account, move |account| {
                run.go_on(account, Instant::now() + SLICE)?;
                Ok(run)
            })
            .await?;
            if run.at >= run.scope.image.len() {
                return Ok(run.found);
            }
            if told.elapsed() >= limits::PROGRESS_EVERY {
                told = Instant::now();
                self.tell_progress(run.at, run.scope.image.len()).await?;
            }
        }
    }

    /// RFC 9585 §4.
    async fn tell_progress(&mut self, done: usize, all: usize) -> Result<(), Stop> {
        let line = progress(&self.tag, done, all);
        self.say(&line);
        self.conn.flush().await.map_err(Stop::End)
    }
}

fn progress(tag: &str, done: usize, all: usize) -> String {
    format!("* OK [INPROGRESS (\"{tag}\" {done} {all})] still at it")
}

impl Run {
    /// Goes through messages until it is done or `until` has come.
    fn go_on(&mut self, account: &Account, until: Instant) -> Result<(), StoreError> {
        let id = self.scope.id;
        let texts = match self.texts.take() {
            Some(texts) => texts,
            None => Texts::of(account, &self.keys)?,
        };
        for row in self.scope.image.slice(self.at..usize::MAX) {
            let number = u32::try_from(self.at + 1).unwrap_or(u32::MAX);
            let recent = self.scope.recent.contains(&row.uid);
            let (bytes, parsed) = (OnceCell::new(), OnceCell::new());
            let candidate = Candidate { account, id, number, recent, row, bytes, parsed, texts: &texts };
            let met = self.keys.iter().try_fold(true, |all, key| Ok(all && candidate.meets(key, &self.sets, false)?));
            match met {
                Ok(true) => {
                    let relevancy = texts.relevancy(row.id);
                    self.found.push(Found { number, uid: row.uid, modseq: row.modseq, relevancy });
                }
                // Removed meanwhile: no match.
                Ok(false) | Err(StoreError::NoMessage) => {}
                Err(why) => return Err(why),
            }
            self.at += 1;
            if self.at.is_multiple_of(16) && Instant::now() >= until {
                break;
            }
        }
        self.texts = Some(texts);
        Ok(())
    }
}

/// What `*` and `$` stand for, and now.
struct Sets {
    last_number: u32,
    last_uid: u32,
    saved: Arc<Vec<Uid>>,
    now: u64,
}

impl Sets {
    fn of(scope: &Scope) -> Sets {
        Sets {
            last_number: u32::try_from(scope.image.len()).unwrap_or(u32::MAX),
            last_uid: scope.image.last().map_or(0, |row| row.uid.0),
            saved: Arc::clone(&scope.saved),
            now: base::time::now_unix(),
        }
    }

    fn has(&self, set: &Set, number: u32, uid: Uid, by_uid: bool) -> bool {
        if *set == Set::Saved {
            return self.saved.binary_search(&uid).is_ok();
        }
        let (number, last) = if by_uid { (uid.0, self.last_uid) } else { (number, self.last_number) };
        set.bounds(last).iter().any(|(low, high)| (*low..=*high).contains(&number))
    }
}

/// A message that may match; what is costly is loaded once and only when a key asks for it.
struct Candidate<'a> {
    account: &'a Account,
    id: FolderId,
    number: u32,
    recent: bool,
    row: &'a Row,
    bytes: OnceCell<Vec<u8>>,
    parsed: OnceCell<Parsed>,
    texts: &'a Texts,
}

impl Candidate<'_> {
    fn parsed(&self) -> Result<&Parsed, StoreError> {
        if let Some(parsed) = self.parsed.get() {
            return Ok(parsed);
        }
        let found = self.account.parsed(self.id, std::slice::from_ref(self.row))?.pop().flatten();
        let found = found.ok_or(StoreError::NoMessage)?;
        Ok(self.parsed.get_or_init(|| found))
    }

    /// The day of the Date field, in its own zone (RFC 9051 §6.4.4).
    fn sent(&self) -> Result<Option<Date>, StoreError> {
        Ok(self.parsed()?.sent.map(|sent| day(sent.seconds.saturating_add(i64::from(sent.zone) * 60))))
    }

    fn bytes(&self) -> Result<&[u8], StoreError> {
        if let Some(bytes) = self.bytes.get() {
            return Ok(bytes);
        }
        let read = self.account.read(self.id, self.row.uid)?;
        Ok(self.bytes.get_or_init(|| read))
    }

    /// `fuzzily` is whether the key stands within FUZZY.
    fn meets(&self, key: &Key, sets: &Sets, fuzzily: bool) -> Result<bool, StoreError> {
        if let Some(met) = self.texts.meets(key, self.row.id, fuzzily, || self.bytes())? {
            return Ok(met);
        }
        let seen = self.row.flags.contains(Flags::SEEN);
        Ok(match key {
            Key::All => true,
            Key::Numbers(set) => sets.has(set, self.number, self.row.uid, false),
            Key::Uids(set) => sets.has(set, self.number, self.row.uid, true),
            Key::Flag(flag) => self.row.flags.contains(*flag),
            Key::Keyword(name) => self.row.keywords.contains(name),
            Key::Recent => self.recent,
            Key::New => self.recent && !seen,
            Key::Old => !self.recent,
            Key::ModSeq(modseq) => self.row.modseq.0 >= *modseq,
            Key::Larger(size) => u64::from(self.row.size) > *size,
            Key::Smaller(size) => u64::from(self.row.size) < *size,
            Key::Before(date) => day(self.row.received.into()) < *date,
            Key::On(date) => day(self.row.received.into()) == *date,
            Key::Since(date) => day(self.row.received.into()) >= *date,
            Key::Older(seconds) => sets.now.saturating_sub(u64::from(self.row.received)) >= u64::from(*seconds),
            Key::Younger(seconds) => sets.now.saturating_sub(u64::from(self.row.received)) <= u64::from(*seconds),
            Key::SentBefore(date) => self.sent()?.is_some_and(|sent| sent < *date),
            Key::SentOn(date) => self.sent()?.is_some_and(|sent| sent == *date),
            Key::SentSince(date) => self.sent()?.is_some_and(|sent| sent >= *date),
            Key::Header { field, text } => text::header_has(self.bytes()?, field, text),
            Key::Body(text) => text::body_has(self.bytes()?, text),
            Key::Text(text) => text::message_has(self.bytes()?, text),
            Key::Not(inner) => !self.meets(inner, sets, fuzzily)?,
            Key::Fuzzy(inner) => self.meets(inner, sets, true)?,
            Key::Or(a, b) => self.meets(a, sets, fuzzily)? || self.meets(b, sets, fuzzily)?,
            Key::And(keys) => {
                for key in keys {
                    if !self.meets(key, sets, fuzzily)? {
                        return Ok(false);
                    }
                }
                true
            }
            Key::SavedBefore(date) => day(self.row.saved.into()) < *date,
            Key::SavedOn(date) => day(self.row.saved.into()) == *date,
            Key::SavedSince(date) => day(self.row.saved.into()) >= *date,
            Key::EmailId(id) => email_id(self.parsed()?) == *id,
            Key::ThreadId(id) => thread_id(self.parsed()?) == *id,
        })
    }
}

/// RFC 8474 §5.1: the same for the same bytes. The letter tells it from other ids.
pub fn email_id(parsed: &Parsed) -> String {
    format!("M{}", parsed.email_id)
}

/// RFC 8474 §5.2.
pub fn thread_id(parsed: &Parsed) -> String {
    format!("T{}", parsed.thread_id)
}

/// The day in UTC, as dates are shown.
fn day(unix_seconds: i64) -> Date {
    Timestamp::from_second(unix_seconds).unwrap_or(Timestamp::MAX).to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_names_the_command_and_how_far_it_is() {
        assert_eq!(progress("a1", 50, 1000), "* OK [INPROGRESS (\"a1\" 50 1000)] still at it");
    }
}
