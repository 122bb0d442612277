//! The dns door: one `match` over its requests.

use crate::records::ZoneFacts;
use crate::stages::{self, Mover};
use crate::{DnsError, challenges, keys, publish};
use base::{BoxConfig, DnsMode, Domain, HostFacts, Paths, Role};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use wire::dns::{DmarcStage, Ds, Request, SetDmarc};
use wire::{Answer, Client, Kind, Refusal, Serve, directory, filter};

/// How often it is looked what the day brings.
const LOOK_EVERY: Duration = Duration::from_secs(6 * 3_600);

pub struct Dns {
    paths: Paths,
    config: BoxConfig,
    client: Client,
    /// One publication at a time.
    publishing: Mutex<()>,
}

impl Dns {
    pub fn new(paths: Paths, config: BoxConfig) -> Self {
        let client = Client::new(paths.clone());
        Self { paths, config, client, publishing: Mutex::new(()) }
    }

    /// What the records follow from, asked of those who know.
    async fn facts(&self) -> Result<ZoneFacts, DnsError> {
        let domains = self.client.ask(&directory::Domains {}).await?;
        self.client.ask(&filter::EnsureKeys { domains: domains.clone() }).await?;
        let dkim = self.client.ask(&filter::DkimKeys { domains: domains.clone() }).await?;
        let host = HostFacts::load(&self.paths).map_err(|error| DnsError::file(&self.paths.host_facts(), error))?;
        let ca = self.config.acme.issuers().unwrap_or_default();
        let tls_keys = tls_keys(&self.paths);
        let relays = self.client.ask(&directory::Relays {}).await?;
        let stages = stages::load(&self.paths)?;
        let dmarc = domains.iter().map(|domain| (domain.clone(), stages::policy(&stages, domain))).collect();
        Ok(ZoneFacts { hostname: self.config.hostname.clone(), host, domains, dkim, tls_keys, ca, relays, dmarc })
    }

    /// Lets time pass for the DMARC policies.
    async fn pass_time(&self, now: u64) -> Result<(), DnsError> {
        let _one = self.publishing.lock().await;
        let domains = self.client.ask(&directory::Domains {}).await?;
        let host = HostFacts::load(&self.paths).map_err(|error| DnsError::file(&self.paths.host_facts(), error))?;
        let mover = Mover { paths: &self.paths, config: &self.config, client: &self.client };
        mover.pass(&domains, &host, now).await
    }

    /// Looks now and then whether a DMARC policy is to be announced or taken, until the process ends.
    pub async fn pass_days(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if let Err(error) = self.publish(false).await {
                tracing::warn!("the zones wait: {error}");
            }
        }
    }

    async fn stages(&self) -> Result<Vec<DmarcStage>, DnsError> {
        let domains = self.client.ask(&directory::Domains {}).await?;
        Ok(stages::shown(&stages::load(&self.paths)?, &domains, base::time::now_unix()))
    }

    async fn set_dmarc(&self, ask: &SetDmarc) -> Result<DmarcStage, Refusal> {
        let _one = self.publishing.lock().await;
        let domains = self.client.ask(&directory::Domains {}).await.map_err(|error| refusal(error.into()))?;
        if !domains.contains(&ask.domain) {
            return Err(stages::unknown(&ask.domain));
        }
        let now = base::time::now_unix();
        let changed = stages::change(&self.paths, &ask.domain, ask.change, now).map_err(refusal)?;
        tracing::info!("DMARC policy of {}: {:?}", ask.domain, ask.change);
        let shown = stages::shown(&changed, std::slice::from_ref(&ask.domain), now);
        shown.into_iter().next().ok_or_else(|| stages::unknown(&ask.domain))
    }

    async fn publish(&self, dry_run: bool) -> Result<Vec<Domain>, DnsError> {
        if !dry_run {
            self.pass_time(base::time::now_unix()).await?;
        }
        if self.config.dns == DnsMode::External {
            return Ok(Vec::new());
        }
        let _one = self.publishing.lock().await;
        let facts = self.facts().await?;
        publish::publish(&self.paths, &facts, base::time::now_unix(), dry_run)
    }

    async fn ds(&self, domain: &Domain) -> Result<Ds, Refusal> {
        if self.config.dns == DnsMode::External {
            let words = "the DNS of this box is kept elsewhere (dns: external), so it has no DS record";
            return Err(Refusal::new(Kind::Invalid, words));
        }
        let zones = self.facts().await.map_err(refusal)?.zones();
        if !zones.contains(domain) {
            let list = zones.iter().map(Domain::as_str).collect::<Vec<_>>().join(", ");
            return Err(Refusal::new(Kind::NotFound, format!("{domain} is not a zone of this box; it has: {list}")));
        }
        let key = keys::load_or_create(&self.paths.dns(), domain).map_err(refusal)?;
        Ok(keys::ds(domain, &key))
    }
}

fn refusal(error: DnsError) -> Refusal {
    let kind = match &error {
        DnsError::Neighbour(neighbour) if neighbour.is_passing() => Kind::Busy,
        _ => Kind::Internal,
    };
    tracing::error!("{error}");
    Refusal::new(kind, error.to_string())
}

/// SHA-256 of the public keys that are served, or may be (TLSA 3 1 1, RFC 6698 §2.1): the certificate's, the one that comes
/// next and the one before (RFC 7671 §8.1).
fn tls_keys(paths: &Paths) -> Vec<String> {
    let served = || {
        let der = CertificateDer::from_pem_file(paths.tls().join("chain.pem")).ok()?;
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).ok()?;
        Some(hex::encode(Sha256::digest(certificate.tbs_certificate.subject_pki.raw)))
    };
    let others = [paths.next_spki(), paths.previous_spki()].into_iter().filter_map(|file| {
        let text = std::fs::read_to_string(file).ok()?.trim().to_ascii_lowercase();
        (text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())).then_some(text)
    });
    let mut keys: Vec<String> = Vec::new();
    for key in served().into_iter().chain(others) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

impl Serve for Dns {
    type Request = Request;

    async fn answer(&self, _peer: Role, request: Request, _body: Vec<u8>) -> Result<Answer, Refusal> {
        match request {
            Request::Records(ask) => ask.answer(self.facts().await.map_err(refusal)?.records()),
            Request::Publish(ask) => ask.answer(self.publish(ask.dry_run).await.map_err(refusal)?),
            Request::SetChallenges(ask) => {
                challenges::set(&self.paths, &ask.challenges, base::time::now_unix())?;
                ask.answer(self.publish(false).await.map_err(refusal)?)
            }
            Request::DmarcStages(ask) => ask.answer(self.stages().await.map_err(refusal)?),
            Request::SetDmarc(ask) => ask.answer(self.set_dmarc(&ask).await?),
            Request::DelegationSigners(ask) => ask.answer(vec![self.ds(&ask.domain).await?]),
        }
    }
}

#[cfg(test)]
mod tests;
