//! `mailstead fsck`: whether the mail on the disk is as it should be.

use crate::output::say;
use crate::{commands, output};
use base::{Address, Paths};
use clap::Args;
use serde::Serialize;
use std::process::ExitCode;
use std::time::Duration;
use wire::mailbox::{Finding, Fsck as Ask};
use wire::{Client, directory};

/// Ten million messages on a slow disk take no longer.
const WITHIN: Duration = Duration::from_secs(1800);

/// Check the mail of every account, or of one, and mend what is wrong.
///
/// The mailbox service compares index and files and checks the rules that its store keeps. No message is ever removed:
/// files are believed, the index is made to agree with them. Mail for an account waits while it is checked, some ten
/// seconds for a million messages.
///
/// Exit codes: 0 all is well or was mended, 1 something is left for you (it says what to do).
#[derive(Args)]
pub struct Fsck {
    /// The account to check; all of them when left out.
    account: Option<Address>,
    /// Only say what is wrong; then anything found gives exit code 1.
    #[arg(long)]
    check: bool,
    /// Print JSON: a list of {"account", "findings": [{"place", "problem", "mended"}]}.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Checked {
    account: Address,
    findings: Vec<Finding>,
}

impl Fsck {
    pub async fn run(self, paths: Paths) -> anyhow::Result<ExitCode> {
        commands::require_root(&paths)?;
        let client = Client::new(paths);
        let accounts = match &self.account {
            Some(account) => vec![account.account()],
            None => client.ask(&directory::Accounts {}).await?.into_iter().map(|account| account.address).collect(),
        };
        let mut checked = Vec::with_capacity(accounts.len());
        for account in accounts {
            let asked = client.ask_patiently(&Ask { account: account.clone(), mend: !self.check }, WITHIN).await;
            let findings = match asked {
                Ok(findings) => findings,
                // Nothing to check, when it was not asked for by name.
                Err(error) if error.is_not_found() && self.account.is_none() => Vec::new(),
                Err(error) => return Err(error.into()),
            };
            if !self.json {
                tell(&account, &findings);
            }
            checked.push(Checked { account, findings });
        }
        if self.json {
            output::json(&checked)?;
        }
        let left = checked.iter().flat_map(|one| &one.findings).any(|finding| !finding.mended);
        Ok(if left { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn tell(account: &Address, findings: &[Finding]) {
    if findings.is_empty() {
        say!("{account}: all is well");
    }
    for finding in findings {
        let mended = if finding.mended { " (mended)" } else { "" };
        say!("{account}: {}: {}{mended}", finding.place, finding.problem);
    }
}
