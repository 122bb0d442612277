//! The status page as it changes, as server-sent events: whoever is logged in hears of each result as it comes.
//!
//! Bounded in number and in life: a browser comes again by itself, and says with which version it is (`Last-Event-ID`), so
//! that it is told no more than what is new. A stream ends with its login.

use crate::board::{Run, Source, Stamp};
use crate::limits::{AGES_EVERY, COME_AGAIN_AFTER, KEEP_ALIVE, LOOK_EVERY, MAX_FIELD, STREAM_FOR};
use crate::pages::{Fragments, GroupWords, Row};
use crate::server::Panel;
use crate::sessions::Id;
use axum::extract::{Query, State};
use axum::http::header::{CACHE_CONTROL, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use tokio::sync::OwnedSemaphorePermit;

#[derive(Deserialize)]
pub struct From {
    /// The version that the page shows.
    #[serde(default)]
    seen: String,
}

pub async fn events(State(panel): State<Arc<Panel>>, headers: HeaderMap, Query(from): Query<From>) -> Response {
    let Some((_, id)) = panel.visitor(&headers) else { return StatusCode::UNAUTHORIZED.into_response() };
    let Ok(slot) = Arc::clone(&panel.streams).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "60")]).into_response();
    };
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut seen = last.unwrap_or(from.seen);
    if seen.len() > MAX_FIELD {
        seen.clear();
    }
    let follower = Follower::new(panel, id, seen, slot);
    let stream = futures_util::stream::unfold(follower, |mut follower| async {
        let event = follower.next().await?;
        Some((Ok::<_, Infallible>(event), follower))
    });
    let mut response = Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would keep events back until its buffer is full.
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// One open page.
struct Follower {
    panel: Arc<Panel>,
    id: Id,
    source: Source,
    began: Instant,
    /// What was looked at last, and when.
    looked: Option<(Stamp, Instant)>,
    greeted: bool,
    sent: Sent,
    _slot: OwnedSemaphorePermit,
}

impl Follower {
    fn new(panel: Arc<Panel>, id: Id, seen: String, slot: OwnedSemaphorePermit) -> Self {
        let source = Source::new(&panel.paths);
        let sent = Sent { seen, ..Sent::default() };
        Self { panel, id, source, began: Instant::now(), looked: None, greeted: false, sent, _slot: slot }
    }

    /// The next event; `None` when it is time to end.
    async fn next(&mut self) -> Option<Event> {
        if !std::mem::replace(&mut self.greeted, true) {
            return Some(Event::default().retry(COME_AGAIN_AFTER).comment("following"));
        }
        loop {
            if self.began.elapsed() >= STREAM_FOR || !self.panel.is_logged_in(&self.id) {
                return None;
            }
            if let Some(event) = self.news() {
                return Some(event);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn news(&mut self) -> Option<Event> {
        let stamp = self.source.stamp();
        let still = |(last, at): &(Stamp, Instant)| *last == stamp && at.elapsed() < AGES_EVERY;
        if self.looked.as_ref().is_some_and(still) {
            return None;
        }
        self.looked = Some((stamp, Instant::now()));
        let board = self.source.read(SystemTime::now());
        let board =
            board.inspect_err(|error| tracing::error!("the results of the checks cannot be read: {error}")).ok()?;
        let fragments = self.panel.pages.fragments(&board, base::time::now_unix());
        let fragments = fragments.inspect_err(|error| tracing::error!("the page cannot be written: {error:#}")).ok()?;
        let news = self.sent.news(fragments, &board.version, board.run != Run::Over)?;
        let event = Event::default().id(&board.version).json_data(news);
        event.inspect_err(|error| tracing::error!("what is new cannot be written: {error}")).ok()
    }
}

/// What the browser has.
#[derive(Debug, Default)]
struct Sent {
    /// The version that it came with.
    seen: String,
    head: String,
    groups: Vec<GroupWords>,
    /// By check: what names the result.
    rows: HashMap<String, String>,
    checks: Vec<String>,
}

/// One event, as `assets/status.js` takes it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct News {
    /// Whether a run is under way.
    running: bool,
    title: String,
    /// The headline and what belongs to it.
    head: String,
    groups: Vec<GroupWords>,
    rows: Vec<Row>,
    /// All checks that there are, where that is news: a row that the page has beside them goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<Vec<String>>,
}

impl Sent {
    /// What is new, which then counts as sent; `None` if nothing is.
    fn news(&mut self, now: Fragments, version: &str, running: bool) -> Option<News> {
        let begins = self.head.is_empty();
        // A page that shows this very version has its rows already.
        let has_rows = begins && !version.is_empty() && self.seen == version;
        let mut rows = now.rows;
        // While a run is under way its results are laid over the last ones, and may lack some.
        let all: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
        let checks = (!running && all != self.checks).then(|| all.clone());
        if let Some(all) = &checks {
            self.checks.clone_from(all);
        }
        rows.retain(|row| {
            let known = self.rows.insert(row.id.clone(), row.mark.clone());
            !has_rows && known.as_ref() != Some(&row.mark)
        });
        if rows.is_empty() && checks.is_none() && self.head == now.head && self.groups == now.groups {
            return None;
        }
        (self.head, self.groups) = (now.head.clone(), now.groups.clone());
        Some(News { running, title: now.title, head: now.head, groups: now.groups, rows, checks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragments(head: &str, rows: &[(&str, &str)]) -> Fragments {
        let row = |(id, mark): &(&str, &str)| Row {
            id: (*id).into(),
            mark: (*mark).into(),
            group: "Mail".into(),
            urgent: false,
            html: String::new(),
        };
        Fragments { title: head.into(), head: head.into(), groups: Vec::new(), rows: rows.iter().map(row).collect() }
    }

    fn ids(news: Option<News>) -> Option<Vec<String>> {
        news.map(|news| news.rows.into_iter().map(|row| row.id).collect())
    }

    #[test]
    fn only_what_is_new_is_sent() {
        let mut sent = Sent::default();
        let all = || fragments("head", &[("a", "1"), ("b", "1")]);
        assert_eq!(ids(sent.news(all(), "v1", false)), Some(vec!["a".into(), "b".into()]));
        assert_eq!(sent.news(all(), "v1", false), None);
        assert_eq!(ids(sent.news(fragments("head", &[("a", "1"), ("b", "2")]), "", true)), Some(vec!["b".into()]));
        assert_eq!(ids(sent.news(fragments("a minute later", &[("a", "1"), ("b", "2")]), "", true)), Some(vec![]));
    }

    #[test]
    fn a_check_that_is_no_more_is_told_once_a_run_is_over() {
        let mut sent = Sent::default();
        let checks = |news: Option<News>| news.and_then(|news| news.checks).map(|checks| checks.concat());
        assert_eq!(checks(sent.news(fragments("head", &[("a", "1"), ("b", "1")]), "v1", false)), Some("ab".into()));
        assert_eq!(checks(sent.news(fragments("running", &[("a", "1")]), "", true)), None);
        assert_eq!(checks(sent.news(fragments("head", &[("a", "1")]), "v2", false)), Some("a".into()));
        assert_eq!(checks(sent.news(fragments("later", &[("a", "1")]), "v2", false)), None);
    }

    #[tokio::test]
    async fn a_stream_ends_after_its_time_and_with_its_login() {
        let root = tempfile::tempdir().unwrap();
        let panel = Arc::new(Panel::new(&base::Paths::under(root.path()), "box.example.org".into()).unwrap());
        let begin = |id: &Id, ago: std::time::Duration| {
            let slot = Arc::clone(&panel.streams).try_acquire_owned().unwrap();
            let mut follower = Follower::new(Arc::clone(&panel), id.clone(), String::new(), slot);
            follower.began = Instant::now().checked_sub(ago).unwrap();
            follower
        };
        let id = panel.sessions().open(base::Address::parse("ann@example.org").unwrap(), Instant::now());
        let mut fresh = begin(&id, std::time::Duration::ZERO);
        assert!(fresh.next().await.is_some() && fresh.next().await.is_some(), "it greets, and tells what there is");
        let mut old = begin(&id, STREAM_FOR);
        assert!(old.next().await.is_some() && old.next().await.is_none());
        panel.sessions().close(&id);
        assert!(fresh.next().await.is_none());
    }

    #[test]
    fn a_page_that_shows_this_version_is_told_no_rows() {
        let mut sent = Sent { seen: "v1".into(), ..Sent::default() };
        assert_eq!(ids(sent.news(fragments("head", &[("a", "1")]), "v1", false)), Some(vec![]));
        assert_eq!(ids(sent.news(fragments("head", &[("a", "2")]), "v2", false)), Some(vec!["a".into()]));
        let mut other = Sent { seen: "v0".into(), ..Sent::default() };
        assert_eq!(ids(other.news(fragments("head", &[("a", "1")]), "v1", false)), Some(vec!["a".into()]));
        let mut during = Sent::default();
        assert_eq!(ids(during.news(fragments("head", &[("a", "1")]), "", true)), Some(vec!["a".into()]));
    }
}
