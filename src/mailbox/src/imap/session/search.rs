//! SEARCH (RFC 3501 §6.4.4, RFC 4731): keys against the view first, then the index, then the file.

use super::view::View;
use super::{Done, Session, Stop};
use crate::imap::proto::{Key, Return, Search, compact};
use crate::text;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::cell::OnceCell;
use std::sync::Arc;
use store::{Account, Flags, FolderId, Row, StoreError};
use tokio::io::{AsyncRead, AsyncWrite};

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn search(&mut self, by_uid: bool, search: Search) -> Done {
        let view = self.view()?;
        let wants_modseq = search.any(|key| matches!(key, Key::ModSeq(_)));
        let id = view.folder.id;
        let sets = Sets::of(view);
        let (image, recent) = (Arc::clone(&view.image), view.recent());
        self.condstore |= wants_modseq;
        let returns = search.returns.clone();
        let found = self
            .on_store(move |account| {
                let mut found = Vec::new();
                for (number, row) in (1u32..).zip(image.rows()) {
                    let recent = recent.contains(&row.uid);
                    let candidate = Candidate { account, id, number, recent, row, bytes: OnceCell::new() };
                    match search.keys.iter().try_fold(true, |all, key| Ok(all && candidate.meets(key, &sets)?)) {
                        Ok(true) => found.push((if by_uid { row.uid.0 } else { number }, row.modseq)),
                        // Removed meanwhile: no match.
                        Ok(false) | Err(StoreError::NoMessage) => {}
                        Err(why) => return Err(why),
                    }
                }
                Ok(found)
            })
            .await?;
        let highest = found.iter().map(|(_, modseq)| modseq.0).max().filter(|_| wants_modseq);
        let numbers: Vec<u32> = found.into_iter().map(|(number, _)| number).collect();
        self.tell_found(by_uid, &numbers, highest, returns.as_deref())
    }

    fn tell_found(
        &mut self,
        by_uid: bool,
        numbers: &[u32],
        highest: Option<u64>,
        returns: Option<&[Return]>,
    ) -> Result<String, Stop> {
        let Some(returns) = returns else {
            let shown: Vec<String> = numbers.iter().map(u32::to_string).collect();
            let modseq = highest.map(|modseq| format!(" (MODSEQ {modseq})")).unwrap_or_default();
            let space = if shown.is_empty() { "" } else { " " };
            self.say(&format!("* SEARCH{space}{}{modseq}", shown.join(" ")));
            return Ok("searched".into());
        };
        let mut line = format!("* ESEARCH (TAG \"{}\")", self.tag);
        if by_uid {
            line.push_str(" UID");
        }
        for wanted in returns {
            match (wanted, numbers) {
                (Return::Count, numbers) => line.push_str(&format!(" COUNT {}", numbers.len())),
                (_, []) => {}
                (Return::Min, [first, ..]) => line.push_str(&format!(" MIN {first}")),
                (Return::Max, [.., last]) => line.push_str(&format!(" MAX {last}")),
                (Return::All, numbers) => line.push_str(&format!(" ALL {}", compact(numbers.iter().copied()))),
            }
        }
        if let Some(modseq) = highest {
            line.push_str(&format!(" MODSEQ {modseq}"));
        }
        self.say(&line);
        Ok("searched".into())
    }
}

/// What `*` stands for.
struct Sets {
    last_number: u32,
    last_uid: u32,
}

impl Sets {
    fn of(view: &View) -> Sets {
        let last_number = u32::try_from(view.image.len()).unwrap_or(u32::MAX);
        Sets { last_number, last_uid: view.image.last().map_or(0, |row| row.uid.0) }
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
}

impl Candidate<'_> {
    fn bytes(&self) -> Result<&[u8], StoreError> {
        if let Some(bytes) = self.bytes.get() {
            return Ok(bytes);
        }
        let read = self.account.read(self.id, self.row.uid)?;
        Ok(self.bytes.get_or_init(|| read))
    }

    fn meets(&self, key: &Key, sets: &Sets) -> Result<bool, StoreError> {
        let within = |bounds: Vec<(u32, u32)>, number: u32| bounds.iter().any(|(a, b)| (*a..=*b).contains(&number));
        let seen = self.row.flags.contains(Flags::SEEN);
        Ok(match key {
            Key::All => true,
            Key::Numbers(set) => within(set.bounds(sets.last_number), self.number),
            Key::Uids(set) => within(set.bounds(sets.last_uid), self.row.uid.0),
            Key::Flag(flag) => self.row.flags.contains(*flag),
            Key::Keyword(name) => self.row.keywords.contains(name),
            Key::Recent => self.recent,
            Key::New => self.recent && !seen,
            Key::Old => !self.recent,
            Key::ModSeq(modseq) => self.row.modseq.0 >= *modseq,
            Key::Larger(size) => u64::from(self.row.size) > *size,
            Key::Smaller(size) => u64::from(self.row.size) < *size,
            Key::Before(date) => self.received() < *date,
            Key::On(date) => self.received() == *date,
            Key::Since(date) => self.received() >= *date,
            Key::SentBefore(date) => text::sent_on(self.bytes()?).is_some_and(|sent| sent < *date),
            Key::SentOn(date) => text::sent_on(self.bytes()?).is_some_and(|sent| sent == *date),
            Key::SentSince(date) => text::sent_on(self.bytes()?).is_some_and(|sent| sent >= *date),
            Key::Header { field, text } => text::header_has(self.bytes()?, field, text),
            Key::Body(text) => text::body_has(self.bytes()?, text),
            Key::Text(text) => text::message_has(self.bytes()?, text),
            Key::Not(inner) => !self.meets(inner, sets)?,
            Key::Or(a, b) => self.meets(a, sets)? || self.meets(b, sets)?,
            Key::And(keys) => {
                for key in keys {
                    if !self.meets(key, sets)? {
                        return Ok(false);
                    }
                }
                true
            }
        })
    }

    /// The day of the internal date, in UTC as it is shown.
    fn received(&self) -> Date {
        let seconds = i64::from(self.row.received);
        Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX).to_zoned(TimeZone::UTC).date()
    }
}
