//! `mailstead reports`: what other servers say of our mail.

use crate::output::say;
use crate::{commands, output};
use base::Paths;
use clap::{Args, Subcommand};
use std::process::ExitCode;
use wire::Client;
use wire::filter::{ReportDetail, ReportKind, ReportShow, TakenReport};

/// Show what other servers report of mail in your domains' names (DMARC) and of TLS on connections to this box.
///
/// The reports come to mailstead-reports@ of each domain, as its zone asks for, and are kept for 400 days.
#[derive(Args)]
pub struct Reports {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// List the last 1,000 reports, the latest first.
    List {
        /// Print JSON: a list of {"id", "kind", "organisation", "domain", "begin", "end", "good", "bad", "authenticated"}.
        #[arg(long)]
        json: bool,
    },
    /// Show one report: from where mail came and whether it was authenticated, or which sessions failed and why.
    Show {
        id: u64,
        /// Print JSON: {"report", "sources", "failures"}.
        #[arg(long)]
        json: bool,
    },
}

impl Reports {
    pub async fn run(self, paths: Paths) -> anyhow::Result<ExitCode> {
        commands::require_root(&paths)?;
        let client = Client::new(paths);
        match self.command.unwrap_or(Command::List { json: false }) {
            Command::List { json } => list(&client, json).await?,
            Command::Show { id, json } => show(&client.ask(&ReportShow { id }).await?, json)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn list(client: &Client, json: bool) -> anyhow::Result<()> {
    let reports = client.ask(&wire::filter::Reports {}).await?;
    if json {
        return output::json(&reports);
    }
    if reports.is_empty() {
        say!("No report has come yet. Large providers send them daily, for domains that they get mail from.");
        return Ok(());
    }
    let rows = reports.iter().map(|it| {
        let (good, bad) = words(it);
        vec![it.id.to_string(), day(it.begin), it.domain.to_string(), it.organisation.clone(), good, bad]
    });
    output::table(&rows.collect::<Vec<_>>());
    Ok(())
}

fn day(at: u64) -> String {
    base::time::readable(at).chars().take(10).collect()
}

fn words(report: &TakenReport) -> (String, String) {
    match report.kind {
        ReportKind::Dmarc => (format!("{} messages authenticated", report.good), format!("{} not", report.bad)),
        ReportKind::Tls => (format!("{} TLS sessions good", report.good), format!("{} failed", report.bad)),
    }
}

fn show(detail: &ReportDetail, json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(detail);
    }
    let report = &detail.report;
    let (good, bad) = words(report);
    say!("{} about {}, {} to {}", report.organisation, report.domain, day(report.begin), day(report.end));
    say!("{good}, {bad}");
    if !report.authenticated {
        say!("The message that brought it was not authenticated, so it counts for nothing.");
    }
    let word = |pass| if pass { "pass" } else { "fail" };
    let rows = detail.sources.iter().map(|it| {
        let (dkim, spf) = (word(it.dkim), word(it.spf));
        vec![it.address.to_string(), format!("{} messages", it.messages), format!("DKIM {dkim}"), format!("SPF {spf}")]
    });
    output::table(&rows.collect::<Vec<_>>());
    let rows = detail.failures.iter();
    let rows = rows.map(|it| vec![it.kind.clone(), format!("{} sessions", it.sessions), it.host.clone()]);
    output::table(&rows.collect::<Vec<_>>());
    Ok(())
}
