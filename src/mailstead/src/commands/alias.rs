//! `mailstead alias`: further addresses for accounts.

use crate::commands::user::tell;
use crate::output::say;
use crate::{commands, converge, output};
use base::{Address, Paths};
use clap::{Args, Subcommand};
use std::process::ExitCode;
use wire::{Client, directory};

/// Add, list and remove aliases. postmaster@, abuse@, hostmaster@ and admin@ of every domain reach the owner by themselves, and so
/// does mailstead-reports@, but for the reports, which the box keeps.
#[derive(Args)]
pub struct Alias {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Add an alias to one or more accounts of this box, or change where it leads.
    Add {
        address: Address,
        #[arg(required = true)]
        accounts: Vec<Address>,
    },
    /// List every alias.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove an alias.
    Remove { address: Address },
}

impl Alias {
    pub async fn run(self, paths: Paths) -> anyhow::Result<ExitCode> {
        commands::require_root(&paths)?;
        let config = commands::config(&paths)?;
        let client = Client::new(paths.clone());
        match self.command {
            Command::Add { address, accounts } => {
                client.ask(&directory::AddAlias { address: address.clone(), targets: accounts }).await?;
                say!("{} is added.", address.account());
                tell(converge::follow(&paths, &config).await);
            }
            Command::List { json } => list(&client, json).await?,
            Command::Remove { address } => {
                client.ask(&directory::RemoveAlias { address: address.clone() }).await?;
                say!("{} is removed.", address.account());
                tell(converge::follow(&paths, &config).await);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn list(client: &Client, json: bool) -> anyhow::Result<()> {
    let aliases = client.ask(&directory::Aliases {}).await?;
    if json {
        return output::json(&aliases);
    }
    let rows = aliases.iter().map(|alias| {
        let targets: Vec<String> = alias.targets.iter().map(Address::to_string).collect();
        vec![alias.address.to_string(), targets.join(", "), if alias.required { "(required)" } else { "" }.to_owned()]
    });
    output::table(&rows.collect::<Vec<_>>());
    Ok(())
}
