//! Telling others at once: a web address hears of what broke and what was mended, damped and in one piece; another is
//! fetched after each run, so that its keeper notices when the box falls silent; and the figures lie ready for Prometheus.
//!
//! Damping: a check counts as broken, or as mended, when it has been so for [`STEADY_FOR`]. One that goes to and fro is
//! told once, and again when it has come to rest.

use crate::ChecksError;
use crate::limits::{PUSHED_WITHIN, STEADY_FOR};
use base::tell::{Link, PushAs, Tell};
use base::{BoxConfig, Paths};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use wire::status::{CheckResult, State};

/// What was pushed last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Pushed {
    /// The checks that the other side knows to be broken.
    broken: BTreeSet<String>,
}

/// What is news to the other side.
#[derive(Debug, PartialEq, Eq)]
struct News<'a> {
    broke: Vec<&'a CheckResult>,
    mended: Vec<&'a CheckResult>,
}

impl News<'_> {
    fn is_none(&self) -> bool {
        self.broke.is_empty() && self.mended.is_empty()
    }
}

/// Does all that `tell:` asks for. What cannot be sent now is sent by a later run; nothing here fails a run.
pub async fn tell(paths: &Paths, config: &BoxConfig, results: &[CheckResult], now: u64) -> Result<(), ChecksError> {
    let metrics = paths.checks().join("metrics.prom");
    base::durable::write(&metrics, prometheus(results, now).as_bytes(), 0o644).map_err(ChecksError::write(metrics))?;
    let Tell { push, push_as, alive, .. } = &config.tell;
    if let Some(link) = push {
        changes(paths, config, link, *push_as, results, now).await?;
    }
    if let Some(link) = alive
        && let Err(why) = send(client()?.get(link.as_str())).await
    {
        tracing::warn!("the sign of life cannot be given: {why}");
    }
    Ok(())
}

async fn changes(
    paths: &Paths,
    config: &BoxConfig,
    link: &Link,
    form: PushAs,
    results: &[CheckResult],
    now: u64,
) -> Result<(), ChecksError> {
    let file = paths.checks().join("pushed.json");
    let known = std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let (news, next) = news(&known, results, now);
    if news.is_none() {
        return Ok(());
    }
    let host = config.hostname.as_str();
    let post = client()?.post(link.as_str());
    let post = match form {
        PushAs::Json => post.json(&as_json(host, &news)),
        PushAs::Ntfy => post.header("Title", title(host, &news)).body(as_text(&news)),
    };
    match send(post).await {
        Ok(()) => remember(file, &next),
        Err(why) => {
            tracing::warn!("what changed cannot be pushed, and is pushed by a later run: {why}");
            Ok(())
        }
    }
}

fn remember(file: PathBuf, pushed: &Pushed) -> Result<(), ChecksError> {
    let text = serde_json::to_vec(pushed).unwrap_or_default();
    base::durable::write(&file, &text, 0o600).map_err(ChecksError::write(file))
}

/// What has come to rest in another state than the other side knows, and what it knows then.
fn news<'a>(known: &Pushed, results: &'a [CheckResult], now: u64) -> (News<'a>, Pushed) {
    let mut news = News { broke: Vec::new(), mended: Vec::new() };
    let mut next = Pushed::default();
    for result in results {
        let (was, is) = (known.broken.contains(&result.id), result.state.is_broken());
        // What could not be found out is as it was.
        let steady = result.state != State::Unknown && now.saturating_sub(result.since) >= STEADY_FOR.as_secs();
        let counts = if steady { is } else { was };
        match (was, counts) {
            (false, true) => news.broke.push(result),
            (true, false) => news.mended.push(result),
            _ => {}
        }
        if counts {
            next.broken.insert(result.id.clone());
        }
    }
    news.broke.sort_by_key(|result| std::cmp::Reverse(result.state));
    (news, next)
}

fn title(host: &str, news: &News<'_>) -> String {
    match news.broke.len() {
        0 => format!("{host}: mended"),
        1 => format!("{host}: one thing needs you"),
        many => format!("{host}: {many} things need you"),
    }
}

fn as_text(news: &News<'_>) -> String {
    let mut text = String::new();
    for result in &news.broke {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{} ({}): {}", result.title, result.state.name(), result.seen);
    }
    for result in &news.mended {
        let _ = writeln!(text, "Mended: {}", result.title);
    }
    text
}

fn as_json(host: &str, news: &News<'_>) -> serde_json::Value {
    serde_json::json!({ "box": host, "title": title(host, news), "broke": news.broke, "mended": news.mended })
}

/// The state of each check and when it was looked at, in Prometheus' text format (version 0.0.4).
fn prometheus(results: &[CheckResult], now: u64) -> String {
    let mut text = String::from(
        "# HELP mailstead_check_state 0 ok, 1 skipped, 2 notice, 3 unknown, 4 warning, 5 failed.\n\
         # TYPE mailstead_check_state gauge\n",
    );
    for result in results {
        let _ = writeln!(text, "mailstead_check_state{{check=\"{}\"}} {}", result.id, result.state as u8);
    }
    text.push_str("# HELP mailstead_checks_run_seconds When the checks ran last, in seconds since 1970.\n");
    text.push_str("# TYPE mailstead_checks_run_seconds gauge\n");
    let _ = writeln!(text, "mailstead_checks_run_seconds {now}");
    text
}

fn client() -> Result<reqwest::Client, ChecksError> {
    let client = reqwest::Client::builder().timeout(PUSHED_WITHIN).redirect(reqwest::redirect::Policy::none());
    client.build().map_err(|error| ChecksError::Tls(error.to_string()))
}

/// The address itself is never logged: it may well be the whole secret.
async fn send(request: reqwest::RequestBuilder) -> Result<(), String> {
    let answer = request.send().await.map_err(|error| error.without_url().to_string())?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status => Err(format!("the answer is {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::tests::result;

    const LONG: u64 = 100_000;

    fn ids(list: &[&CheckResult]) -> Vec<String> {
        list.iter().map(|result| result.id.clone()).collect()
    }

    #[test]
    fn what_goes_to_and_fro_is_told_when_it_has_come_to_rest() {
        let now = LONG;
        let fresh = now - STEADY_FOR.as_secs() + 1;
        let steady = now - STEADY_FOR.as_secs();
        let results = [
            result("new", State::Failed, fresh),
            result("old", State::Warning, steady),
            result("dim", State::Unknown, 0),
        ];
        let known = Pushed { broken: ["dim".to_owned()].into() };
        let (told, next) = news(&known, &results, now);
        assert_eq!((ids(&told.broke), ids(&told.mended)), (vec!["old".to_owned()], vec![]));
        assert_eq!(next.broken, ["dim".to_owned(), "old".to_owned()].into());
        let mended = [result("old", State::Ok, fresh), result("dim", State::Ok, steady)];
        let (told, next) = news(&next, &mended, now);
        assert_eq!(ids(&told.mended), ["dim"]);
        assert_eq!(next.broken, ["old".to_owned()].into());
    }

    #[test]
    fn the_figures_are_what_prometheus_reads() {
        let text = prometheus(&[result("spf", State::Failed, 1), result("mx", State::Ok, 1)], 7);
        assert!(text.contains("\nmailstead_check_state{check=\"spf\"} 5\nmailstead_check_state{check=\"mx\"} 0\n"));
        assert!(text.ends_with("\nmailstead_checks_run_seconds 7\n"));
    }

    #[tokio::test]
    async fn a_web_address_hears_of_what_broke_once_and_of_a_failed_push_again() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let link = format!("http://127.0.0.1:{}/box", listener.local_addr().unwrap().port());
        let heard = tokio::spawn(async move {
            let mut all = Vec::new();
            for answer in ["500 Not now", "200 OK"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.windows(8).any(|eight| eight == b"Mended: ") && !request.ends_with(b"seen\n") {
                    let mut piece = [0; 4096];
                    match stream.read(&mut piece).await.unwrap() {
                        0 => break,
                        count => request.extend_from_slice(&piece[..count]),
                    }
                }
                let head = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                all.push(String::from_utf8(request).unwrap());
            }
            all
        });
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        std::fs::create_dir_all(paths.checks()).unwrap();
        let yaml = format!("email: a@b.org\nhostname: box.b.org\ndns: box\ntell:\n  push: {link}\n  push_as: ntfy\n");
        let config = BoxConfig::parse(&yaml).unwrap();
        let results = [result("spf", State::Failed, 1)];
        for _ in 0..3 {
            // The first is answered with 500, the second taken, and for the third there is no news.
            tell(&paths, &config, &results, LONG).await.unwrap();
        }
        let heard = heard.await.unwrap();
        assert_eq!(heard.len(), 2);
        assert!(heard[1].to_lowercase().contains("title: box.b.org: one thing needs you"), "{}", heard[1]);
        assert!(heard[1].contains("The title of spf (failed): what was seen"));
        assert!(std::fs::read_to_string(paths.checks().join("metrics.prom")).unwrap().contains("spf"));
    }
}
