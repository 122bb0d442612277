//! The change mail: once a day, and only when something broke or was mended since the last one.

use crate::ChecksError;
use crate::limits::MAIL_HOUR;
use base::{Address, BoxConfig, Paths};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use wire::status::{CheckResult, State};

/// What the owner was last told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    /// Seconds since 1970.
    time: u64,
    /// The checks that the owner knows to be broken.
    broken: BTreeSet<String>,
}

/// What is news to the owner.
#[derive(Debug, Default)]
struct News<'a> {
    broke: Vec<&'a CheckResult>,
    mended: Vec<&'a CheckResult>,
    /// What they were told of before and is still so.
    still: Vec<&'a CheckResult>,
}

/// Sends the change mail when it is time and there is news.
pub async fn tell_owner(paths: &Paths, config: &BoxConfig, results: &[CheckResult]) -> Result<(), ChecksError> {
    let path = paths.checks().join("told.json");
    let now = base::time::now_unix();
    let told: Option<Told> = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let Some(told) = told else {
        // A new box is still being finished; what is wrong by the next morning is news then.
        return remember(paths, &Told { time: now, broken: BTreeSet::new() });
    };
    if !is_due(now, told.time, &local_zone()) {
        return Ok(());
    }
    let news = news(&told, results);
    if news.broke.is_empty() && news.mended.is_empty() {
        return remember(paths, &Told { time: now, ..told });
    }
    let Ok(from) = Address::new("postmaster", config.email.domain().clone()) else { return Ok(()) };
    // First to elsewhere: when that fails nobody has been told, and a later run tells both.
    for to in config.tell.also.iter().chain([&config.email]) {
        let message = message(config, (&from, to), &news, now);
        let ask = wire::mta::Send { from: from.clone(), to: to.clone() };
        if let Err(error) = wire::Client::new(paths.clone()).ask_with_body(&ask, message.as_bytes()).await {
            tracing::warn!("the change mail waits for a later run: {error}");
            return Ok(());
        }
    }
    let broken = news.broke.iter().chain(&news.still).map(|result| result.id.clone()).collect();
    remember(paths, &Told { time: now, broken })
}

fn remember(paths: &Paths, told: &Told) -> Result<(), ChecksError> {
    let path = paths.checks().join("told.json");
    let text = serde_json::to_vec(told).unwrap_or_default();
    base::durable::write(&path, &text, 0o644).map_err(ChecksError::write(path))
}

/// The machine's time zone; UTC where it has none.
fn local_zone() -> TimeZone {
    let read = std::fs::read("/etc/localtime").ok();
    read.and_then(|data| TimeZone::tzif("local", &data).ok()).unwrap_or(TimeZone::UTC)
}

/// Whether seven in the morning has passed since the last mail.
fn is_due(now: u64, last: u64, zone: &TimeZone) -> bool {
    let stamp =
        |seconds: u64| Timestamp::from_second(i64::try_from(seconds).unwrap_or(i64::MAX)).unwrap_or(Timestamp::MAX);
    let now = stamp(now).to_zoned(zone.clone());
    let morning = |day: &Zoned| day.date().at(MAIL_HOUR, 0, 0, 0).to_zoned(zone.clone()).ok();
    let today = morning(&now).filter(|morning| *morning <= now);
    let latest = today.or_else(|| morning(&now.checked_sub(Span::new().days(1)).ok()?));
    latest.is_some_and(|latest| stamp(last) < latest.timestamp())
}

/// What broke and what was mended. A check that is now unknown is neither.
fn news<'a>(told: &Told, results: &'a [CheckResult]) -> News<'a> {
    let mut news = News::default();
    for result in results {
        match (told.broken.contains(&result.id), result.state) {
            (true, State::Unknown) => news.still.push(result),
            (true, state) if state.is_broken() => news.still.push(result),
            (true, _) => news.mended.push(result),
            (false, state) if state.is_broken() => news.broke.push(result),
            (false, _) => {}
        }
    }
    news.broke.sort_by_key(|result| std::cmp::Reverse(result.state));
    news
}

fn subject(hostname: &str, news: &News<'_>) -> String {
    match (news.broke.as_slice(), news.mended.as_slice()) {
        ([], _) => format!("{hostname}: mended"),
        ([_], _) => format!("{hostname}: one thing needs you"),
        (broke, _) => format!("{hostname}: {} things need you", broke.len()),
    }
}

/// The message with its header, in UTF-8, lines ending in CRLF.
fn message(config: &BoxConfig, (from, to): (&Address, &Address), news: &News<'_>, now: u64) -> String {
    let host = &config.hostname;
    let mut body = String::new();
    for (result, number) in news.broke.iter().zip(1..) {
        let _ = writeln!(body, "{number}. {} ({})", result.title, result.state.name());
        let parts = [
            ("Seen", &result.seen),
            ("Wanted", &result.wanted),
            ("Why it matters", &result.why),
            ("What to do", &result.remedy),
        ];
        for (name, text) in parts.into_iter().filter(|(_, text)| !text.is_empty()) {
            let _ = writeln!(body, "\n   {name}:");
            text.lines().for_each(|line| wrap(&mut body, line));
        }
        body.push('\n');
    }
    list(&mut body, "Mended since the last mail:", &news.mended);
    list(&mut body, "Still so, as told before:", &news.still);
    let _ = writeln!(body, "All checks: https://{host}/admin, or on the box: mailstead status");
    let head = [
        format!("From: Mailstead <{from}>"),
        format!("To: <{to}>"),
        format!("Subject: {}", subject(host.as_str(), news)),
        format!("Date: {}", base::time::rfc5322(now)),
        format!("Message-ID: <checks.{now}.{}.{}@{host}>", std::process::id(), to.domain()),
        "Auto-Submitted: auto-generated".to_owned(),
        "MIME-Version: 1.0".to_owned(),
        "Content-Type: text/plain; charset=utf-8".to_owned(),
        "Content-Transfer-Encoding: 8bit".to_owned(),
    ];
    format!("{}\n\n{body}", head.join("\n")).replace('\n', "\r\n")
}

fn list(body: &mut String, heading: &str, results: &[&CheckResult]) {
    if results.is_empty() {
        return;
    }
    let _ = writeln!(body, "{heading}");
    for result in results {
        let _ = writeln!(body, " - {}", result.title);
    }
    body.push('\n');
}

/// Writes a line in pieces of at most 72 characters between spaces, each as far in as the line was; a record's value
/// without spaces is cut at 900, so that no line is longer than the 998 octets of RFC 5322 §2.1.1.
fn wrap(body: &mut String, line: &str) {
    let text = line.trim_start_matches(' ');
    let indent = " ".repeat(5 + (line.len() - text.len()).min(20));
    let mut current = String::new();
    for word in text.split(' ') {
        if !current.is_empty() && current.chars().count() + 1 + word.chars().count() > 72 {
            let _ = writeln!(body, "{indent}{current}");
            current.clear();
        }
        if !current.is_empty() {
            current.push(' ');
        }
        for character in word.chars() {
            if current.len() >= 900 {
                let _ = writeln!(body, "{indent}{current}");
                current.clear();
            }
            current.push(character);
        }
    }
    let _ = writeln!(body, "{indent}{current}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::tests::result;
    use base::{DnsMode, Domain};

    fn config() -> BoxConfig {
        BoxConfig::new(
            Address::parse("ann@example.org").unwrap(),
            Domain::parse("box.example.org").unwrap(),
            DnsMode::Box,
        )
    }

    fn at(text: &str) -> u64 {
        text.parse::<Timestamp>().unwrap().as_second().try_into().unwrap()
    }

    #[test]
    fn the_mail_comes_once_a_day_after_seven_local_time() {
        let berlin = TimeZone::fixed(jiff::tz::offset(1));
        let due = |now: &str, last: &str| is_due(at(now), at(last), &berlin);
        assert!(due("2026-11-21T06:05:00Z", "2026-11-20T06:05:00Z"));
        assert!(!due("2026-11-21T05:55:00Z", "2026-11-20T06:05:00Z"), "five to seven");
        assert!(!due("2026-11-21T20:00:00Z", "2026-11-21T06:05:00Z"), "told this morning");
        assert!(due("2026-11-21T01:00:00Z", "2026-11-19T06:05:00Z"), "the box was off yesterday");
    }

    #[test]
    fn only_what_broke_or_was_mended_is_news() {
        let told = Told { time: 0, broken: ["old".to_owned(), "gone".to_owned(), "dark".to_owned()].into() };
        let results = [
            result("old", State::Failed, 1),
            result("gone", State::Ok, 1),
            result("dark", State::Unknown, 1),
            result("new", State::Warning, 1),
            result("dim", State::Unknown, 1),
        ];
        let news = news(&told, &results);
        let ids = |list: &[&CheckResult]| list.iter().map(|result| result.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&news.broke), ["new"]);
        assert_eq!(ids(&news.mended), ["gone"]);
        assert_eq!(ids(&news.still), ["old", "dark"]);
    }

    #[test]
    fn the_mail_says_what_broke_what_was_mended_and_what_to_do_in_lines_that_mail_allows() {
        let mut broken = result("spf", State::Failed, 1);
        broken.remedy = format!("Enter the value:\n  dig TXT\n{}", "x".repeat(3000));
        let mended = result("disk", State::Ok, 1);
        let told = Told { time: 0, broken: ["disk".to_owned()].into() };
        let results = [broken, mended];
        let from = Address::parse("postmaster@example.org").unwrap();
        let mail = message(&config(), (&from, &config().email), &news(&told, &results), 1_795_248_000);
        assert!(mail.starts_with("From: Mailstead <postmaster@example.org>\r\nTo: <ann@example.org>\r\n"));
        assert!(mail.contains("Subject: box.example.org: one thing needs you\r\n"));
        assert!(
            mail.contains("The title of spf (failed)") && mail.contains("     Enter the value:\r\n       dig TXT\r\n")
        );
        assert!(mail.contains("Mended since the last mail:\r\n - The title of disk"));
        assert!(mail.split("\r\n").all(|line| line.len() <= 998 && !line.contains('\n')));
    }

    #[tokio::test]
    async fn a_mail_that_cannot_be_sent_is_kept_for_the_next_run() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        std::fs::create_dir_all(paths.checks()).unwrap();
        tell_owner(&paths, &config(), &[]).await.unwrap();
        let old = Told { time: 1, broken: BTreeSet::new() };
        remember(&paths, &old).unwrap();
        tell_owner(&paths, &config(), &[result("spf", State::Failed, 1)]).await.unwrap();
        let told: Told = serde_json::from_slice(&std::fs::read(paths.checks().join("told.json")).unwrap()).unwrap();
        assert_eq!(told, old);
    }
}
