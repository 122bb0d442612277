//! What shows an authority that the box holds a name: a file for nginx, or a record in the zone.

use crate::order::Trouble;
use crate::zone::Servers;
use crate::{CertsError, pair};
use base::{BoxConfig, Paths};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use wire::{Client, dns};

/// The answers of one order. They are removed by [`Answers::clear`], however the order ends.
pub struct Answers<'a> {
    paths: &'a Paths,
    config: &'a BoxConfig,
    files: Vec<PathBuf>,
    /// By the record's name: its values, the zone, and the names that it proves.
    records: BTreeMap<String, Record>,
}

#[derive(Default)]
struct Record {
    zone: String,
    values: Vec<String>,
    proves: BTreeSet<String>,
}

impl<'a> Answers<'a> {
    pub fn new(paths: &'a Paths, config: &'a BoxConfig) -> Self {
        Self { paths, config, files: Vec::new(), records: BTreeMap::new() }
    }

    /// Answers by a file (RFC 8555 §8.3).
    pub fn file(&mut self, token: &str, text: &str) -> Result<(), Trouble> {
        // The token comes from the authority and becomes a file name: base64url only (RFC 8555 §8.3).
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return Err(Trouble::Order("the authority sent a token that is not one".to_owned()));
        }
        let file = self.paths.acme_challenges().join(token);
        pair::write(&file, text, 0o644)?;
        self.files.push(file);
        Ok(())
    }

    /// Will answer by a record (RFC 8555 §8.4), once [`Answers::publish`] is called.
    pub fn record(&mut self, name: &crate::names::Name, zone: &str, value: String) {
        let record = self.records.entry(name.challenge()).or_default();
        zone.clone_into(&mut record.zone);
        record.values.push(value);
        record.proves.insert(name.name.clone());
    }

    /// Has the zones hold the records, and waits until every name server has them: an authority may ask any.
    pub async fn publish(&self) -> Result<(), Trouble> {
        if self.records.is_empty() {
            return Ok(());
        }
        let challenges = self.records.iter();
        let challenges =
            challenges.map(|(name, record)| dns::Challenge { name: name.clone(), values: record.values.clone() });
        let asked = dns::SetChallenges { challenges: challenges.collect() };
        if let Err(error) = Client::new(self.paths.clone()).ask(&asked).await {
            return Err(Trouble::Names(self.all_prove(&error.to_string())));
        }
        let mut blamed = BTreeMap::new();
        let zones: BTreeSet<&String> = self.records.values().map(|record| &record.zone).collect();
        for zone in zones {
            let here = || self.records.iter().filter(|(_, record)| record.zone == *zone);
            let wanted = here().map(|(name, record)| (name.clone(), record.values.clone())).collect();
            let served = match Servers::of(self.paths, self.config, zone).await {
                Ok(servers) => servers.wait_for(&wanted).await,
                Err(why) => Err(why),
            };
            if let Err(why) = served {
                let names = here().flat_map(|(_, record)| record.proves.iter());
                blamed.extend(names.map(|name| (name.clone(), why.clone())));
            }
        }
        if blamed.is_empty() { Ok(()) } else { Err(Trouble::Names(blamed)) }
    }

    fn all_prove(&self, why: &str) -> BTreeMap<String, String> {
        let names = self.records.values().flat_map(|record| record.proves.iter());
        names.map(|name| (name.clone(), why.to_owned())).collect()
    }

    /// Removes them. An answer left behind does no harm: the next has another token, and the dns role forgets records.
    pub async fn clear(self) {
        for file in &self.files {
            let _ = std::fs::remove_file(file);
        }
        if self.records.is_empty() {
            return;
        }
        let nothing = dns::SetChallenges { challenges: Vec::new() };
        if let Err(error) = Client::new(self.paths.clone()).ask(&nothing).await {
            tracing::warn!("records of a validation stay in the zone for an hour: {error}");
        }
    }
}

impl From<CertsError> for Trouble {
    fn from(error: CertsError) -> Self {
        Trouble::Own(error)
    }
}
