//! A session's view of its folder: which message has which number. Pure.
//!
//! The view is an image of the folder as the client was last told of it. [`View::catch_up`] compares it with the latest
//! one and tells the difference; what the session itself changed is put into its image at once, so that it is not told
//! twice.

use super::place::Found;
use super::rights::Rights;
use crate::imap::proto::{Set, compact, flag_list};
use base::Address;
use std::ops::Range;
use std::sync::Arc;
use store::{Account, Folder, Image, Row, Selected, Uid};

pub struct View {
    pub account: Arc<Account>,
    /// Whose folder it is, where it is not the user's own.
    pub owner: Option<Address>,
    pub rights: Rights,
    pub folder: Folder,
    pub read_only: bool,
    /// A message's number is its place, from 1.
    pub image: Arc<Image>,
    /// Every UID below this was known at the time of selecting.
    pub uid_next: Uid,
    recent_from: Uid,
    /// Whether there is such a thing as a recent message; IMAP4rev2 has none (RFC 9051 appendix E).
    has_recent: bool,
}

/// In which forms a client is told of changes.
#[derive(Debug, Clone, Copy)]
pub struct Telling {
    /// With modification sequences.
    pub condstore: bool,
    /// VANISHED in the place of EXPUNGE (RFC 7162 §3.2.10, RFC 9586).
    pub vanished: bool,
    /// UIDFETCH in the place of FETCH (RFC 9586 §3.3).
    pub uid_only: bool,
}

impl View {
    pub fn new(found: Found, selected: Selected, read_only: bool, has_recent: bool) -> View {
        View {
            account: found.account,
            owner: found.owner,
            rights: found.rights,
            read_only,
            uid_next: selected.uid_next,
            recent_from: selected.recent_from,
            has_recent,
            image: selected.image,
            folder: selected.folder,
        }
    }

    pub fn is_recent(&self, uid: Uid) -> bool {
        self.recent().contains(&uid)
    }

    /// The UIDs that are \Recent for this session.
    pub fn recent(&self) -> Range<Uid> {
        if self.has_recent { self.recent_from..self.uid_next } else { Uid(0)..Uid(0) }
    }

    pub fn recent_count(&self) -> usize {
        let recent = self.recent();
        self.image.lower_bound(recent.end).saturating_sub(self.image.lower_bound(recent.start))
    }

    /// The places of the messages of a set; `None` when a number is beyond the last (RFC 9051 §9, seq-number). UIDs
    /// that are not there are passed over.
    pub fn places(&self, set: &Set, by_uid: bool) -> Option<Vec<Range<usize>>> {
        let mut out = Vec::new();
        if by_uid {
            let largest = self.image.last().map_or(0, |row| row.uid.0);
            out.extend(set.bounds(largest).into_iter().map(|(low, high)| self.image.range(Uid(low), Uid(high))));
            return Some(out);
        }
        let count = u32::try_from(self.image.len()).unwrap_or(u32::MAX);
        for (low, high) in set.bounds(count) {
            if low == 0 || high > count {
                return None;
            }
            out.push(low as usize - 1..high as usize);
        }
        Some(out)
    }

    /// The messages of a set, see [`View::places`].
    pub fn rows(&self, set: &Set, by_uid: bool) -> Option<Vec<Row>> {
        let places = self.places(set, by_uid)?;
        Some(places.into_iter().flat_map(|places| self.image.slice(places)).cloned().collect())
    }

    /// Puts in what this session itself changed, and told or tells on its own.
    pub fn put(&mut self, row: Row) {
        if self.image.by_uid(row.uid).is_some() {
            Arc::make_mut(&mut self.image).put(row);
        }
    }

    /// Writes the untagged responses that lead from this view to the latest image, and returns the places of messages
    /// that are new. Where removals may not be told now, nothing is until they may: numbers must not shift (RFC 9051
    /// §7.5.1).
    pub fn catch_up(&mut self, latest: Arc<Image>, out: &mut Vec<u8>, removals: bool, telling: Telling) -> Vec<usize> {
        let difference = self.image.until(&latest);
        if !difference.removed.is_empty() && !removals && !telling.uid_only {
            return Vec::new();
        }
        let gone: Vec<u32> =
            difference.removed.iter().filter_map(|place| Some(self.image.get(*place)?.uid.0)).collect();
        self.image = latest;
        if telling.vanished && !gone.is_empty() {
            out.extend_from_slice(format!("* VANISHED {}\r\n", compact(gone)).as_bytes());
        } else {
            // From the last to the first, so that no number that is still to be told shifts.
            for place in difference.removed.iter().rev() {
                out.extend_from_slice(format!("* {} EXPUNGE\r\n", place + 1).as_bytes());
            }
        }
        if !difference.added.is_empty() {
            out.extend_from_slice(format!("* {} EXISTS\r\n", self.image.len()).as_bytes());
            if self.has_recent {
                out.extend_from_slice(format!("* {} RECENT\r\n", self.recent_count()).as_bytes());
            }
        }
        for place in difference.changed {
            out.extend_from_slice(self.flags_response(place, true, telling).as_bytes());
        }
        difference.added
    }

    /// An untagged FETCH with the flags of the message at a place.
    pub fn flags_response(&self, place: usize, with_uid: bool, telling: Telling) -> String {
        let Some(row) = self.image.get(place) else { return String::new() };
        let flags = flag_list(row.flags, &row.keywords, self.is_recent(row.uid));
        let modseq = if telling.condstore { format!(" MODSEQ ({})", row.modseq.0) } else { String::new() };
        if telling.uid_only {
            return format!("* {} UIDFETCH (FLAGS {flags}{modseq})\r\n", row.uid.0);
        }
        // RFC 7162 §3.2.4: with QRESYNC the UID stands in each.
        let uid = if with_uid || telling.vanished { format!("UID {} ", row.uid.0) } else { String::new() };
        format!("* {} FETCH ({uid}FLAGS {flags}{modseq})\r\n", place + 1)
    }

    /// UIDs of these ranges that are not there and may have been, as ranges.
    pub fn missing(&self, ranges: &[(u32, u32)]) -> Vec<(u32, u32)> {
        let mut out = Vec::new();
        let last = self.image.last().map_or(0, |row| row.uid.0).max(self.uid_next.0.saturating_sub(1));
        for (low, high) in ranges {
            let (mut next, high) = ((*low).max(1), (*high).min(last));
            for row in self.image.slice(self.image.range(Uid(next), Uid(high))) {
                if row.uid.0 > next {
                    out.push((next, row.uid.0 - 1));
                }
                next = row.uid.0.saturating_add(1);
            }
            if next <= high {
                out.push((next, high));
            }
        }
        out
    }
}
