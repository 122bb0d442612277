//! A folder's messages at one moment, in memory: what sessions look at instead of the index.
//!
//! An [`Image`] is a list of chunks behind counted references. Whoever holds one sees it unchanged for as long as they
//! like, without a lock; a change copies the one chunk it touches and the list of chunks. Two images of a folder are
//! compared by walking both, where chunks that are the same memory are passed over, so telling a session of a new
//! message costs the same in a folder of ten and of a million.
//!
//! Rows ascend by UID; no chunk is empty or longer than [`CHUNK`]; `starts[i]` is the place of chunk i's first row.

use crate::types::{ModSeq, Row, Uid};
use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

/// Rows of one chunk: a change copies some 25 KiB, a million messages are two thousand chunks.
const CHUNK: usize = 512;

/// A folder's messages at one moment. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Image {
    chunks: Vec<Arc<Vec<Row>>>,
    starts: Vec<usize>,
    length: usize,
    /// Everything that happened up to this is in it.
    pub highest: ModSeq,
}

/// What differs between two images of a folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Places in the old image, ascending.
    pub removed: Vec<usize>,
    /// Places in the new image of messages that were there but looked otherwise, ascending.
    pub changed: Vec<usize>,
    /// Places in the new image of messages that were not there, ascending.
    pub added: Vec<usize>,
}

impl Image {
    /// An image of rows in ascending order of their UIDs.
    pub(crate) fn of(rows: impl IntoIterator<Item = Row>, highest: ModSeq) -> Image {
        let mut image = Image { highest, ..Image::default() };
        let mut chunk = Vec::with_capacity(CHUNK);
        for row in rows {
            chunk.push(row);
            if chunk.len() == CHUNK {
                image.add_chunk(std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK)));
            }
        }
        chunk.shrink_to_fit();
        image.add_chunk(chunk);
        image
    }

    fn add_chunk(&mut self, chunk: Vec<Row>) {
        if !chunk.is_empty() {
            self.starts.push(self.length);
            self.length += chunk.len();
            self.chunks.push(Arc::new(chunk));
        }
    }

    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The message at a place, from 0.
    pub fn get(&self, place: usize) -> Option<&Row> {
        let chunk = self.starts.partition_point(|start| *start <= place).checked_sub(1)?;
        self.chunks[chunk].get(place - self.starts[chunk])
    }

    pub fn first(&self) -> Option<&Row> {
        self.chunks.first()?.first()
    }

    pub fn last(&self) -> Option<&Row> {
        self.chunks.last()?.last()
    }

    /// Every message, by ascending UID.
    pub fn rows(&self) -> impl DoubleEndedIterator<Item = &Row> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// The messages of a range of places, cut to what there is.
    pub fn slice(&self, places: Range<usize>) -> impl Iterator<Item = &Row> {
        let start = places.start.min(self.length);
        let first = self.starts.partition_point(|at| *at <= start).saturating_sub(1);
        let skipped = self.starts.get(first).map_or(0, |at| start - at);
        let count = places.end.min(self.length).saturating_sub(start);
        self.chunks[first.min(self.chunks.len())..].iter().flat_map(|chunk| chunk.iter()).skip(skipped).take(count)
    }

    /// The place of the first message whose UID is not below this one.
    pub fn lower_bound(&self, uid: Uid) -> usize {
        let chunk = self.chunks.partition_point(|chunk| chunk.last().is_some_and(|last| last.uid < uid));
        match self.chunks.get(chunk) {
            Some(rows) => self.starts[chunk] + rows.partition_point(|row| row.uid < uid),
            None => self.length,
        }
    }

    /// Where the message of a UID is.
    pub fn place(&self, uid: Uid) -> Option<usize> {
        let place = self.lower_bound(uid);
        self.get(place).filter(|row| row.uid == uid).map(|_| place)
    }

    pub fn by_uid(&self, uid: Uid) -> Option<&Row> {
        self.get(self.lower_bound(uid)).filter(|row| row.uid == uid)
    }

    /// The places of the UIDs from `low` to `high`, both included.
    pub fn range(&self, low: Uid, high: Uid) -> Range<usize> {
        let first = self.lower_bound(low);
        let after = high.0.checked_add(1).map_or(self.length, |next| self.lower_bound(Uid(next)));
        first..after.max(first)
    }

    /// Puts a message in its place; one of the same UID is replaced.
    pub fn put(&mut self, row: Row) {
        if self.last().is_none_or(|last| last.uid < row.uid) {
            return self.push(row);
        }
        let chunk = self.chunks.partition_point(|chunk| chunk.last().is_some_and(|last| last.uid < row.uid));
        let rows = Arc::make_mut(&mut self.chunks[chunk]);
        match rows.binary_search_by_key(&row.uid, |other| other.uid) {
            Ok(at) => rows[at] = row,
            // UIDs only grow, so this is met by no caller; the order is kept all the same.
            Err(at) => {
                rows.insert(at, row);
                self.count_anew();
            }
        }
    }

    fn push(&mut self, row: Row) {
        match self.chunks.last_mut() {
            Some(last) if last.len() < CHUNK => {
                Arc::make_mut(last).push(row);
                self.length += 1;
            }
            _ => self.add_chunk(vec![row]),
        }
    }

    /// Takes messages out; `uids` ascend.
    pub fn remove(&mut self, uids: &[Uid]) {
        let mut rest = uids;
        for chunk in &mut self.chunks {
            let Some(last) = chunk.last().map(|row| row.uid) else { continue };
            let (here, after) = rest.split_at(rest.partition_point(|uid| *uid <= last));
            rest = after;
            if !here.is_empty() {
                Arc::make_mut(chunk).retain(|row| here.binary_search(&row.uid).is_err());
            }
        }
        self.chunks.retain(|chunk| !chunk.is_empty());
        self.count_anew();
    }

    fn count_anew(&mut self) {
        self.length = 0;
        self.starts.clear();
        for chunk in &self.chunks {
            self.starts.push(self.length);
            self.length += chunk.len();
        }
    }

    /// What happened between this image and a later one of the same folder.
    pub fn until(&self, later: &Image) -> Difference {
        let mut found = Difference::default();
        let (mut old, mut new) = (Cursor::at(self), Cursor::at(later));
        loop {
            if old.skip_same(&mut new) {
                continue;
            }
            match (old.row(), new.row()) {
                (None, None) => return found,
                (Some(_), None) => found.removed.push(old.step()),
                (None, Some(_)) => found.added.push(new.step()),
                (Some(a), Some(b)) => match a.uid.cmp(&b.uid) {
                    Ordering::Less => found.removed.push(old.step()),
                    Ordering::Greater => found.added.push(new.step()),
                    Ordering::Equal => {
                        let differs = a != b;
                        old.step();
                        let place = new.step();
                        if differs {
                            found.changed.push(place);
                        }
                    }
                },
            }
        }
    }
}

/// A place in an image, by chunk.
struct Cursor<'a> {
    image: &'a Image,
    chunk: usize,
    within: usize,
    place: usize,
}

impl<'a> Cursor<'a> {
    fn at(image: &'a Image) -> Self {
        Self { image, chunk: 0, within: 0, place: 0 }
    }

    fn row(&self) -> Option<&'a Row> {
        self.image.chunks.get(self.chunk)?.get(self.within)
    }

    /// Goes on by one row; returns the place it left.
    fn step(&mut self) -> usize {
        self.within += 1;
        self.place += 1;
        if self.image.chunks.get(self.chunk).is_some_and(|chunk| self.within >= chunk.len()) {
            (self.chunk, self.within) = (self.chunk + 1, 0);
        }
        self.place - 1
    }

    /// Passes over a chunk that both images share; tells whether there was one.
    fn skip_same(&mut self, other: &mut Cursor<'a>) -> bool {
        if self.within != 0 || other.within != 0 {
            return false;
        }
        let (Some(a), Some(b)) = (self.image.chunks.get(self.chunk), other.image.chunks.get(other.chunk)) else {
            return false;
        };
        if !Arc::ptr_eq(a, b) {
            return false;
        }
        for cursor in [self, other] {
            cursor.place += a.len();
            cursor.chunk += 1;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{Flags, Keywords};
    use crate::types::MessageId;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn row(uid: u32, modseq: u64) -> Row {
        Row {
            uid: Uid(uid),
            flags: Flags::NONE,
            keywords: Keywords::default(),
            modseq: ModSeq(modseq),
            id: MessageId(i64::from(uid)),
            size: 1,
            received: 0,
            saved: 0,
        }
    }

    fn seen(image: &Image) -> Vec<(u32, u64)> {
        image.rows().map(|row| (row.uid.0, row.modseq.0)).collect()
    }

    proptest! {
        /// Any sequence of changes, against a plain map; some of the images on the way are kept and compared later.
        #[test]
        fn an_image_is_what_a_sorted_map_would_be(
            steps in proptest::collection::vec((0u8..6, 0u32..4000, 1u32..700), 1..60)
        ) {
            let (mut image, mut model, mut next) = (Image::default(), BTreeMap::new(), 1u32);
            let mut kept: Vec<(Image, BTreeMap<u32, u64>)> = Vec::new();
            for (count, (kind, at, many)) in (1u64..).zip(steps) {
                match kind {
                    0..=2 => for _ in 0..many {
                        image.put(row(next, count));
                        model.insert(next, count);
                        next += 1;
                    },
                    3 => if let Some((uid, modseq)) = model.range_mut(at..).next() {
                        *modseq = count;
                        image.put(row(*uid, count));
                    },
                    4 => {
                        let gone: Vec<u32> = model.range(at..).take(many as usize).map(|(uid, _)| *uid).collect();
                        image.remove(&gone.iter().map(|uid| Uid(*uid)).collect::<Vec<_>>());
                        gone.iter().for_each(|uid| { model.remove(uid); });
                    }
                    _ => kept.push((image.clone(), model.clone())),
                }
                prop_assert_eq!(image.len(), model.len());
                let place = image.lower_bound(Uid(at));
                prop_assert_eq!(place, model.range(..at).count());
                prop_assert_eq!(image.get(place).map(|row| row.uid.0), model.range(at..).next().map(|(uid, _)| *uid));
                prop_assert_eq!(image.slice(place..place + 3).count(), model.range(at..).take(3).count());
            }
            prop_assert_eq!(seen(&image), model.iter().map(|(a, b)| (*a, *b)).collect::<Vec<_>>());
            for (old, then) in kept {
                prop_assert_eq!(seen(&old), then.iter().map(|(a, b)| (*a, *b)).collect::<Vec<_>>());
                let found = old.until(&image);
                let removed: Vec<usize> = then.keys().enumerate()
                    .filter(|(_, uid)| !model.contains_key(uid)).map(|(place, _)| place).collect();
                prop_assert_eq!(found.removed, removed);
                let differing = |there: bool| model.iter().enumerate()
                    .filter(|(_, (uid, modseq))| match then.get(uid) {
                        Some(before) => there && before != *modseq,
                        None => !there,
                    })
                    .map(|(place, _)| place).collect::<Vec<_>>();
                prop_assert_eq!(found.changed, differing(true));
                prop_assert_eq!(found.added, differing(false));
            }
        }
    }
}
