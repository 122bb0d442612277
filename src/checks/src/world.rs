//! What the probes look at: the box and the world outside, asked at most once per run.

use crate::ChecksError;
use crate::facts::HostReport;
use crate::limits::AT_ONCE;
use crate::names::Names;
use crate::probes::listeners::{self, Greeting, Listener};
use crate::text::Known;
use crate::tls::Tls;
use base::{BoxConfig, DnsMode, Domain, Endpoints, HostFacts, Paths};
use futures_util::StreamExt;
use std::collections::HashMap;
use std::future::Future;
use tokio::sync::OnceCell;
use wire::dns::{Need, Record};
use wire::{Client, directory, dns};

/// Asks many at a time, not all at once, and gives the answers in the order of the questions.
pub async fn each<F: Future>(questions: Vec<F>) -> Vec<F::Output> {
    futures_util::stream::iter(questions).buffered(AT_ONCE).collect().await
}

type Once<T> = OnceCell<Result<T, String>>;

pub struct World {
    pub paths: Paths,
    pub config: BoxConfig,
    pub endpoints: Endpoints,
    pub host: HostFacts,
    /// What root found out just before this run, where it did.
    pub report: Option<HostReport>,
    pub client: Client,
    pub names: Names,
    pub tls: Tls,
    /// Seconds since 1970.
    pub now: u64,
    records: Once<Vec<Record>>,
    domains: Once<Vec<Domain>>,
    greetings: HashMap<Listener, Once<Greeting>>,
}

impl World {
    pub fn new(paths: &Paths, config: BoxConfig) -> Result<Self, ChecksError> {
        let endpoints = Endpoints::of(&config);
        Ok(Self {
            paths: paths.clone(),
            host: HostFacts::load(paths).unwrap_or_default(),
            report: HostReport::load(paths),
            client: Client::new(paths.clone()),
            names: Names::new(endpoints.resolver),
            tls: Tls::new()?,
            now: base::time::now_unix(),
            records: OnceCell::new(),
            domains: OnceCell::new(),
            greetings: Listener::ALL.into_iter().map(|listener| (listener, OnceCell::new())).collect(),
            config,
            endpoints,
        })
    }

    pub fn hostname(&self) -> &str {
        self.config.hostname.as_str()
    }

    pub fn is_demo(&self) -> bool {
        self.config.demo.is_some()
    }

    pub fn known(&self) -> Known {
        let shown = |address: Option<String>| address.unwrap_or_else(|| "(none)".to_owned());
        Known {
            hostname: self.hostname().to_owned(),
            email: self.config.email.to_string(),
            ipv4: shown(self.host.ipv4.map(|address| address.to_string())),
            ipv6: shown(self.host.ipv6.map(|address| address.to_string())),
            dns_here: self.config.dns == DnsMode::Box,
        }
    }

    /// The records that the public DNS should have.
    pub async fn records(&self) -> Result<Vec<Record>, String> {
        let asked = self.records.get_or_init(|| async {
            let mut records = self.client.ask(&dns::Records {}).await.map_err(|error| error.to_string())?;
            if self.config.dns == DnsMode::External {
                records.retain(|record| record.need != Need::BoxOnly);
            }
            Ok(records)
        });
        asked.await.clone()
    }

    /// The domains that get mail here.
    pub async fn domains(&self) -> Result<Vec<Domain>, String> {
        let asked = self
            .domains
            .get_or_init(|| async { self.client.ask(&directory::Domains {}).await.map_err(|error| error.to_string()) });
        asked.await.clone()
    }

    /// The zones that the box serves or would serve.
    pub async fn zones(&self) -> Result<Vec<Domain>, String> {
        let mut zones: Vec<Domain> = self.records().await?.into_iter().map(|record| record.zone).collect();
        zones.sort();
        zones.dedup();
        Ok(zones)
    }

    /// How a listener of the box greets, and the certificate that it serves.
    pub async fn greeting(&self, listener: Listener) -> Result<Greeting, String> {
        let Some(once) = self.greetings.get(&listener) else { return listeners::greet(self, listener).await };
        once.get_or_init(|| listeners::greet(self, listener)).await.clone()
    }
}
