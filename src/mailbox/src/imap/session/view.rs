//! A session's view of its folder: which message has which number. Pure.
//!
//! The view is an image of the folder as the client was last told of it. [`View::catch_up`] compares it with the latest
//! one and tells the difference; what the session itself changed is put into its image at once, so that it is not told
//! twice.

use crate::imap::proto::{Set, flag_list};
use std::ops::Range;
use std::sync::Arc;
use store::{Folder, Image, Row, Selected, Uid};

pub struct View {
    pub folder: Folder,
    pub read_only: bool,
    /// A message's number is its place, from 1.
    pub image: Arc<Image>,
    recent: (Uid, Uid),
}

impl View {
    pub fn new(selected: Selected, read_only: bool) -> View {
        View {
            read_only,
            recent: (selected.recent_from, selected.uid_next),
            image: selected.image,
            folder: selected.folder,
        }
    }

    pub fn is_recent(&self, uid: Uid) -> bool {
        self.recent.0 <= uid && uid < self.recent.1
    }

    /// The UIDs that are \Recent for this session.
    pub fn recent(&self) -> Range<Uid> {
        self.recent.0..self.recent.1
    }

    pub fn recent_count(&self) -> usize {
        self.image.lower_bound(self.recent.1).saturating_sub(self.image.lower_bound(self.recent.0))
    }

    /// The places of the messages of a set; `None` when a number is beyond the last (RFC 3501 §9, seq-number). UIDs
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

    /// Writes the untagged responses that lead from this view to the latest image. Where removals may not be told now,
    /// nothing is until they may: numbers must not shift (RFC 3501 §7.4.1).
    pub fn catch_up(&mut self, latest: Arc<Image>, out: &mut Vec<u8>, removals: bool, condstore: bool) {
        let difference = self.image.until(&latest);
        if !difference.removed.is_empty() && !removals {
            return;
        }
        self.image = latest;
        // From the last to the first, so that no number that is still to be told shifts.
        for place in difference.removed.iter().rev() {
            out.extend_from_slice(format!("* {} EXPUNGE\r\n", place + 1).as_bytes());
        }
        if !difference.added.is_empty() {
            let (count, recent) = (self.image.len(), self.recent_count());
            out.extend_from_slice(format!("* {count} EXISTS\r\n* {recent} RECENT\r\n").as_bytes());
        }
        for place in difference.changed {
            out.extend_from_slice(self.flags_response(place, true, condstore).as_bytes());
        }
    }

    /// An untagged FETCH with the flags of the message at a place.
    pub fn flags_response(&self, place: usize, with_uid: bool, condstore: bool) -> String {
        let Some(row) = self.image.get(place) else { return String::new() };
        let flags = flag_list(row.flags, &row.keywords, self.is_recent(row.uid));
        let uid = if with_uid { format!("UID {} ", row.uid.0) } else { String::new() };
        let modseq = if condstore { format!(" MODSEQ ({})", row.modseq.0) } else { String::new() };
        format!("* {} FETCH ({uid}FLAGS {flags}{modseq})\r\n", place + 1)
    }
}
