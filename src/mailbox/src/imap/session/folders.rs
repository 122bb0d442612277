//! The list of folders (RFC 3501 §6.3.3 to 6.3.10, RFC 5258).

use super::{Done, Session, Stop};
use crate::imap::proto::{ListCommand, StatusItem, mailbox_name};
use crate::limits;
use std::collections::{BTreeMap, BTreeSet};
use store::{Flags, Folder, FolderName, Status, StoreError};
use tokio::io::{AsyncRead, AsyncWrite};

/// Between the levels of a name.
pub(super) const SEPARATOR: char = '.';

/// What LIST goes through: folders, and names that are none but have some below them or are subscribed to.
struct Listing {
    names: BTreeMap<FolderName, Option<Folder>>,
    subscribed: BTreeSet<FolderName>,
}

/// A folder's name as it is written to the client.
pub(super) fn shown(name: &FolderName, utf8: bool) -> String {
    let wire = if utf8 { name.as_str().to_owned() } else { name.to_wire() };
    String::from_utf8_lossy(&mailbox_name(&wire)).into_owned()
}

/// RFC 8474 §4: UIDVALIDITY is never given to two folders of an account, and a folder keeps its own when renamed.
pub(super) fn mailbox_id(folder: &Folder) -> String {
    format!("F{}", folder.validity.0)
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// A name as it came over the wire: in UTF-8 once that was enabled, before in modified UTF-7 or in UTF-8.
    pub(super) fn folder_name(&self, wire: &[u8]) -> Result<FolderName, Stop> {
        let name = match std::str::from_utf8(wire) {
            Ok(text) if self.modes.utf8() => FolderName::parse(text),
            _ => FolderName::from_wire(wire),
        };
        name.map_err(|why| Stop::No(format!("[CANNOT] {why}")))
    }

    pub(super) fn namespace(&mut self) -> Done {
        self.user()?;
        self.say(&format!("* NAMESPACE ((\"\" \"{SEPARATOR}\")) NIL NIL"));
        Ok("done".into())
    }

    pub(super) async fn create(&mut self, wire: &[u8], uses: &[String]) -> Done {
        self.user()?;
        if let Some(unknown) = uses.first() {
            return Err(Stop::No(format!("[USEATTR] a mailbox cannot be made for {unknown}")));
        }
        // RFC 9051 §6.3.4: a separator at the end announces folders below; they need no announcing.
        let name = self.folder_name(wire.strip_suffix(&[SEPARATOR as u8]).unwrap_or(wire))?;
        let folder = self.on_store(move |account| account.create_folder(&name)).await?;
        Ok(format!("[MAILBOXID ({})] created", mailbox_id(&folder)))
    }

    pub(super) async fn delete(&mut self, wire: &[u8]) -> Done {
        self.user()?;
        let name = self.folder_name(wire)?;
        if self.selected.as_ref().is_some_and(|view| view.folder.name == name) {
            self.selected = None;
        }
        let exists_below = self
            .on_store(move |account| match account.delete_folder(&name) {
                // RFC 9051 §6.3.5: a name that is none but has some below it.
                Err(StoreError::NoFolder(name)) => {
                    let below = account.folders()?.iter().any(|folder| folder.name.is_below(&name));
                    if below { Ok(true) } else { Err(StoreError::NoFolder(name)) }
                }
                other => other.map(|()| false),
            })
            .await?;
        if exists_below {
            return Err(Stop::No("[HASCHILDREN] there is no such mailbox, only some below that name".into()));
        }
        Ok("deleted".into())
    }

    pub(super) async fn rename(&mut self, from: &[u8], to: &[u8]) -> Done {
        self.user()?;
        let (from, to) = (self.folder_name(from)?, self.folder_name(to)?);
        self.on_store(move |account| account.rename_folder(&from, &to)).await?;
        Ok("renamed".into())
    }

    pub(super) async fn subscribe(&mut self, wire: &[u8], subscribed: bool) -> Done {
        self.user()?;
        let name = self.folder_name(wire)?;
        self.on_store(move |account| match account.folder(&name)? {
            None if subscribed => Err(StoreError::NoFolder(name)),
            _ => account.subscribe(&name, subscribed),
        })
        .await?;
        Ok("done".into())
    }

    pub(super) async fn list(&mut self, list: ListCommand) -> Done {
        self.user()?;
        if let [pattern] = list.patterns.as_slice()
            && pattern.is_empty()
            && !list.extended
        {
            self.say(&format!("* LIST (\\Noselect) \"{SEPARATOR}\" \"\""));
            return Ok("done".into());
        }
        let listing = self.on_store(Listing::of).await?;
        let matchers: Vec<Vec<u8>> =
            list.patterns.iter().map(|pattern| fold([list.reference.as_slice(), pattern].concat())).collect();
        let utf8 = self.modes.utf8();
        let mut lines = Vec::new();
        let mut statuses = Vec::new();
        for (name, folder) in &listing.names {
            let wire = if utf8 { name.as_str().to_owned() } else { name.to_wire() };
            let fits = matchers.iter().any(|pattern| matches(pattern, wire.as_bytes()));
            if !fits || !listing.wanted(name, folder.as_ref(), &list) {
                continue;
            }
            lines.push(listing.line(name, folder.as_ref(), &list, utf8));
            if list.return_status.is_some() && folder.is_some() {
                statuses.push(name.clone());
            }
        }
        for line in lines {
            self.say(&line);
        }
        for name in statuses {
            let items = list.return_status.as_deref().unwrap_or_default();
            match self.tell_status_of(name, items).await {
                // RFC 5819 §2: a mailbox that has gone meanwhile is passed over.
                Err(Stop::No(_)) => {}
                other => other?,
            }
            self.conn.flush_if_full().await.map_err(Stop::End)?;
        }
        Ok("done".into())
    }

    /// RFC 3501 §6.3.9.
    pub(super) async fn lsub(&mut self, reference: &[u8], pattern: &[u8]) -> Done {
        self.user()?;
        let listing = self.on_store(Listing::of).await?;
        let pattern = fold([reference, pattern].concat());
        let utf8 = self.modes.utf8();
        let fits = |name: &FolderName| match utf8 {
            true => matches(&pattern, name.as_str().as_bytes()),
            false => matches(&pattern, name.to_wire().as_bytes()),
        };
        let mut told: BTreeMap<FolderName, bool> = BTreeMap::new();
        for name in &listing.subscribed {
            if fits(name) {
                told.insert(name.clone(), true);
                continue;
            }
            // With "%" a name that is not subscribed is shown for those below it.
            for above in std::iter::successors(name.parent(), FolderName::parent).filter(|above| fits(above)) {
                told.entry(above).or_insert(false);
            }
        }
        for (name, real) in told {
            let attributes = if real { "" } else { "\\Noselect" };
            self.say(&format!("* LSUB ({attributes}) \"{SEPARATOR}\" {}", shown(&name, utf8)));
        }
        Ok("done".into())
    }

    pub(super) async fn status(&mut self, wire: &[u8], items: &[StatusItem]) -> Done {
        self.user()?;
        let name = self.folder_name(wire)?;
        // RFC 7162 §3.1: asking for it enables it.
        self.condstore |= items.contains(&StatusItem::HighestModSeq);
        self.tell_status_of(name, items).await?;
        Ok("done".into())
    }

    pub(super) async fn tell_status_of(&mut self, name: FolderName, items: &[StatusItem]) -> Result<(), Stop> {
        let counts = items.iter().any(|item| matches!(item, StatusItem::Deleted | StatusItem::DeletedStorage));
        let (status, deleted) = self
            .on_store(move |account| {
                let status = account.status(&name)?;
                let deleted = if counts { deleted(account, status.folder.id)? } else { (0, 0) };
                Ok((status, deleted))
            })
            .await?;
        self.tell_status(&status, deleted, items);
        Ok(())
    }

    fn tell_status(&mut self, status: &Status, deleted: (usize, u64), items: &[StatusItem]) {
        let value = |item: &StatusItem| match item {
            StatusItem::Messages => format!("MESSAGES {}", status.messages),
            StatusItem::Recent => format!("RECENT {}", status.recent),
            StatusItem::UidNext => format!("UIDNEXT {}", status.uid_next.0),
            StatusItem::UidValidity => format!("UIDVALIDITY {}", status.folder.validity.0),
            StatusItem::Unseen => format!("UNSEEN {}", status.unseen),
            StatusItem::HighestModSeq => format!("HIGHESTMODSEQ {}", status.highest.0),
            StatusItem::Size => format!("SIZE {}", status.bytes),
            StatusItem::Deleted => format!("DELETED {}", deleted.0),
            StatusItem::DeletedStorage => format!("DELETED-STORAGE {}", deleted.1),
            StatusItem::MailboxId => format!("MAILBOXID ({})", mailbox_id(&status.folder)),
            StatusItem::AppendLimit => format!("APPENDLIMIT {}", limits::MESSAGE),
        };
        let values: Vec<String> = items.iter().map(value).collect();
        let name = shown(&status.folder.name, self.modes.utf8());
        self.say(&format!("* STATUS {name} ({})", values.join(" ")));
    }
}

impl Listing {
    fn of(account: &store::Account) -> Result<Listing, StoreError> {
        let mut names: BTreeMap<FolderName, Option<Folder>> = BTreeMap::new();
        for folder in account.folders()? {
            for above in std::iter::successors(folder.name.parent(), FolderName::parent) {
                names.entry(above).or_insert(None);
            }
            names.insert(folder.name.clone(), Some(folder));
        }
        let subscribed: BTreeSet<FolderName> = account.subscriptions()?.into_iter().collect();
        for name in &subscribed {
            names.entry(name.clone()).or_insert(None);
        }
        Ok(Listing { names, subscribed })
    }

    fn has_children(&self, name: &FolderName) -> bool {
        self.names.iter().any(|(other, folder)| folder.is_some() && other.is_below(name))
    }

    fn wanted(&self, name: &FolderName, folder: Option<&Folder>, list: &ListCommand) -> bool {
        if list.only_special && folder.is_none_or(|folder| folder.special.is_none()) {
            return false;
        }
        if list.only_subscribed {
            let below = || list.recursive_match && self.subscribed.iter().any(|other| other.is_below(name));
            return self.subscribed.contains(name) || below();
        }
        // Without being asked for subscriptions, what does not exist is shown only for what is below it.
        folder.is_some() || self.has_children(name)
    }

    /// A LIST response (RFC 9051 §7.3.1).
    fn line(&self, name: &FolderName, folder: Option<&Folder>, list: &ListCommand, utf8: bool) -> String {
        let mut attributes = vec![if self.has_children(name) { "\\HasChildren" } else { "\\HasNoChildren" }];
        match folder {
            None => attributes.extend(["\\NonExistent", "\\Noselect"]),
            Some(folder) => attributes.extend(folder.special.map(store::SpecialUse::attribute)),
        }
        if (list.only_subscribed || list.return_subscribed) && self.subscribed.contains(name) {
            attributes.push("\\Subscribed");
        }
        // RFC 5258 §3.5.
        let below = list.recursive_match && self.subscribed.iter().any(|other| other.is_below(name));
        let info = if below { " (\"CHILDINFO\" (\"SUBSCRIBED\"))" } else { "" };
        format!("* LIST ({}) \"{SEPARATOR}\" {}{info}", attributes.join(" "), shown(name, utf8))
    }
}

/// How many messages are flagged \Deleted, and their octets (RFC 9051 §6.3.11, RFC 9208 §4.1.4).
fn deleted(account: &store::Account, id: store::FolderId) -> Result<(usize, u64), StoreError> {
    let rows = account.select(id, false)?.rows;
    let doomed = rows.into_iter().filter(|row| row.flags.contains(Flags::DELETED)).map(|row| row.uid);
    let uids: Vec<store::Uid> = doomed.collect();
    let details = account.details(id, &uids, false)?;
    Ok((details.len(), details.iter().map(|details| details.size).sum()))
}

/// INBOX in any case is INBOX, also at the head of a pattern.
fn fold(mut pattern: Vec<u8>) -> Vec<u8> {
    let is_inbox = pattern.get(..5).is_some_and(|head| head.eq_ignore_ascii_case(b"INBOX"));
    if is_inbox && pattern.get(5).is_none_or(|byte| [SEPARATOR as u8, b'%', b'*'].contains(byte)) {
        pattern[..5].copy_from_slice(b"INBOX");
    }
    pattern
}

/// `*` is anything, `%` anything without a separator (RFC 3501 §6.3.8). In time of the order of pattern times name.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    // reached[i]: the pattern so far matches the first i octets of the name.
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for byte in pattern {
        let mut next = vec![false; name.len() + 1];
        match byte {
            b'*' | b'%' => {
                let mut open = false;
                for at in 0..=name.len() {
                    let crosses = at > 0 && *byte == b'%' && name[at - 1] == SEPARATOR as u8;
                    open = reached[at] || (open && !crosses);
                    next[at] = open;
                }
            }
            byte => {
                for at in 0..name.len() {
                    next[at + 1] = reached[at] && name[at] == *byte;
                }
            }
        }
        reached = next;
    }
    reached[name.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_the_rfc_says() {
        for (pattern, name, fits) in [
            ("*", "a.b.c", true),
            ("%", "a.b", false),
            ("%", "a", true),
            ("a.%", "a.b", true),
            ("a.%", "a.b.c", false),
            ("a%c", "abc", true),
            ("%.c", "a.b.c", false),
            ("*c", "a.b.c", true),
            ("a", "ab", false),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
        }
        assert_eq!(fold(b"inbox".to_vec()), b"INBOX");
        assert_eq!(fold(b"inboxes".to_vec()), b"inboxes");
    }
}
