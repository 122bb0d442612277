//! `mailstead user`: accounts. Domains follow from their addresses.

use crate::commands::app_password::AppPassword;
use crate::commands::second_factor::SecondFactor;
use crate::output::say;
use crate::{commands, converge, output};
use anyhow::Context;
use base::{Address, Paths, Secret};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use wire::{Client, directory, mailbox};

/// Add, list, change and remove accounts. The first address of a new domain brings its DNS zone and keys with it.
#[derive(Args)]
pub struct User {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Add an account; prints a generated password unless one is given in a file.
    Add {
        address: Address,
        /// Read the password from the first line of this file (- for standard input).
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// Let the account into the panel.
        #[arg(long)]
        admin: bool,
    },
    /// List every account.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Set a new password; prints a generated one unless one is given in a file.
    Password {
        address: Address,
        /// Read the password from the first line of this file (- for standard input).
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    AppPassword(AppPassword),
    SecondFactor(SecondFactor),
    /// Keep an account's outgoing mail back for some seconds, so that it can still be taken back: 600 at most, 0 for not
    /// at all. `mailstead queue remove` takes a message back.
    UndoWindow {
        address: Address,
        seconds: u32,
    },
    /// Remove an account. For 30 days `mailstead undelete ADDRESS` brings it back with its mail.
    Remove {
        address: Address,
    },
}

impl User {
    pub async fn run(self, paths: Paths) -> anyhow::Result<ExitCode> {
        commands::require_root(&paths)?;
        let config = commands::config(&paths)?;
        let client = Client::new(paths.clone());
        match self.command {
            Command::Add { address, password_file, admin } => {
                let (password, generated) = password(password_file.as_deref())?;
                let account = address.account();
                client.ask(&directory::AddAccount { address, password: password.clone(), admin }).await?;
                say!("Account:  {account}");
                if generated {
                    say!("Password: {}", password.expose());
                }
                tell(converge::follow(&paths, &config).await);
            }
            Command::List { json } => list(&client, json).await?,
            Command::Password { address, password_file } => {
                let (password, generated) = password(password_file.as_deref())?;
                client.ask(&directory::SetPassword { account: address, password: password.clone() }).await?;
                if generated {
                    say!("Password: {}", password.expose());
                }
            }
            Command::UndoWindow { address, seconds } => {
                let account = address.account();
                client.ask(&directory::SetUndoWindow { account: account.clone(), seconds }).await?;
                match seconds {
                    0 => say!("Mail of {account} leaves at once."),
                    _ => say!("Mail of {account} is kept back for {seconds} seconds before it leaves."),
                }
            }
            Command::AppPassword(command) => command.run(&client).await?,
            Command::SecondFactor(command) => command.run(&client, config.hostname.as_str()).await?,
            Command::Remove { address } => {
                client.ask(&directory::RemoveAccount { account: address.clone() }).await?;
                client.ask(&mailbox::Retire { account: address.account() }).await?;
                say!("{0} is removed. For 30 days it can be brought back: mailstead undelete {0}", address.account());
                tell(converge::follow(&paths, &config).await);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What could not follow yet; the account itself is there all the same.
pub fn tell(followed: anyhow::Result<Vec<String>>) {
    let troubles = followed
        .unwrap_or_else(|error| vec![format!("the zone could not follow yet: {error:#}; run: mailstead apply")]);
    troubles.iter().for_each(|trouble| eprintln!("mailstead: {trouble}"));
}

/// An account with what it keeps, as far as the mailbox service can tell just now.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    account: directory::Account,
    mail: Option<mailbox::Usage>,
}

async fn list(client: &Client, json: bool) -> anyhow::Result<()> {
    let accounts = client.ask(&directory::Accounts {}).await?;
    let usage = match client.ask(&mailbox::AccountUsage {}).await {
        Ok(usage) => usage,
        Err(error) => {
            eprintln!("mailstead: how much they keep is not known: {error}");
            Vec::new()
        }
    };
    let shown: Vec<Shown> = accounts
        .into_iter()
        .map(|account| Shown { mail: usage.iter().find(|one| one.account == account.address).cloned(), account })
        .collect();
    if json {
        return output::json(&shown);
    }
    output::table(&shown.iter().map(Shown::row).collect::<Vec<_>>());
    Ok(())
}

impl Shown {
    fn rights(&self) -> &'static str {
        match (self.account.admin, self.account.second_factor) {
            (true, true) => "admin, second factor",
            (true, false) => "admin",
            (false, true) => "second factor",
            (false, false) => "",
        }
    }

    fn row(&self) -> Vec<String> {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let mut cells = vec![
            self.account.address.to_string(),
            self.rights().to_owned(),
            base::time::readable(self.account.created),
        ];
        if let Some(mail) = &self.mail {
            cells.push(format!("{} messages, {} MiB", mail.messages, mib(mail.bytes)));
            cells.push(format!(
                "deleted: {} MiB, search index: {} MiB",
                mib(mail.removed_bytes),
                mib(mail.index_bytes)
            ));
        }
        cells
    }
}

/// The password from a file, or a generated one (then `true`). Never from an argument, which every user could see.
fn password(file: Option<&Path>) -> anyhow::Result<(Secret, bool)> {
    let Some(file) = file else { return Ok((Secret::generate(), true)) };
    let text = match file {
        dash if dash == Path::new("-") => std::io::read_to_string(std::io::stdin().lock()).context("standard input")?,
        file => std::fs::read_to_string(file).with_context(|| file.display().to_string())?,
    };
    let line = text.lines().next().unwrap_or_default();
    anyhow::ensure!(!line.is_empty(), "{} has no password in its first line", file.display());
    Ok((Secret::new(line), false))
}
