//! Sequence sets (RFC 9051 §9, sequence-set), of message numbers or UIDs.

use super::parser::{Parsed, Parser, bad};
use crate::limits;

/// One end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Num {
    Is(u32),
    /// `*`: the largest in use.
    Last,
}

/// Ranges as the client wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Set {
    Ranges(Vec<(Num, Num)>),
    /// `$`: what the last search with SAVE found (RFC 5182).
    Saved,
}

/// A part of an ordered result (RFC 9394 §3.1): from `first` to `last`, counted from 1 and, when negative, from its
/// end. Both have the same sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub first: i64,
    pub last: i64,
}

impl Set {
    pub fn parse(parser: &mut Parser<'_>) -> Parsed<Set> {
        if parser.take(b'$') {
            return Ok(Set::Saved);
        }
        let mut ranges = Vec::new();
        loop {
            let first = num(parser)?;
            let last = if parser.take(b':') { num(parser)? } else { first };
            if ranges.len() >= limits::SET_RANGES {
                return bad("the set has too many ranges");
            }
            ranges.push((first, last));
            if !parser.take(b',') {
                return Ok(Set::Ranges(ranges));
            }
        }
    }

    /// A set of plain numbers: neither `*` nor `$` (RFC 7162 §7, known-uids).
    pub fn parse_known(parser: &mut Parser<'_>) -> Parsed<Set> {
        let set = Set::parse(parser)?;
        match &set {
            Set::Ranges(ranges) if ranges.iter().all(|(a, b)| *a != Num::Last && *b != Num::Last) => Ok(set),
            _ => bad("this set has plain numbers only"),
        }
    }

    /// The ranges with `*` put in, each from low to high, sorted and merged. `$` has none: the session knows it.
    pub fn bounds(&self, largest: u32) -> Vec<(u32, u32)> {
        let Set::Ranges(ranges) = self else { return Vec::new() };
        let value = |num: &Num| match num {
            Num::Is(number) => *number,
            Num::Last => largest,
        };
        let mut bounds: Vec<(u32, u32)> =
            ranges.iter().map(|(a, b)| (value(a).min(value(b)), value(a).max(value(b)))).collect();
        bounds.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(bounds.len());
        for (low, high) in bounds {
            match merged.last_mut() {
                Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
                _ => merged.push((low, high)),
            }
        }
        merged
    }

    /// The numbers in the order written, at most `most`; `*` is left out.
    pub fn listed(&self, most: usize) -> Vec<u32> {
        let Set::Ranges(ranges) = self else { return Vec::new() };
        let plain = ranges.iter().filter_map(|range| match range {
            (Num::Is(a), Num::Is(b)) => Some((*a.min(b), *a.max(b))),
            _ => None,
        });
        plain.flat_map(|(low, high)| low..=high).take(most).collect()
    }
}

impl Window {
    pub fn parse(parser: &mut Parser<'_>) -> Parsed<Window> {
        let first = signed(parser)?;
        parser.expect(b':')?;
        let last = signed(parser)?;
        if (first < 0) != (last < 0) {
            return bad("both ends of a PARTIAL range count from the same side");
        }
        Ok(Window { first, last })
    }

    /// The places of a result of `count` that lie in the window, ascending.
    pub fn of(self, count: usize) -> std::ops::Range<usize> {
        let (near, far) = (self.first.abs().min(self.last.abs()), self.first.abs().max(self.last.abs()));
        let near = usize::try_from(near - 1).unwrap_or(0).min(count);
        let far = usize::try_from(far).unwrap_or(usize::MAX).min(count);
        if self.first < 0 { count - far..count - near } else { near..far }
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.first, self.last)
    }
}

fn signed(parser: &mut Parser<'_>) -> Parsed<i64> {
    let negative = parser.take(b'-');
    match parser.number()? {
        0 => bad("a PARTIAL range counts from 1 or from -1"),
        number if negative => Ok(-i64::from(number)),
        number => Ok(i64::from(number)),
    }
}

fn num(parser: &mut Parser<'_>) -> Parsed<Num> {
    if parser.take(b'*') {
        return Ok(Num::Last);
    }
    match parser.number()? {
        0 => bad("numbers in a set begin at 1"),
        number => Ok(Num::Is(number)),
    }
}

/// Numbers as a set, with ranges where they follow each other in the given order.
pub fn compact(numbers: impl IntoIterator<Item = u32>) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(last) if last.1.checked_add(1) == Some(number) => last.1 = number,
            _ => ranges.push((number, number)),
        }
    }
    let shown = ranges.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}:{b}") });
    shown.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bounds(text: &str, largest: u32) -> Vec<(u32, u32)> {
        Set::parse(&mut Parser::new(text.as_bytes())).unwrap().bounds(largest)
    }

    #[test]
    fn sets_are_read_in_any_order() {
        assert_eq!(bounds("5:3,1,*", 9), [(1, 1), (3, 5), (9, 9)]);
        assert_eq!(bounds("1:4,3:*", 9), [(1, 9)]);
        // RFC 3501: a UID range to * has the largest even when it begins above it.
        assert_eq!(bounds("20:*", 9), [(9, 20)]);
        assert!(Set::parse(&mut Parser::new(b"0")).is_err());
        assert!(Set::parse_known(&mut Parser::new(b"1:*")).is_err());
    }

    #[test]
    fn windows_count_from_either_end() {
        let window = |text: &str| Window::parse(&mut Parser::new(text.as_bytes())).unwrap();
        assert_eq!(window("1:3").of(10), 0..3);
        assert_eq!(window("3:1").of(10), 0..3);
        assert_eq!(window("-1:-3").of(10), 7..10);
        assert_eq!(window("8:20").of(10), 7..10);
        assert!(window("11:20").of(10).is_empty() && window("-11:-20").of(10).is_empty());
        assert!(Window::parse(&mut Parser::new(b"-1:3")).is_err());
    }

    proptest! {
        #[test]
        fn a_compacted_set_has_the_same_numbers(numbers in proptest::collection::btree_set(1u32..500, 1..60)) {
            let text = compact(numbers.iter().copied());
            let again: Vec<u32> = bounds(&text, 0).into_iter().flat_map(|(a, b)| a..=b).collect();
            prop_assert_eq!(again, numbers.into_iter().collect::<Vec<_>>());
        }
    }
}
