//! `mailstead backup-mx`: mail for other servers' domains while those are away.

use crate::output::say;
use crate::{commands, output};
use base::{Domain, Paths};
use clap::{Args, Subcommand};
use std::process::ExitCode;
use wire::Client;
use wire::directory::{self, BackupMx as Kept};

/// Take mail for another server's domain while that server is away (backup MX).
///
/// The domain's owner adds this box to its MX records, with a higher number than the own server's. Nothing is accepted
/// blindly: for each recipient the primary server is asked, and while it is away only those are taken whom it has named
/// before. Everybody else is told to come again.
#[derive(Args)]
pub struct BackupMx {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Become the backup of a domain, or change which server is its primary.
    Add {
        domain: Domain,
        /// The name of the domain's own mail server, which knows who exists.
        #[arg(long, value_name = "HOST")]
        primary: Domain,
        /// Print JSON: {"domain", "primary"}.
        #[arg(long)]
        json: bool,
    },
    /// List the domains that this box is backup for.
    List {
        /// Print JSON: a list of {"domain", "primary"}.
        #[arg(long)]
        json: bool,
    },
    /// Be no backup any more. What waits in the queue is still delivered.
    Remove {
        domain: Domain,
        /// Print JSON: {"domain"}.
        #[arg(long)]
        json: bool,
    },
}

impl BackupMx {
    pub async fn run(self, paths: Paths) -> anyhow::Result<ExitCode> {
        commands::require_root(&paths)?;
        let client = Client::new(paths);
        match self.command {
            Command::Add { domain, primary, json } => {
                let ask = directory::AddBackupMx { domain: domain.clone(), primary: primary.clone() };
                client.ask(&ask).await?;
                match json {
                    true => output::json(&Kept { domain, primary })?,
                    false => say!("This box takes mail for {domain} while {primary} is away."),
                }
            }
            Command::List { json } => {
                let kept = client.ask(&directory::BackupMxs {}).await?;
                if json {
                    output::json(&kept)?;
                    return Ok(ExitCode::SUCCESS);
                }
                if kept.is_empty() {
                    say!("This box is backup for no other domain.");
                }
                let rows = kept.iter().map(|one| vec![one.domain.to_string(), one.primary.to_string()]);
                output::table(&rows.collect::<Vec<_>>());
            }
            Command::Remove { domain, json } => {
                client.ask(&directory::RemoveBackupMx { domain: domain.clone() }).await?;
                match json {
                    true => output::json(&std::collections::BTreeMap::from([("domain", domain.to_string())]))?,
                    false => say!("This box is no backup for {domain} any more."),
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
