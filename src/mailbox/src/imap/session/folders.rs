//! The list of folders (RFC 3501 §6.3.3 to 6.3.10, RFC 5258).

use super::{Done, Session, Stop};
use crate::imap::proto::{ListCommand, StatusItem, astring};
use std::collections::{BTreeMap, BTreeSet};
use store::{Folder, FolderName, Status, StoreError};
use tokio::io::{AsyncRead, AsyncWrite};

/// What LIST goes through: folders, and names that are none but have some below them or are subscribed to.
struct Listing {
    names: BTreeMap<FolderName, Option<Folder>>,
    subscribed: BTreeSet<FolderName>,
}

pub(super) fn name(wire: &[u8]) -> Result<FolderName, Stop> {
    FolderName::from_wire(wire).map_err(|why| Stop::No(format!("[CANNOT] {why}")))
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) fn namespace(&mut self) -> Done {
        self.user()?;
        self.say("* NAMESPACE ((\"\" \"/\")) NIL NIL");
        Ok("done".into())
    }

    pub(super) async fn create(&mut self, wire: &[u8]) -> Done {
        self.user()?;
        let name = name(wire)?;
        self.on_store(move |account| account.create_folder(&name).map(|_| ())).await?;
        Ok("created".into())
    }

    pub(super) async fn delete(&mut self, wire: &[u8]) -> Done {
        self.user()?;
        let name = name(wire)?;
        if self.selected.as_ref().is_some_and(|view| view.folder.name == name) {
            self.selected = None;
        }
        self.on_store(move |account| account.delete_folder(&name)).await?;
        Ok("deleted".into())
    }

    pub(super) async fn rename(&mut self, from: &[u8], to: &[u8]) -> Done {
        self.user()?;
        let (from, to) = (name(from)?, name(to)?);
        self.on_store(move |account| account.rename_folder(&from, &to)).await?;
        Ok("renamed".into())
    }

    pub(super) async fn subscribe(&mut self, wire: &[u8], subscribed: bool) -> Done {
        self.user()?;
        let name = name(wire)?;
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
            self.say("* LIST (\\Noselect) \"/\" \"\"");
            return Ok("done".into());
        }
        let listing = self.on_store(Listing::of).await?;
        let matchers: Vec<Vec<u8>> =
            list.patterns.iter().map(|pattern| fold([list.reference.as_slice(), pattern].concat())).collect();
        let mut lines = Vec::new();
        let mut statuses = Vec::new();
        for (name, folder) in &listing.names {
            let wire = name.to_wire();
            let fits = matchers.iter().any(|pattern| matches(pattern, wire.as_bytes()));
            if !fits || !listing.wanted(name, folder.as_ref(), &list) {
                continue;
            }
            lines.push(listing.line("LIST", name, folder.as_ref(), list.only_subscribed || list.return_subscribed));
            if list.return_status.is_some() && folder.is_some() {
                statuses.push(name.clone());
            }
        }
        for line in lines {
            self.say(&line);
        }
        for name in statuses {
            let status = self.on_store(move |account| account.status(&name)).await?;
            self.tell_status(&status, list.return_status.as_deref().unwrap_or_default());
        }
        Ok("done".into())
    }

    /// RFC 3501 §6.3.9.
    pub(super) async fn lsub(&mut self, reference: &[u8], pattern: &[u8]) -> Done {
        self.user()?;
        let listing = self.on_store(Listing::of).await?;
        let pattern = fold([reference, pattern].concat());
        let fits = |name: &FolderName| matches(&pattern, name.to_wire().as_bytes());
        let mut shown: BTreeMap<FolderName, bool> = BTreeMap::new();
        for name in &listing.subscribed {
            if fits(name) {
                shown.insert(name.clone(), true);
                continue;
            }
            // With "%" a name that is not subscribed is shown for those below it.
            for above in std::iter::successors(name.parent(), FolderName::parent).filter(|above| fits(above)) {
                shown.entry(above).or_insert(false);
            }
        }
        for (name, real) in shown {
            let attributes = if real { "" } else { "\\Noselect" };
            let wire = name.to_wire();
            let quoted = String::from_utf8_lossy(&astring(wire.as_bytes())).into_owned();
            self.say(&format!("* LSUB ({attributes}) \"/\" {quoted}"));
        }
        Ok("done".into())
    }

    pub(super) async fn status(&mut self, wire: &[u8], items: &[StatusItem]) -> Done {
        self.user()?;
        let name = name(wire)?;
        // RFC 7162 §3.1: asking for it enables it.
        self.condstore |= items.contains(&StatusItem::HighestModSeq);
        let status = self.on_store(move |account| account.status(&name)).await?;
        self.tell_status(&status, items);
        Ok("done".into())
    }

    fn tell_status(&mut self, status: &Status, items: &[StatusItem]) {
        let value = |item: &StatusItem| match item {
            StatusItem::Messages => format!("MESSAGES {}", status.counts.messages),
            StatusItem::Recent => format!("RECENT {}", status.recent),
            StatusItem::UidNext => format!("UIDNEXT {}", status.uid_next.0),
            StatusItem::UidValidity => format!("UIDVALIDITY {}", status.folder.validity.0),
            StatusItem::Unseen => format!("UNSEEN {}", status.counts.unseen),
            StatusItem::HighestModSeq => format!("HIGHESTMODSEQ {}", status.highest.0),
            StatusItem::Size => format!("SIZE {}", status.counts.bytes),
        };
        let values: Vec<String> = items.iter().map(value).collect();
        let wire = status.folder.name.to_wire();
        let name = String::from_utf8_lossy(&astring(wire.as_bytes())).into_owned();
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

    fn line(&self, what: &str, name: &FolderName, folder: Option<&Folder>, tell_subscribed: bool) -> String {
        let mut attributes = vec![if self.has_children(name) { "\\HasChildren" } else { "\\HasNoChildren" }];
        match folder {
            None => attributes.extend(["\\NonExistent", "\\Noselect"]),
            Some(folder) => attributes.extend(folder.special.map(store::SpecialUse::attribute)),
        }
        if tell_subscribed && self.subscribed.contains(name) {
            attributes.push("\\Subscribed");
        }
        let wire = name.to_wire();
        let quoted = String::from_utf8_lossy(&astring(wire.as_bytes())).into_owned();
        format!("* {what} ({}) \"/\" {quoted}", attributes.join(" "))
    }
}

/// INBOX in any case is INBOX, also at the head of a pattern.
fn fold(mut pattern: Vec<u8>) -> Vec<u8> {
    let is_inbox = pattern.get(..5).is_some_and(|head| head.eq_ignore_ascii_case(b"INBOX"));
    if is_inbox && pattern.get(5).is_none_or(|byte| b"/%*".contains(byte)) {
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
                    let crosses = at > 0 && *byte == b'%' && name[at - 1] == b'/';
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
            ("%", "a/b", false),
            ("%", "a", true),
            ("a/%", "a/b", true),
            ("a/%", "a/b/c", false),
            ("a%c", "abc", true),
            ("%/c", "a/b/c", false),
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
