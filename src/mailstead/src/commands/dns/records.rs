//! The records, in the shapes that people and programs take them in, and against what the public has.

use crate::output;
use crate::output::say;
use base::{BoxConfig, Domain, Paths};
use clap::{Args, ValueEnum};
use std::collections::BTreeSet;
use std::process::ExitCode;
use wire::Client;
use wire::dns::{Need, Record, Records};

#[derive(Args)]
pub struct Shape {
    #[arg(long, value_enum, default_value = "zone")]
    format: Format,
    /// Print JSON, as --format json.
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// Name, kind, value and how much it is needed, in columns.
    Table,
    /// Lines of a zone file with the reasons as comments, for pasting as a whole.
    Zone,
    /// A list of {"zone", "name", "ttl", "kind", "value", "need", "reason"}.
    Json,
    /// The same as comma-separated values (RFC 4180).
    Csv,
}

pub async fn asked(client: &Client, domain: Option<&Domain>) -> anyhow::Result<Vec<Record>> {
    let mut records = client.ask(&Records {}).await?;
    if let Some(domain) = domain {
        records.retain(|record| record.zone == *domain);
        anyhow::ensure!(!records.is_empty(), "{domain} is not a domain of this box; see: mailstead user list");
    }
    Ok(records)
}

/// Tells of sites whose names others answer for, on standard error.
pub fn tell_of_sites(config: &BoxConfig, all: &[Record]) {
    let zones: BTreeSet<&Domain> = all.iter().map(|record| &record.zone).collect();
    for name in config.sites.keys().filter(|name| !zones.iter().any(|zone| name.is_within(zone))) {
        eprintln!(
            "mailstead: the site {name} lies in no domain of this box; lead it here where its DNS is kept (A and AAAA, as of {})",
            config.hostname
        );
    }
}

pub fn show(records: &[Record], shape: &Shape) -> anyhow::Result<()> {
    match shape.format {
        _ if shape.json => return output::json(&records),
        Format::Json => return output::json(&records),
        Format::Table => table(records),
        Format::Csv => csv(records),
        Format::Zone => {
            for record in records {
                // The reason stands above as a comment, so the whole can be pasted.
                say!("; {}: {}", need(record.need), record.reason);
                say!("{}\n", ::dns::zonefile::line(record));
            }
        }
    }
    Ok(())
}

fn need(need: Need) -> &'static str {
    match need {
        Need::Required => "required",
        Need::Recommended => "recommended",
        Need::Optional => "optional",
        Need::BoxOnly => "kept by the box",
    }
}

fn table(records: &[Record]) {
    let head = ["NEED", "NAME", "TTL", "TYPE", "VALUE"].map(str::to_owned).to_vec();
    let row = |record: &Record| {
        let ttl = record.ttl.to_string();
        vec![need(record.need).to_owned(), record.name.clone(), ttl, record.kind.clone(), record.value.clone()]
    };
    output::table(&std::iter::once(head).chain(records.iter().map(row)).collect::<Vec<_>>());
}

fn csv(records: &[Record]) {
    output::text("name,ttl,type,value,need,reason\r\n");
    for record in records {
        let ttl = record.ttl.to_string();
        let cells = [
            record.name.as_str(),
            ttl.as_str(),
            record.kind.as_str(),
            record.value.as_str(),
            need(record.need),
            record.reason.as_str(),
        ];
        output::text(&(cells.map(cell).join(",") + "\r\n"));
    }
}

/// A cell in quotes where it has to be (RFC 4180 §2).
fn cell(text: &str) -> String {
    match text.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

/// Compares, and gives the exit code by the worst.
pub async fn check(paths: &Paths, config: BoxConfig, domain: Option<&Domain>, json: bool) -> anyhow::Result<ExitCode> {
    let mut compared = checks::compare_records(paths, config).await.map_err(anyhow::Error::msg)?;
    compared.retain(|one| domain.is_none_or(|domain| one.record.zone == *domain));
    anyhow::ensure!(!compared.is_empty(), "this is not a domain of this box; see: mailstead user list");
    let missing = |one: &&checks::Compared| one.problem.is_some() && one.record.need == Need::Required;
    let code = if compared.iter().any(|one| missing(&one)) { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    if json {
        output::json(&compared)?;
        return Ok(code);
    }
    for one in &compared {
        let Some(problem) = &one.problem else { continue };
        say!("{} {} ({})", one.record.name, one.record.kind, need(one.record.need));
        say!("  you have  {problem}");
        say!("  wanted    {}", one.record.value);
        say!("  why       {}\n", one.record.reason);
    }
    let wrong = compared.iter().filter(|one| one.problem.is_some()).count();
    say!("{} of {} records are as wanted.", compared.len() - wrong, compared.len());
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_with_commas_or_quotes_is_quoted() {
        assert_eq!(cell("plain"), "plain");
        assert_eq!(cell("0 issue \"a; b, c\""), "\"0 issue \"\"a; b, c\"\"\"");
    }
}
