//! The dns door: one `match` over its requests.

mod own;
mod served;
mod zones;

use crate::dkim_files::{self, Rotator};
use crate::records::ZoneFacts;
use crate::stages::{self, Mover};
use crate::world::World;
use crate::{DnsError, authorities, challenges, custom, dynamic, publish, secondaries, state};
use base::{BoxConfig, DnsMode, Domain, HostFacts, Paths, Role};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Notify};
use wire::dns::{DkimStage, DmarcStage, Request, SetDmarc};
use wire::{Answer, Client, Kind, Refusal, Serve, directory, filter};

/// How often it is looked what the day brings.
const LOOK_EVERY: Duration = Duration::from_secs(6 * 3_600);
/// How soon when something that was decided is not served yet, or could not be done.
const LOOK_SOON: Duration = Duration::from_secs(30);

pub struct Dns {
    paths: Paths,
    config: BoxConfig,
    client: Client,
    /// One publication at a time.
    publishing: Mutex<()>,
    /// Something was published.
    handed_over: Notify,
    throttle: std::sync::Mutex<dynamic::Throttle>,
}

impl Dns {
    pub fn new(paths: Paths, config: BoxConfig) -> Self {
        let client = Client::new(paths.clone());
        let (publishing, handed_over) = (Mutex::default(), Notify::new());
        Self { paths, config, client, publishing, handed_over, throttle: std::sync::Mutex::default() }
    }

    /// What the records follow from, asked of those who know.
    async fn facts(&self) -> Result<ZoneFacts, DnsError> {
        let domains = self.client.ask(&directory::Domains {}).await?;
        self.client.ask(&filter::EnsureKeys { domains: domains.clone() }).await?;
        let dkim = self.client.ask(&filter::DkimKeys { domains: domains.clone() }).await?;
        let host = self.host()?;
        let authorities = authorities::of(&self.paths, &self.config.acme);
        let relays = self.client.ask(&directory::Relays {}).await?;
        let stages = stages::load(&self.paths)?;
        let dmarc = domains.iter().map(|domain| (domain.clone(), stages::policy(&stages, domain))).collect();
        let mut added = custom::load(&self.paths)?;
        added.extend(dynamic::records(&dynamic::load(&self.paths)?));
        let planned: Option<u64> = state::read(&self.paths.dns().join("move.json"))?;
        let mut facts = ZoneFacts {
            hostname: self.config.hostname.clone(),
            host,
            domains,
            dkim,
            tls_keys: tls_keys(&self.paths),
            authorities,
            relays,
            dmarc,
            sites: base::sites::names(&self.config.sites).collect(),
            logos: self.config.logos.clone(),
            secondaries: secondaries::load(&self.paths)?.into_iter().map(|kept| kept.shown.server).collect(),
            moving: planned.is_some_and(|until| until > base::time::now_unix()),
            custom: added,
            inner: Default::default(),
        };
        publish::vouch(&self.paths, &mut facts)?;
        Ok(facts)
    }

    fn host(&self) -> Result<HostFacts, DnsError> {
        HostFacts::load(&self.paths).map_err(|error| DnsError::file(&self.paths.host_facts(), error))
    }

    /// Lets time pass for the DMARC policies and the DKIM keys.
    async fn pass_time(&self, now: u64) -> Result<(), DnsError> {
        let _one = self.publishing.lock().await;
        let domains = self.client.ask(&directory::Domains {}).await?;
        let host = self.host()?;
        let world = World::of(&self.config, &host);
        self.rotator(&world).pass(&domains, now).await?;
        let mover = Mover { paths: &self.paths, config: &self.config, client: &self.client };
        mover.pass(&domains, &host, now).await
    }

    fn rotator<'a>(&'a self, world: &'a World) -> Rotator<'a> {
        Rotator { paths: &self.paths, config: &self.config, client: &self.client, names: world.names() }
    }

    async fn dkim_stages(&self, only: Option<&Domain>) -> Result<Vec<DkimStage>, DnsError> {
        let mut domains = self.client.ask(&directory::Domains {}).await?;
        domains.retain(|domain| only.is_none_or(|only| only == domain));
        let keys = self.client.ask(&filter::DkimKeys { domains: domains.clone() }).await?;
        let by_hand = self.config.dns == DnsMode::External;
        Ok(dkim_files::shown(&dkim_files::load(&self.paths)?, &domains, &keys, base::time::now_unix(), by_hand))
    }

    async fn rotate_dkim(&self, domain: &Domain) -> Result<DkimStage, Refusal> {
        let none = || {
            Refusal::new(Kind::NotFound, format!("{domain} is not a domain of this box; see: mailstead dns dkim list"))
        };
        let _one = self.publishing.lock().await;
        let stage = self.dkim_stages(Some(domain)).await.map_err(refusal)?.pop();
        stage.ok_or_else(none)?;
        let world = World::of(&self.config, &self.host().map_err(refusal)?);
        let begun = self.rotator(&world).begin(domain, base::time::now_unix()).await.map_err(refusal)?;
        begun.map_err(|why| Refusal::new(Kind::Conflict, format!("{domain}: {why}; see: mailstead dns dkim list")))?;
        self.dkim_stages(Some(domain)).await.map_err(refusal)?.pop().ok_or_else(none)
    }

    /// Looks at the start and then now and again whether something is due, until the process ends.
    pub async fn pass_days(self: Arc<Self>) {
        loop {
            // The first publication is set-up's to ask for, when there are domains.
            if self.config.dns == DnsMode::Box && !self.paths.zones().join("zones.conf").exists() {
                tokio::time::sleep(LOOK_SOON).await;
                continue;
            }
            let wait = match self.publish(false).await {
                Ok(done) if done.is_settled => LOOK_EVERY,
                Ok(_) => LOOK_SOON,
                Err(error) => {
                    tracing::warn!("the zones wait: {error}");
                    LOOK_SOON
                }
            };
            tokio::time::sleep(wait).await;
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
/// next and the one before (RFC 7671 §8.1), which the certs role names in files.
pub(crate) fn tls_keys(paths: &Paths) -> Vec<String> {
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
            Request::Publish(ask) => ask.answer(self.publish(ask.dry_run).await.map_err(refusal)?.zones),
            Request::SetChallenges(ask) => {
                challenges::set(&self.paths, &ask.challenges, base::time::now_unix())?;
                ask.answer(self.publish(false).await.map_err(refusal)?.zones)
            }
            Request::DmarcStages(ask) => ask.answer(self.stages().await.map_err(refusal)?),
            Request::SetDmarc(ask) => ask.answer(self.set_dmarc(&ask).await?),
            Request::DelegationSigners(ask) => ask.answer(self.ds(&ask.domain).await?),
            Request::ZoneKeys(ask) => ask.answer(self.zone_keys(&ask.domain).await?),
            Request::Rollover(ask) => ask.answer(self.rollover(&ask.domain, ask.step).await?),
            Request::CustomRecords(ask) => ask.answer(custom::load(&self.paths).map_err(refusal)?),
            Request::ChangeCustom(ask) => ask.answer(self.change_custom(ask.change.clone()).await?),
            Request::DynamicNames(ask) => ask.answer(self.dynamic_names()?),
            Request::AddDynamic(ask) => ask.answer(self.add_dynamic(&ask.name).await?),
            Request::RemoveDynamic(ask) => ask.answer(self.remove_dynamic(&ask.name).await?),
            Request::SetDynamicAddress(ask) => ask.answer(self.set_dynamic(&ask).await?),
            Request::Secondaries(ask) => ask.answer(self.secondaries()?),
            Request::SecondaryKey(ask) => ask.answer(self.secondary_key(&ask.server)?),
            Request::AddSecondary(ask) => ask.answer(self.add_secondary(&ask.server, &ask.addresses).await?),
            Request::RemoveSecondary(ask) => ask.answer(self.remove_secondary(&ask.server).await?),
            Request::DkimStages(ask) => ask.answer(self.dkim_stages(None).await.map_err(refusal)?),
            Request::RotateDkim(ask) => ask.answer(self.rotate_dkim(&ask.domain).await?),
            Request::PlanMove(ask) => {
                let _one = self.publishing.lock().await;
                state::write(&self.paths.dns().join("move.json"), &ask.until).map_err(refusal)?;
                ask.answer(())
            }
        }
    }
}

#[cfg(test)]
mod tests;
