//! `mailstead sending`: how much accounts send, and which are braked.

use crate::output::say;
use crate::{commands, output};
use base::{Address, Paths, time};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::process::ExitCode;
use wire::Client;
use wire::mta::{self, AccountSending};

/// See how much each account sends, and let a braked one send again.
///
/// An account may send 300 messages in an hour and 1,500 in a day, to 200 and 500 people to whom it never wrote before.
/// One that goes beyond is braked for an hour or a day, for it looks like a stolen password; its owner and you are told
/// by mail.
#[derive(Args)]
pub struct Sending {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List what each account has sent in the last day, and which are braked.
    List {
        /// Print JSON: a list of {"account", "messages_hour", "messages_day", "recipients_day", "new_recipients_hour",
        /// "new_recipients_day", "brake"}.
        #[arg(long)]
        json: bool,
    },
    /// Let a braked account send again at once.
    Lift {
        address: Address,
        /// Print JSON: {"account", "was_braked"}.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Serialize)]
struct Lifted {
    account: Address,
    was_braked: bool,
}

impl Sending {
    pub async fn run(self, paths: Paths) -> anyhow::Result<ExitCode> {
        commands::require_root(&paths)?;
        let client = Client::new(paths);
        match self.command {
            Command::List { json } => list(&client, json).await?,
            Command::Lift { address, json } => {
                let account = address.account();
                let was_braked = client.ask(&mta::LiftBrake { account: account.clone() }).await?;
                match (json, was_braked) {
                    (true, _) => output::json(&Lifted { account, was_braked })?,
                    (false, true) => say!("{account} may send again."),
                    (false, false) => say!("{account} was not braked; what it sent before no longer counts."),
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn list(client: &Client, json: bool) -> anyhow::Result<()> {
    let accounts = client.ask(&mta::Sending {}).await?;
    if json {
        return output::json(&accounts);
    }
    if accounts.is_empty() {
        say!("No account has sent anything in the last day.");
    }
    output::table(&accounts.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

fn row(it: &AccountSending) -> Vec<String> {
    vec![
        it.account.to_string(),
        format!("{} messages in the last hour, {} in the last day", it.messages_hour, it.messages_day),
        format!("new recipients: {} and {}", it.new_recipients_hour, it.new_recipients_day),
        it.brake
            .as_ref()
            .map_or_else(String::new, |brake| format!("braked until {}: {}", time::readable(brake.until), brake.why)),
    ]
}
