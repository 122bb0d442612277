//! DNS blocklists (RFC 5782): the name to ask for, and what an answer means in words. Pure.

use base::config::{Blocklist, Weight};
use std::net::{IpAddr, Ipv4Addr};

/// A list that has the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The list, without the customer's key.
    pub list: String,
    /// What the code means.
    pub why: &'static str,
    pub weak: bool,
}

/// What a list's answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    NotListed,
    Listed(Listing),
    /// The list did not answer the question, and says why.
    Error(&'static str),
}

impl Listing {
    /// For the sender's postmaster, who has to do something about it.
    pub fn words(&self, client: IpAddr) -> String {
        let help = if is_spamhaus(&self.list) {
            format!("; see https://check.spamhaus.org/listed/?searchterm={client}")
        } else {
            String::new()
        };
        format!("{client} is listed by {}: {}{help}", self.list, self.why)
    }
}

/// The name to ask for (RFC 5782 §2.1 and §2.4): octets, or for IPv6 nibbles, in reverse.
pub fn question(client: IpAddr, list: &Blocklist) -> String {
    let reversed = match client {
        IpAddr::V4(address) => address.octets().iter().rev().map(u8::to_string).collect::<Vec<_>>().join("."),
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().flat_map(|octet| [octet >> 4, octet & 15]);
            nibbles.rev().map(|nibble| format!("{nibble:x}")).collect::<Vec<_>>().join(".")
        }
    };
    format!("{reversed}.{}", list.zone)
}

/// Reads the codes that came back. Spamhaus' are from its “Return Codes and Their Meanings” (docs.spamhaus.com).
pub fn meaning(list: &Blocklist, codes: &[Ipv4Addr]) -> Meaning {
    if let Some(error) = codes.iter().find_map(|code| error(*code)) {
        return Meaning::Error(error);
    }
    let shown = list.shown();
    let spamhaus = is_spamhaus(&shown);
    match codes.iter().filter_map(|code| listing(*code, spamhaus)).min() {
        Some((_, why)) => Meaning::Listed(Listing { list: shown, why, weak: list.weight == Weight::Weak }),
        None => Meaning::NotListed,
    }
}

/// RFC 5782 §2.1 keeps answers within 127.0.0.0/8; anything else comes from somebody in between, or from a zone that has
/// changed hands.
fn error(code: Ipv4Addr) -> Option<&'static str> {
    match code.octets() {
        [127, 255, 255, 252] => Some("the list has another name"),
        [127, 255, 255, 254] => Some("the list does not answer this resolver, which looks like a public one"),
        [127, 255, 255, 255] => Some("too many questions were asked; the list wants a key"),
        [127, 255, ..] => Some("the list reports an error"),
        [127, ..] => None,
        _ => Some("the answer is none of a blocklist"),
    }
}

/// The worst first.
fn listing(code: Ipv4Addr, spamhaus: bool) -> Option<(u8, &'static str)> {
    match code.octets() {
        [127, 0, 0, 2] if spamhaus => Some((0, "SBL, a known source of spam")),
        [127, 0, 0, 9] if spamhaus => Some((1, "DROP, a network run by criminals")),
        [127, 0, 0, 3] if spamhaus => Some((2, "CSS, a source of spam lately")),
        [127, 0, 0, 4..=7] if spamhaus => Some((3, "XBL, a machine that is broken into or infected")),
        [127, 0, 0, 10] if spamhaus => Some((4, "PBL, its provider says that no mail comes from there directly")),
        [127, 0, 0, 11] if spamhaus => Some((5, "PBL, an address of a kind from which no mail comes directly")),
        // Other Spamhaus codes are of its lists for domains, or yet to come.
        [127, ..] if !spamhaus => Some((9, "a source of unwanted mail")),
        _ => None,
    }
}

fn is_spamhaus(list: &str) -> bool {
    list.ends_with("spamhaus.org") || list.ends_with("spamhaus.net")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Blocklist {
        text.parse().unwrap()
    }

    fn codes(list: &Blocklist, last: &[[u8; 4]]) -> Meaning {
        meaning(list, &last.iter().map(|code| Ipv4Addr::from(*code)).collect::<Vec<_>>())
    }

    #[test]
    fn an_address_is_asked_for_in_reverse() {
        let zen = list("zen.spamhaus.org");
        assert_eq!(question("192.0.2.1".parse().unwrap(), &zen), "1.2.0.192.zen.spamhaus.org");
        let six = question("2001:db8::1".parse().unwrap(), &zen);
        assert_eq!(six, format!("1.{}8.b.d.0.1.0.0.2.zen.spamhaus.org", "0.".repeat(23)));
    }

    #[test]
    fn the_codes_of_spamhaus_are_told_apart() {
        let zen = list("zen.spamhaus.org");
        for (code, word) in [(2, "SBL"), (3, "CSS"), (4, "XBL"), (9, "DROP"), (10, "PBL"), (11, "PBL")] {
            let Meaning::Listed(listing) = codes(&zen, &[[127, 0, 0, code]]) else { panic!("{code}") };
            assert!(listing.why.starts_with(word) && !listing.weak);
        }
        let Meaning::Listed(worst) = codes(&zen, &[[127, 0, 0, 11], [127, 0, 0, 2]]) else { panic!() };
        assert!(worst.why.starts_with("SBL"));
        assert_eq!(codes(&zen, &[]), Meaning::NotListed);
    }

    #[test]
    fn an_error_code_or_a_strange_answer_is_never_a_listing() {
        for code in [[127, 255, 255, 252], [127, 255, 255, 254], [127, 255, 255, 255], [203, 0, 113, 9]] {
            assert!(matches!(codes(&list("zen.spamhaus.org"), &[code]), Meaning::Error(_)), "{code:?}");
            assert!(matches!(codes(&list("bl.example.net"), &[code, [127, 0, 0, 2]]), Meaning::Error(_)), "{code:?}");
        }
    }

    #[test]
    fn a_customers_key_is_told_to_nobody() {
        let dqs = list("abcdefabcdefabcdefabcdefab.zen.dq.spamhaus.net");
        let Meaning::Listed(listing) = codes(&dqs, &[[127, 0, 0, 4]]) else { panic!() };
        let words = listing.words("192.0.2.1".parse().unwrap());
        assert!(
            words.starts_with("192.0.2.1 is listed by zen.dq.spamhaus.net: XBL") && !words.contains("abcdef"),
            "{words}"
        );
    }
}
