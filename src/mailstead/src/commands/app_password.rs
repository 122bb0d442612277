//! `mailstead user app-password`: random passwords, one for each device.

use crate::output::{self, say};
use base::Address;
use clap::{Args, Subcommand};
use serde::Serialize;
use wire::{Client, directory};

/// Add, list and remove app passwords: random ones for single devices and programs.
///
/// An app password lets one device in to read and send mail (IMAP, POP3, ManageSieve, SMTP), and never into the panel.
/// When a device is lost, its app password is removed; the account's own password and the other devices stay as they
/// are. The box keeps nothing from which an app password could be worked out, so it is shown once only. Mail programs
/// that know SCRAM-SHA-256 can log in with it without ever sending it.
///
/// An app password is typed as shown, hyphens included. Changing the account's password leaves app passwords valid.
#[derive(Args)]
pub struct AppPassword {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make an app password and print it, this once.
    ///
    /// Example: mailstead user app-password add ann@example.org "Ann's phone"
    Add {
        /// The account.
        address: Address,
        /// The device or program, such as phone; 1 to 64 characters.
        name: String,
        /// Print JSON: {"account", "name", "password"}.
        #[arg(long)]
        json: bool,
    },
    /// List an account's app passwords: name, when made, and the day of the last login with it (UTC).
    List {
        /// The account.
        address: Address,
        /// Print JSON: a list of {"name", "created", "last_used"}, times in seconds since 1970, last_used null if never.
        #[arg(long)]
        json: bool,
    },
    /// Remove an app password; the device is let in no more. Sessions that are open go on until they end.
    Remove {
        /// The account.
        address: Address,
        /// The name it was added under.
        name: String,
        /// Print JSON: {"account", "name", "removed"}.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Serialize)]
struct Made<'a> {
    account: Address,
    name: &'a str,
    password: &'a str,
}

#[derive(Serialize)]
struct Gone<'a> {
    account: Address,
    name: &'a str,
    removed: bool,
}

impl AppPassword {
    pub async fn run(self, client: &Client) -> anyhow::Result<()> {
        match self.command {
            Command::Add { address, name, json } => {
                let (account, name) = (address.account(), name.trim());
                let ask = directory::AddAppPassword { account: account.clone(), name: name.to_owned() };
                let password = client.ask(&ask).await?;
                if json {
                    return output::json(&Made { account, name, password: password.expose() });
                }
                say!("Account:      {account}");
                say!("App password: {} (for {name}; it is not shown again)", password.expose());
                Ok(())
            }
            Command::List { address, json } => list(client, address, json).await,
            Command::Remove { address, name, json } => {
                let (account, name) = (address.account(), name.trim());
                let ask = directory::RemoveAppPassword { account: account.clone(), name: name.to_owned() };
                client.ask(&ask).await?;
                if json {
                    return output::json(&Gone { account, name, removed: true });
                }
                say!("The app password “{name}” of {account} is removed.");
                Ok(())
            }
        }
    }
}

async fn list(client: &Client, account: Address, json: bool) -> anyhow::Result<()> {
    let kept = client.ask(&directory::AppPasswords { account: account.clone() }).await?;
    if json {
        return output::json(&kept);
    }
    if kept.is_empty() {
        say!("{} has no app passwords.", account.account());
    }
    let rows = kept.into_iter().map(|one| {
        let last = one.last_used.map_or("never used".to_owned(), |day| format!("last used {}", day_of(day)));
        vec![one.name, format!("made {}", day_of(one.created)), last]
    });
    output::table(&rows.collect::<Vec<_>>());
    Ok(())
}

/// The date alone.
fn day_of(time: u64) -> String {
    base::time::readable(time).chars().take(10).collect()
}
