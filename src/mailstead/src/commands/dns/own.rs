//! `mailstead dns add`, `set`, `remove`, `list`: records of the owner's own.

use crate::output::say;
use crate::{converge, output};
use base::Paths;
use clap::Args;
use wire::Client;
use wire::dns::{ChangeCustom, CustomChange, CustomRecord, CustomRecords};

#[derive(Args)]
pub struct Given {
    /// The name in full, such as shop.example.org.
    name: String,
    /// A, AAAA, CAA, CNAME, DS, MX, NAPTR, NS, SRV, SSHFP, TLSA or TXT.
    #[arg(value_name = "TYPE")]
    kind: String,
    /// Each value as one argument, written as in a zone file: '10 mail.example.net.'. TXT is the plain text.
    #[arg(required = true)]
    values: Vec<String>,
    /// How long others may keep it, in seconds.
    #[arg(long, default_value_t = 3600)]
    ttl: u32,
    /// Have it in place of the box's own record, where mail does not depend on that.
    #[arg(long)]
    replace: bool,
}

impl Given {
    fn records(self) -> Vec<CustomRecord> {
        let Self { name, kind, values, ttl, replace } = self;
        let record = |value| CustomRecord { name: name.clone(), kind: kind.clone(), value, ttl, replace };
        values.into_iter().map(record).collect()
    }

    pub async fn add(self, client: &Client, paths: &Paths) -> anyhow::Result<()> {
        for record in self.records() {
            client.ask(&ChangeCustom { change: CustomChange::Add(record) }).await?;
        }
        served(paths).await
    }

    pub async fn set(self, client: &Client, paths: &Paths) -> anyhow::Result<()> {
        client.ask(&ChangeCustom { change: CustomChange::Set(self.records()) }).await?;
        served(paths).await
    }
}

#[derive(Args)]
pub struct Removed {
    name: String,
    /// Only records of this type.
    #[arg(value_name = "TYPE")]
    kind: Option<String>,
    /// Only this value.
    value: Option<String>,
}

impl Removed {
    pub async fn run(self, client: &Client, paths: &Paths) -> anyhow::Result<()> {
        let Self { name, kind, value } = self;
        client.ask(&ChangeCustom { change: CustomChange::Remove { name, kind, value } }).await?;
        served(paths).await
    }
}

async fn served(paths: &Paths) -> anyhow::Result<()> {
    for zone in converge::publish(paths).await? {
        say!("{zone} is served with it.");
    }
    Ok(())
}

pub async fn list(client: &Client, json: bool) -> anyhow::Result<()> {
    let records = client.ask(&CustomRecords {}).await?;
    if json {
        return output::json(&records);
    }
    if records.is_empty() {
        say!("You added no records; the box's own: mailstead dns zone");
        return Ok(());
    }
    let head = ["NAME", "TTL", "TYPE", "REPLACES", "VALUE"].map(str::to_owned).to_vec();
    let rows = records.into_iter().map(|record| {
        let replaces = if record.replace { "yes" } else { "" };
        vec![record.name, record.ttl.to_string(), record.kind, replaces.to_owned(), record.value]
    });
    output::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
    Ok(())
}
