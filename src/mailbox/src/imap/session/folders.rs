//! The list of folders (RFC 3501 §6.3.3 to 6.3.10, RFC 5258).

use super::place::{self, Place, SHARED};
use super::rights::Rights;
use super::view::View;
use super::{Done, Session, Stop};
use crate::blocking;
use crate::imap::proto::{ListCommand, StatusItem, mailbox_name};
use crate::limits;
use base::Address;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use store::{Account, Folder, FolderId, FolderName, SEPARATOR, SpecialUse, Status, StoreError};
use tokio::io::{AsyncRead, AsyncWrite};

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
pub(super) fn mailbox_id(owner: Option<&Address>, folder: &Folder) -> String {
    match owner {
        None => format!("F{}", folder.validity.0),
        // Another's folder may have the same number as one's own.
        Some(owner) => {
            let mark: String = owner.to_string().bytes().map(|byte| format!("{byte:02x}")).collect();
            format!("F{}-{mark}", folder.validity.0)
        }
    }
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
        self.say(&format!("* NAMESPACE ((\"\" \"{SEPARATOR}\")) ((\"{SHARED}{SEPARATOR}\" \"{SEPARATOR}\")) NIL"));
        Ok("done".into())
    }

    pub(super) async fn create(&mut self, wire: &[u8], uses: &[String]) -> Done {
        self.user()?;
        let special = special_use(uses)?;
        // RFC 9051 §6.3.4: a separator at the end announces folders below; they need no announcing.
        let name = self.folder_name(wire.strip_suffix(&[SEPARATOR as u8]).unwrap_or(wire))?;
        let parent = name.parent();
        let place = self.place_of(name).await?;
        refuse_reserved(&place)?;
        let mut inherited = None;
        if let (Some(_), Some(parent)) = (&place.owner, parent) {
            // RFC 4314 §4: the right is that on the folder above, whose rights the new one gets.
            let above = self.place_of(parent).await?;
            inherited = Some(self.found_at(above, Rights::CREATE).await?.folder.id);
        }
        let Place { account, owner, name } = place;
        if let Some(special) = special
            && (owner.is_some() || self.on_store(move |account| account.special(special)).await?.is_some())
        {
            return Err(Stop::No(format!("[USEATTR] there is a mailbox for {} already", special.attribute())));
        }
        let folder = blocking::on(&account, move |account| {
            let folder = account.create_folder(&name)?;
            if let Some(above) = inherited {
                for (who, rights) in account.acl(above)? {
                    account.set_acl(folder.id, &who, &rights)?;
                }
            }
            if let Some(special) = special {
                account.dedicate(folder.id, special)?;
            }
            Ok(folder)
        })
        .await?;
        Ok(format!("[MAILBOXID ({})] created", mailbox_id(owner.as_ref(), &folder)))
    }

    pub(super) async fn delete(&mut self, wire: &[u8]) -> Done {
        self.user()?;
        let place = self.place(wire).await?;
        if place.owner.is_some() {
            let found = self.found(wire, Rights::DELETE_MAILBOX).await?;
            self.close_if_selected(&found.account, &found.folder.name);
            let name = found.folder.name;
            blocking::on(&found.account, move |account| account.delete_folder(&name)).await?;
            return Ok("deleted".into());
        }
        let name = place.name;
        self.close_if_selected(&place.account, &name);
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

    fn close_if_selected(&mut self, account: &Arc<Account>, name: &FolderName) {
        let same = |view: &View| Arc::ptr_eq(&view.account, account) && view.folder.name == *name;
        if self.selected.as_ref().is_some_and(same) {
            self.selected = None;
        }
    }

    pub(super) async fn rename(&mut self, from: &[u8], to: &[u8]) -> Done {
        self.user()?;
        let (source, target) = (self.place(from).await?, self.place(to).await?);
        if !Arc::ptr_eq(&source.account, &target.account) {
            return Err(Stop::No("[CANNOT] a folder is not renamed from one account into another".into()));
        }
        if source.owner.is_some() {
            return Err(Stop::No("[NOPERM] only its owner renames a folder".into()));
        }
        refuse_reserved(&target)?;
        self.on_store(move |account| account.rename_folder(&source.name, &target.name)).await?;
        Ok("renamed".into())
    }

    pub(super) async fn subscribe(&mut self, wire: &[u8], subscribed: bool) -> Done {
        self.user()?;
        if subscribed {
            self.found(wire, Rights::LOOKUP).await?;
        }
        // Under the whole name, also of what others share.
        let name = self.folder_name(wire)?;
        self.on_store(move |account| account.subscribe(&name, subscribed)).await?;
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
        let listing = self.listing().await?;
        let matchers: Vec<Vec<u8>> =
            list.patterns.iter().map(|pattern| fold([list.reference.as_slice(), pattern].concat())).collect();
        let utf8 = self.modes.utf8();
        let mut lines = Vec::new();
        let mut existing = Vec::new();
        for (name, folder) in &listing.names {
            let wire = if utf8 { name.as_str().to_owned() } else { name.to_wire() };
            let fits = matchers.iter().any(|pattern| matches(pattern, wire.as_bytes()));
            if !fits || !listing.wanted(name, folder.as_ref(), &list) {
                continue;
            }
            lines.push(listing.line(name, folder.as_ref(), &list, utf8));
            if folder.is_some() {
                existing.push(name.clone());
            }
        }
        for line in lines {
            self.say(&line);
        }
        let statuses = if list.return_status.is_some() { existing.clone() } else { Vec::new() };
        for name in statuses {
            let items = list.return_status.as_deref().unwrap_or_default();
            match self.tell_status_of(name, items).await {
                // RFC 5819 §2: a mailbox that has gone meanwhile is passed over.
                Err(Stop::No(_)) => {}
                other => other?,
            }
            self.conn.flush_if_full().await.map_err(Stop::End)?;
        }
        for name in existing {
            if list.return_rights {
                self.tell_my_rights(name.clone()).await?;
            }
            if let Some(entries) = &list.return_metadata {
                self.tell_listed_metadata(name, entries).await?;
            }
            self.conn.flush_if_full().await.map_err(Stop::End)?;
        }
        Ok("done".into())
    }

    /// RFC 3501 §6.3.9.
    pub(super) async fn lsub(&mut self, reference: &[u8], pattern: &[u8]) -> Done {
        self.user()?;
        let listing = self.listing().await?;
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
        let place = self.place_of(name.clone()).await?;
        let found = self.found_at(place, Rights::LOOKUP.with(Rights::READ)).await?;
        let inner = found.folder.name;
        let status = blocking::on(&found.account, move |account| account.status(&inner)).await?;
        self.tell_status(&name, found.owner.as_ref(), &status, items);
        Ok(())
    }

    fn tell_status(&mut self, name: &FolderName, owner: Option<&Address>, status: &Status, items: &[StatusItem]) {
        let value = |item: &StatusItem| match item {
            StatusItem::Messages => format!("MESSAGES {}", status.counts.messages),
            StatusItem::Recent => format!("RECENT {}", status.recent),
            StatusItem::UidNext => format!("UIDNEXT {}", status.uid_next.0),
            StatusItem::UidValidity => format!("UIDVALIDITY {}", status.folder.validity.0),
            StatusItem::Unseen => format!("UNSEEN {}", status.counts.unseen),
            StatusItem::HighestModSeq => format!("HIGHESTMODSEQ {}", status.highest.0),
            StatusItem::Size => format!("SIZE {}", status.counts.bytes),
            StatusItem::Deleted => format!("DELETED {}", status.counts.deleted),
            StatusItem::DeletedStorage => format!("DELETED-STORAGE {}", status.counts.deleted_bytes),
            StatusItem::MailboxId => format!("MAILBOXID ({})", mailbox_id(owner, &status.folder)),
            StatusItem::AppendLimit => format!("APPENDLIMIT {}", limits::MESSAGE),
        };
        let values: Vec<String> = items.iter().map(value).collect();
        let name = shown(name, self.modes.utf8());
        self.say(&format!("* STATUS {name} ({})", values.join(" ")));
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// The user's own folders, and those of others that they may look up.
    async fn listing(&self) -> Result<Listing, Stop> {
        let mut listing = self.on_store(Listing::of).await?;
        let who = self.user()?.address.to_string();
        for owner in self.sharing().await? {
            let Some(account) = self.shared.logins.accounts.existing(&owner).await? else { continue };
            let who = who.clone();
            let shared = blocking::on(&account, move |account| {
                let mine = account.shared()?.into_iter().filter(|(_, other, _)| *other == who);
                let ids: BTreeSet<FolderId> =
                    mine.filter(|(_, _, rights)| rights.contains('l')).map(|(id, _, _)| id).collect();
                let folders = account.folders()?.into_iter().filter(|folder| ids.contains(&folder.id));
                Ok(folders.collect::<Vec<Folder>>())
            })
            .await?;
            for folder in shared {
                // A special use is its owner's.
                let name = self.told_name(Some(&owner), &folder.name);
                listing.add(name, Folder { special: None, ..folder });
            }
        }
        listing.add_subscriptions();
        Ok(listing)
    }
}

impl Listing {
    fn of(account: &store::Account) -> Result<Listing, StoreError> {
        let subscribed: BTreeSet<FolderName> = account.subscriptions()?.into_iter().collect();
        let mut listing = Listing { names: BTreeMap::new(), subscribed };
        account.folders()?.into_iter().for_each(|folder| listing.add(folder.name.clone(), folder));
        Ok(listing)
    }

    fn add(&mut self, name: FolderName, folder: Folder) {
        for above in std::iter::successors(name.parent(), FolderName::parent) {
            self.names.entry(above).or_insert(None);
        }
        self.names.insert(name, Some(folder));
    }

    fn add_subscriptions(&mut self) {
        for name in &self.subscribed {
            self.names.entry(name.clone()).or_insert(None);
        }
    }

    fn has_children(&self, name: &FolderName) -> bool {
        // Names below one follow it, with at most names between that begin the same way.
        let from = (std::ops::Bound::Excluded(name), std::ops::Bound::Unbounded);
        let near =
            self.names.range::<FolderName, _>(from).take_while(|(other, _)| other.as_str().starts_with(name.as_str()));
        let mut below = near.filter(|(other, _)| other.is_below(name));
        below.any(|(_, folder)| folder.is_some())
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

/// The one use that CREATE names (RFC 6154 §3).
fn special_use(uses: &[String]) -> Result<Option<SpecialUse>, Stop> {
    match uses {
        [] => Ok(None),
        [one] => match SpecialUse::from_attribute(one) {
            Some(special) => Ok(Some(special)),
            None => Err(Stop::No(format!("[USEATTR] no mailbox is made for {one} here"))),
        },
        _ => Err(Stop::No("[USEATTR] a mailbox has one use".into())),
    }
}

/// RFC 4314 §5.2: names below `Shared/<address>` are those of other accounts.
fn refuse_reserved(place: &Place) -> Result<(), Stop> {
    if place.owner.is_none() && place::is_reserved(&place.name) {
        return Err(Stop::No("[NOPERM] names below Shared are for what others share".into()));
    }
    Ok(())
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
            ("*", "a/b/c", true),
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
