//! SORT, THREAD (RFC 5256, RFC 5267 for RETURN), and ESEARCH over several mailboxes (RFC 7377).

use super::find::{Found, Scope};
use super::folders::shown;
use super::{Done, Session, Stop};
use crate::imap::order::{self, Facts};
use crate::imap::proto::{Algorithm, Key, Mailboxes, Multisearch, Returns, Search, Sort, SortKey, Thread};
use crate::limits;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use store::{Folder, FolderId, Row};
use tokio::io::{AsyncRead, AsyncWrite};

/// Messages looked up at once.
const BATCH: usize = 500;

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn sort(&mut self, by_uid: bool, sort: Sort) -> Done {
        self.view()?;
        self.numbers_allowed(by_uid)?;
        let by_relevancy = sort.by.iter().any(|(key, _)| *key == SortKey::Relevancy);
        if by_relevancy && !sort.search.any(|key| matches!(key, Key::Fuzzy(_))) {
            return Err(Stop::Bad("RELEVANCY goes with FUZZY".into()));
        }
        let saves = sort.search.returns.is_some_and(|returns| returns.save);
        let sorted = self.sorted(&sort).await;
        if saves && sorted.is_err() {
            self.saved = Arc::default();
        }
        let found = sorted?;
        let wants_modseq = sort.search.any(|key| matches!(key, Key::ModSeq(_)));
        match sort.search.returns {
            None => self.tell_numbers("SORT", by_uid, &found, wants_modseq),
            Some(returns) => {
                let head = format!("(TAG \"{}\")", self.tag);
                self.tell_found(&head, by_uid, &found, returns, wants_modseq);
                if returns.save {
                    self.save(&found, returns);
                }
            }
        }
        Ok("sorted".into())
    }

    async fn sorted(&mut self, sort: &Sort) -> Result<Vec<Found>, Stop> {
        let found = self.find_in_view(&sort.search).await?;
        let mut facts = self.facts(&found, false).await?;
        let by_number: HashMap<u32, Found> = found.into_iter().map(|one| (one.number, one)).collect();
        for one in &mut facts {
            one.relevancy = by_number.get(&one.number).map_or(0, |found| u32::from(found.relevancy));
        }
        let order = order::sorted(facts, &sort.by);
        Ok(order.into_iter().filter_map(|number| by_number.get(&number).copied()).collect())
    }

    pub(super) async fn thread(&mut self, by_uid: bool, thread: Thread) -> Done {
        self.view()?;
        self.numbers_allowed(by_uid)?;
        let found = self.find_in_view(&thread.search).await?;
        let follows = thread.algorithm == Algorithm::References;
        let facts = self.facts(&found, by_uid).await?;
        let threads = if follows { order::references(facts) } else { order::ordered_subject(facts) };
        self.conn.output.extend_from_slice(b"* THREAD");
        if !threads.1.is_empty() {
            self.conn.output.push(b' ');
        }
        order::write_threads(&mut self.conn.output, &threads);
        self.say("");
        Ok("threaded".into())
    }

    /// What sorting and threading go by; messages that have gone meanwhile are left out.
    async fn facts(&mut self, found: &[Found], by_uid: bool) -> Result<Vec<Facts>, Stop> {
        if found.len() > limits::SORTED_MESSAGES {
            let most = limits::SORTED_MESSAGES;
            return Err(Stop::No(format!("[LIMIT] no more than {most} messages are put in order at once")));
        }
        let view = self.view()?;
        let (id, image) = (view.folder.id, Arc::clone(&view.image));
        let mut all = Vec::with_capacity(found.len());
        for batch in found.chunks(BATCH) {
            let rows: Vec<Row> = batch.iter().filter_map(|one| image.by_uid(one.uid)).cloned().collect();
            let numbers: Vec<u32> = batch.iter().map(|one| one.named(by_uid)).collect();
            let batch = self.on_selected(move |account| {
                let parsed = account.parsed(id, &rows)?;
                let known = rows.iter().zip(numbers).zip(parsed);
                Ok(known
                    .filter_map(|((row, number), parsed)| Some(Facts::new(number, row, parsed?)))
                    .collect::<Vec<_>>())
            });
            all.extend(batch.await?);
        }
        Ok(all)
    }

    pub(super) async fn multisearch(&mut self, command: Multisearch) -> Done {
        self.user()?;
        self.searchable(&command.search)?;
        let returns = command.search.returns.unwrap_or_else(Returns::all);
        if returns.save {
            return Err(Stop::Bad("SAVE is for a search of the selected mailbox alone".into()));
        }
        let targets = self.targets(&command.sources).await?;
        let several = targets.len() > 1 || command.sources != [Mailboxes::Selected];
        // RFC 7377 §2.1: numbers are of the selected mailbox.
        if several && command.search.any(|key| matches!(key, Key::Numbers(_))) {
            return Err(Stop::Bad("message numbers mean nothing in other mailboxes".into()));
        }
        let keys = Arc::new(command.search.keys.clone());
        for folder in targets {
            self.search_folder(folder, &command.search, &keys, returns).await?;
        }
        Ok("searched".into())
    }

    async fn search_folder(
        &mut self,
        folder: Folder,
        search: &Search,
        keys: &Arc<Vec<Key>>,
        returns: Returns,
    ) -> Result<(), Stop> {
        let account = self.account()?;
        let id = folder.id;
        let selected = match self.on_store(move |account| account.select(id, false)).await {
            Ok(selected) => selected,
            // Deleted since the list was made.
            Err(Stop::End(_)) => return Ok(()),
            Err(why) => return Err(why),
        };
        let recent = selected.recent_from..selected.uid_next;
        let scope = Scope { id, image: selected.image, recent, saved: Arc::default() };
        let found = self.find(&account, scope, keys).await?;
        if found.is_empty() {
            return Ok(());
        }
        let name = shown(&folder.name, self.modes.utf8());
        let head = format!("(TAG \"{}\" MAILBOX {name} UIDVALIDITY {})", self.tag, folder.validity.0);
        self.tell_found(&head, true, &found, returns, search.any(|key| matches!(key, Key::ModSeq(_))));
        self.conn.flush_if_full().await.map_err(Stop::End)
    }

    /// The folders of groups, each once.
    pub(super) async fn targets(&mut self, groups: &[Mailboxes]) -> Result<Vec<Folder>, Stop> {
        let (all, subscribed) = self.on_store(|account| Ok((account.folders()?, account.subscriptions()?))).await?;
        let mut ids: BTreeSet<FolderId> = BTreeSet::new();
        for group in groups {
            let group = self.group(group)?;
            ids.extend(all.iter().filter(|folder| group.has(folder, &subscribed)).map(|folder| folder.id));
        }
        Ok(all.into_iter().filter(|folder| ids.contains(&folder.id)).take(limits::SEARCHED_FOLDERS).collect())
    }
}
