//! `mailstead dns token`: names whose addresses change.

use crate::output::say;
use crate::{converge, output};
use base::{BoxConfig, Paths};
use clap::Subcommand;
use wire::Client;
use wire::dns::{AddDynamic, DynamicNames, RemoveDynamic};

#[derive(Subcommand)]
pub enum Token {
    /// Make a token for a name, in place of the one that it had. It is shown this once.
    Add { name: String },
    /// List the names with the addresses that they lead to.
    List {
        /// Print JSON: a list of {"name", "ipv4", "ipv6", "changed"}.
        #[arg(long)]
        json: bool,
    },
    /// Remove a name and its token.
    Remove { name: String },
}

impl Token {
    pub async fn run(self, client: &Client, paths: &Paths, config: &BoxConfig) -> anyhow::Result<()> {
        match self {
            Token::Add { name } => {
                let token = client.ask(&AddDynamic { name: name.clone() }).await?;
                let host = &config.hostname;
                say!("The token of {name}, shown this once:\n\n  {}\n", token.expose());
                say!(
                    "In a router, as dynamic DNS (“dyndns2” or “custom”): server {host}, user name {name}, password the token."
                );
                say!("By hand: curl -u {name} 'https://{host}/nic/update?hostname={name}'  (asks for the token)");
            }
            Token::List { json } => list(client, json).await?,
            Token::Remove { name } => {
                client.ask(&RemoveDynamic { name: name.clone() }).await?;
                converge::publish(paths).await?;
                say!("{name} is gone, and its token with it.");
            }
        }
        Ok(())
    }
}

async fn list(client: &Client, json: bool) -> anyhow::Result<()> {
    let names = client.ask(&DynamicNames {}).await?;
    if json {
        return output::json(&names);
    }
    let head = ["NAME", "IPV4", "IPV6", "CHANGED"].map(str::to_owned).to_vec();
    let rows = names.into_iter().map(|one| {
        let v4 = one.ipv4.map(|address| address.to_string()).unwrap_or_default();
        let v6 = one.ipv6.map(|address| address.to_string()).unwrap_or_default();
        vec![one.name, v4, v6, one.changed.map_or_else(|| "never".to_owned(), base::time::readable)]
    });
    output::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
    Ok(())
}
