//! `mailstead dns dmarc`: how strict the domains' DMARC policies are.

use crate::output::say;
use crate::{converge, output};
use base::{BoxConfig, DnsMode, Domain, Paths};
use clap::{Subcommand, ValueEnum};
use wire::Client;
use wire::dns::{DmarcChange, DmarcPolicy, DmarcStage, DmarcStages, DmarcStep, SetDmarc};

#[derive(Subcommand)]
pub enum Dmarc {
    /// List each domain's policy, and what comes next.
    List {
        /// Print JSON: a list of {"domain", "policy", "since", "hold", "announced", "earliest", "record"}.
        #[arg(long)]
        json: bool,
    },
    /// Leave a domain's policy as it is until you release it; a step that was announced is called off.
    Hold { domain: Domain },
    /// Let a domain's policy become stricter again when the reports allow it.
    Release { domain: Domain },
    /// Set a domain's policy at once. It stays there until you release it, unless it is the step that was announced.
    Set { domain: Domain, policy: Policy },
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Policy {
    /// Ask receivers for nothing but reports.
    None,
    /// Ask them to treat forged mail as junk.
    Quarantine,
    /// Ask them to refuse it.
    Reject,
}

impl From<Policy> for DmarcPolicy {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::None => Self::None,
            Policy::Quarantine => Self::Quarantine,
            Policy::Reject => Self::Reject,
        }
    }
}

pub async fn run(command: Dmarc, client: &Client, paths: &Paths, config: &BoxConfig) -> anyhow::Result<()> {
    let (domain, change) = match command {
        Dmarc::List { json } => return list(client, json).await,
        Dmarc::Hold { domain } => (domain, DmarcChange::Hold),
        Dmarc::Release { domain } => (domain, DmarcChange::Release),
        Dmarc::Set { domain, policy } => (domain, DmarcChange::Set(policy.into())),
    };
    let stage = client.ask(&SetDmarc { domain, change }).await?;
    say!("{}", words(&stage));
    if matches!(change, DmarcChange::Set(_)) {
        match config.dns {
            DnsMode::Box => drop(converge::publish(paths).await?),
            DnsMode::External => say!("Enter at _dmarc.{} as TXT: {}", stage.domain, stage.record),
        }
    }
    Ok(())
}

async fn list(client: &Client, json: bool) -> anyhow::Result<()> {
    let stages = client.ask(&DmarcStages {}).await?;
    if json {
        return output::json(&stages);
    }
    for stage in &stages {
        say!("{}", words(stage));
    }
    Ok(())
}

fn day(at: u64) -> String {
    base::time::readable(at).chars().take(10).collect()
}

/// A sentence or two.
fn words(stage: &DmarcStage) -> String {
    let now = format!("{}: {} since {}.", stage.domain, stage.policy, day(stage.since));
    let then = match (&stage.announced, &stage.earliest) {
        _ if stage.hold => "It stays so until you release it.".to_owned(),
        (Some(DmarcStep { policy, at }), _) => format!("{policy} from {} on, as you were told by mail.", day(*at)),
        (None, Some(DmarcStep { policy, at })) => {
            format!("{policy} from {} on at the earliest, when the reports allow it; you are told before.", day(*at))
        }
        (None, None) => "There is nothing stricter.".to_owned(),
    };
    format!("{now} {then}")
}
