//! What mail programs and people ask in order to set up an account: Thunderbird's, Outlook's and Apple's forms, and a page.
//!
//! Nothing here needs a login, and nothing here knows an account: the same is said of every address, whether it exists or
//! not. What the asker wrote is only ever given back to the asker, as text.

mod autoconfig;
mod autodiscover;
mod page;

use crate::limits::MAX_BODY;
use crate::server::guard;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use axum::routing::get;
use base::{Address, Domain};
use std::sync::Arc;

/// The ports that are told to mail programs; those of a live box in a demo as well, since programs know no others.
const IMAPS: u16 = 993;
const POP3S: u16 = 995;
const SUBMISSIONS: u16 = 465;
const SUBMISSION: u16 = 587;

/// What the answers follow from.
pub struct Clients {
    hostname: Domain,
    pages: page::Pages,
}

/// The routes.
pub fn router(hostname: &Domain) -> Result<Router, minijinja::Error> {
    let clients = Arc::new(Clients { hostname: hostname.clone(), pages: page::Pages::new()? });
    let routes = Router::new()
        .route("/mail/config-v1.1.xml", get(autoconfig::answer))
        .route("/.well-known/autoconfig/mail/config-v1.1.xml", get(autoconfig::answer))
        .route("/setup", get(page::show));
    let routes = autodiscover::routes(routes);
    Ok(routes.layer(DefaultBodyLimit::max(MAX_BODY)).layer(from_fn(guard)).with_state(clients))
}

/// The domain of an address, or a domain by itself, as somebody typed it.
fn domain_of(text: &str) -> Option<Domain> {
    let text = text.trim();
    match Address::parse(text) {
        Ok(address) => Some(address.domain().clone()),
        Err(_) => Domain::parse(text).ok().filter(Domain::is_dotted),
    }
}

/// The mail domain that a name below it is asked for: `autoconfig.example.org` stands for `example.org`.
fn domain_of_host(host: Option<&str>) -> Option<Domain> {
    let host = Domain::parse(host?.split(':').next()?).ok()?;
    let bare = ["autoconfig.", "autodiscover.", "www."].iter().find_map(|prefix| host.as_str().strip_prefix(prefix));
    match bare {
        Some(bare) => Domain::parse(bare).ok(),
        None => Some(host),
    }
}

/// Text for XML, in content and in attributes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Not characters of XML 1.0 at all.
            character if character.is_control() => {}
            character => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests;
