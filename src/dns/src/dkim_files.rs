//! The DKIM keys of the domains over time: the state on disk, the filter that has the keys, and what the public sees.
//!
//! The filter does a step before the state says so: an interruption repeats the step, which changes nothing then.

use crate::dkim::{Event, Rotation};
use crate::{DnsError, letters, state};
use base::{BoxConfig, DnsMode, Domain, Paths};
use lookup::{Names, compare};
use std::collections::BTreeMap;
use wire::Client;
use wire::dns::DkimStage;
use wire::filter::{DkimKey, DkimKeys, DropDkimKeys, MakeDkimKeys, UseDkimKeys};

pub type Rotations = BTreeMap<Domain, Rotation>;

fn file(paths: &Paths) -> std::path::PathBuf {
    paths.dns().join("dkim.json")
}

pub fn load(paths: &Paths) -> Result<Rotations, DnsError> {
    state::read(&file(paths))
}

/// What moves the keys.
pub struct Rotator<'a> {
    pub paths: &'a Paths,
    pub config: &'a BoxConfig,
    pub client: &'a Client,
    pub names: &'a Names,
}

impl Rotator<'_> {
    /// Lets time pass for the domains.
    pub async fn pass(&self, domains: &[Domain], now: u64) -> Result<(), DnsError> {
        let mut rotations = load(self.paths)?;
        for domain in domains {
            let before = rotations.get(domain).cloned();
            let mut rotation = before.clone().unwrap_or_else(|| Rotation::begin(now));
            if let Err(error) = self.pass_one(domain, &mut rotation, now).await {
                tracing::warn!("the DKIM keys of {domain} wait: {error}");
            }
            if before.as_ref() != Some(&rotation) {
                rotations.insert(domain.clone(), rotation);
                state::write(&file(self.paths), &rotations)?;
            }
        }
        Ok(())
    }

    async fn pass_one(&self, domain: &Domain, rotation: &mut Rotation, now: u64) -> Result<(), DnsError> {
        let seen = match &rotation.next {
            Some(next) => self.is_public(&self.keys(domain, next.generation).await?).await,
            None => None,
        };
        if let Some(event) = rotation.pass(now, seen) {
            self.happen(domain, rotation, event, now).await?;
        }
        self.tell(domain, rotation).await
    }

    /// The owner's word: the next keys now.
    pub async fn begin(&self, domain: &Domain, now: u64) -> Result<Result<(), &'static str>, DnsError> {
        let mut rotations = load(self.paths)?;
        let mut rotation = rotations.get(domain).cloned().unwrap_or_else(|| Rotation::begin(now));
        if rotation.next.is_some() || rotation.former.is_some() {
            return Ok(Err("its keys are being changed already"));
        }
        let next = Event::Make(rotation.generation.saturating_add(1));
        self.happen(domain, &mut rotation, next, now).await?;
        self.tell(domain, &mut rotation).await?;
        rotations.insert(domain.clone(), rotation);
        state::write(&file(self.paths), &rotations)?;
        Ok(Ok(()))
    }

    async fn happen(&self, domain: &Domain, rotation: &mut Rotation, event: Event, now: u64) -> Result<(), DnsError> {
        let domain = domain.clone();
        tracing::info!("DKIM keys of {domain}: {event:?}");
        match event {
            Event::Make(generation) => self.client.ask(&MakeDkimKeys { domain, generation }).await?,
            Event::Use(generation) => self.client.ask(&UseDkimKeys { domain, generation }).await?,
            Event::Drop(generation) => {
                let keys = self.keys(&domain, generation).await?;
                self.client.ask(&DropDkimKeys { domain: domain.clone(), generation }).await?;
                if self.config.dns == DnsMode::External && !keys.is_empty() {
                    let (subject, text) = to_remove(&domain, &keys);
                    letters::tell(self.config, self.client, &subject, &text).await;
                }
            }
        }
        rotation.done(event, now);
        Ok(())
    }

    /// Where the DNS is kept elsewhere the owner has to enter the next keys, and is told so once.
    async fn tell(&self, domain: &Domain, rotation: &mut Rotation) -> Result<(), DnsError> {
        let Some(next) = rotation.next.as_mut().filter(|next| !next.told) else { return Ok(()) };
        if self.config.dns == DnsMode::Box {
            return Ok(());
        }
        let (subject, text) = to_enter(domain, &self.keys(domain, next.generation).await?);
        next.told = letters::tell(self.config, self.client, &subject, &text).await;
        Ok(())
    }

    async fn keys(&self, domain: &Domain, generation: u32) -> Result<Vec<DkimKey>, DnsError> {
        let mut keys = self.client.ask(&DkimKeys { domains: vec![domain.clone()] }).await?;
        keys.retain(|key| key.generation == generation);
        Ok(keys)
    }

    /// Whether the public has all of them; `None` when it cannot be found out.
    async fn is_public(&self, keys: &[DkimKey]) -> Option<bool> {
        for key in keys {
            let name = format!("{}._domainkey.{}", key.selector, key.domain);
            let answer = self.names.ask(&name, "TXT").await.ok()?;
            if !answer.values.iter().any(|value| compare::same("TXT", value, &key.txt)) {
                return Some(false);
            }
        }
        Some(!keys.is_empty())
    }
}

/// The domains' stages, for the owner.
pub fn shown(rotations: &Rotations, domains: &[Domain], keys: &[DkimKey], now: u64, by_hand: bool) -> Vec<DkimStage> {
    let shown = |domain: &Domain| {
        let rotation = rotations.get(domain).cloned().unwrap_or_else(|| Rotation::begin(now));
        let of = |generation: Option<u32>| {
            let of = keys.iter().filter(|key| key.domain == *domain && Some(key.generation) == generation);
            of.map(|key| key.selector.clone()).collect()
        };
        DkimStage {
            domain: domain.clone(),
            signing: of(Some(rotation.generation)),
            since: rotation.since,
            next: of(rotation.next.as_ref().map(|next| next.generation)),
            former: of(rotation.former.as_ref().map(|former| former.generation)),
            by_hand: by_hand && rotation.next.as_ref().is_some_and(|next| next.seen.is_none()),
            words: rotation.words(by_hand),
        }
    };
    domains.iter().map(shown).collect()
}

fn lines(keys: &[DkimKey]) -> String {
    let line = |key: &DkimKey| {
        format!("  name   {}._domainkey.{}\n  type   TXT\n  value  {}\n\n", key.selector, key.domain, key.txt)
    };
    keys.iter().map(line).collect()
}

fn to_enter(domain: &Domain, keys: &[DkimKey]) -> (String, String) {
    let text = format!(
        "The keys that sign the mail of {domain} are changed twice a year, so that a stolen one is of no use for long. The\n\
         next ones are made. The DNS of this box is kept elsewhere, so enter there, beside the records that are there:\n\n{}\
         The box signs by them a day after it has seen these records; until then nothing changes. You are told when the\n\
         records of the former keys can be removed.\n\nWhere it stands: mailstead dns dkim list\n",
        lines(keys)
    );
    (format!("Enter two more DNS records for {domain}"), text)
}

fn to_remove(domain: &Domain, keys: &[DkimKey]) -> (String, String) {
    let text = format!(
        "No mail that was signed by the former keys of {domain} is under way any more. Remove these records where the DNS is\n\
         kept:\n\n{}",
        lines(keys)
    );
    (format!("Two DNS records of {domain} can be removed"), text)
}
