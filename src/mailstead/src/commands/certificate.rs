//! `mailstead certificate`: where the certificate is in its life, a new one or a new key now, and one of the owner's own.

use crate::output::say;
use crate::{commands, converge, output};
use anyhow::Context;
use base::time::{now_unix, readable};
use base::{Domain, Paths, Role};
use certs::{Certificate as Read, Imported, Status, Wish};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Show the certificate and what comes next; renew it, change its key, or use one of your own.
///
/// Certificates are asked for, renewed and given a new key once a year by themselves: docs/certificates.md tells how.
#[derive(Args)]
pub struct Certificate {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// What is served, until when, what comes next, and which names are left out and why (the default).
    Status {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Ask for a certificate now, and for every name again that failed.
    Renew {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Begin a change of the key: its TLSA record is published first, and the key served some hours later.
    Roll {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print a request for a certificate (PKCS #10) on the key that is served, for an authority of your choice. What it
    /// issues is imported without a key.
    Request {
        /// The names that it is to be for beside the hostname; by default all that lead to this box.
        names: Vec<Domain>,
    },
    /// Serve a certificate of your own in place of those that are asked for. It is checked first.
    ///
    /// With a key other than the one that is served it waits until every resolver knows its TLSA record, some hours.
    Import {
        /// The certificate and its chain, in PEM; the key may be in it as well.
        #[arg(required_unless_present = "remove")]
        chain: Option<PathBuf>,
        /// The private key, in PEM; none for a certificate that was requested by `request`.
        key: Option<PathBuf>,
        /// Serve it at once: mail from servers that check DANE may be late by an hour or two.
        #[arg(long)]
        now: bool,
        /// Go back to certificates that the box asks for.
        #[arg(long, conflicts_with_all = ["chain", "now"])]
        remove: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

impl Certificate {
    pub async fn run(self, paths: Paths) -> anyhow::Result<ExitCode> {
        commands::require_root(&paths)?;
        commands::config(&paths)?;
        let (done, json) = match self.command.unwrap_or(Command::Status { json: false }) {
            Command::Status { json } => (Ok(()), json),
            Command::Renew { json } => (ask(&paths, Wish { renew: true, ..Wish::default() }).await, json),
            Command::Roll { json } => (ask(&paths, Wish { roll: true, ..Wish::default() }).await, json),
            Command::Request { names } => return request(&paths, names).await.map(|()| ExitCode::SUCCESS),
            Command::Import { remove: true, json, .. } => (call_off(&paths).await, json),
            Command::Import { chain, key, now, json, .. } => {
                (import(&paths, &chain.unwrap_or_default(), key.as_deref(), now).await, json)
            }
        };
        done?;
        let status = certs::status(&paths, now_unix())?;
        if json {
            output::json(&status)?
        } else {
            show(&status)
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn show(status: &Status) {
    let until = format!("{} ({} days)", readable(status.not_after), status.days_left);
    let issuer = match (status.imported, status.own) {
        (true, _) => format!("{} (imported)", status.issuer),
        (_, true) => "the box itself; nobody else trusts it".to_owned(),
        _ => status.issuer.clone(),
    };
    let mut rows = vec![
        vec!["names".to_owned(), status.names.join(", ")],
        vec!["issuer".to_owned(), issuer],
        vec!["good until".to_owned(), until],
        vec!["key since".to_owned(), readable(status.key_since)],
        vec!["TLSA".to_owned(), format!("3 1 1 {}", status.spki)],
        vec!["next".to_owned(), status.next.clone()],
    ];
    if let Some(window) = &status.window {
        let words = format!("{} to {}", readable(window.start), readable(window.end));
        let why = window.explanation.as_ref().map(|url| format!(" ({url})")).unwrap_or_default();
        rows.push(vec!["renewal".to_owned(), format!("the authority suggests {words}{why}")]);
    }
    for (name, failure) in &status.left_out {
        let words = format!("{name}: {} (again {})", failure.why, readable(failure.again));
        rows.push(vec!["left out".to_owned(), words]);
    }
    if let Some(last) = &status.last {
        rows.push(vec![if last.failed { "trouble" } else { "last run" }.to_owned(), last.words.clone()]);
        if !last.elsewhere.is_empty() {
            rows.push(vec![
                "elsewhere".to_owned(),
                format!("these do not lead to this box: {}", last.elsewhere.join(", ")),
            ]);
        }
    }
    output::table(&rows);
}

/// Leaves a wish, and has the role run.
async fn ask(paths: &Paths, wish: Wish) -> anyhow::Result<()> {
    certs::wish(paths, wish)?;
    run_role(paths).await
}

async fn run_role(paths: &Paths) -> anyhow::Result<()> {
    if !paths.is_live() {
        certs::run(paths.clone()).await?;
        return Ok(());
    }
    // What it says itself is more than what systemd says of it.
    converge::certificate(paths).map_err(|error| match certs::status(paths, now_unix()).ok().and_then(|s| s.last) {
        Some(last) if last.failed => anyhow::anyhow!("{}", last.words),
        _ => error,
    })
}

async fn request(paths: &Paths, wanted: Vec<Domain>) -> anyhow::Result<()> {
    let config = commands::config(paths)?;
    let wanted = match wanted.is_empty() {
        true => certs::reachable(paths, &config).await?,
        false => wanted.iter().map(ToString::to_string).collect(),
    };
    let mut names = vec![config.hostname.to_string()];
    names.extend(wanted.into_iter().filter(|name| *name != config.hostname.as_str()));
    output::text(&certs::request(paths, &names)?);
    Ok(())
}

async fn import(paths: &Paths, chain: &Path, key: Option<&Path>, at_once: bool) -> anyhow::Result<()> {
    let read = |file: &Path| std::fs::read_to_string(file).with_context(|| file.display().to_string());
    let mut text = read(chain)?;
    if let Some(key) = key {
        text.push('\n');
        text.push_str(&read(key)?);
    }
    let certificate = certs::check_import(paths, &text, now_unix())?;
    if paths.is_live() {
        let mut arguments = vec!["run", "certs", "--import"];
        arguments.extend(at_once.then_some("--at-once"));
        provision::host::feed_self(&Role::Certs.user(), &arguments, text.as_bytes())?;
    } else {
        certs::import(paths, &text, at_once, now_unix())?;
    }
    follow(paths).await;
    warn(paths, &certificate);
    Ok(())
}

/// Names of the box that the owner's certificate is not for: what comes of it should be known.
fn warn(paths: &Paths, certificate: &Read) {
    let Ok(config) = commands::config(paths) else { return };
    let names = certs::wanted(&config, std::slice::from_ref(config.email.domain()));
    let missing: Vec<&str> = names.iter().map(String::as_str).filter(|name| !certificate.covers(name)).collect();
    if !missing.is_empty() {
        eprintln!(
            "mailstead: the certificate is not for {}; programs that ask there will complain",
            missing.join(", ")
        );
    }
}

async fn call_off(paths: &Paths) -> anyhow::Result<()> {
    let was = certs::imported(paths, now_unix())?;
    anyhow::ensure!(was, "no certificate was imported; the box asks for its own");
    if paths.is_live() {
        provision::host::feed_self(&Role::Certs.user(), &["run", "certs", "--call-off-import"], &[])?;
    } else {
        certs::call_off_import(paths, now_unix())?;
    }
    follow(paths).await;
    ask(paths, Wish { renew: true, ..Wish::default() }).await
}

/// The zone and Apple's profiles follow the certificate; what cannot now is tried again by the timers.
async fn follow(paths: &Paths) {
    if let Err(error) = converge::publish(paths).await {
        eprintln!("mailstead: the zone could not follow yet: {error:#}");
    }
    if let Err(error) = run_role(paths).await {
        eprintln!("mailstead: {error:#}");
    }
}

/// The role's part of an import, as its own user: the text comes on standard input.
pub fn take_import(paths: &Paths, at_once: bool) -> anyhow::Result<()> {
    let text = std::io::read_to_string(std::io::Read::take(std::io::stdin(), 1 << 20))?;
    match certs::import(paths, &text, at_once, now_unix())? {
        Imported::Served(_) => say!("served"),
        Imported::Announced(_) => say!("announced"),
    }
    Ok(())
}
