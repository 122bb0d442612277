//! Sequence sets (RFC 3501 §9, sequence-set), of message numbers or UIDs.

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
pub struct Set(Vec<(Num, Num)>);

impl Set {
    pub fn parse(parser: &mut Parser<'_>) -> Parsed<Set> {
        let mut ranges = Vec::new();
        loop {
            let first = num(parser)?;
            let last = if parser.take(b':') { num(parser)? } else { first };
            if ranges.len() >= limits::SET_RANGES {
                return bad("the set has too many ranges");
            }
            ranges.push((first, last));
            if !parser.take(b',') {
                return Ok(Set(ranges));
            }
        }
    }

    /// The ranges with `*` put in, each from low to high, sorted and merged.
    pub fn bounds(&self, largest: u32) -> Vec<(u32, u32)> {
        let value = |num: &Num| match num {
            Num::Is(number) => *number,
            Num::Last => largest,
        };
        let mut bounds: Vec<(u32, u32)> =
            self.0.iter().map(|(a, b)| (value(a).min(value(b)), value(a).max(value(b)))).collect();
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
