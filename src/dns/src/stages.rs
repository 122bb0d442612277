//! The stages of the domains' DMARC policies on disk, and what time and the owner make of them.
//!
//! A letter goes out before a step is noted as announced, and a step is on the disk before a zone has it: an
//! interruption repeats a letter, and never takes a step that was not announced.

use crate::dmarc::{self, Event, Stage, Stages};
use crate::{DnsError, state};
use base::{BoxConfig, DnsMode, Domain, HostFacts, Paths};
use std::path::PathBuf;
use wire::dns::{DmarcChange, DmarcPolicy, DmarcStage};
use wire::filter::{DmarcEvidence, Evidence};
use wire::{Client, Kind, Refusal};

fn file(paths: &Paths) -> PathBuf {
    paths.dns().join("dmarc.json")
}

pub fn load(paths: &Paths) -> Result<Stages, DnsError> {
    state::read(&file(paths))
}

fn save(paths: &Paths, stages: &Stages) -> Result<(), DnsError> {
    state::write(&file(paths), stages)
}

/// What moves the stages.
pub struct Mover<'a> {
    pub paths: &'a Paths,
    pub config: &'a BoxConfig,
    pub client: &'a Client,
}

impl Mover<'_> {
    /// Lets time pass for the domains: those that are new begin, and what is due is announced or taken.
    pub async fn pass(&self, domains: &[Domain], host: &HostFacts, now: u64) -> Result<(), DnsError> {
        let mut stages = load(self.paths)?;
        let known = stages.len();
        for domain in domains {
            stages.entry(domain.clone()).or_insert_with(|| Stage::begin(now));
        }
        if stages.len() > known {
            save(self.paths, &stages)?;
        }
        let own: Vec<_> = host.addresses().collect();
        for domain in domains {
            let Some(stage) = stages.get_mut(domain) else { continue };
            if !stage.is_due(now) {
                continue;
            }
            let since = now.saturating_sub(dmarc::LOOK_BACK);
            let evidence = self.client.ask(&DmarcEvidence { domain: domain.clone(), own: own.clone(), since }).await;
            let evidence = match evidence {
                Ok(evidence) => evidence,
                Err(error) => {
                    tracing::warn!("the DMARC policy of {domain} waits: {error}");
                    continue;
                }
            };
            if self.happen(domain, stage, &evidence, now).await {
                save(self.paths, &stages)?;
            }
        }
        Ok(())
    }

    /// Does what is due; tells whether the stage is another.
    async fn happen(&self, domain: &Domain, stage: &mut Stage, evidence: &Evidence, now: u64) -> bool {
        let ours = self.config.dns == DnsMode::Box;
        match stage.event(evidence, now) {
            Some(Event::Announce(step)) => {
                let (subject, text) = dmarc::announcement(domain, &step, evidence, ours);
                if !self.tell(&subject, &text).await {
                    return false;
                }
                tracing::info!("{domain}: DMARC policy {} announced for {}", step.policy, dmarc::day(step.at));
                stage.next = Some(step);
                true
            }
            // Elsewhere only the owner can do it, and says so by `set`.
            Some(Event::Take(_)) if !ours => false,
            Some(Event::Take(policy)) => {
                tracing::info!("{domain}: DMARC policy {policy} from now on");
                stage.take(policy, now);
                true
            }
            Some(Event::CallOff(why)) => {
                let subject = format!("The DMARC policy of {domain} stays “{}” for now", stage.policy);
                let text = format!(
                    "It was to become stricter about now, and does not: {why}.\nIt is announced anew when the reports are \
                     good again. See: mailstead reports list\n"
                );
                let told = self.tell(&subject, &text).await;
                if told {
                    stage.next = None;
                }
                told
            }
            None => false,
        }
    }

    async fn tell(&self, subject: &str, text: &str) -> bool {
        crate::letters::tell(self.config, self.client, subject, text).await
    }
}

/// The owner's word about one domain.
pub fn change(paths: &Paths, domain: &Domain, change: DmarcChange, now: u64) -> Result<Stages, DnsError> {
    let mut stages = load(paths)?;
    let stage = stages.entry(domain.clone()).or_insert_with(|| Stage::begin(now));
    match change {
        DmarcChange::Hold => stage.hold(),
        DmarcChange::Release => stage.hold = false,
        DmarcChange::Set(policy) => stage.set(policy, now),
    }
    save(paths, &stages)?;
    Ok(stages)
}

/// The domains' stages, for the owner.
pub fn shown(stages: &Stages, domains: &[Domain], now: u64) -> Vec<DmarcStage> {
    let shown = |domain: &Domain| {
        let stage = stages.get(domain).cloned().unwrap_or_else(|| Stage::begin(now));
        DmarcStage {
            domain: domain.clone(),
            policy: stage.policy,
            since: stage.since,
            hold: stage.hold,
            announced: stage.next.clone(),
            earliest: stage.awaited(),
            record: dmarc::record(domain, stage.policy),
        }
    };
    domains.iter().map(shown).collect()
}

pub fn policy(stages: &Stages, domain: &Domain) -> DmarcPolicy {
    stages.get(domain).map_or(DmarcPolicy::None, |stage| stage.policy)
}

/// A refusal for a domain that is not ours.
pub fn unknown(domain: &Domain) -> Refusal {
    Refusal::new(Kind::NotFound, format!("{domain} is not a domain of this box; see: mailstead dns dmarc list"))
}
