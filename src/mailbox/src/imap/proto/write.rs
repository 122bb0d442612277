//! Values as response bytes (RFC 3501 §9).

use super::parser::is_astring_char;
use super::search::read_date;
use jiff::{Timestamp, fmt::strtime, tz::TimeZone};
use store::{Flags, Keywords};

use store::mime::quoted_or_literal;

/// An atom where one can hold the bytes, a string where not.
pub fn astring(text: &[u8]) -> Vec<u8> {
    if !text.is_empty() && text.iter().all(|byte| is_astring_char(*byte)) && !text.eq_ignore_ascii_case(b"NIL") {
        return text.to_vec();
    }
    let mut out = Vec::with_capacity(text.len() + 2);
    quoted_or_literal(&mut out, text);
    out
}

/// A mailbox's name as an atom or quoted string, UTF-8 as it is (RFC 9051 §5.1). Names have no control characters.
pub fn mailbox_name(name: &str) -> Vec<u8> {
    if name.is_ascii() {
        return astring(name.as_bytes());
    }
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")).into_bytes()
}

/// `(\Seen \Recent $Forwarded)`
pub fn flag_list(flags: Flags, keywords: &Keywords, recent: bool) -> String {
    let mut out = Vec::new();
    put_flags(&mut out, flags, keywords, recent);
    String::from_utf8_lossy(&out).into_owned()
}

/// The same, written where it is wanted.
pub fn put_flags(out: &mut Vec<u8>, flags: Flags, keywords: &Keywords, recent: bool) {
    out.push(b'(');
    let start = out.len();
    let mut put = |name: &str| {
        if out.len() > start {
            out.push(b' ');
        }
        out.extend_from_slice(name.as_bytes());
    };
    flags.names().for_each(&mut put);
    recent.then_some("\\Recent").into_iter().for_each(&mut put);
    keywords.iter().for_each(put);
    out.push(b')');
}

/// `"21-Nov-2026 08:00:00 +0000"` of seconds since 1970, in UTC.
pub fn date_time(unix_seconds: u64) -> String {
    let stamp = Timestamp::from_second(i64::try_from(unix_seconds).unwrap_or(i64::MAX)).unwrap_or(Timestamp::MAX);
    let text = strtime::format("%d-%b-%Y %H:%M:%S +0000", &stamp.to_zoned(TimeZone::UTC));
    format!("\"{}\"", text.unwrap_or_else(|_| "01-Jan-1970 00:00:00 +0000".to_owned()))
}

/// Reads `21-Nov-2026 08:00:00 +0100` (RFC 3501 §9, date-time) to seconds since 1970; none for dates before that.
pub fn parse_date_time(bytes: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut words = text.split_ascii_whitespace();
    let (date, time, zone) = (read_date(words.next()?)?, words.next()?, words.next()?);
    let mut clock = time.split(':').map(|part| part.parse::<i8>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let (sign, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    if digits.len() != 4 || words.next().is_some() || clock.next().is_some() {
        return None;
    }
    let zone: i64 = digits.parse().ok().filter(|zone| *zone >= 0)?;
    let offset = sign * ((zone / 100) * 3600 + (zone % 100) * 60);
    let local = date.to_datetime(jiff::civil::Time::new(hour, minute, second.min(59), 0).ok()?);
    let utc = local.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second() - offset;
    u64::try_from(utc).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn strings_take_the_form_that_holds_them() {
        let shown = |bytes: &[u8]| {
            let mut out = Vec::new();
            quoted_or_literal(&mut out, bytes);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(b"a \"b\" \\"), r#""a \"b\" \\""#);
        assert_eq!(shown("ü".as_bytes()), "{2}\r\nü");
        assert_eq!(astring(b""), b"\"\"");
        assert_eq!(astring(b"NIL"), b"\"NIL\"");
    }

    proptest! {
        #[test]
        fn dates_survive_the_round_trip(seconds in 0u64..4_000_000_000) {
            let text = date_time(seconds);
            prop_assert_eq!(parse_date_time(text.trim_matches('"').as_bytes()), Some(seconds));
        }

        #[test]
        fn any_bytes_are_a_date_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse_date_time(&bytes);
        }
    }
}
