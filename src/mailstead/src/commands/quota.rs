//! `mailstead quota`: how much mail accounts and domains may keep.

use crate::output::say;
use crate::{commands, output};
use base::{Address, Domain, Paths};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::process::ExitCode;
use std::str::FromStr;
use wire::Client;
use wire::directory::{self, QuotaScope};

/// Set, list and remove quotas: how much mail an account or a domain may keep. There are none until you set one.
///
/// SCOPE is `default` (each account without a quota of its own), a domain such as `example.org` (the sum of all its
/// accounts), or an account such as `ann@example.org`. An account's own quota goes before the default; its domain's
/// holds as well. Mail that would go beyond a quota is refused while it comes in, so that its sender is told.
#[derive(Args)]
pub struct Quota {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Set a quota, or change it.
    ///
    /// Examples: mailstead quota set default 5G; mailstead quota set ann@example.org 500M
    Set {
        /// default, a domain, or an account.
        scope: Scope,
        /// A number of bytes, or one with K, M, G or T behind it (1K is 1024 bytes); 1M at least.
        size: Size,
        /// Print JSON: {"scope", "bytes"}.
        #[arg(long)]
        json: bool,
    },
    /// List every quota that was set.
    List {
        /// Print JSON: a list of {"scope", "bytes"}.
        #[arg(long)]
        json: bool,
    },
    /// Remove a quota; for an account, the default holds from then on.
    Remove {
        /// default, a domain, or an account.
        scope: Scope,
        /// Print JSON: {"scope", "bytes"}, with null for the bytes.
        #[arg(long)]
        json: bool,
    },
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Shown {
    scope: String,
    bytes: Option<u64>,
}

impl Quota {
    pub async fn run(self, paths: Paths) -> anyhow::Result<ExitCode> {
        commands::require_root(&paths)?;
        let client = Client::new(paths);
        match self.command {
            Command::Set { scope, size, json } => {
                let (Scope(scope), bytes) = (scope, Some(size.0));
                client.ask(&directory::SetQuota { scope: scope.clone(), bytes }).await?;
                told(json, &scope, bytes)?;
            }
            Command::Remove { scope: Scope(scope), json } => {
                client.ask(&directory::SetQuota { scope: scope.clone(), bytes: None }).await?;
                told(json, &scope, None)?;
            }
            Command::List { json } => list(&client, json).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn told(json: bool, scope: &QuotaScope, bytes: Option<u64>) -> anyhow::Result<()> {
    let scope = name(scope);
    match bytes {
        bytes if json => output::json(&Shown { scope, bytes })?,
        Some(bytes) => say!("The quota of {scope} is {}.", readable(bytes)),
        None => say!("The quota of {scope} is removed."),
    }
    Ok(())
}

async fn list(client: &Client, json: bool) -> anyhow::Result<()> {
    let rules = client.ask(&directory::Quotas {}).await?;
    if json {
        let shown = rules.iter().map(|rule| Shown { scope: name(&rule.scope), bytes: Some(rule.bytes) });
        return output::json(&shown.collect::<Vec<_>>());
    }
    if rules.is_empty() {
        say!("No quota is set.");
    }
    let rows = rules.iter().map(|rule| vec![name(&rule.scope), readable(rule.bytes)]);
    output::table(&rows.collect::<Vec<_>>());
    Ok(())
}

fn name(scope: &QuotaScope) -> String {
    match scope {
        QuotaScope::Default => "default".to_owned(),
        QuotaScope::Domain(domain) => domain.to_string(),
        QuotaScope::Account(account) => account.account().to_string(),
    }
}

/// A scope as it is typed.
#[derive(Debug, Clone, PartialEq)]
struct Scope(QuotaScope);

impl FromStr for Scope {
    type Err = base::NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "default" => Ok(Self(QuotaScope::Default)),
            account if account.contains('@') => Ok(Self(QuotaScope::Account(Address::parse(account)?.account()))),
            domain => Ok(Self(QuotaScope::Domain(Domain::parse(domain)?))),
        }
    }
}

/// A size as it is typed.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Size(u64);

const UNITS: [(&str, u64); 4] = [("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.trim().to_ascii_uppercase();
        let plain = upper.strip_suffix("IB").or(upper.strip_suffix('B')).unwrap_or(&upper);
        let unit = UNITS.iter().find_map(|(letter, bytes)| Some((plain.strip_suffix(letter)?, *bytes)));
        let (number, unit) = unit.unwrap_or((plain, 1));
        let wrong = || format!("“{text}” is not a size; write it like 500M, 5G or 1.5T");
        let (whole, part) = number.trim().split_once('.').unwrap_or((number.trim(), "0"));
        // Nine digits behind the point are as exact as anyone means it, and never overflow.
        let digits = |text: &str| (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(());
        digits(whole).zip(digits(part)).filter(|_| part.len() <= 9).ok_or_else(wrong)?;
        let whole: u128 = whole.parse().map_err(|_| wrong())?;
        let fraction: u128 = part.parse().map_err(|_| wrong())?;
        let scale = 10_u128.pow(u32::try_from(part.len()).unwrap_or(9));
        let bytes = whole.checked_mul(u128::from(unit)).map(|bytes| bytes + fraction * u128::from(unit) / scale);
        bytes.and_then(|bytes| u64::try_from(bytes).ok()).map(Self).ok_or_else(wrong)
    }
}

/// A size for people: the largest unit in which it is a whole number, or one digit behind the point.
fn readable(bytes: u64) -> String {
    let Some((letter, unit)) = UNITS.iter().find(|(_, unit)| bytes >= *unit) else { return format!("{bytes} bytes") };
    match bytes % unit {
        0 => format!("{}{letter}", bytes / unit),
        rest => format!("{}.{}{letter} ({bytes} bytes)", bytes / unit, u128::from(rest) * 10 / u128::from(*unit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("5G", 5 << 30),
            ("500m", 500 << 20),
            ("1.5T", (1 << 40) + (1 << 39)),
            ("2 GiB", 2 << 30),
            ("10GB", 10 << 30),
            ("1048576", 1 << 20),
            ("64K", 64 << 10),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for wrong in ["", "G", "-5G", "5X", "5.G", ".5G", "1e9", "99999999999T", "1.0000000001G", "5G5", "0x10"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_size_that_is_shown_can_be_typed_again() {
        for text in ["5G", "500M", "3T", "12K"] {
            assert_eq!(readable(text.parse::<Size>().unwrap().0), text);
        }
        assert_eq!(readable((1 << 30) + (1 << 29)), "1.5G (1610612736 bytes)");
    }

    #[test]
    fn a_scope_is_told_from_its_form() {
        assert_eq!("default".parse(), Ok(Scope(QuotaScope::Default)));
        let domain = Domain::parse("example.org").unwrap();
        assert_eq!("Example.org".parse(), Ok(Scope(QuotaScope::Domain(domain))));
        let ann = Address::parse("ann@example.org").unwrap();
        assert_eq!("Ann+x@example.org".parse(), Ok(Scope(QuotaScope::Account(ann))));
        assert!("@example.org".parse::<Scope>().is_err());
    }
}
