//! `mailstead undelete`: removed accounts and removed mail, brought back.

use crate::output::say;
use crate::{commands, converge, output};
use anyhow::Context;
use base::{Address, Paths};
use clap::Args;
use serde::Serialize;
use std::process::ExitCode;
use wire::mailbox::{BroughtBack, RemovedMessage};
use wire::{Client, directory, mailbox};

/// Bring back an account that was removed, or mail that was deleted, within the last 30 days.
///
/// Without an address it lists what can be brought back. For an account that was removed, the account comes back with
/// its password, its place in aliases, and its mail. For one that is there, deleted messages go back into the folders
/// that they were in.
///
/// Examples: mailstead undelete; mailstead undelete ann@example.org --since 2d; mailstead undelete ann@example.org --list
#[derive(Args)]
pub struct Undelete {
    /// The account.
    account: Option<Address>,
    /// Only messages of this folder, such as INBOX or Work/2026.
    #[arg(long = "folder", value_name = "FOLDER", requires = "account")]
    from: Option<String>,
    /// Only messages deleted in this time: a number with m, h or d for minutes, hours or days.
    #[arg(long, requires = "account", value_parser = seconds)]
    since: Option<u64>,
    /// Only list the messages that can be brought back.
    #[arg(long, requires = "account")]
    list: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What can be brought back.
#[derive(Serialize)]
struct Overview {
    accounts: Vec<directory::RemovedAccount>,
    mail: Vec<mailbox::Usage>,
}

/// What was brought back.
#[derive(Serialize)]
struct Back {
    account: Address,
    restored_account: bool,
    folders: Vec<BroughtBack>,
}

impl Undelete {
    pub async fn run(self, paths: Paths) -> anyhow::Result<ExitCode> {
        commands::require_root(&paths)?;
        let client = Client::new(paths.clone());
        let Some(account) = self.account.as_ref().map(Address::account) else {
            overview(&client, self.json).await?;
            return Ok(ExitCode::SUCCESS);
        };
        if self.list {
            let removed = client.ask(&mailbox::Removed { account }).await?;
            list(&removed, self.json)?;
            return Ok(ExitCode::SUCCESS);
        }
        let known = client.ask(&directory::Accounts {}).await?;
        let restored_account = !known.iter().any(|known| known.address == account);
        let folders = if restored_account {
            restore(&client, &paths, &account).await?;
            Vec::new()
        } else {
            let since = self.since.map(|ago| base::time::now_unix().saturating_sub(ago));
            client.ask(&mailbox::Undelete { account: account.clone(), folder: self.from, since }).await?
        };
        tell(&Back { account, restored_account, folders }, self.json)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The mail first: an account that is there again would begin a new, empty mailbox with its first message.
async fn restore(client: &Client, paths: &Paths, account: &Address) -> anyhow::Result<()> {
    let removed = client.ask(&directory::RemovedAccounts {}).await?;
    anyhow::ensure!(
        removed.iter().any(|removed| removed.address == *account),
        "{account} is neither an account nor one that was removed in the last 30 days"
    );
    client.ask(&mailbox::Reinstate { account: account.clone() }).await?;
    client.ask(&directory::RestoreAccount { account: account.clone() }).await?;
    let config = commands::config(paths)?;
    commands::user::tell(converge::follow(paths, &config).await);
    Ok(())
}

fn tell(back: &Back, json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(back);
    }
    if back.restored_account {
        say!("{} is back, with its password and its mail.", back.account);
    } else if back.folders.is_empty() {
        say!("There was nothing to bring back.");
    }
    for folder in &back.folders {
        say!("{}: {} messages are back", folder.folder, folder.messages);
    }
    Ok(())
}

async fn overview(client: &Client, json: bool) -> anyhow::Result<()> {
    let accounts = client.ask(&directory::RemovedAccounts {}).await?;
    let mut mail = client.ask(&mailbox::AccountUsage {}).await?;
    mail.retain(|usage| usage.removed_messages > 0);
    if json {
        return output::json(&Overview { accounts, mail });
    }
    if accounts.is_empty() && mail.is_empty() {
        say!("Nothing was removed in the last 30 days.");
    }
    for account in &accounts {
        let (removed, purged) = (base::time::readable(account.removed), base::time::readable(account.purged));
        say!("{}: removed {removed}, kept until {purged}", account.address);
    }
    for usage in &mail {
        let (count, mib) = (usage.removed_messages, usage.removed_bytes.div_ceil(1 << 20));
        say!("{}: {count} deleted messages, {mib} MiB", usage.account);
    }
    Ok(())
}

fn list(removed: &[RemovedMessage], json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(&removed);
    }
    let rows = removed.iter().map(|message| {
        vec![
            base::time::readable(message.removed),
            message.folder.clone(),
            format!("{} KiB", message.bytes.div_ceil(1024)),
            message.subject.clone().unwrap_or_default(),
        ]
    });
    output::table(&rows.collect::<Vec<_>>());
    Ok(())
}

pub fn seconds(text: &str) -> anyhow::Result<u64> {
    let unit = text.chars().last().context("it is empty")?;
    let factor = match unit {
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => anyhow::bail!("write it as 30m, 12h or 2d"),
    };
    let number: u64 = text[..text.len() - 1].parse().context("write it as 30m, 12h or 2d")?;
    number.checked_mul(factor).context("that is too long ago")
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn times_are_read_with_their_unit() {
        assert_eq!(seconds("2d").unwrap(), 172_800);
        assert_eq!(seconds("30m").unwrap(), 1800);
        for wrong in ["", "2", "d", "-1d", "2w", "99999999999999999d", "2é"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
