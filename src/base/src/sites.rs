//! The part of `box.yaml` that says what the box serves on the web beside its panel.
//!
//! Every value ends up in nginx's configuration, which has no way of quoting that covers all of it. So nothing is taken
//! that could hold a quote, a space, a `$`, a brace or a semicolon.

use crate::address::Domain;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// By name; each answers under `www.` as well, unless that has a site of its own.
pub type Sites = BTreeMap<Domain, Site>;

/// The names that the sites answer under.
pub fn names(sites: &Sites) -> impl Iterator<Item = Domain> {
    sites.keys().flat_map(with_www)
}

/// A name, and the one with `www.` before it.
pub fn with_www(name: &Domain) -> impl Iterator<Item = Domain> + use<> {
    let www = (!name.as_str().starts_with("www.")).then(|| Domain::parse(&format!("www.{name}")).ok());
    std::iter::once(name.clone()).chain(www.flatten())
}

/// What a name leads to: one of `folder`, `redirect` and `proxy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Site {
    /// The files of a folder below `/var/www` or `/srv`.
    Folder(String),
    /// Another address. One without a path gets the path of the request.
    Redirect(String),
    /// A program on this machine or beside it that speaks HTTP.
    Proxy(String),
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    folder: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    redirect: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proxy: Option<String>,
}

impl TryFrom<Written> for Site {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written { folder: Some(path), redirect: None, proxy: None } => folder(&path).map(Self::Folder),
            Written { folder: None, redirect: Some(url), proxy: None } => redirect(&url).map(Self::Redirect),
            Written { folder: None, redirect: None, proxy: Some(url) } => proxy(&url).map(Self::Proxy),
            _ => Err("a site has one of the keys folder, redirect and proxy".to_owned()),
        }
    }
}

impl From<Site> for Written {
    fn from(site: Site) -> Self {
        match site {
            Site::Folder(path) => Self { folder: Some(path), ..Self::default() },
            Site::Redirect(url) => Self { redirect: Some(url), ..Self::default() },
            Site::Proxy(url) => Self { proxy: Some(url), ..Self::default() },
        }
    }
}

/// Where files may be served from: never the box's own state, nor the machine's.
const ROOTS: [&str; 2] = ["/var/www/", "/srv/"];

fn folder(path: &str) -> Result<String, String> {
    let refuse = || format!("the folder “{path}” does not lie below /var/www or /srv, or its name has odd characters");
    let path = path.trim_end_matches('/');
    let plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b));
    let dotted = path.split('/').any(|part| part.starts_with('.'));
    match ROOTS.iter().any(|root| path.starts_with(root)) && plain && !dotted {
        true => Ok(path.to_owned()),
        false => Err(refuse()),
    }
}

fn redirect(url: &str) -> Result<String, String> {
    let refuse = || format!("“{url}” is not an address to redirect to; write it like https://example.org/path");
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).ok_or_else(refuse)?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    // The characters of a path and query (RFC 3986 §3.3) less those that mean something to nginx.
    let plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~/?=&%+,:@".contains(&b));
    match is_host_and_port(host) && plain {
        true => Ok(if path == "/" { url.trim_end_matches('/').to_owned() } else { url.to_owned() }),
        false => Err(refuse()),
    }
}

fn proxy(url: &str) -> Result<String, String> {
    let refuse = || format!("“{url}” is not a program to pass requests to; write it like http://127.0.0.1:8080");
    let host = url.strip_prefix("http://").ok_or_else(refuse)?.trim_end_matches('/');
    match is_host_and_port(host) {
        true => Ok(format!("http://{host}")),
        false => Err(refuse()),
    }
}

/// A name or an IPv4 address, and a port if there is one.
fn is_host_and_port(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, "443"));
    let known = Domain::parse(host).is_ok() || host.parse::<std::net::Ipv4Addr>().is_ok();
    known && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use crate::BoxConfig;

    fn with(sites: &str) -> Result<BoxConfig, String> {
        let text = format!("email: a@b.org\nhostname: box.b.org\ndns: box\nsites:\n{sites}");
        BoxConfig::parse(&text).map_err(|error| error.to_string())
    }

    #[test]
    fn sites_are_folders_redirects_and_proxies_and_read_back_the_same() {
        let sites = "  b.org: { folder: /var/www/b.org/ }\n  old.org: { redirect: 'https://b.org/' }\n  \
                     app.b.org: { proxy: 'http://127.0.0.1:3000' }\n";
        let config = with(sites).unwrap();
        let text = config.to_yaml().unwrap();
        assert!(text.contains("folder: /var/www/b.org\n") && text.contains("redirect: https://b.org\n"), "{text}");
        assert_eq!(BoxConfig::parse(&text).unwrap(), config);
        let www = crate::Domain::parse("www.old.org").unwrap();
        assert_eq!(config.site(&www), config.sites.get(&crate::Domain::parse("old.org").unwrap()));
    }

    #[test]
    fn nothing_that_means_something_to_nginx_gets_in() {
        for (wrong, words) in [
            ("{ folder: /etc }", "/var/www"),
            ("{ folder: /var/www/../../etc }", "/var/www"),
            ("{ folder: '/var/www/a;b' }", "odd characters"),
            ("{ redirect: 'https://b.org/$host' }", "redirect to"),
            ("{ redirect: \"https://b.org/a\\nb\" }", "redirect to"),
            ("{ redirect: 'b.org' }", "redirect to"),
            ("{ proxy: 'http://127.0.0.1:3000; include /x' }", "pass requests to"),
            ("{ proxy: 'http://127.0.0.1:99999' }", "pass requests to"),
            ("{ folder: /srv/a, proxy: 'http://127.0.0.1:3000' }", "one of the keys"),
            ("{ fodler: /srv/a }", "fodler"),
            ("{}", "one of the keys"),
        ] {
            let why = with(&format!("  b.org: {wrong}\n")).unwrap_err();
            assert!(why.contains(words), "{wrong}: {why}");
        }
    }
}
