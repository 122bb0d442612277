//! A session's view of its folder: which message has which number. Pure.

use crate::imap::proto::{Set, flag_list};
use std::collections::BTreeSet;
use store::{Changes, Folder, ModSeq, Row, Selected, Uid};

pub struct View {
    pub folder: Folder,
    pub read_only: bool,
    /// By ascending UID; a message's number is its place, from 1.
    pub rows: Vec<Row>,
    /// Everything up to this is in the view.
    pub known: ModSeq,
    recent: (Uid, Uid),
    /// Removed by others, not yet told.
    gone: BTreeSet<Uid>,
    /// Changed by others, not yet told.
    changed: BTreeSet<Uid>,
    /// How many messages the client was told there are.
    told: usize,
    /// Whether there is such a thing as a recent message; IMAP4rev2 has none (RFC 9051 appendix E).
    has_recent: bool,
}

impl View {
    pub fn new(selected: Selected, read_only: bool, has_recent: bool) -> View {
        View {
            has_recent,
            read_only,
            known: selected.highest,
            recent: (selected.recent_from, selected.uid_next),
            told: selected.rows.len(),
            gone: BTreeSet::new(),
            changed: BTreeSet::new(),
            rows: selected.rows,
            folder: selected.folder,
        }
    }

    pub fn is_recent(&self, uid: Uid) -> bool {
        self.has_recent && self.recent.0 <= uid && uid < self.recent.1
    }

    pub fn recent_count(&self) -> usize {
        self.rows.iter().filter(|row| self.is_recent(row.uid)).count()
    }

    pub fn place(&self, uid: Uid) -> Option<usize> {
        self.rows.binary_search_by_key(&uid, |row| row.uid).ok()
    }

    /// The places of the messages of a set; `None` when a number is beyond the last (RFC 3501 §9, seq-number). UIDs
    /// that are not there are passed over.
    pub fn places(&self, set: &Set, by_uid: bool) -> Option<Vec<usize>> {
        let mut out = Vec::new();
        if by_uid {
            let largest = self.rows.last().map_or(0, |row| row.uid.0);
            for (low, high) in set.bounds(largest) {
                let first = self.rows.partition_point(|row| row.uid.0 < low);
                let after = self.rows.partition_point(|row| row.uid.0 <= high);
                out.extend(first..after);
            }
            return Some(out);
        }
        let count = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        for (low, high) in set.bounds(count) {
            if low == 0 || high > count {
                return None;
            }
            out.extend(low as usize - 1..high as usize);
        }
        Some(out)
    }

    /// Takes in what happened to the folder.
    pub fn apply(&mut self, changes: Changes) {
        self.known = self.known.max(changes.highest);
        for row in changes.rows {
            match self.place(row.uid) {
                Some(place) if self.rows[place] == row => {}
                Some(place) => {
                    self.changed.insert(row.uid);
                    self.rows[place] = row;
                }
                None if self.rows.last().is_none_or(|last| last.uid < row.uid) => self.rows.push(row),
                // Below the last and unknown: removed and told before this change of it was read.
                None => {}
            }
        }
        let there: Vec<Uid> = changes.removed.into_iter().filter(|uid| self.place(*uid).is_some()).collect();
        self.gone.extend(there);
    }

    /// Puts in what this session itself changed, and told or tells on its own.
    pub fn put(&mut self, row: Row) {
        if let Some(place) = self.place(row.uid) {
            self.changed.remove(&row.uid);
            self.rows[place] = row;
        }
    }

    /// Writes the untagged responses that are due.
    pub fn tell(&mut self, out: &mut Vec<u8>, removals: bool, condstore: bool) {
        for uid in std::mem::take(&mut self.changed) {
            if let Some(place) = self.place(uid).filter(|place| *place < self.told && !self.gone.contains(&uid)) {
                let line = self.flags_response(place, true, condstore);
                out.extend_from_slice(line.as_bytes());
            }
        }
        if removals {
            self.tell_removals(out);
        }
        if self.rows.len() > self.told {
            self.told = self.rows.len();
            out.extend_from_slice(format!("* {} EXISTS\r\n", self.told).as_bytes());
            if self.has_recent {
                out.extend_from_slice(format!("* {} RECENT\r\n", self.recent_count()).as_bytes());
            }
        }
    }

    fn tell_removals(&mut self, out: &mut Vec<u8>) {
        // From the last to the first, so that no number that is still to be told shifts.
        for uid in std::mem::take(&mut self.gone).into_iter().rev() {
            let Some(place) = self.place(uid) else { continue };
            self.rows.remove(place);
            if place < self.told {
                self.told -= 1;
                out.extend_from_slice(format!("* {} EXPUNGE\r\n", place + 1).as_bytes());
            }
        }
    }

    /// An untagged FETCH with the flags of the message at a place.
    pub fn flags_response(&self, place: usize, with_uid: bool, condstore: bool) -> String {
        let row = &self.rows[place];
        let flags = flag_list(row.flags, &row.keywords, self.is_recent(row.uid));
        let uid = if with_uid { format!("UID {} ", row.uid.0) } else { String::new() };
        let modseq = if condstore { format!(" MODSEQ ({})", row.modseq.0) } else { String::new() };
        format!("* {} FETCH ({uid}FLAGS {flags}{modseq})\r\n", place + 1)
    }
}
