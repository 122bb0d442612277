//! The change mail: once a day, and only when something broke or was mended since the last one.
//!
//! What each receiver was told is remembered for itself, so a mail that one of them got is not sent to them again because
//! it could not be sent to another.

use crate::ChecksError;
use crate::limits::{MAIL_HOUR, MAIL_WAITS};
use crate::steady::{News, state_in_words};
use base::{Address, BoxConfig, Paths};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use wire::status::CheckResult;

/// What a receiver was last told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    /// Seconds since 1970.
    time: u64,
    /// The checks that they know to be broken.
    broken: BTreeSet<String>,
}

/// `told.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Everybody {
    #[serde(flatten)]
    owner: Told,
    /// The receivers of `tell.also`, by address.
    #[serde(default)]
    also: BTreeMap<String, Told>,
}

/// Sends the change mail to everybody for whom it is time and who has not heard the news.
pub async fn tell_everybody(paths: &Paths, config: &BoxConfig, results: &[CheckResult]) -> Result<(), ChecksError> {
    let path = paths.checks().join("told.json");
    let now = base::time::now_unix();
    let read: Option<Everybody> = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let Some(mut everybody) = read else {
        // A new box is still being finished; what is wrong by the next morning is news then.
        let owner = Told { time: now, broken: BTreeSet::new() };
        return remember(paths, &Everybody { owner, also: BTreeMap::new() });
    };
    everybody.also.retain(|address, _| config.tell.also.iter().any(|to| to.to_string() == *address));
    let zone = local_zone();
    for to in config.tell.also.iter().chain([&config.email]) {
        let is_owner = *to == config.email;
        // Whoever was added lately begins with what the owner knows.
        let known = if is_owner { None } else { everybody.also.get(&to.to_string()) }.unwrap_or(&everybody.owner);
        let Some(told) = tell_one(paths, config, to, known, results, now, &zone).await else { continue };
        match is_owner {
            true => everybody.owner = told,
            false => drop(everybody.also.insert(to.to_string(), told)),
        }
        remember(paths, &everybody)?;
    }
    Ok(())
}

/// Tells one receiver if it is time; returns what they know then, or `None` while that is as before.
async fn tell_one(
    paths: &Paths,
    config: &BoxConfig,
    to: &Address,
    known: &Told,
    results: &[CheckResult],
    now: u64,
    zone: &TimeZone,
) -> Option<Told> {
    let due = due_since(now, known.time, zone)?;
    let news = News::since(&known.broken, results, now);
    if news.unsettled && now.saturating_sub(due) < MAIL_WAITS {
        return None;
    }
    let told = Told { time: now, broken: news.known() };
    if news.is_none() {
        return Some(told);
    }
    let from = Address::new("postmaster", config.email.domain().clone()).ok()?;
    let message = message(config, (&from, to), &news, now);
    let ask = wire::mta::Send { from, to: to.clone() };
    match wire::Client::new(paths.clone()).ask_with_body(&ask, message.as_bytes()).await {
        Ok(_) => Some(told),
        Err(error) => {
            tracing::warn!("the change mail to {to} waits for a later run: {error}");
            None
        }
    }
}

fn remember(paths: &Paths, told: &Everybody) -> Result<(), ChecksError> {
    let path = paths.checks().join("told.json");
    let text = serde_json::to_vec(told).unwrap_or_default();
    base::durable::write(&path, &text, 0o644).map_err(ChecksError::write(path))
}

/// The machine's time zone; UTC where it has none.
fn local_zone() -> TimeZone {
    let read = std::fs::read("/etc/localtime").ok();
    read.and_then(|data| TimeZone::tzif("local", &data).ok()).unwrap_or(TimeZone::UTC)
}

/// The latest seven in the morning, if it has passed since the last mail.
fn due_since(now: u64, last: u64, zone: &TimeZone) -> Option<u64> {
    let stamp =
        |seconds: u64| Timestamp::from_second(i64::try_from(seconds).unwrap_or(i64::MAX)).unwrap_or(Timestamp::MAX);
    let now = stamp(now).to_zoned(zone.clone());
    let morning = |day: &Zoned| day.date().at(MAIL_HOUR, 0, 0, 0).to_zoned(zone.clone()).ok();
    let today = morning(&now).filter(|morning| *morning <= now);
    let latest = today.or_else(|| morning(&now.checked_sub(Span::new().days(1)).ok()?));
    let latest = latest.map(|latest| latest.timestamp()).filter(|latest| stamp(last) < *latest)?;
    u64::try_from(latest.as_second()).ok()
}

/// The message with its header, in UTF-8, lines ending in CRLF.
fn message(config: &BoxConfig, (from, to): (&Address, &Address), news: &News<'_>, now: u64) -> String {
    let host = &config.hostname;
    let mut body = String::new();
    for (result, number) in news.broke.iter().zip(1..) {
        let _ = writeln!(body, "{number}. {} ({})", result.title, state_in_words(result, now));
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
        format!("Subject: {}", news.title(host.as_str())),
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
    use base::{DnsMode, Domain, Role};
    use std::sync::{Arc, Mutex};
    use wire::server::Answer;
    use wire::status::State;
    use wire::{Kind, Refusal};

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
        let due = |now: &str, last: &str| due_since(at(now), at(last), &berlin).is_some();
        assert!(due("2026-11-21T06:05:00Z", "2026-11-20T06:05:00Z"));
        assert!(!due("2026-11-21T05:55:00Z", "2026-11-20T06:05:00Z"), "five to seven");
        assert!(!due("2026-11-21T20:00:00Z", "2026-11-21T06:05:00Z"), "told this morning");
        assert!(due("2026-11-21T01:00:00Z", "2026-11-19T06:05:00Z"), "the box was off yesterday");
    }

    #[test]
    fn the_mail_says_what_broke_what_was_mended_and_what_to_do_in_lines_that_mail_allows() {
        let mut broken = result("spf", State::Failed, 1);
        broken.remedy = format!("Enter the value:\n  dig TXT\n{}", "x".repeat(3000));
        let mended = result("disk", State::Ok, 1);
        let results = [broken, mended];
        let news = News::since(&["disk".to_owned()].into(), &results, 1_795_248_000);
        let from = Address::parse("postmaster@example.org").unwrap();
        let mail = message(&config(), (&from, &config().email), &news, 1_795_248_000);
        assert!(mail.starts_with("From: Mailstead <postmaster@example.org>\r\nTo: <ann@example.org>\r\n"));
        assert!(mail.contains("Subject: box.example.org: one thing needs you\r\n"));
        assert!(
            mail.contains("The title of spf (failed)") && mail.contains("     Enter the value:\r\n       dig TXT\r\n")
        );
        assert!(mail.contains("Mended since the last mail:\r\n - The title of disk"));
        assert!(mail.split("\r\n").all(|line| line.len() <= 998 && !line.contains('\n')));
    }

    /// An MTA that takes mail for some addresses alone, and keeps whose it took.
    struct Door {
        refuses: Mutex<Vec<&'static str>>,
        taken: Mutex<Vec<String>>,
    }

    impl wire::server::Serve for Door {
        type Request = wire::mta::Request;
        async fn answer(&self, _: Role, request: Self::Request, body: Vec<u8>) -> Result<Answer, Refusal> {
            let wire::mta::Request::Send(ask) = request else { panic!("{request:?}") };
            let to = ask.to.to_string();
            if self.refuses.lock().unwrap().contains(&to.as_str()) {
                return Err(Refusal::new(Kind::Busy, "the queue is full"));
            }
            let broke = String::from_utf8(body).unwrap().matches("The title of").count();
            self.taken.lock().unwrap().push(format!("{to} {broke}"));
            ask.answer(())
        }
    }

    fn everybody(paths: &Paths) -> Everybody {
        serde_json::from_slice(&std::fs::read(paths.checks().join("told.json")).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_mail_that_cannot_be_sent_is_kept_for_the_next_run() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        std::fs::create_dir_all(paths.checks()).unwrap();
        tell_everybody(&paths, &config(), &[]).await.unwrap();
        // As earlier releases wrote it.
        std::fs::write(paths.checks().join("told.json"), r#"{"time":1,"broken":["mx"]}"#).unwrap();
        tell_everybody(&paths, &config(), &[result("spf", State::Failed, 1)]).await.unwrap();
        let owner = Told { time: 1, broken: ["mx".to_owned()].into() };
        assert_eq!(everybody(&paths), Everybody { owner, also: BTreeMap::new() });
    }

    #[tokio::test]
    async fn whoever_got_the_mail_does_not_get_it_again_because_another_did_not() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        std::fs::create_dir_all(paths.checks()).unwrap();
        let door = Arc::new(Door { refuses: Mutex::new(vec!["ann@example.org"]), taken: Mutex::default() });
        let (served, at) = (Arc::clone(&door), paths.clone());
        tokio::spawn(async move { wire::serve(&at, served).await });
        while tokio::net::UnixStream::connect(paths.socket(Role::Mta, "mta")).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let mut config = config();
        config.tell.also = Some(Address::parse("ann@elsewhere.net").unwrap());
        std::fs::write(paths.checks().join("told.json"), r#"{"time":1,"broken":[]}"#).unwrap();
        let mut results = vec![result("spf", State::Failed, 1)];
        tell_everybody(&paths, &config, &results).await.unwrap();
        assert_eq!(*door.taken.lock().unwrap(), ["ann@elsewhere.net 1"]);
        // More breaks until the owner can be told: they hear of all, the other of the rest tomorrow.
        results.push(result("mx", State::Failed, 1));
        door.refuses.lock().unwrap().clear();
        tell_everybody(&paths, &config, &results).await.unwrap();
        tell_everybody(&paths, &config, &results).await.unwrap();
        assert_eq!(*door.taken.lock().unwrap(), ["ann@elsewhere.net 1", "ann@example.org 2"]);
        let Everybody { owner, also } = everybody(&paths);
        assert_eq!((owner.broken.len(), also["ann@elsewhere.net"].broken.len()), (2, 1));
    }

    #[tokio::test]
    async fn the_mail_waits_an_hour_at_most_for_what_is_not_at_rest() {
        let dir = tempfile::tempdir().unwrap();
        let (paths, zone, now) = (Paths::under(dir.path()), TimeZone::UTC, at("2026-11-21T07:05:00Z"));
        let known = Told { time: now - 86_400, broken: BTreeSet::new() };
        let fresh = [result("spf", State::Failed, now - 60)];
        let tell = |now: u64| tell_one_at(&paths, &known, &fresh, now, &zone);
        assert_eq!(tell(now).await, None, "it broke a minute ago");
        // Nothing else is news, so what is not at rest by then waits for the next morning.
        assert_eq!(
            tell_one_at(&paths, &known, &[result("spf", State::Failed, now + 3000)], now + 3600, &zone).await,
            Some(Told { time: now + 3600, broken: BTreeSet::new() })
        );
    }

    async fn tell_one_at(
        paths: &Paths,
        known: &Told,
        results: &[CheckResult],
        now: u64,
        zone: &TimeZone,
    ) -> Option<Told> {
        tell_one(paths, &config(), &config().email, known, results, now, zone).await
    }
}
