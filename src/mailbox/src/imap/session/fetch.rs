//! FETCH (RFC 9051 §6.4.5): which messages, and the answers on their way while the next ones are made.

use super::answer::{Answer, Question};
use super::rights::Rights;
use super::{Done, Session, Stop};
use crate::blocking;
use crate::imap::proto::{Fetch, Item};
use std::sync::Arc;
use store::{FlagChange, FlagUpdate, Flags, Keywords, ModSeq, Uid};
use tokio::io::{AsyncRead, AsyncWrite};

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn fetch(&mut self, by_uid: bool, mut fetch: Fetch) -> Done {
        if self.modes.uid_only {
            // RFC 9586 §3.3: the UID stands at the head of the response.
            fetch.items.retain(|item| *item != Item::Uid);
        } else if (by_uid || self.modes.qresync) && !fetch.items.contains(&Item::Uid) {
            fetch.items.insert(0, Item::Uid);
        }
        // RFC 7162 §3.1: asking for it enables it.
        self.condstore |= fetch.items.contains(&Item::ModSeq);
        if fetch.vanished && !(by_uid && self.modes.qresync) {
            return Err(Stop::Bad("VANISHED goes with UID FETCH and ENABLE QRESYNC".into()));
        }
        let mut uids = self.uids(&fetch.set, by_uid)?;
        if let Some(since) = fetch.changed_since {
            let view = self.view()?;
            uids.retain(|uid| view.image.by_uid(*uid).is_some_and(|row| row.modseq.0 > since));
        }
        if let Some(window) = fetch.window {
            // RFC 9394 §3.3: of the messages that the other modifiers leave.
            uids = uids[window.of(uids.len())].to_vec();
        }
        if let (true, Some(since)) = (fetch.vanished, fetch.changed_since) {
            let ranges = fetch.set.bounds(u32::MAX);
            self.tell_vanished(ModSeq(since), &ranges, 1).await?;
        }
        let seen_now = if fetch.sees() { self.mark_seen(&uids).await? } else { Vec::new() };
        let outcome = self.answer_all(fetch.items, seen_now, uids).await?;
        if outcome.undecoded {
            return Err(Stop::No("[UNKNOWN-CTE] a part has a transfer encoding that is not known".into()));
        }
        let missing = outcome.missing;
        Ok(if missing { "[EXPUNGEISSUED] some messages were removed meanwhile" } else { "fetched" }.into())
    }

    /// Answers for each message. While one piece of the answer goes out, the next one is made.
    async fn answer_all(&mut self, items: Vec<Item>, seen_now: Vec<Uid>, uids: Vec<Uid>) -> Result<Answer, Stop> {
        let telling = self.telling();
        let view = self.view()?;
        let account = Arc::clone(&view.account);
        let question = Question::new(items, view, telling, seen_now);
        let mut outcome = Answer::default();
        if question.needs_nothing() {
            for some in uids.chunks(Question::MOST) {
                question.answer(&account, some, &mut outcome)?;
                self.conn.output.append(&mut outcome.bytes);
                self.conn.flush_if_full().await.map_err(Stop::End)?;
            }
            return Ok(outcome);
        }
        let (question, uids): (Arc<Question>, Arc<[Uid]>) = (Arc::new(question), uids.into());
        let piece = |from: usize| {
            let (question, uids) = (Arc::clone(&question), Arc::clone(&uids));
            blocking::on(&account, move |account| {
                let mut answer = Answer::default();
                question.answer(account, &uids[from..], &mut answer)?;
                Ok(answer)
            })
        };
        let mut at = 0;
        while at < uids.len() {
            let (sent, made) = tokio::join!(self.conn.flush_if_full(), piece(at));
            sent.map_err(Stop::End)?;
            let ready = made?;
            at += ready.count;
            outcome.missing |= ready.missing;
            outcome.undecoded |= ready.undecoded;
            self.conn.put(ready.bytes);
        }
        Ok(outcome)
    }

    /// Sets \Seen where it is not set; returns where it was not.
    async fn mark_seen(&mut self, uids: &[Uid]) -> Result<Vec<Uid>, Stop> {
        let view = self.view()?;
        if view.read_only || !view.rights.has(Rights::SEEN) {
            return Ok(Vec::new());
        }
        let is_unseen = |uid: &&Uid| view.image.by_uid(**uid).is_some_and(|row| !row.flags.contains(Flags::SEEN));
        let unseen: Vec<Uid> = uids.iter().filter(is_unseen).copied().collect();
        if unseen.is_empty() {
            return Ok(unseen);
        }
        let (id, targets) = (view.folder.id, unseen.clone());
        let update = FlagUpdate {
            change: FlagChange::Add,
            flags: Flags::SEEN,
            keywords: Keywords::default(),
            unchanged_since: None,
        };
        let changed = self.on_selected(move |account| account.update_flags(id, &targets, &update)).await?;
        let view = self.view()?;
        changed.rows.into_iter().for_each(|row| view.put(row));
        Ok(unseen)
    }
}
