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
    /// Tell how the large providers take this box's mail: how much went to each in the last days, what they turned away
    /// and why, and how much is sensible today. A new address has to win their trust slowly.
    Volume {
        /// Print JSON: a list of {"provider", "days", "answered", "advice"}.
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
            Command::Volume { json } => volume(&client, json).await?,
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

/// Days that are shown; JSON has all.
const DAYS: usize = 7;

async fn volume(client: &Client, json: bool) -> anyhow::Result<()> {
    let providers = client.ask(&mta::Volume {}).await?;
    if json {
        return output::json(&providers);
    }
    if providers.is_empty() {
        say!("Nothing went to a large provider in the last 90 days.");
    }
    for it in &providers {
        say!("{}", it.provider);
        say!("  today: {} sent, {} sensible; {}", it.advice.sent_today, it.advice.sensible_today, it.advice.words);
        for day in it.days.iter().rev().take(DAYS) {
            let date = time::readable(day.day);
            let date = date.split(' ').next().unwrap_or_default();
            say!("  {date}: {} sent, {} put off, {} refused", day.sent, day.put_off, day.refused);
        }
        for answer in &it.answered {
            say!("  {} times in the last week: {}", answer.count, answer.words);
            answer.means.iter().for_each(|means| say!("    {means}"));
            answer.remedy.iter().for_each(|remedy| say!("    {remedy}"));
        }
    }
    Ok(())
}
