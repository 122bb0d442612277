//! The way out of a mailing list by one click (RFC 8058): mail programs post to it, people press the button.
//!
//! Whoever holds a member's token may end the membership, so nobody logs in here. A mere look changes nothing, since
//! programs that look for viruses open every link (RFC 8058 §1).

use crate::limits::MAX_FIELD;
use crate::server::{Panel, page};
use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use base::Address;
use serde::Deserialize;
use std::sync::Arc;
use wire::mta::LeaveList;

/// Where the links lead.
pub fn routes() -> Router<Arc<Panel>> {
    Router::new().route("/list/leave", get(ask).post(leave))
}

/// A member's link.
#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    list: String,
    #[serde(default)]
    token: String,
}

impl Link {
    fn list(&self) -> Option<Address> {
        let bounded = self.list.len() <= MAX_FIELD && self.token.len() <= MAX_FIELD && !self.token.is_empty();
        bounded.then(|| Address::parse(&self.list).ok()).flatten()
    }
}

async fn ask(State(panel): State<Arc<Panel>>, Query(link): Query<Link>) -> Response {
    match link.list() {
        // Posted to its own address, which holds the token.
        Some(list) => page(StatusCode::OK, panel.pages.leave_list(&list.to_string())),
        None => no_link(&panel),
    }
}

async fn leave(State(panel): State<Arc<Panel>>, Query(link): Query<Link>) -> Response {
    let Some(list) = link.list() else { return no_link(&panel) };
    match panel.client.ask(&LeaveList { list: list.clone(), token: link.token }).await {
        Ok(person) => {
            let words = format!("{person} gets no more mail from {list}.");
            page(StatusCode::OK, panel.pages.notice("You have left the list", &words))
        }
        // Programs that press twice have what they wanted.
        Err(error) if error.is_not_found() => {
            let words = format!("This link is no good any more: its address is no member of {list} now.");
            page(StatusCode::OK, panel.pages.notice("You are not on the list", &words))
        }
        Err(error) => {
            tracing::error!("a member of {list} cannot leave by the web: {error}");
            let words = "Leaving is not possible just now. Try again in a minute, or write to the list's moderators.";
            page(StatusCode::SERVICE_UNAVAILABLE, panel.pages.notice("Not just now", words))
        }
    }
}

fn no_link(panel: &Panel) -> Response {
    let words = "This is not a whole link out of a list. Take the one from the newest mail of the list.";
    page(StatusCode::NOT_FOUND, panel.pages.notice("Not found", words))
}
