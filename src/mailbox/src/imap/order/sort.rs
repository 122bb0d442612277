//! SORT (RFC 5256 §3, RFC 5957).

use super::Facts;
use crate::imap::proto::SortKey;
use std::cmp::Ordering;

/// The numbers in the order asked for; equals in the order of their numbers, also when reversed.
pub fn sorted(mut facts: Vec<Facts>, by: &[(SortKey, bool)]) -> Vec<u32> {
    facts.sort_by(|a, b| {
        let keys = by.iter().map(|(key, reverse)| {
            let order = compare(a, b, *key);
            if *reverse { order.reverse() } else { order }
        });
        keys.fold(Ordering::Equal, Ordering::then).then(a.number.cmp(&b.number))
    });
    facts.into_iter().map(|facts| facts.number).collect()
}

fn compare(a: &Facts, b: &Facts, key: SortKey) -> Ordering {
    match key {
        SortKey::Arrival => a.received.cmp(&b.received),
        SortKey::Cc => a.cc.mailbox.cmp(&b.cc.mailbox),
        SortKey::Date => a.sent.cmp(&b.sent),
        SortKey::DisplayFrom => a.from.display.cmp(&b.from.display),
        SortKey::DisplayTo => a.to.display.cmp(&b.to.display),
        SortKey::From => a.from.mailbox.cmp(&b.from.mailbox),
        SortKey::Size => a.size.cmp(&b.size),
        SortKey::Subject => a.subject.text.cmp(&b.subject.text),
        SortKey::To => a.to.mailbox.cmp(&b.to.mailbox),
        // RFC 6203 §4: the best first.
        SortKey::Relevancy => b.relevancy.cmp(&a.relevancy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(number: u32, received: u32, header: &str) -> Facts {
        Facts::of(number, received, header)
    }

    #[test]
    fn messages_are_sorted_by_several_keys() {
        let all = || {
            vec![
                facts(
                    1,
                    300,
                    "From: Zoe <a@x.org>\r\nSubject: Re: lunch\r\nDate: Sat, 21 Nov 2026 09:00:00 +0000\r\n\r\n",
                ),
                facts(2, 200, "From: b@x.org\r\nSubject: Lunch\r\nDate: Sat, 21 Nov 2026 09:30:00 +0200\r\n\r\n"),
                facts(3, 100, "From: \"=?utf-8?q?=C3=84nne?=\" <c@x.org>\r\nSubject: A\r\n\r\n"),
            ]
        };
        let by = |keys: &[(SortKey, bool)]| sorted(all(), keys);
        assert_eq!(by(&[(SortKey::Arrival, false)]), [3, 2, 1]);
        assert_eq!(by(&[(SortKey::Date, false)]), [3, 2, 1]);
        assert_eq!(by(&[(SortKey::Subject, false), (SortKey::Date, true)]), [3, 1, 2]);
        assert_eq!(by(&[(SortKey::Subject, false)]), [3, 1, 2]);
        assert_eq!(by(&[(SortKey::Subject, true)]), [1, 2, 3]);
        assert_eq!(by(&[(SortKey::From, true)]), [3, 2, 1]);
        assert_eq!(by(&[(SortKey::DisplayFrom, false)]), [2, 1, 3]);
        assert_eq!(by(&[(SortKey::Size, true)]), [3, 2, 1]);
    }
}
