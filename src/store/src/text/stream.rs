//! A message's words in order, as numbers: what tells whether a message holds a phrase that stands for so many sequences
//! of words that asking FTS5 for each would take too long.
//!
//! For each place in turn: the length in bytes, then the numbers, both as LEB128. The number 0 stands between texts that
//! do not run into each other.

use super::extract::Place;
use super::search::Scope;

/// Stands between texts of one place, so that no phrase runs from one into the next. No word has this number.
pub const BETWEEN: i64 = 0;

/// Appends a number, seven bits to a byte, the lowest first.
pub fn put(number: i64, out: &mut Vec<u8>) {
    let mut rest = number.unsigned_abs();
    while rest >= 0x80 {
        out.push((rest & 0x7F) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Takes the next number; None at the end, and where the bytes are not what [`put`] writes.
fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// The places' words put together.
pub fn join(places: &[Vec<u8>; Place::ALL.len()]) -> Vec<u8> {
    let mut out = Vec::with_capacity(places.iter().map(|words| words.len() + 3).sum());
    for words in places {
        put(words.len() as i64, &mut out);
        out.extend_from_slice(words);
    }
    out
}

/// Numbers of words, or of messages: one bit for each up to the largest.
#[derive(Debug, Default)]
pub struct Numbers(Vec<u64>);

impl Numbers {
    pub fn insert(&mut self, number: i64) {
        let number = number.unsigned_abs() as usize;
        if number / 64 >= self.0.len() {
            self.0.resize(number / 64 + 1, 0);
        }
        self.0[number / 64] |= 1 << (number % 64);
    }

    pub fn contains(&self, number: u64) -> bool {
        let bits = usize::try_from(number / 64).ok().and_then(|at| self.0.get(at));
        bits.is_some_and(|bits| bits & (1 << (number % 64)) != 0)
    }

    pub fn len(&self) -> usize {
        self.0.iter().map(|bits| bits.count_ones() as usize).sum()
    }

    /// Ascending.
    pub fn sorted(&self) -> Vec<i64> {
        let mut numbers = Vec::with_capacity(self.len());
        for (at, bits) in self.0.iter().enumerate() {
            let mut bits = *bits;
            while bits != 0 {
                numbers.push((at * 64) as i64 + i64::from(bits.trailing_zeros()));
                bits &= bits - 1;
            }
        }
        numbers
    }
}

impl FromIterator<i64> for Numbers {
    fn from_iter<I: IntoIterator<Item = i64>>(numbers: I) -> Self {
        let mut set = Self::default();
        numbers.into_iter().for_each(|number| set.insert(number));
        set
    }
}

/// Whether a message's words hold, in one of the places searched, a word of each set, one after the other.
pub fn holds(mut words: &[u8], scope: Scope, phrase: &[Numbers]) -> bool {
    let mut last: Vec<u64> = Vec::new();
    for place in Place::ALL {
        let Some(length) = take(&mut words).and_then(|length| usize::try_from(length).ok()) else { return false };
        let Some((mut here, after)) = words.split_at_checked(length) else { return false };
        words = after;
        if !scope.includes(place) {
            continue;
        }
        last.clear();
        while let Some(number) = take(&mut here) {
            last.push(number);
        }
        let fits = |window: &[u64]| window.iter().zip(phrase).all(|(number, set)| set.contains(*number));
        if last.windows(phrase.len().max(1)).any(fits) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(numbers: &[i64]) -> Numbers {
        numbers.iter().copied().collect()
    }

    #[test]
    fn a_phrase_is_found_in_its_place_and_order() {
        let mut places: [Vec<u8>; Place::ALL.len()] = Default::default();
        for number in [5, 300, 70_000, BETWEEN, 9] {
            put(number, &mut places[Place::Body as usize]);
        }
        put(1 << 40, &mut places[Place::From as usize]);
        let words = join(&places);
        for (scope, phrase, held) in [
            (Scope::Body, vec![set(&[5])], true),
            (Scope::Any, vec![set(&[1, 5]), set(&[300]), set(&[70_000, 9])], true),
            (Scope::Any, vec![set(&[300]), set(&[5])], false),
            (Scope::Any, vec![set(&[70_000]), set(&[9])], false),
            (Scope::From, vec![set(&[1 << 30, 5])], false),
            (Scope::Headers, vec![set(&[300])], false),
            (Scope::Any, vec![set(&[9]), set(&[5])], false),
        ] {
            assert_eq!(holds(&words, scope, &phrase), held, "{scope:?} {:?}", phrase.len());
        }
    }

    proptest! {
        #[test]
        fn numbers_are_read_as_they_were_written(numbers in proptest::collection::vec(0..i64::MAX, 0..20)) {
            let mut bytes = Vec::new();
            numbers.iter().for_each(|number| put(*number, &mut bytes));
            let mut rest = bytes.as_slice();
            let read: Vec<i64> = std::iter::from_fn(|| take(&mut rest)).map(u64::cast_signed).collect();
            prop_assert_eq!(read, numbers);
        }

        #[test]
        fn any_bytes_can_be_looked_through(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            holds(&bytes, Scope::Any, &[set(&[1]), set(&[2])]);
        }

        #[test]
        fn a_set_gives_back_what_was_put_in(numbers in proptest::collection::btree_set(0_i64..5000, 0..100)) {
            let made: Numbers = numbers.iter().copied().collect();
            prop_assert_eq!(made.len(), numbers.len());
            prop_assert!(numbers.iter().all(|number| made.contains(number.unsigned_abs())));
            prop_assert_eq!(made.sorted(), numbers.into_iter().collect::<Vec<_>>());
        }
    }
}
