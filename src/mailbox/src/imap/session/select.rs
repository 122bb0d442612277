//! Opening and closing a folder (RFC 9051 §6.3.2, §6.4.1, §6.4.2), and telling a client that knew it what has changed
//! since (RFC 7162 §3.2.5).

use super::folders::{mailbox_id, shown};
use super::rights::Rights;
use super::view::View;
use super::{Done, Session, Stop};
use crate::blocking;
use crate::imap::proto::{Resync, Select, Set, compact};
use std::collections::BTreeSet;
use std::sync::Arc;
use store::{Flags, ModSeq, SEPARATOR};
use tokio::io::{AsyncRead, AsyncWrite};

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn select(&mut self, select: Select) -> Done {
        self.user()?;
        if select.resync.is_some() && !self.modes.qresync {
            return Err(Stop::Bad("QRESYNC needs ENABLE QRESYNC".into()));
        }
        // Whatever comes of it, the former folder is closed (RFC 9051 §6.3.2).
        if self.selected.take().is_some() {
            self.say("* OK [CLOSED] the former mailbox is closed");
        }
        self.saved = Arc::default();
        self.condstore |= select.condstore;
        let found = self.found(&select.mailbox, Rights::LOOKUP.with(Rights::READ)).await?;
        let (id, claims) = (found.folder.id, !select.read_only);
        let selected = blocking::on(&found.account, move |account| account.select(id, claims)).await?;
        let changing = [Rights::SEEN, Rights::WRITE, Rights::DELETE_MESSAGES, Rights::EXPUNGE];
        let read_only = select.read_only || !changing.iter().any(|right| found.rights.has(*right));
        let view = View::new(found, selected, read_only, !self.modes.rev2);
        self.tell_selected(&view);
        self.feed_of_shared = view.owner.as_ref().map(|_| view.account.watch());
        self.selected = Some(view);
        if let Some(resync) = select.resync {
            self.resync(resync).await?;
        }
        Ok(if read_only { "[READ-ONLY] examined" } else { "[READ-WRITE] selected" }.into())
    }

    fn tell_selected(&mut self, view: &View) {
        let flags = known_flags(view);
        self.say(&format!("* FLAGS ({flags})"));
        match view.read_only {
            true => self.say("* OK [PERMANENTFLAGS ()] read only"),
            false => self.say(&format!("* OK [PERMANENTFLAGS ({})] kept", permanent(view, &flags))),
        }
        self.say(&format!("* {} EXISTS", view.image.len()));
        if !self.modes.rev2 {
            self.say(&format!("* {} RECENT", view.recent_count()));
            if let Some(unseen) = view.image.rows().position(|row| !row.flags.contains(Flags::SEEN)) {
                self.say(&format!("* OK [UNSEEN {}] first unseen", unseen + 1));
            }
        }
        self.say(&format!("* OK [UIDVALIDITY {}] UIDs valid", view.folder.validity.0));
        self.say(&format!("* OK [UIDNEXT {}] next UID", view.uid_next.0));
        self.say(&format!("* OK [HIGHESTMODSEQ {}] highest", view.image.highest.0));
        self.say(&format!("* OK [MAILBOXID ({})] its lasting name", mailbox_id(view.owner.as_ref(), &view.folder)));
        if self.modes.rev2 {
            // RFC 9051 §6.3.2.
            let name = self.told_name(view.owner.as_ref(), &view.folder.name);
            self.say(&format!("* LIST () \"{SEPARATOR}\" {}", shown(&name, true)));
        }
    }

    /// Tells what was removed and what was changed since the client last looked. A client of another UIDVALIDITY knows
    /// nothing.
    async fn resync(&mut self, resync: Resync) -> Result<(), Stop> {
        let view = self.view()?;
        if resync.validity != view.folder.validity.0 {
            return Ok(());
        }
        let mut known = resync.known.as_ref().map_or_else(|| vec![(1, u32::MAX)], |set| set.bounds(0));
        let start = resync.matches.as_ref().map_or(1, |pairs| agreed(view, pairs));
        let since = ModSeq(resync.modseq);
        let ranges = known.clone();
        self.tell_vanished(since, &ranges, start).await?;
        known.retain(|(low, high)| low <= high);
        let telling = self.telling();
        let view = self.view()?;
        let mut out = Vec::new();
        for (place, row) in view.image.rows().enumerate() {
            let wanted = known.iter().any(|(low, high)| (*low..=*high).contains(&row.uid.0));
            if row.modseq > since && wanted {
                out.extend_from_slice(view.flags_response(place, true, telling).as_bytes());
            }
        }
        self.conn.output.extend(out);
        self.conn.flush_if_full().await.map_err(Stop::End)
    }

    /// `VANISHED (EARLIER)`: what of these UIDs was removed since then. When that is longer ago than removals are
    /// remembered, all that are not there from `start` on.
    pub(super) async fn tell_vanished(&mut self, since: ModSeq, ranges: &[(u32, u32)], start: u32) -> Result<(), Stop> {
        let id = self.view()?.folder.id;
        let removed = self.on_selected(move |account| account.removed_since(id, since)).await?;
        let view = self.view()?;
        let set = match removed {
            Some(removed) => {
                let wanted = |uid: &u32| ranges.iter().any(|(low, high)| (*low..=*high).contains(uid));
                let gone = removed.into_iter().map(|uid| uid.0).filter(wanted);
                // A message that the view still shows is told of when it is caught up with.
                compact(gone.filter(|uid| view.image.by_uid(store::Uid(*uid)).is_none()))
            }
            None => {
                let from: Vec<(u32, u32)> = ranges
                    .iter()
                    .filter(|range| range.1 >= start)
                    .map(|(low, high)| ((*low).max(start), *high))
                    .collect();
                let missing = view.missing(&from);
                let one =
                    |(low, high): &(u32, u32)| if low == high { low.to_string() } else { format!("{low}:{high}") };
                missing.iter().map(one).collect::<Vec<_>>().join(",")
            }
        };
        if !set.is_empty() {
            self.say(&format!("* VANISHED (EARLIER) {set}"));
        }
        Ok(())
    }

    pub(super) fn unselect(&mut self) -> Done {
        self.view()?;
        self.selected = None;
        Ok("unselected".into())
    }

    /// Expunges in silence, unless the folder was examined.
    pub(super) async fn close(&mut self) -> Done {
        let view = self.view()?;
        let (id, account) = (view.folder.id, Arc::clone(&view.account));
        let expunges = !view.read_only && view.rights.has(Rights::EXPUNGE);
        self.selected = None;
        if expunges {
            let highest = blocking::on(&account, move |account| {
                account.expunge(id, None)?;
                Ok(account.image(id)?.highest)
            })
            .await?;
            if self.modes.qresync {
                // RFC 7162 §3.2.8.
                return Ok(format!("[HIGHESTMODSEQ {}] closed", highest.0));
            }
        }
        Ok("closed".into())
    }

    /// Everything is on the disk before it is acknowledged, so there is nothing to do.
    pub(super) fn check(&mut self) -> Done {
        self.view()?;
        Ok("checked".into())
    }

    /// Also the moment to notice what other tools did to the folder's files.
    pub(super) async fn noop(&mut self) -> Done {
        self.look_for_others().await?;
        Ok("done".into())
    }

    pub(super) async fn look_for_others(&mut self) -> Result<(), Stop> {
        match self.selected.as_ref().map(|view| view.folder.id) {
            Some(id) => self.on_selected(move |account| account.look_for_others(id)).await,
            None => Ok(()),
        }
    }
}

/// The first UID that the client's numbers and UIDs say nothing about: up to the last pair that is the same here, nothing
/// was removed (RFC 7162 §3.2.5.2).
fn agreed(view: &View, (numbers, uids): &(Set, Set)) -> u32 {
    let most = crate::limits::SET_RANGES;
    let pairs = numbers.listed(most).into_iter().zip(uids.listed(most));
    let same = pairs.filter(|(number, uid)| {
        let place = (*number as usize).checked_sub(1);
        place.and_then(|place| view.image.get(place)).is_some_and(|row| row.uid.0 == *uid)
    });
    same.map(|(_, uid)| uid.saturating_add(1)).max().unwrap_or(1)
}

/// The system flags and the keywords in use.
fn known_flags(view: &View) -> String {
    let keywords: BTreeSet<&str> = view.image.rows().flat_map(|row| row.keywords.iter()).collect();
    let system = ["\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft"];
    system.into_iter().chain(keywords).collect::<Vec<_>>().join(" ")
}

/// Those that the user may change (RFC 4314 §5.1.1).
fn permanent(view: &View, flags: &str) -> String {
    let may = |flag: &str| match flag {
        "\\Seen" => view.rights.has(Rights::SEEN),
        "\\Deleted" => view.rights.has(Rights::DELETE_MESSAGES),
        _ => view.rights.has(Rights::WRITE),
    };
    let mut own: Vec<&str> = flags.split(' ').filter(|flag| may(flag)).collect();
    own.extend(view.rights.has(Rights::WRITE).then_some("\\*"));
    own.join(" ")
}
