//! Names whose addresses change, in the manner that routers speak (dyndns2): `GET /nic/update?hostname=…&myip=…`, with the
//! name and its token as login and password. Without `myip` it is the address that asks.
//!
//! Whether a token is right, and how often it may come, is the dns role's to say. The body is one word for each name.

use crate::server::{Panel, client_address};
use axum::extract::{Query, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base::Secret;
use base64::prelude::{BASE64_STANDARD, Engine};
use serde::Deserialize;
use std::net::IpAddr;
use std::sync::Arc;
use wire::dns::{DynamicOutcome, SetDynamicAddress};

/// A router moves one name; each name and address signs a zone anew.
const MAX_NAMES: usize = 4;
const MAX_ADDRESSES: usize = 2;

#[derive(Deserialize)]
pub struct Update {
    hostname: Option<String>,
    myip: Option<String>,
    myipv6: Option<String>,
}

pub async fn update(State(panel): State<Arc<Panel>>, headers: HeaderMap, Query(update): Query<Update>) -> Response {
    let Some((login, token)) = credentials(&headers) else { return badauth() };
    let names = update.hostname.clone().unwrap_or(login);
    let names: Vec<&str> = names.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let Some(addresses) = addresses(&update, client_address(&headers)) else { return answer("dnserr\n") };
    if names.is_empty() {
        return answer("notfqdn\n");
    }
    if names.len() > MAX_NAMES {
        return answer("numhost\n");
    }
    let mut lines = String::new();
    for name in names {
        let mut words = "nochg";
        for address in &addresses {
            let (name, token) = (name.to_owned(), token.clone());
            let outcome = panel.client().ask(&SetDynamicAddress { name, token, address: *address }).await;
            match outcome {
                Ok(DynamicOutcome::Good) => words = "good",
                Ok(DynamicOutcome::NoChg) => {}
                Ok(DynamicOutcome::BadAuth) => return badauth(),
                Ok(DynamicOutcome::Abuse) => return answer("abuse\n"),
                Err(error) => {
                    tracing::warn!("an address cannot be changed: {error}");
                    return answer("911\n");
                }
            }
        }
        lines.push_str(&format!("{words} {}\n", shown(&addresses)));
    }
    answer(&lines)
}

fn shown(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(",")
}

/// What the name is to lead to; `None` when that is not addresses.
fn addresses(update: &Update, asking: IpAddr) -> Option<Vec<IpAddr>> {
    let given = [&update.myip, &update.myipv6].into_iter().flatten();
    let given: Vec<&str> =
        given.flat_map(|text| text.split(',')).map(str::trim).filter(|text| !text.is_empty()).collect();
    match given.len() {
        0 => Some(vec![asking]),
        1..=MAX_ADDRESSES => given.into_iter().map(|text| text.parse().ok()).collect(),
        _ => None,
    }
}

/// RFC 7617.
fn credentials(headers: &HeaderMap) -> Option<(String, Secret)> {
    let (scheme, encoded) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let bytes = BASE64_STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let text = String::from_utf8(bytes).ok()?;
    let (login, token) = text.split_once(':')?;
    Some((login.to_owned(), Secret::new(token)))
}

fn badauth() -> Response {
    let headers = [(WWW_AUTHENTICATE, "Basic realm=\"dynamic DNS\""), (CONTENT_TYPE, "text/plain")];
    (StatusCode::UNAUTHORIZED, headers, "badauth\n").into_response()
}

fn answer(words: &str) -> Response {
    ([(CONTENT_TYPE, "text/plain")], words.to_owned()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(myip: Option<&str>, myipv6: Option<&str>) -> Option<String> {
        let update = Update { hostname: None, myip: myip.map(Into::into), myipv6: myipv6.map(Into::into) };
        addresses(&update, "192.0.2.1".parse().unwrap()).map(|list| shown(&list))
    }

    #[test]
    fn a_name_leads_to_what_is_given_or_to_who_asks() {
        assert_eq!(update(None, None).unwrap(), "192.0.2.1");
        assert_eq!(update(Some("198.51.100.7"), Some("")).unwrap(), "198.51.100.7");
        assert_eq!(update(Some("198.51.100.7, 2001:db8::7"), None).unwrap(), "198.51.100.7,2001:db8::7");
        assert_eq!(update(Some("198.51.100.7"), Some("2001:db8::7")).unwrap(), "198.51.100.7,2001:db8::7");
        assert_eq!(update(Some("home"), None), None);
        assert_eq!(update(Some("192.0.2.1,192.0.2.2,192.0.2.3"), None), None);
    }
}
