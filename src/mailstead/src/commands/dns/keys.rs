//! `mailstead dns ds` and `mailstead dns rollover`: the keys of the zones; `mailstead dns dkim`: those that sign mail.

use crate::output::say;
use crate::{converge, output};
use base::{Domain, Paths};
use clap::{Args, Subcommand};
use wire::Client;
use wire::dns::{DelegationSigners, DkimStages, Ds, Records, Rollover as Ask, RolloverStep, RotateDkim, ZoneKeys};

/// Shows each domain's DS in every form that registrars ask for.
pub async fn ds(client: &Client, domain: Option<Domain>, json: bool) -> anyhow::Result<()> {
    let domains = match domain {
        Some(domain) => vec![domain],
        None => {
            let mut zones: Vec<Domain> = client.ask(&Records {}).await?.into_iter().map(|record| record.zone).collect();
            zones.dedup();
            zones
        }
    };
    let mut all = Vec::new();
    for domain in domains {
        all.push(client.ask(&DelegationSigners { domain }).await?);
    }
    if json {
        return output::json(&all.concat());
    }
    for keys in &all {
        let newest = keys.first().map(|ds| ds.key_tag);
        for ds in keys {
            if ds.digest_type == 2 {
                forms(ds, newest == Some(ds.key_tag));
            } else {
                say!("  or, where it asks for SHA-384 (digest type {}):", ds.digest_type);
                say!("  {}. IN DS {} {} {} {}\n", ds.domain, ds.key_tag, ds.algorithm, ds.digest_type, ds.digest);
            }
        }
    }
    Ok(())
}

fn forms(ds: &Ds, current: bool) {
    if !current {
        say!("; the DS record of the key that is to go; the registrar may remove it when the one above is there");
    }
    say!("{}. IN DS {} {} {} {}", ds.domain, ds.key_tag, ds.algorithm, ds.digest_type, ds.digest);
    say!("  in parts:");
    say!("    key tag      {}", ds.key_tag);
    say!("    algorithm    {} (ECDSAP256SHA256)", ds.algorithm);
    say!("    digest type  {} (SHA-256)", ds.digest_type);
    say!("    digest       {}", ds.digest);
    say!("  or, where the registrar asks for the key itself:");
    say!("  {}. IN DNSKEY {} 3 {} {}", ds.domain, ds.flags, ds.algorithm, ds.public_key);
    say!("    flags        {} (KSK, secure entry point)", ds.flags);
    say!("    protocol     3");
    say!("    algorithm    {}", ds.algorithm);
    say!("    public key   {}", ds.public_key);
}

#[derive(Args)]
pub struct Rollover {
    domain: Domain,
    /// Begin a rollover: a new key is made, and when everybody knows it you are told by mail what to give the registrar.
    #[arg(long, conflicts_with_all = ["cancel", "status"])]
    start: bool,
    /// Call it off, as long as the parent zone does not show the new key.
    #[arg(long, conflicts_with = "status")]
    cancel: bool,
    /// Say where it stands; so does the command without an option.
    #[arg(long)]
    status: bool,
    /// Print JSON: {"domain", "keys": [{"key_tag", "kind", "phase", "since"}], "next", "registrar"}.
    #[arg(long)]
    json: bool,
}

impl Rollover {
    pub async fn run(self, client: &Client, paths: &Paths) -> anyhow::Result<()> {
        let step = match (self.start, self.cancel) {
            (true, _) => Some(RolloverStep::Start),
            (_, true) => Some(RolloverStep::Cancel),
            _ => None,
        };
        let keys = match step {
            Some(step) => {
                let keys = client.ask(&Ask { domain: self.domain, step }).await?;
                converge::publish(paths).await?;
                keys
            }
            None => client.ask(&ZoneKeys { domain: self.domain }).await?,
        };
        if self.json {
            return output::json(&keys);
        }
        let head = ["KEY TAG", "KIND", "PHASE", "SINCE"].map(str::to_owned).to_vec();
        let rows = keys.keys.iter().map(|key| {
            let since = key.since.map_or_else(|| "about to be served".to_owned(), base::time::readable);
            vec![key.key_tag.to_string(), key.kind.clone(), key.phase.clone(), since]
        });
        output::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
        say!("\n{}", keys.next);
        Ok(())
    }
}

#[derive(Subcommand)]
pub enum Dkim {
    /// List each domain's selectors, and what comes next.
    List {
        /// Print JSON: a list of {"domain", "signing", "since", "next", "former", "words", "by_hand"}.
        #[arg(long)]
        json: bool,
    },
    /// Make a domain's next keys now. They sign when their records are seen in the public DNS.
    Rotate { domain: Domain },
}

pub async fn dkim(command: Option<Dkim>, client: &Client, paths: &Paths) -> anyhow::Result<()> {
    let (stages, json) = match command.unwrap_or(Dkim::List { json: false }) {
        Dkim::List { json } => (client.ask(&DkimStages {}).await?, json),
        Dkim::Rotate { domain } => {
            let stage = client.ask(&RotateDkim { domain }).await?;
            converge::publish(paths).await?;
            (vec![stage], false)
        }
    };
    if json {
        return output::json(&stages);
    }
    for stage in stages {
        let since: String = base::time::readable(stage.since).chars().take(10).collect();
        say!("{}: signed by {} since {since}. {}", stage.domain, stage.signing.join(" and "), stage.words);
    }
    Ok(())
}
