//! Telling others at once: a web address hears of what broke and what was mended, damped (`steady`) and in one piece;
//! another is fetched after each run, so that its keeper notices when the box falls silent.

use crate::ChecksError;
use crate::limits::PUSHED_WITHIN;
use crate::steady::{News, state_in_words};
use base::tell::{Link, PushAs, Tell};
use base::{BoxConfig, Paths};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use wire::status::CheckResult;

/// What was pushed last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Pushed {
    /// The checks that the other side knows to be broken.
    broken: BTreeSet<String>,
}

/// Does all that `tell:` asks for. What cannot be sent now is sent by a later run; nothing here fails a run.
pub async fn tell(paths: &Paths, config: &BoxConfig, results: &[CheckResult], now: u64) -> Result<(), ChecksError> {
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
    let read = std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice::<Pushed>(&bytes).ok());
    let news = News::since(&read.unwrap_or_default().broken, results, now);
    if news.is_none() {
        return Ok(());
    }
    let host = config.hostname.as_str();
    let post = client()?.post(link.as_str());
    let post = match form {
        PushAs::Json => post.json(&as_json(host, &news)),
        PushAs::Ntfy => post.header("Title", news.title(host)).body(as_text(&news, now)),
    };
    match send(post).await {
        Ok(()) => remember(file, &Pushed { broken: news.known() }),
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

fn as_text(news: &News<'_>, now: u64) -> String {
    let mut text = String::new();
    for result in &news.broke {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{} ({}): {}", result.title, state_in_words(result, now), result.seen);
    }
    for result in &news.mended {
        let _ = writeln!(text, "Mended: {}", result.title);
    }
    text
}

fn as_json(host: &str, news: &News<'_>) -> serde_json::Value {
    serde_json::json!({ "box": host, "title": news.title(host), "broke": news.broke, "mended": news.mended })
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
    use wire::status::State;

    const LONG: u64 = 100_000;

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
    }
}
