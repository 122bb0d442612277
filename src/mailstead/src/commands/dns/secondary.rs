//! `mailstead dns secondary`: other servers that answer for the zones.

use crate::output::say;
use crate::{converge, output};
use base::{BoxConfig, Domain, Paths};
use clap::Subcommand;
use provision::served;
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use wire::Client;
use wire::dns::{AddSecondary, RemoveSecondary, Secondaries, Secondary as Known, SecondaryKey, TsigKey};

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
    /// List them, and whether each has the zones as this box has them.
    List {
        /// Print JSON: a list of {"server", "addresses", "key", "zones": [{"zone", "here", "serials"}]}.
        #[arg(long)]
        json: bool,
    },
    /// Show what to enter at a secondary.
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
            Secondary::List { json } => list(client, paths, json).await?,
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

/// A secondary with what it serves.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    secondary: Known,
    zones: Vec<Zone>,
}

#[derive(Serialize)]
struct Zone {
    zone: Domain,
    /// The serial that this box serves.
    here: Option<u32>,
    /// What the secondary answers with at each of its addresses; `null` where it does not answer for the zone.
    serials: Vec<Option<u32>>,
}

async fn list(client: &Client, paths: &Paths, json: bool) -> anyhow::Result<()> {
    let looking: Vec<_> =
        client.ask(&Secondaries {}).await?.into_iter().map(|one| tokio::spawn(seen(paths.clone(), one))).collect();
    let mut servers = Vec::new();
    for one in looking {
        servers.push(one.await??);
    }
    if json {
        return output::json(&servers);
    }
    let head = ["SERVER", "ADDRESSES", "KEY", "ZONES"].map(str::to_owned).to_vec();
    let rows = servers.into_iter().map(|Shown { secondary, zones }| {
        let differing = zones.iter().flat_map(|zone| zone.differs(&secondary.addresses)).collect::<Vec<_>>();
        let addresses: Vec<String> = secondary.addresses.iter().map(ToString::to_string).collect();
        let state = if differing.is_empty() { "as here".to_owned() } else { differing.join("; ") };
        vec![secondary.server.to_string(), addresses.join(", "), secondary.key, state]
    });
    output::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
    Ok(())
}

/// Asks a secondary for the serial of every zone.
async fn seen(paths: Paths, secondary: Known) -> anyhow::Result<Shown> {
    let mut zones = Vec::new();
    for zone in served::zones(&paths)? {
        let asking: Vec<_> = secondary
            .addresses
            .iter()
            .map(|address| {
                let (server, zone) = (SocketAddr::new(*address, 53), zone.clone());
                tokio::spawn(async move { served::asked(server, &zone).await })
            })
            .collect();
        let mut serials = Vec::new();
        for answer in asking {
            serials.push(answer.await?);
        }
        zones.push(Zone { here: served::handed_over(&paths, &zone)?, zone, serials });
    }
    Ok(Shown { secondary, zones })
}

impl Zone {
    /// In what it differs from this box, in words.
    fn differs(&self, addresses: &[IpAddr]) -> Vec<String> {
        let at = |wanted: &dyn Fn(Option<u32>) -> bool| {
            let found = addresses.iter().zip(&self.serials).filter(|(_, serial)| wanted(**serial));
            found.map(|(address, _)| address.to_string()).collect::<Vec<_>>().join(", ")
        };
        let behind = at(&|serial| serial.is_some() && serial != self.here);
        let silent = at(&|serial| serial.is_none());
        let words = [(behind, "is behind at"), (silent, "is not answered for at")];
        words
            .into_iter()
            .filter(|(place, _)| !place.is_empty())
            .map(|(place, words)| format!("{} {words} {place}", self.zone))
            .collect()
    }
}
