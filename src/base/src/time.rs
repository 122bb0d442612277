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

/// A date-time as RFC 3339 §5.6 writes it, in seconds since 1970; `None` for what is none, or lies before 1970.
pub fn from_rfc3339(text: &str) -> Option<u64> {
    // A reader of dates takes more than the RFC; what stands in a command is short.
    let plain = text.len() <= 40 && text.as_bytes().get(10).is_some_and(|byte| matches!(byte, b'T' | b't'));
    let stamp: Timestamp = text.parse().ok().filter(|_| plain)?;
    u64::try_from(stamp.as_second()).ok()
}

/// A date as HTTP writes it (RFC 9110 §5.6.7, IMF-fixdate), in seconds since 1970.
pub fn from_http_date(text: &str) -> Option<u64> {
    let text = text.strip_suffix(" GMT")?;
    let broken_down = strtime::parse("%a, %d %b %Y %H:%M:%S", text).ok()?;
    let stamp = broken_down.to_datetime().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
    u64::try_from(stamp.as_second()).ok()
}

/// Seconds since 1970 as RFC 3339 §5.6 writes them: `2026-11-21T08:00:00Z`.
pub fn rfc3339(unix_seconds: u64) -> String {
    format("%Y-%m-%dT%H:%M:%SZ", unix_seconds)
}

/// How long it is between two times, in words: `3 hours`.
pub fn ago(then: u64, now: u64) -> String {
    let plural = |number: u64, unit: &str| format!("{number} {unit}{}", if number == 1 { "" } else { "s" });
    match now.saturating_sub(then) {
        0..60 => "less than a minute".to_owned(),
        seconds @ 60..3600 => plural(seconds / 60, "minute"),
        seconds @ 3600..172_800 => plural(seconds / 3600, "hour"),
        seconds => plural(seconds / 86_400, "day"),
    }
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
    fn a_time_ago_is_told_in_the_unit_that_fits() {
        let told = [(1000, 1059), (1000, 1060), (0, 7200), (0, 172_800), (9, 5)].map(|(then, now)| ago(then, now));
        assert_eq!(told, ["less than a minute", "1 minute", "2 hours", "2 days", "less than a minute"]);
    }

    #[test]
    fn dates_are_written_as_rfc_5322_wants_them() {
        assert_eq!(rfc5322(1_795_248_000), "Sat, 21 Nov 2026 08:00:00 +0000");
        assert_eq!(readable(0), "1970-01-01 00:00:00Z");
        assert_eq!(from_rfc3339(&rfc3339(1_795_248_000)), Some(1_795_248_000));
        assert_eq!(from_rfc3339("2026-11-21T09:00:00+01:00"), Some(1_795_248_000));
        assert_eq!(from_http_date("Sat, 21 Nov 2026 08:00:00 GMT"), Some(1_795_248_000));
        assert_eq!(from_http_date("Sat, 21 Nov 2026 08:00:00"), None);
        for wrong in ["", "tomorrow", "1900-01-01T00:00:00Z", "2026-11-21"] {
            assert_eq!(from_rfc3339(wrong), None, "{wrong}");
        }
    }
}
