//! Other servers' replies in plain words: what they mean, and what the owner can do. Pure; the knowledge is data.
//!
//! `replies.yaml` is looked through from the top, so that what a provider says of itself goes before what a code means
//! in general. `providers.yaml` tells the large providers by the names of their mail exchangers.

use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

/// One line of `replies.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meaning {
    #[serde(default)]
    provider: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    says: Option<String>,
    pub means: String,
    pub remedy: String,
    example: String,
    pub source: String,
}

/// One line of `providers.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    pub id: String,
    pub name: String,
    exchangers: Vec<String>,
    /// Messages that are sensible on the first day from a new address.
    pub first_day: u64,
    /// From this many a day on there is nothing more to warm up.
    pub enough: u64,
}

static MEANINGS: LazyLock<Vec<Meaning>> = LazyLock::new(|| table(include_str!("replies.yaml")));
static PROVIDERS: LazyLock<Vec<Provider>> = LazyLock::new(|| table(include_str!("providers.yaml")));

/// A table that is part of the program, and read by its tests; an unreadable one is an empty one.
fn table<T: for<'de> Deserialize<'de>>(text: &str) -> Vec<T> {
    serde_yaml::from_str(text).unwrap_or_else(|error| {
        tracing::error!("a table of this program cannot be read: {error}");
        Vec::new()
    })
}

/// The large provider that a server belongs to. `server` begins with its name: `mx.google.com [192.0.2.1]`.
pub fn provider(server: &str) -> Option<&'static Provider> {
    let host = server.split([' ', '[']).next().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
    let belongs =
        |domain: &String| host == *domain || host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.ends_with('.'));
    PROVIDERS.iter().find(|provider| provider.exchangers.iter().any(belongs))
}

/// A name of a server of a provider.
pub fn server_of(provider: &Provider) -> Option<String> {
    provider.exchangers.first().map(|domain| format!("mx.{domain}"))
}

/// Every provider that is known.
pub fn providers() -> &'static [Provider] {
    &PROVIDERS
}

/// What a reply of a server means. `status` is the enhanced code, empty where there was none.
pub fn reply(server: Option<&str>, status: &str, text: &str) -> Option<&'static Meaning> {
    let provider = server.and_then(provider).map(|provider| provider.id.as_str());
    meaning(provider, status, text)
}

fn meaning(provider: Option<&str>, status: &str, text: &str) -> Option<&'static Meaning> {
    let (text, detail) = (text.to_lowercase(), status.split_once('.').map_or("", |(_, detail)| detail));
    MEANINGS.iter().find(|it| {
        it.provider.as_deref().is_none_or(|wanted| provider == Some(wanted))
            && it.status.as_deref().is_none_or(|wanted| wanted == detail)
            && it.says.as_deref().is_none_or(|wanted| text.contains(&wanted.to_lowercase()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::reply::ReplyReader;

    #[test]
    fn every_example_is_explained_by_its_own_entry_and_every_entry_names_its_source() {
        let meanings: Vec<Meaning> = serde_yaml::from_str(include_str!("replies.yaml")).unwrap();
        assert!(meanings.len() > 60);
        for it in &meanings {
            let reply = ReplyReader::default()
                .feed(it.example.replacen("-", " ", usize::from(it.example.as_bytes()[3] == b'-')).as_bytes());
            let reply = reply.unwrap().unwrap();
            let found = meaning(it.provider.as_deref(), &reply.enhanced, &reply.words());
            assert_eq!(found, Some(it), "{}", it.example);
            assert!(it.source.starts_with("https://"), "{}", it.source);
            assert!(it.status.is_some() || it.says.is_some());
            let known = it.provider.as_ref().is_none_or(|id| PROVIDERS.iter().any(|provider| provider.id == *id));
            assert!(known, "{:?}", it.provider);
        }
    }

    #[test]
    fn a_provider_is_told_by_its_exchangers_and_not_by_those_who_resemble_it() {
        let id = |server: &str| provider(server).map(|provider| provider.id.as_str());
        assert_eq!(id("gmail-smtp-in.l.google.com [192.0.2.1]"), Some("google"));
        assert_eq!(id("example-org.mail.protection.outlook.com"), Some("microsoft"));
        assert_eq!(id("mx.notgoogle.com"), None);
        assert_eq!(id(""), None);
    }

    #[test]
    fn what_nobody_knows_is_not_explained() {
        assert_eq!(reply(Some("mx.example.net"), "5.9.9", "no"), None);
        let generic = reply(Some("mx.example.net"), "5.7.1", "no").unwrap();
        assert!(generic.means.contains("by its own rules"));
        assert!(reply(Some("mx.google.com"), "5.7.26", "blocked").unwrap().means.contains("Gmail"));
    }
}
