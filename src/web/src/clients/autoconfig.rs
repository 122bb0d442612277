//! Thunderbird's autoconfig, which many other programs read too (“config-v1.1.xml”, draft-bucksch-autoconfig).

use super::{Clients, IMAPS, POP3S, SUBMISSION, SUBMISSIONS, domain_of, domain_of_host, escaped};
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize)]
pub struct Asked {
    #[serde(default)]
    emailaddress: String,
}

pub async fn answer(State(clients): State<Arc<Clients>>, headers: HeaderMap, Query(asked): Query<Asked>) -> Response {
    let host = headers.get(HOST).and_then(|value| value.to_str().ok());
    let domain = domain_of(&asked.emailaddress).or_else(|| domain_of_host(host));
    let domain = domain.unwrap_or_else(|| clients.hostname.clone());
    let text = document(clients.hostname.as_str(), domain.as_str());
    ([(CONTENT_TYPE, "text/xml; charset=utf-8")], text).into_response()
}

/// `%EMAILADDRESS%` is filled in by the program.
fn document(hostname: &str, domain: &str) -> String {
    let (hostname, domain) = (escaped(hostname), escaped(domain));
    let server = |tag: &str, kind: &str, port: u16, socket: &str| {
        format!(
            "    <{tag} type=\"{kind}\">\n      <hostname>{hostname}</hostname>\n      <port>{port}</port>\n      \
             <socketType>{socket}</socketType>\n      <authentication>password-cleartext</authentication>\n      \
             <username>%EMAILADDRESS%</username>\n    </{tag}>\n"
        )
    };
    let servers = [
        server("incomingServer", "imap", IMAPS, "SSL"),
        server("incomingServer", "pop3", POP3S, "SSL"),
        server("outgoingServer", "smtp", SUBMISSIONS, "SSL"),
        server("outgoingServer", "smtp", SUBMISSION, "STARTTLS"),
    ];
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<clientConfig version=\"1.1\">\n  <emailProvider id=\"{domain}\">\n    \
         <domain>{domain}</domain>\n    <displayName>{domain}</displayName>\n    \
         <displayShortName>{domain}</displayShortName>\n{}    <documentation url=\"https://{hostname}/setup\">\n      \
         <descr lang=\"en\">How to set up a mail program</descr>\n    </documentation>\n  </emailProvider>\n\
         </clientConfig>\n",
        servers.concat()
    )
}
