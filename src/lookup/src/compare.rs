//! Whether two values of a record mean the same, however they are written. Pure.
//!
//! One form for each value: lower case where case does not count, addresses as addresses, no quotes, no trailing dots,
//! hexadecimal in one piece, lists of tags without their spaces and in one order.

use std::net::Ipv6Addr;

/// Whether `seen` says what `wanted` says.
pub fn same(kind: &str, seen: &str, wanted: &str) -> bool {
    canonical(kind, seen) == canonical(kind, wanted)
}

/// A record's value in the one form in which two of them are compared. TXT is plain text, in one piece.
pub fn canonical(kind: &str, value: &str) -> String {
    match kind {
        "TXT" => text(value),
        "AAAA" => {
            value.trim().parse::<Ipv6Addr>().map_or_else(|_| words(value).join(" "), |address| address.to_string())
        }
        "CAA" => caa(value),
        // Hexadecimal data may be written in several pieces.
        "TLSA" | "DS" | "CDS" => pieces(value, 3),
        "SSHFP" => pieces(value, 2),
        _ => words(value).join(" "),
    }
}

fn words(value: &str) -> Vec<String> {
    let plain = value.split_whitespace().map(|part| part.trim_matches('"').to_ascii_lowercase());
    plain.map(|part| if part.len() > 1 { part.trim_end_matches('.').to_owned() } else { part }).collect()
}

fn pieces(value: &str, fixed: usize) -> String {
    let parts = words(value);
    let split = fixed.min(parts.len());
    let data = parts[split..].concat();
    parts[..split].iter().cloned().chain([data]).collect::<Vec<_>>().join(" ")
}

/// Flags, tag, and a value whose parameters may stand in any order (RFC 8659 §4.2).
fn caa(value: &str) -> String {
    let mut parts = value.trim().splitn(3, char::is_whitespace);
    let (flags, tag) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default().to_ascii_lowercase());
    let rest = parts.next().unwrap_or_default().trim().trim_matches('"');
    if tag == "iodef" {
        return format!("{flags} iodef {rest}");
    }
    let (name, parameters) = rest.split_once(';').unwrap_or((rest, ""));
    let name = name.trim().trim_end_matches('.').to_ascii_lowercase();
    format!("{flags} {tag} {name};{}", tags(parameters))
}

/// SPF by its terms, lists of tags by their tags, everything else by its words.
fn text(value: &str) -> String {
    let value = value.trim();
    let lower = value.to_ascii_lowercase();
    if lower == "v=spf1" || lower.starts_with("v=spf1 ") {
        return spf(&lower);
    }
    let version = lower.split(';').next().unwrap_or_default().replace(' ', "");
    match version.as_str() {
        "v=dmarc1" | "v=dkim1" | "v=stsv1" | "v=tlsrptv1" => tags(value),
        _ => value.split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

/// The order of the terms before `all` does not count as long as they all let mail pass (RFC 7208 §4.6.2).
fn spf(lower: &str) -> String {
    let mut terms: Vec<&str> =
        lower.split_whitespace().skip(1).map(|term| term.strip_prefix('+').unwrap_or(term)).collect();
    let end = terms.iter().position(|term| term.trim_start_matches(['-', '~', '?']) == "all").unwrap_or(terms.len());
    if terms[..end].iter().all(|term| !term.starts_with(['-', '~', '?'])) {
        terms[..end].sort_unstable();
    }
    format!("v=spf1 {}", terms.join(" "))
}

/// `a=b; c=d` without spaces (a key may be folded), sorted by name. Names are in lower case, values as they are.
fn tags(list: &str) -> String {
    let tag = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let value: String = value.split_whitespace().collect();
        let name = name.trim().to_ascii_lowercase();
        (!name.is_empty()).then(|| format!("{name}={value}"))
    };
    let mut tags: Vec<String> = list.split(';').filter_map(tag).collect();
    tags.sort_unstable();
    tags.join(";")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_that_mean_the_same_compare_equal() {
        for (kind, a, b) in [
            ("MX", "10 box.example.org.", "10  Box.Example.Org"),
            ("MX", "0 .", "0 ."),
            ("AAAA", "2001:DB8:0:0::25", "2001:db8::25"),
            ("TLSA", "3 1 1 ABCD EF01", "3 1 1 abcdef01"),
            ("CAA", "0 issue \"letsencrypt.org\"", "0 issue letsencrypt.org"),
            ("CAA", "0 issue \"ca.org; a=1; b=2\"", "0 ISSUE \"CA.org;b=2;a=1\""),
            ("SSHFP", "4 2 AB CD", "4 2 abcd"),
            ("TXT", "v=spf1 include:a.org mx -all", "V=SPF1 +mx  include:A.org -ALL"),
            ("TXT", "v=DKIM1; k=rsa; p=AbC dE", "v=DKIM1;k=rsa;p=AbCdE;"),
            ("TXT", "v=DMARC1; p=none; rua=mailto:a@b.org", "v=DMARC1;rua=mailto:a@b.org;p=none"),
        ] {
            assert!(same(kind, a, b), "{kind}: {} and {}", canonical(kind, a), canonical(kind, b));
        }
    }

    #[test]
    fn values_that_differ_compare_unequal() {
        for (kind, a, b) in [
            ("TXT", "v=DKIM1; p=AbC", "v=DKIM1; p=abc"),
            ("TXT", "v=spf1 mx -all", "v=spf1 mx ~all"),
            ("TXT", "v=spf1 -ip4:192.0.2.1 mx -all", "v=spf1 mx -ip4:192.0.2.1 -all"),
            ("TXT", "hello world", "hello World"),
            (
                "CAA",
                "0 issue \"ca.org; accounturi=https://ca.org/A\"",
                "0 issue \"ca.org; accounturi=https://ca.org/a\"",
            ),
            ("CAA", "0 issue \"ca.org\"", "0 issuewild \"ca.org\""),
            ("MX", "10 a.org.", "20 a.org."),
        ] {
            assert!(!same(kind, a, b), "{kind}: {a} and {b}");
        }
    }

    proptest! {
        #[test]
        fn any_value_can_be_compared(kind in "(TXT|TLSA|DS|SSHFP|MX|CAA|AAAA)", value in ".{0,80}") {
            let padded = format!(" {value} ");
            prop_assert_eq!(canonical(&kind, &value), canonical(&kind, &padded));
            let once = canonical(&kind, &value);
            prop_assert!(kind != "TXT" || canonical(&kind, &once) == once);
        }
    }
}
