//! `mailstead alias`: further addresses for accounts, and ways to other servers.

use crate::commands::user::tell;
use crate::output::say;
use crate::{commands, converge, output};
use base::{Address, Domain, Paths};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::process::ExitCode;
use wire::Client;
use wire::directory::{self, Alias as Kept, AliasName, AliasRules, DomainAlias, Writers};

/// Add, list and remove aliases. postmaster@, abuse@, hostmaster@ and admin@ of every domain reach the owner by themselves, and so
/// does mailstead-reports@, but for the reports, which the box keeps.
///
/// An alias leads to accounts of this box, to other aliases, and to addresses of other servers; mail for those is passed
/// on with a sender of this box (SRS) and a seal (ARC), so that it is believed there. Mail that looks like spam is not
/// passed on. `@example.org` is a catch-all: it gets what nothing else in the domain is called.
#[derive(Args)]
pub struct Alias {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Add an alias, or replace where it leads and what holds for it.
    ///
    /// Examples: mailstead alias add sales@example.org ann@example.org bob@gmail.com;
    /// mailstead alias add shop1@example.org ann@example.org --until 2026-12-31;
    /// mailstead alias add @example.org ann@example.org
    Add {
        /// The alias; @DOMAIN for a catch-all.
        address: AliasName,
        /// Where it leads.
        #[arg(required = true)]
        targets: Vec<Address>,
        /// The last day (UTC) on which it is known, as 2026-12-31.
        #[arg(long, value_name = "DATE", value_parser = end_of_day)]
        until: Option<u64>,
        /// An account that may send as the alias; give it several times for several. Without it, those that it leads to.
        #[arg(long, value_name = "ACCOUNT")]
        sender: Vec<Address>,
        /// Only accounts of this box may write to it.
        #[arg(long)]
        from_inside_only: bool,
        /// Besides accounts of this box, only this address may write to it; give it several times for several.
        #[arg(long, value_name = "ADDRESS", conflicts_with = "from_inside_only")]
        from: Vec<Address>,
        /// Print JSON: {"address"}.
        #[arg(long)]
        json: bool,
    },
    /// Make every address of one domain the same address of another: ann@FROM is ann@TO.
    ///
    /// Accounts and aliases of FROM itself go before it.
    Domain {
        from: Domain,
        /// A domain of this box.
        to: Domain,
        /// Print JSON: {"from", "to"}.
        #[arg(long)]
        json: bool,
    },
    /// List every alias and domain alias.
    List {
        /// Print JSON: {"aliases", "domains"}; times in seconds since 1970.
        #[arg(long)]
        json: bool,
    },
    /// Remove an alias, a catch-all (@DOMAIN), or a domain alias (its domain alone).
    Remove {
        /// What it is called.
        name: String,
        /// Print JSON: {"removed"}.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Serialize)]
struct Everything {
    aliases: Vec<Kept>,
    domains: Vec<DomainAlias>,
}

#[derive(Serialize)]
struct Added<'a> {
    address: &'a AliasName,
}

#[derive(Serialize)]
struct Removed<'a> {
    removed: &'a str,
}

impl Alias {
    pub async fn run(self, paths: Paths) -> anyhow::Result<ExitCode> {
        commands::require_root(&paths)?;
        let config = commands::config(&paths)?;
        let client = Client::new(paths.clone());
        match self.command {
            Command::Add { address, targets, until, sender, from_inside_only, from, json } => {
                let writers = match (from_inside_only, from.is_empty()) {
                    (true, _) => Writers::Inside,
                    (false, true) => Writers::Everyone,
                    (false, false) => Writers::Listed(from),
                };
                let rules = AliasRules { until, senders: (!sender.is_empty()).then_some(sender), writers };
                client.ask(&directory::AddAlias { address: address.clone(), targets, rules }).await?;
                match json {
                    true => output::json(&Added { address: &address })?,
                    false => say!("{address} is added."),
                }
            }
            Command::Domain { from, to, json } => {
                client.ask(&directory::AddDomainAlias { from: from.clone(), to: to.clone() }).await?;
                match json {
                    true => output::json(&DomainAlias { from, to })?,
                    false => say!("Every address of {from} is the same address of {to} now."),
                }
            }
            Command::List { json } => {
                list(&client, json).await?;
                return Ok(ExitCode::SUCCESS);
            }
            Command::Remove { name, json } => {
                remove(&client, &name).await?;
                match json {
                    true => output::json(&Removed { removed: &name })?,
                    false => say!("{name} is removed."),
                }
            }
        }
        tell(converge::follow(&paths, &config).await);
        Ok(ExitCode::SUCCESS)
    }
}

async fn remove(client: &Client, name: &str) -> anyhow::Result<()> {
    if !name.contains('@') {
        client.ask(&directory::RemoveDomainAlias { from: name.parse()? }).await?;
        return Ok(());
    }
    client.ask(&directory::RemoveAlias { address: name.parse()? }).await?;
    Ok(())
}

async fn list(client: &Client, json: bool) -> anyhow::Result<()> {
    let aliases = client.ask(&directory::Aliases {}).await?;
    let domains = client.ask(&directory::DomainAliases {}).await?;
    if json {
        return output::json(&Everything { aliases, domains });
    }
    let mut rows: Vec<Vec<String>> = domains
        .iter()
        .map(|alias| vec![alias.from.to_string(), alias.to.to_string(), "(the whole domain)".to_owned()])
        .collect();
    rows.extend(aliases.iter().map(|alias| vec![alias.address.to_string(), names(&alias.targets), remarks(alias)]));
    output::table(&rows);
    Ok(())
}

fn names(addresses: &[Address]) -> String {
    addresses.iter().map(Address::to_string).collect::<Vec<_>>().join(", ")
}

fn remarks(alias: &Kept) -> String {
    let mut remarks = Vec::new();
    if alias.required {
        remarks.push("(required)".to_owned());
    }
    if let Some(until) = alias.rules.until {
        let day = base::time::readable(until.saturating_sub(1));
        let day = day.split(' ').next().unwrap_or_default();
        remarks.push(if alias.ended { format!("(ended {day}: unknown now)") } else { format!("(until {day})") });
    }
    if let Some(senders) = &alias.rules.senders {
        remarks.push(format!("(sending as it: {})", names(senders)));
    }
    match &alias.rules.writers {
        Writers::Everyone => {}
        Writers::Inside => remarks.push("(from inside only)".to_owned()),
        Writers::Listed(writers) => remarks.push(format!("(from {} and inside only)", names(writers))),
    }
    remarks.join(" ")
}

/// The end of a day: the midnight after it, in seconds since 1970.
fn end_of_day(text: &str) -> Result<u64, String> {
    let wrong = || format!("“{text}” is not a day; write it like 2026-12-31");
    let digits = |part: &str, count: usize| {
        let fits = part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit());
        fits.then(|| part.parse::<i64>().ok()).flatten()
    };
    let mut parts = text.splitn(3, '-');
    let (year, month, day) = (parts.next(), parts.next(), parts.next());
    let year = year.and_then(|year| digits(year, 4)).filter(|year| *year >= 1970).ok_or_else(wrong)?;
    let month = month.and_then(|month| digits(month, 2)).filter(|month| (1..=12).contains(month)).ok_or_else(wrong)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let day = day.and_then(|day| digits(day, 2)).filter(|day| (1..=length).contains(day)).ok_or_else(wrong)?;
    // Days since 1970 in the Gregorian calendar, with years that begin in March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    u64::try_from((days + 1) * 86_400).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_day_of_an_alias_is_a_whole_one() {
        assert_eq!(end_of_day("1970-01-01"), Ok(86_400));
        assert_eq!(end_of_day("2026-11-21"), Ok(1_795_219_200 + 86_400));
        assert_eq!(base::time::readable(end_of_day("2028-02-29").unwrap()), "2028-03-01 00:00:00Z");
        assert_eq!(base::time::readable(end_of_day("2026-12-31").unwrap()), "2027-01-01 00:00:00Z");
        for wrong in ["", "tomorrow", "2026-13-01", "2026-02-29", "2026-1-1", "1969-01-01", "2026-12-31-1", "20261231"]
        {
            assert!(end_of_day(wrong).is_err(), "{wrong}");
        }
    }
}
