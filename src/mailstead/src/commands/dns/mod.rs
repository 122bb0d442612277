//! `mailstead dns`: what the zones say and why, what the registrar has to know, and what the owner adds.

mod keys;
mod own;
mod records;
mod secondary;
mod token;

use crate::commands::dmarc::Dmarc;
use crate::output::say;
use crate::{commands, converge};
use base::{DnsMode, Domain, Paths};
use clap::{Args, Subcommand};
use std::process::ExitCode;
use std::time::Duration;
use wire::Client;
use wire::dns::{Need, PlanMove};

/// Show the DNS records of the box's domains with their reasons, add your own, and see to keys and secondaries.
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
        #[command(flatten)]
        shape: records::Shape,
    },
    /// Everything in the zones that this box serves, each record with its reason.
    Zone {
        /// Only this domain's.
        domain: Option<Domain>,
        #[command(flatten)]
        shape: records::Shape,
    },
    /// Compare every record with what the public name servers answer: “you have …, wanted …”. Exits with 1 if a
    /// required one differs.
    Check {
        /// Only this domain's.
        domain: Option<Domain>,
        /// Print JSON: a list of {"name", "kind", "value", "need", "seen", "problem", …}.
        #[arg(long)]
        json: bool,
    },
    /// The DS record that the registrar has to enter for a domain, in every form that registrars ask for.
    Ds {
        /// The domain; all of them if it is left out.
        domain: Option<Domain>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// See where the keys of a domain's zone stand; begin a rollover of the key that the registrar knows, or call it off.
    Rollover(keys::Rollover),
    /// Add one record.
    Add(own::Given),
    /// Have these values in place of those that you added at the name and of the kind.
    Set(own::Given),
    /// Remove records that you added.
    Remove(own::Removed),
    /// List the records that you added.
    List {
        /// Print JSON: a list of {"name", "kind", "value", "ttl", "replace"}.
        #[arg(long)]
        json: bool,
    },
    /// Names whose addresses change: each by a token, as routers know it (dynamic DNS).
    Token {
        #[command(subcommand)]
        command: token::Token,
    },
    /// Other servers that answer for the zones.
    Secondary {
        #[command(subcommand)]
        command: secondary::Secondary,
    },
    /// Before the box moves to other addresses: have everybody keep its addresses for five minutes only.
    PlanMove {
        /// For how many days.
        #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=60))]
        days: u64,
        /// The move is done, or off: an hour again.
        #[arg(long, conflicts_with = "days")]
        end: bool,
    },
    /// See where the DKIM keys stand, or have the next ones now: they change twice a year, by themselves.
    Dkim {
        #[command(subcommand)]
        command: Option<keys::Dkim>,
    },
    /// Show and set how strict the domains' DMARC policies are: they become stricter by themselves, told a week before.
    Dmarc {
        #[command(subcommand)]
        command: Option<Dmarc>,
    },
    /// Sign and serve every zone that changed or whose signatures are due (a timer does this daily).
    Publish,
    /// Wait until the zones have been looked at after a start; the name server starts then.
    #[command(hide = true)]
    Wait,
}

impl Dns {
    pub async fn run(self, paths: Paths) -> anyhow::Result<ExitCode> {
        commands::require_root(&paths)?;
        let config = commands::config(&paths)?;
        let client = Client::new(paths.clone());
        match self.command {
            Command::Records { domain, shape } => {
                let mut records = records::asked(&client, domain.as_ref()).await?;
                if domain.is_none() {
                    records::tell_of_sites(&config, &records);
                }
                records.retain(|record| record.need != Need::BoxOnly);
                records::show(&records, &shape)?;
            }
            Command::Zone { domain, shape } => {
                let wrong = "the DNS of this box is kept elsewhere; see: mailstead dns records";
                anyhow::ensure!(config.dns == DnsMode::Box, wrong);
                let records = records::asked(&client, domain.as_ref()).await?;
                if domain.is_none() {
                    records::tell_of_sites(&config, &records);
                }
                records::show(&records, &shape)?;
            }
            Command::Check { domain, json } => return records::check(&paths, config, domain.as_ref(), json).await,
            Command::Ds { domain, json } => keys::ds(&client, domain, json).await?,
            Command::Rollover(rollover) => rollover.run(&client, &paths).await?,
            Command::Add(given) => given.add(&client, &paths).await?,
            Command::Set(given) => given.set(&client, &paths).await?,
            Command::Remove(removed) => removed.run(&client, &paths).await?,
            Command::List { json } => own::list(&client, json).await?,
            Command::Token { command } => command.run(&client, &paths, &config).await?,
            Command::Secondary { command } => command.run(&client, &paths, &config).await?,
            Command::PlanMove { days, end } => {
                let until = (!end).then(|| base::time::now_unix() + days * 86_400);
                client.ask(&PlanMove { until }).await?;
                converge::publish(&paths).await?;
                match until {
                    Some(until) => say!("Until {} addresses are kept for five minutes.", base::time::readable(until)),
                    None => say!("Addresses are kept for an hour again."),
                }
                say!("What was given out before is kept for an hour at most.");
            }
            Command::Dkim { command } => keys::dkim(command, &client, &paths).await?,
            Command::Dmarc { command } => {
                let command = command.unwrap_or(Dmarc::List { json: false });
                commands::dmarc::run(command, &client, &paths, &config).await?;
            }
            Command::Publish => {
                for zone in converge::publish(&paths).await? {
                    say!("{zone} is signed anew.");
                }
            }
            Command::Wait => wait(&paths).await,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The role binds its door after it has renewed what had ended. A name server must start in any case.
async fn wait(paths: &Paths) {
    let door = paths.socket(base::Role::Dns, base::Role::Dns.name());
    for _ in 0..200 {
        if std::os::unix::net::UnixStream::connect(&door).is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
