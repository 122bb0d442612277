//! `mailstead dns secondary`: other servers that answer for the zones.

use crate::output::say;
use crate::{converge, output};
use base::{BoxConfig, Domain, Paths};
use clap::Subcommand;
use std::net::IpAddr;
use wire::Client;
use wire::dns::{AddSecondary, RemoveSecondary, Secondaries, SecondaryKey, TsigKey};

#[derive(Subcommand)]
pub enum Secondary {
    /// Let a server fetch the zones (AXFR) by a key of its own (TSIG), tell it of changes (NOTIFY), and name it in the
    /// zones. Again for one that is there: its addresses are changed, its key stays.
    Add {
        /// The server's name, as it stands in NS records.
        server: Domain,
        /// The addresses where it is told of changes, and from which it fetches.
        #[arg(required = true)]
        addresses: Vec<IpAddr>,
    },
    /// List them.
    List {
        /// Print JSON: a list of {"server", "addresses", "key"}.
        #[arg(long)]
        json: bool,
    },
    /// Show what to enter at a secondary: .
    Key { server: Domain },
    /// Remove one: it cannot fetch the zones any more, and stands in them no more.
    Remove { server: Domain },
}

impl Secondary {
    pub async fn run(self, client: &Client, paths: &Paths, config: &BoxConfig) -> anyhow::Result<()> {
        match self {
            Secondary::Add { server, addresses } => {
                let key = client.ask(&AddSecondary { server: server.clone(), addresses }).await?;
                converge::publish(paths).await?;
                say!(
                    "{server} may fetch the zones, and stands in them. Enter it at the registrar as well when it answers."
                );
                shown(&key, paths, config)?;
            }
            Secondary::List { json } => list(client, json).await?,
            Secondary::Key { server } => shown(&client.ask(&SecondaryKey { server }).await?, paths, config)?,
            Secondary::Remove { server } => {
                client.ask(&RemoveSecondary { server: server.clone() }).await?;
                converge::publish(paths).await?;
                say!("{server} is no secondary any more. Remove it at the registrar first if it stands there.");
            }
        }
        Ok(())
    }
}

fn shown(key: &TsigKey, paths: &Paths, config: &BoxConfig) -> anyhow::Result<()> {
    let host = base::HostFacts::load(paths)?;
    let addresses: Vec<String> = host.addresses().map(|address| address.to_string()).collect();
    say!("\nAt the secondary:");
    say!("  primary     {} ({}), port 53", config.hostname, addresses.join(", "));
    say!("  key name    {}", key.name);
    say!("  algorithm   {}", key.algorithm);
    say!("  secret      {}", key.secret.expose());
    Ok(())
}

async fn list(client: &Client, json: bool) -> anyhow::Result<()> {
    let servers = client.ask(&Secondaries {}).await?;
    if json {
        return output::json(&servers);
    }
    let head = ["SERVER", "ADDRESSES", "KEY"].map(str::to_owned).to_vec();
    let rows = servers.into_iter().map(|one| {
        let addresses: Vec<String> = one.addresses.iter().map(ToString::to_string).collect();
        vec![one.server.to_string(), addresses.join(", "), one.key]
    });
    output::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
    Ok(())
}
