//! NOTIFY (RFC 5465): a client hears of other mailboxes than the selected one, and without asking.
//!
//! What was told last of each folder is remembered; at each change the folders whose modification sequence has moved
//! are looked at, and the difference is told.

use super::folders::shown;
use super::groups::FolderGroup;
use super::{Done, Session, Stop};
use crate::imap::connection::End;
use crate::imap::proto::{Event, Fetch, Group, Item, Mailboxes, Notify, Num, Set, StatusItem};
use std::collections::{BTreeSet, HashMap};
use store::{Folder, FolderId, FolderName, ModSeq, SEPARATOR};
use tokio::io::{AsyncRead, AsyncWrite};

/// What a client wants to hear of, and what it was told last.
pub struct Watched {
    groups: Vec<(FolderGroup, Vec<Event>)>,
    selected: Option<Selected>,
    folders: HashMap<FolderId, Folder>,
    subscribed: BTreeSet<FolderName>,
    highest: HashMap<FolderId, ModSeq>,
    told: HashMap<FolderId, Told>,
}

/// What is wanted of the selected mailbox.
struct Selected {
    /// Removals wait until a command at which numbers may shift.
    delayed: bool,
    /// To be fetched of new messages.
    items: Vec<Item>,
}

/// What was told of a folder.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Told {
    messages: u64,
    uid_next: u32,
}

/// The events that are known, as BADEVENT lists them.
const KNOWN: &str = "MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange";

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn notify(&mut self, notify: Option<Notify>) -> Done {
        self.user()?;
        let Some(notify) = notify else {
            self.watched = None;
            return Ok("nothing more is told without asking".into());
        };
        let unknown = |event: &Event| {
            matches!(event, Event::Unknown(_) | Event::MailboxMetadataChange | Event::ServerMetadataChange)
        };
        if notify.groups.iter().any(|group| group.events.iter().any(unknown)) {
            return Err(Stop::No(format!("[BADEVENT ({KNOWN})] not all of these events are known")));
        }
        let mut watched = Watched::of(&notify.groups);
        for group in &notify.groups {
            if !matches!(group.mailboxes, Mailboxes::Selected | Mailboxes::SelectedDelayed) {
                watched.groups.push((self.group(&group.mailboxes)?, group.events.clone()));
            }
        }
        let (folders, subscribed, highest) =
            self.on_store(|account| Ok((account.folders()?, account.subscriptions()?, account.highest()?))).await?;
        watched.subscribed = subscribed.into_iter().collect();
        watched.highest = highest;
        watched.folders = folders.into_iter().map(|folder| (folder.id, folder)).collect();
        let mut first: Vec<Folder> = watched.folders.values().cloned().collect();
        first.sort_by(|a, b| a.name.cmp(&b.name));
        for folder in first {
            if watched.wants(&folder, |event| matches!(event, Event::MessageNew(_))) && !self.is_selected(folder.id) {
                self.tell_counts(&mut watched, &folder, notify.status).await?;
                self.conn.flush_if_full().await.map_err(Stop::End)?;
            }
        }
        self.watched = Some(Box::new(watched));
        Ok("changes are told".into())
    }

    fn is_selected(&self, id: FolderId) -> bool {
        self.selected.as_ref().is_some_and(|view| view.owner.is_none() && view.folder.id == id)
    }

    /// Looks at a folder's counts; tells them when asked to or when they are not those told last.
    async fn tell_counts(&mut self, watched: &mut Watched, folder: &Folder, always: bool) -> Result<(), Stop> {
        let name = folder.name.clone();
        let flags = watched.wants(folder, |event| *event == Event::FlagChange);
        let status = match self.on_store(move |account| account.status(&name)).await {
            Err(Stop::No(_)) => return Ok(()),
            other => other?,
        };
        let now = Told { messages: status.counts.messages, uid_next: status.uid_next.0 };
        let before = watched.told.insert(folder.id, now);
        if always || flags && before.is_some() || before.is_some_and(|before| before != now) {
            let mut items = vec![StatusItem::Messages, StatusItem::UidNext, StatusItem::UidValidity];
            if flags {
                items.push(StatusItem::Unseen);
            }
            if self.telling().condstore {
                items.push(StatusItem::HighestModSeq);
            }
            self.tell_status_of(folder.name.clone(), &items).await?;
        }
        Ok(())
    }

    /// After a change: what the client wants to hear of it.
    pub(super) async fn tell_watched(&mut self) -> Result<(), End> {
        let Some(mut watched) = self.watched.take() else { return Ok(()) };
        let outcome = self.tell_changes(&mut watched).await;
        let selected = watched.selected.as_ref().map(|selected| selected.delayed);
        self.watched = Some(watched);
        match outcome {
            Err(Stop::End(end)) => return Err(end),
            Err(Stop::No(why) | Stop::Bad(why)) => tracing::error!("a client was not told of a change: {why}"),
            Ok(()) => {}
        }
        match selected {
            Some(delayed) => self.sync(!delayed).await,
            None => Ok(()),
        }
    }

    async fn tell_changes(&mut self, watched: &mut Watched) -> Result<(), Stop> {
        let (folders, subscribed, highest) =
            self.on_store(|account| Ok((account.folders()?, account.subscriptions()?, account.highest()?))).await?;
        let subscribed: BTreeSet<FolderName> = subscribed.into_iter().collect();
        for line in watched.renamed(&folders, self.modes.utf8()) {
            self.say(&line);
        }
        for line in watched.subscribed_otherwise(&folders, &subscribed, self.modes.utf8()) {
            self.say(&line);
        }
        let moved = |folder: &&Folder| watched.highest.get(&folder.id) != highest.get(&folder.id);
        let moved: Vec<Folder> = folders.iter().filter(moved).cloned().collect();
        watched.folders = folders.into_iter().map(|folder| (folder.id, folder)).collect();
        (watched.subscribed, watched.highest) = (subscribed, highest);
        for folder in moved {
            if watched.wants(&folder, |event| matches!(event, Event::MessageNew(_))) && !self.is_selected(folder.id) {
                self.tell_counts(watched, &folder, false).await?;
            }
        }
        Ok(())
    }

    /// Fetches what the client wants of messages that are new in the selected mailbox; places in the view.
    pub(super) async fn fetch_watched(&mut self, added: Vec<usize>) -> Result<(), End> {
        let selected = self.watched.as_ref().and_then(|watched| watched.selected.as_ref());
        let Some(items) = selected.map(|selected| selected.items.clone()).filter(|items| !items.is_empty()) else {
            return Ok(());
        };
        let Some(view) = &self.selected else { return Ok(()) };
        let uids = added.into_iter().filter_map(|place| Some(Num::Is(view.image.get(place)?.uid.0)));
        let ranges: Vec<(Num, Num)> = uids.map(|uid| (uid, uid)).collect();
        if ranges.is_empty() {
            return Ok(());
        }
        let set = Set::Ranges(ranges);
        let fetch = Fetch { set, items, changed_since: None, vanished: false, window: None };
        match Box::pin(self.fetch(true, fetch)).await {
            Err(Stop::End(end)) => Err(end),
            Err(Stop::No(why) | Stop::Bad(why)) => {
                tracing::debug!("new messages were not fetched: {why}");
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }
}

impl Watched {
    fn of(groups: &[Group]) -> Watched {
        let selected = groups.iter().find_map(|group| {
            let delayed = match group.mailboxes {
                Mailboxes::Selected => false,
                Mailboxes::SelectedDelayed => true,
                _ => return None,
            };
            let items = group.events.iter().find_map(|event| match event {
                Event::MessageNew(items) => Some(items.clone()),
                _ => None,
            });
            (!group.events.is_empty()).then(|| Selected { delayed, items: items.unwrap_or_default() })
        });
        Watched {
            groups: Vec::new(),
            selected,
            folders: HashMap::new(),
            subscribed: BTreeSet::new(),
            highest: HashMap::new(),
            told: HashMap::new(),
        }
    }

    /// Whether an event is wanted of a folder: the first group that has it counts (RFC 5465 §3.1).
    fn wants(&self, folder: &Folder, event: impl Fn(&Event) -> bool) -> bool {
        let subscribed = self.subscribed.contains(&folder.name).then(|| folder.name.clone());
        let names: Vec<FolderName> = subscribed.into_iter().collect();
        let group = self.groups.iter().find(|(group, _)| group.has(folder, &names));
        group.is_some_and(|(_, events)| events.iter().any(event))
    }

    /// LIST responses for folders that were made, renamed or removed (RFC 5465 §5.4).
    fn renamed(&self, now: &[Folder], utf8: bool) -> Vec<String> {
        let mut lines = Vec::new();
        let wanted = |folder: &Folder| self.wants(folder, |event| *event == Event::MailboxName);
        for folder in now.iter().filter(|folder| wanted(folder)) {
            let name = shown(&folder.name, utf8);
            match self.folders.get(&folder.id) {
                None => lines.push(format!("* LIST () \"{SEPARATOR}\" {name}")),
                Some(before) if before.name != folder.name => {
                    let old = shown(&before.name, utf8);
                    lines.push(format!("* LIST () \"{SEPARATOR}\" {name} (\"OLDNAME\" ({old}))"));
                }
                Some(_) => {}
            }
        }
        let there: BTreeSet<FolderId> = now.iter().map(|folder| folder.id).collect();
        let mut gone: Vec<&Folder> =
            self.folders.values().filter(|folder| !there.contains(&folder.id) && wanted(folder)).collect();
        gone.sort_by(|a, b| a.name.cmp(&b.name));
        lines.extend(
            gone.iter().map(|folder| format!("* LIST (\\NonExistent) \"{SEPARATOR}\" {}", shown(&folder.name, utf8))),
        );
        lines
    }

    /// LIST responses for changed subscriptions (RFC 5465 §5.5).
    fn subscribed_otherwise(&self, folders: &[Folder], now: &BTreeSet<FolderName>, utf8: bool) -> Vec<String> {
        let wanted = |name: &&FolderName| {
            let folder = folders.iter().find(|folder| folder.name == **name);
            folder.is_some_and(|folder| self.wants(folder, |event| *event == Event::SubscriptionChange))
        };
        let changed = now.symmetric_difference(&self.subscribed).filter(wanted);
        let line = |name: &FolderName| {
            let attribute = if now.contains(name) { "\\Subscribed" } else { "" };
            format!("* LIST ({attribute}) \"{SEPARATOR}\" {}", shown(name, utf8))
        };
        changed.map(line).collect()
    }
}
