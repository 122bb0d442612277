//! Clock readings in the forms that mail uses.

use jiff::{Timestamp, fmt::strtime, tz::TimeZone};

/// Seconds since 1970; 0 on a machine whose clock stands before that.
pub fn now_unix() -> u64 {
    u64::try_from(Timestamp::now().as_second()).unwrap_or(0)
}

/// A date-time as RFC 5322 §3.3 wants it, in UTC: `Sat, 21 Nov 2026 08:00:00 +0000`.
pub fn rfc5322(unix_seconds: u64) -> String {
    format("%a, %d %b %Y %H:%M:%S +0000", unix_seconds)
}

/// A date-time for people and logs: `2026-11-21 08:00:00Z`.
pub fn readable(unix_seconds: u64) -> String {
    format("%Y-%m-%d %H:%M:%SZ", unix_seconds)
}

fn format(pattern: &str, unix_seconds: u64) -> String {
    let seconds = i64::try_from(unix_seconds).unwrap_or(i64::MAX);
    let stamp = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
    strtime::format(pattern, &stamp.to_zoned(TimeZone::UTC)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_rfc_5322_wants_them() {
        assert_eq!(rfc5322(1_795_248_000), "Sat, 21 Nov 2026 08:00:00 +0000");
        assert_eq!(readable(0), "1970-01-01 00:00:00Z");
    }
}
