//! Outlook's autodiscover: the old form that it posts (POX, MS-OXDSCLI §3.1), and the newer one in JSON (“v2”).

use super::{Clients, IMAPS, POP3S, SUBMISSIONS, domain_of, escaped};
use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base::Address;
use std::collections::HashMap;
use std::sync::Arc;

/// The ways in which programs write the two paths. Windows minds no case, so there are several.
const POX: [&str; 4] = [
    "/autodiscover/autodiscover.xml",
    "/Autodiscover/Autodiscover.xml",
    "/AutoDiscover/AutoDiscover.xml",
    "/AUTODISCOVER/AUTODISCOVER.XML",
];
const JSON: [&str; 4] = [
    "/autodiscover/autodiscover.json",
    "/Autodiscover/Autodiscover.json",
    "/AutoDiscover/AutoDiscover.json",
    "/AUTODISCOVER/AUTODISCOVER.JSON",
];
/// What Outlook asks for (MS-OXDSCLI §2.2.4.1.1.2.5); for other schemas there is nothing to say.
const OUTLOOK: &str = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a";

pub fn routes(router: Router<Arc<Clients>>) -> Router<Arc<Clients>> {
    let router = POX.iter().fold(router, |router, path| router.route(path, get(pox_by_get).post(pox)));
    JSON.iter().fold(router, |router, path| router.route(path, get(json)))
}

/// Programs that only look whether there is something: told what a request without an address is told.
async fn pox_by_get() -> Response {
    xml(trouble(600, "Invalid Request"))
}

async fn pox(State(clients): State<Arc<Clients>>, body: String) -> Response {
    // Its namespace is the request's; for a phone's ActiveSync there is nothing here.
    let wanted = element(&body, "AcceptableResponseSchema").is_none_or(|schema| schema == OUTLOOK);
    let address = element(&body, "EMailAddress").and_then(|text| Address::parse(&text).ok());
    match (wanted, address) {
        (true, Some(address)) => xml(settings(clients.hostname.as_str(), &address.to_string())),
        (true, None) => xml(trouble(600, "Invalid Request")),
        (false, _) => xml(trouble(601, "Provider is not available")),
    }
}

fn xml(text: String) -> Response {
    ([(CONTENT_TYPE, "text/xml; charset=utf-8")], text).into_response()
}

/// The text of the first element of a name, whatever its prefix. Requests are a few lines from a program; what is odd in
/// them is no request.
fn element(body: &str, name: &str) -> Option<String> {
    let mut rest = body;
    loop {
        let (_, after) = rest.split_once('<')?;
        rest = after;
        let (tag, content) = after.split_once('>')?;
        let full = tag.split_ascii_whitespace().next().unwrap_or_default();
        let local = full.rsplit(':').next().unwrap_or_default();
        if local.eq_ignore_ascii_case(name) {
            let (text, _) = content.split_once('<')?;
            return Some(unescaped(text.trim()));
        }
    }
}

/// The five entities of XML; others stand in no address.
fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'").replace("&amp;", "&")
}

fn settings(hostname: &str, address: &str) -> String {
    let (hostname, address) = (escaped(hostname), escaped(address));
    let protocol = |kind: &str, port: u16, more: &str| {
        format!(
            "      <Protocol>\n        <Type>{kind}</Type>\n        <Server>{hostname}</Server>\n        \
             <Port>{port}</Port>\n        <DomainRequired>off</DomainRequired>\n        <LoginName>{address}</LoginName>\n        \
             <SPA>off</SPA>\n        <SSL>on</SSL>\n        <Encryption>SSL</Encryption>\n        \
             <AuthRequired>on</AuthRequired>\n{more}      </Protocol>\n"
        )
    };
    let outgoing = "        <UsePOPAuth>off</UsePOPAuth>\n        <SMTPLast>off</SMTPLast>\n";
    let protocols = [protocol("IMAP", IMAPS, ""), protocol("POP3", POP3S, ""), protocol("SMTP", SUBMISSIONS, outgoing)];
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <Autodiscover xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006\">\n  \
         <Response xmlns=\"{OUTLOOK}\">\n    <User>\n      <DisplayName>{address}</DisplayName>\n    </User>\n    <Account>\n      \
         <AccountType>email</AccountType>\n      <Action>settings</Action>\n{}    </Account>\n  </Response>\n</Autodiscover>\n",
        protocols.concat()
    )
}

/// An error as MS-OXDSCLI §2.2.4.1.1.3 writes it; the time and id in it are for the asker's logs alone.
fn trouble(code: u16, words: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <Autodiscover xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006\">\n  <Response>\n    \
         <Error Time=\"00:00:00.0000000\" Id=\"0\">\n      <ErrorCode>{code}</ErrorCode>\n      \
         <Message>{words}</Message>\n      <DebugData />\n    </Error>\n  </Response>\n</Autodiscover>\n"
    )
}

/// `?Email=…&Protocol=…`, in any case of letters. The protocols of mail are answered with where their settings are.
async fn json(State(clients): State<Arc<Clients>>, Query(asked): Query<HashMap<String, String>>) -> Response {
    let value =
        |name: &str| asked.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str());
    let protocol = value("Protocol").unwrap_or_default();
    let known = ["autodiscoverv1", "imap", "pop3", "smtp"];
    if value("Email").and_then(domain_of).is_none() || protocol.is_empty() {
        return refusal("MandatoryParameterMissing", "A valid Email and a Protocol are needed.");
    }
    if !known.contains(&protocol.to_ascii_lowercase().as_str()) {
        return refusal("InvalidProtocol", "Of this protocol there is nothing here; supported: autodiscoverv1.");
    }
    let url = format!("https://{}/autodiscover/autodiscover.xml", clients.hostname);
    json_text(StatusCode::OK, &serde_json::json!({ "Protocol": protocol, "Url": url }))
}

fn refusal(code: &str, words: &str) -> Response {
    json_text(StatusCode::BAD_REQUEST, &serde_json::json!({ "ErrorCode": code, "ErrorMessage": words }))
}

fn json_text(status: StatusCode, value: &serde_json::Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json; charset=utf-8")], value.to_string()).into_response()
}
