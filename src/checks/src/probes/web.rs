//! What programs and browsers fetch from the box: asked for as they ask, by the public name and over verified TLS.

use crate::finding::{Finding, Problem};
use crate::limits::{FETCHED_WITHIN, MAX_POLICY};
use crate::world::{World, each};
use base::Domain;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};

/// An answer: its status, its header, and its text.
pub struct Page {
    pub status: StatusCode,
    pub header: HeaderMap,
    pub text: String,
}

/// Fetches a page of a name as the rest of the world resolves it. Redirects are not followed.
pub async fn fetch(world: &World, name: &str, path: &str) -> Result<Page, String> {
    let addresses = world.names.addresses(name).await.map_err(|error| error.to_string())?;
    let address = addresses.first().ok_or_else(|| format!("{name} has no address"))?;
    ask(SocketAddr::new(*address, 443), name, path, None).await.and_then(found)
}

/// Asks one server for a page of a name, from one address of this machine where that matters, and takes whatever it answers.
pub async fn ask(server: SocketAddr, name: &str, path: &str, from: Option<IpAddr>) -> Result<Page, String> {
    let client = reqwest::Client::builder()
        .https_only(true)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(FETCHED_WITHIN)
        .resolve(name, server)
        .local_address(from)
        .build()
        .map_err(in_words)?;
    read(client.get(format!("https://{name}{path}")).send().await.map_err(in_words)?).await
}

fn found(page: Page) -> Result<Page, String> {
    match page.status {
        StatusCode::OK => Ok(page),
        status => Err(format!("it answers {status}")),
    }
}

/// Fetches a text from somebody else's web server.
pub async fn fetch_anywhere(url: &str) -> Result<String, String> {
    let client = reqwest::Client::builder().no_proxy().timeout(FETCHED_WITHIN).build().map_err(in_words)?;
    read(client.get(url).send().await.map_err(in_words)?).await.and_then(found).map(|page| page.text)
}

async fn read(mut answer: reqwest::Response) -> Result<Page, String> {
    let status = answer.status();
    let header = answer.headers().clone();
    let mut bytes = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(in_words)? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > MAX_POLICY {
            return Err(format!("it is longer than {MAX_POLICY} bytes"));
        }
    }
    Ok(Page { status, header, text: String::from_utf8_lossy(&bytes).into_owned() })
}

/// The innermost cause: a refused certificate is what an owner has to read, not “error sending request”.
fn in_words(error: reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// A family of mail programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Program {
    Thunderbird,
    Outlook,
    Apple,
}

impl Program {
    /// The host that is asked, and the path, for a mail domain.
    fn asks(self, domain: &str, hostname: &str) -> (String, String) {
        match self {
            Program::Thunderbird => {
                let path = format!("/mail/config-v1.1.xml?emailaddress=postmaster%40{domain}");
                (format!("autoconfig.{domain}"), path)
            }
            Program::Outlook => {
                let path =
                    format!("/autodiscover/autodiscover.json?Email=postmaster%40{domain}&Protocol=AutodiscoverV1");
                (format!("autodiscover.{domain}"), path)
            }
            Program::Apple => (hostname.to_owned(), format!("/setup/profiles/{domain}.mobileconfig")),
        }
    }

    /// What stands in a right answer. Apple's is signed, with the text in clear inside.
    fn is_told(self, text: &str, domain: &str, hostname: &str) -> bool {
        match self {
            Program::Thunderbird => text.contains("<clientConfig") && text.contains(hostname),
            Program::Outlook => text.contains("AutodiscoverV1") && text.contains("https://"),
            Program::Apple => text.contains("com.apple.mail.managed") && text.contains(domain),
        }
    }
}

/// A mail program that is given an address and a password finds the servers by itself.
pub async fn program(world: &World, program: Program) -> Finding {
    let wanted = "the settings of every mail domain, over verified HTTPS";
    if world.is_demo() {
        return Finding::skipped("programs ask at the ports of a live box");
    }
    let domains = match world.domains().await {
        Ok(domains) => domains,
        Err(why) => return Finding::unknown(why, wanted),
    };
    let asked = each(domains.iter().map(|domain| wrong_settings(world, program, domain)).collect()).await;
    let problem = |(url, wrong): (String, String)| Problem::new(url, wrong, wanted);
    let problems = asked.into_iter().flatten().map(problem).collect();
    Finding::judge(problems, format!("domains that are told: {}", domains.len()), wanted)
}

/// Where a domain's settings are, and what is wrong with them, if anything.
async fn wrong_settings(world: &World, program: Program, domain: &Domain) -> Option<(String, String)> {
    let (host, path) = program.asks(domain.as_str(), world.hostname());
    let wrong = match fetch(world, &host, &path).await {
        Ok(page) if program.is_told(&page.text, domain.as_str(), world.hostname()) => return None,
        Ok(_) => "it answers something else".to_owned(),
        Err(trouble) => trouble,
    };
    Some((format!("https://{host}{}", path.split('?').next().unwrap_or_default()), wrong))
}

/// Browsers are told to come by HTTPS alone, and not to let the panel be shown within other pages.
pub async fn headers(world: &World) -> Finding {
    let wanted = "Strict-Transport-Security for half a year or more, X-Content-Type-Options, X-Frame-Options";
    // Only the header counts here; the certificate has checks of its own.
    let asked = async {
        let name = world.hostname();
        let client = reqwest::Client::builder()
            .no_proxy()
            .danger_accept_invalid_certs(true)
            .timeout(FETCHED_WITHIN)
            .resolve(name, world.endpoints.https.local())
            .build()
            .map_err(in_words)?;
        let url = format!("https://{name}:{}/admin/login", world.endpoints.https.port);
        read(client.get(url).send().await.map_err(in_words)?).await.and_then(found)
    };
    match asked.await {
        Ok(page) => judge_headers(&page.header, wanted),
        Err(_) => Finding::skipped("the login page is not served, which another check tells"),
    }
}

const HALF_A_YEAR: u64 = 180 * 86_400;

fn judge_headers(header: &HeaderMap, wanted: &str) -> Finding {
    let value = |name: &str| header.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let strict = value("strict-transport-security");
    let seconds =
        strict.split(';').find_map(|part| part.trim().strip_prefix("max-age=")?.trim_matches('"').parse().ok());
    let mut missing = Vec::new();
    if seconds.unwrap_or(0u64) < HALF_A_YEAR {
        missing.push("Strict-Transport-Security");
    }
    if value("x-content-type-options") != "nosniff" {
        missing.push("X-Content-Type-Options");
    }
    if value("x-frame-options").is_empty() {
        missing.push("X-Frame-Options");
    }
    let problem = |name: &&str| Problem::new(*name, format!("“{}”", value(name)), wanted);
    Finding::judge(missing.iter().map(problem).collect(), "all are said", wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Verdict;

    #[test]
    fn a_header_that_is_missing_or_too_short_is_named() {
        let mut header = HeaderMap::new();
        for (name, value) in [
            ("strict-transport-security", "max-age=63072000; includeSubDomains"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
        ] {
            header.insert(name, value.parse().unwrap());
        }
        assert_eq!(judge_headers(&header, "").verdict, Verdict::Good);
        header.insert("strict-transport-security", "max-age=60".parse().unwrap());
        header.remove("x-frame-options");
        let found = judge_headers(&header, "");
        let named: Vec<&str> = found.problems.iter().map(|problem| problem.subject.as_str()).collect();
        assert_eq!(named, ["Strict-Transport-Security", "X-Frame-Options"]);
    }
}
