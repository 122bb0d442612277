//! A zone as text in master file format (RFC 1035 §5). Pure.

use base::Domain;
use std::fmt::Write;
use wire::dns::Record;

/// SOA timers: refresh and retry for secondaries that a NOTIFY did not reach; expiry after a week, so that a secondary
/// never answers with signatures that have ended (RFC 6781 §4.4.2.2); and five minutes for “no such name”.
const SOA_TIMERS: &str = "14400 3600 604800 300";
/// After that long a secondary that hears nothing forgets the zone.
pub const SOA_EXPIRE: u64 = 604_800;

/// The unsigned zone without its SOA: what decides whether a zone has changed.
pub fn body(zone: &Domain, records: &[Record]) -> String {
    let records = records.iter().filter(|record| record.zone == *zone);
    records.map(|record| line(record) + "\n").collect()
}

/// One record as a line of a master file.
pub fn line(record: &Record) -> String {
    written(&record.name, record.ttl, &record.kind, &record.value)
}

pub fn written(name: &str, ttl: u32, kind: &str, value: &str) -> String {
    let value = match kind {
        "TXT" => quoted(value),
        _ => value.to_owned(),
    };
    format!("{name}. {ttl} IN {kind} {value}")
}

/// The SOA line. Its mailbox is hostmaster@ the zone.
pub fn soa(zone: &Domain, hostname: &Domain, serial: u32) -> String {
    format!("{zone}. 3600 IN SOA ns1.{hostname}. hostmaster.{zone}. {serial} {SOA_TIMERS}\n")
}

/// A TXT value as quoted strings of at most 255 octets (RFC 1035 §3.3).
pub fn quoted(text: &str) -> String {
    let mut parts = Vec::new();
    for part in text.as_bytes().chunks(255) {
        let mut quoted = String::from("\"");
        for byte in part {
            match byte {
                b'"' | b'\\' => quoted.extend(['\\', char::from(*byte)]),
                b' '..=b'~' => quoted.push(char::from(*byte)),
                other => {
                    let _ = write!(quoted, "\\{other:03}");
                }
            }
        }
        quoted.push('"');
        parts.push(quoted);
    }
    if parts.is_empty() { "\"\"".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_into_strings_and_odd_characters_are_escaped() {
        assert_eq!(quoted("a\"b\\c\u{7}"), "\"a\\\"b\\\\c\\007\"");
        assert_eq!(quoted(&"x".repeat(300)).matches('"').count(), 4);
        assert_eq!(quoted(""), "\"\"");
    }
}
