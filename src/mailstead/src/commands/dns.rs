//! `mailstead dns`: what the zones say and why, and what the registrar has to know.

use crate::commands::dmarc::Dmarc;
use crate::output::say;
use crate::{commands, converge, output};
use base::{DnsMode, Domain, Paths};
use clap::{Args, Subcommand};
use std::process::ExitCode;
use wire::Client;
use wire::dns::{DelegationSigners, Need, Record, Records};

/// Show the DNS records of the box's domains with their reasons, and the DS records for the registrar.
#[derive(Args)]
pub struct Dns {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The records to enter where the DNS is kept elsewhere, each with its reason.
    Records {
        /// Only this domain's.
        domain: Option<Domain>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Everything in the zones that this box serves, each record with its reason.
    Zone {
        /// Only this domain's.
        domain: Option<Domain>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// The DS record that the registrar has to enter for a domain.
    Ds {
        domain: Domain,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show and set how strict the domains' DMARC policies are: they become stricter by themselves, told a week before.
    Dmarc {
        #[command(subcommand)]
        command: Option<Dmarc>,
    },
    /// Sign and serve every zone that changed or whose signatures are due (a timer does this daily).
    Publish,
}

impl Dns {
    pub async fn run(self, paths: Paths) -> anyhow::Result<ExitCode> {
        commands::require_root(&paths)?;
        let config = commands::config(&paths)?;
        let client = Client::new(paths.clone());
        match self.command {
            Command::Records { domain, json } => {
                let mut records = records(&client, domain.as_ref()).await?;
                records.retain(|record| record.need != Need::BoxOnly);
                show(&records, json)?;
            }
            Command::Zone { domain, json } => {
                let wrong = "the DNS of this box is kept elsewhere; see: mailstead dns records";
                anyhow::ensure!(config.dns == DnsMode::Box, wrong);
                show(&records(&client, domain.as_ref()).await?, json)?;
            }
            Command::Ds { domain, json } => ds(&client, domain, json).await?,
            Command::Dmarc { command } => {
                let command = command.unwrap_or(Dmarc::List { json: false });
                commands::dmarc::run(command, &client, &paths, &config).await?;
            }
            Command::Publish => {
                for zone in converge::publish(&paths).await? {
                    say!("{zone} is signed anew.");
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn records(client: &Client, domain: Option<&Domain>) -> anyhow::Result<Vec<Record>> {
    let mut records = client.ask(&Records {}).await?;
    if let Some(domain) = domain {
        records.retain(|record| record.zone == *domain);
        anyhow::ensure!(!records.is_empty(), "{domain} is not a domain of this box; see: mailstead user list");
    }
    Ok(records)
}

fn show(records: &[Record], json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(&records);
    }
    for record in records {
        let need = match record.need {
            Need::Required => "required",
            Need::Recommended => "recommended",
            Need::Optional => "optional",
            Need::BoxOnly => "kept by the box",
        };
        // Lines of a zone file: the reason stands above as a comment, so the whole can be pasted.
        say!("; {need}: {}", record.reason);
        say!("{}\n", ::dns::zonefile::line(record));
    }
    Ok(())
}

async fn ds(client: &Client, domain: Domain, json: bool) -> anyhow::Result<()> {
    let records = client.ask(&DelegationSigners { domain }).await?;
    if json {
        return output::json(&records);
    }
    for ds in records {
        say!("{}. IN DS {} {} {} {}", ds.domain, ds.key_tag, ds.algorithm, ds.digest_type, ds.digest);
        say!("; for registrars that ask for the key: flags {}, algorithm {}, public key", ds.flags, ds.algorithm);
        say!("; {}", ds.public_key);
    }
    Ok(())
}
