//! SEARCH (RFC 9051 §6.4.4): what is found is told as ESEARCH or, to clients of RFC 3501, as SEARCH; and it may be
//! saved as `$` (RFC 5182).

use super::find::{Found, Scope};
use super::{Done, Session, Stop};
use crate::imap::proto::{Charset, Key, Returns, Search, compact};
use std::sync::Arc;
use store::Uid;
use tokio::io::{AsyncRead, AsyncWrite};

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn search(&mut self, by_uid: bool, search: Search) -> Done {
        self.view()?;
        self.numbers_allowed(by_uid)?;
        let saves = search.returns.is_some_and(|returns| returns.save);
        let found = self.find_in_view(&search).await;
        if saves && found.is_err() {
            // RFC 5182 §2.1: a search that fails leaves nothing.
            self.saved = Arc::default();
        }
        let found = found?;
        let wants_modseq = search.any(|key| matches!(key, Key::ModSeq(_)));
        match search.returns.or_else(|| self.modes.rev2.then(Returns::all)) {
            Some(returns) => {
                let head = format!("(TAG \"{}\")", self.tag);
                self.tell_found(&head, by_uid, &found, returns, wants_modseq);
                if returns.save {
                    self.save(&found, returns);
                }
            }
            None => self.tell_numbers("SEARCH", by_uid, &found, wants_modseq),
        }
        Ok("searched".into())
    }

    /// The messages of the selected mailbox that a search finds.
    pub(super) async fn find_in_view(&mut self, search: &Search) -> Result<Vec<Found>, Stop> {
        self.searchable(search)?;
        let saved = Arc::clone(&self.saved);
        let view = self.view()?;
        let account = Arc::clone(&view.account);
        let scope = Scope { id: view.folder.id, image: Arc::clone(&view.image), recent: view.recent(), saved };
        // RFC 7162 §3.1: asking for it enables it.
        self.condstore |= search.any(|key| matches!(key, Key::ModSeq(_)));
        self.find(&account, scope, &Arc::new(search.keys.clone())).await
    }

    /// Refuses what a search cannot do.
    pub(super) fn searchable(&self, search: &Search) -> Result<(), Stop> {
        match search.charset {
            Charset::Unknown => {
                return Err(Stop::No("[BADCHARSET (UTF-8 US-ASCII)] searches are in UTF-8 or US-ASCII".into()));
            }
            // RFC 6855 §3.
            Charset::Named if self.modes.utf8_accept => {
                return Err(Stop::Bad("after ENABLE UTF8=ACCEPT, CHARSET is not used".into()));
            }
            _ => {}
        }
        if self.modes.uid_only
            && search.any(|key| matches!(key, Key::Numbers(set) if *set != crate::imap::proto::Set::Saved))
        {
            return Err(Stop::Bad("[UIDREQUIRED] message numbers are not used after ENABLE UIDONLY".into()));
        }
        let fuzzy = |key: &Key| matches!(key, Key::Fuzzy(_));
        if search.returns.is_some_and(|returns| returns.relevancy) && !search.any(fuzzy) {
            // RFC 6203 §4.
            return Err(Stop::Bad("RELEVANCY goes with FUZZY".into()));
        }
        Ok(())
    }

    /// `* SEARCH 2 3 6` or `* SORT 3 2 6`, with the highest modification sequence when it was asked for.
    pub(super) fn tell_numbers(&mut self, what: &str, by_uid: bool, found: &[Found], wants_modseq: bool) {
        let mut line = format!("* {what}");
        for one in found {
            line.push_str(&format!(" {}", one.named(by_uid)));
        }
        let highest = found.iter().map(|one| one.modseq.0).max().filter(|_| wants_modseq);
        if let Some(modseq) = highest {
            line.push_str(&format!(" (MODSEQ {modseq})"));
        }
        self.say(&line);
    }

    /// An ESEARCH response (RFC 9051 §7.3.4) for what was found, in its order.
    pub(super) fn tell_found(
        &mut self,
        head: &str,
        by_uid: bool,
        found: &[Found],
        returns: Returns,
        wants_modseq: bool,
    ) {
        let mut line = format!("* ESEARCH {head}");
        if by_uid {
            line.push_str(" UID");
        }
        if let (true, Some(first)) = (returns.min, found.first()) {
            line.push_str(&format!(" MIN {}", first.named(by_uid)));
        }
        if let (true, Some(last)) = (returns.max, found.last()) {
            line.push_str(&format!(" MAX {}", last.named(by_uid)));
        }
        if returns.count {
            line.push_str(&format!(" COUNT {}", found.len()));
        }
        let set = |part: &[Found]| compact(part.iter().map(|one| one.named(by_uid)));
        if returns.all && !found.is_empty() {
            line.push_str(&format!(" ALL {}", set(found)));
        }
        if let Some(window) = returns.partial {
            match &found[window.of(found.len())] {
                [] => line.push_str(&format!(" PARTIAL ({window} NIL)")),
                part => line.push_str(&format!(" PARTIAL ({window} {})", set(part))),
            }
        }
        if returns.relevancy && !found.is_empty() {
            let scores: Vec<String> = returns.chosen(found).iter().map(|one| one.relevancy.to_string()).collect();
            line.push_str(&format!(" RELEVANCY ({})", scores.join(" ")));
        }
        let told = returns.chosen(found);
        if let Some(highest) = told.iter().map(|one| one.modseq.0).max().filter(|_| wants_modseq) {
            line.push_str(&format!(" MODSEQ {highest}"));
        }
        self.say(&line);
    }

    /// RFC 5182 §2.1, table 1; RFC 9394 §3.2.
    pub(super) fn save(&mut self, found: &[Found], returns: Returns) {
        let mut uids: Vec<Uid> = returns.chosen(found).iter().map(|one| one.uid).collect();
        uids.sort_unstable();
        uids.dedup();
        self.saved = Arc::new(uids);
    }

    /// RFC 9586 §3: after ENABLE UIDONLY commands that name messages by number are refused.
    pub(super) fn numbers_allowed(&self, by_uid: bool) -> Result<(), Stop> {
        if self.modes.uid_only && !by_uid {
            return Err(Stop::Bad("[UIDREQUIRED] message numbers are not used after ENABLE UIDONLY".into()));
        }
        Ok(())
    }
}

impl Found {
    pub fn named(&self, by_uid: bool) -> u32 {
        if by_uid { self.uid.0 } else { self.number }
    }
}

impl Returns {
    /// What is asked for when nothing is.
    pub fn all() -> Returns {
        Returns { all: true, ..Returns::default() }
    }

    /// The messages that an answer tells of: all, a part, or the first and last alone.
    fn chosen(self, found: &[Found]) -> Vec<Found> {
        if let Some(window) = self.partial {
            return found[window.of(found.len())].to_vec();
        }
        if self.all || self.count || !(self.min || self.max) {
            return found.to_vec();
        }
        let first = found.first().filter(|_| self.min);
        let last = found.last().filter(|_| self.max);
        first.into_iter().chain(last).copied().collect()
    }
}
