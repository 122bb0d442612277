//! `mailstead setup`: from a fresh server to a box, and from an older release to this one.

use crate::converge::{self, Task};
use crate::output::say;
use crate::release;
use base::{BoxConfig, DnsMode, Paths, Secret};
use clap::{Args, ValueEnum};
use provision::answers::{self, Given};
use provision::preflight::{self, Finding};
use provision::{Answers, Progress, discover};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use wire::{Client, directory, dns};

/// Turn this server into a box, or bring a box to this release. Safe to interrupt and to repeat.
///
/// Asks three questions at the start, or takes the answers from flags or the environment. A box that is set up keeps
/// its answers; the same command is the upgrade.
#[derive(Args)]
pub struct Setup {
    /// The owner's email address: the first mailbox, and where reports go.
    #[arg(long, value_name = "ADDRESS", env = "MAILSTEAD_EMAIL", allow_hyphen_values = true)]
    email: Option<String>,
    /// The box's own name. Default: box.DOMAIN.
    #[arg(long, value_name = "NAME", env = "MAILSTEAD_HOSTNAME", allow_hyphen_values = true)]
    hostname: Option<String>,
    /// Who answers for the domain's DNS. Default: the box.
    #[arg(long, env = "MAILSTEAD_DNS")]
    dns: Option<Dns>,
    /// Take the default for everything that is not given.
    #[arg(long, short)]
    yes: bool,
    /// The public IPv4 address, when the machine is behind NAT.
    #[arg(long, value_name = "ADDRESS")]
    ipv4: Option<Ipv4Addr>,
    /// The public IPv6 address, when the machine has several.
    #[arg(long, value_name = "ADDRESS")]
    ipv6: Option<Ipv6Addr>,
    /// The ACME directory that issues certificates. Default: Let's Encrypt.
    #[arg(long, value_name = "URL", env = "MAILSTEAD_ACME_DIRECTORY")]
    acme_directory: Option<String>,
    /// A root certificate (PEM) to verify that directory by, when this system does not know it.
    #[arg(long, value_name = "FILE", env = "MAILSTEAD_ACME_CA")]
    acme_ca: Option<PathBuf>,
    /// Where this release came from, when that is a web address of its own; the status checks look there for newer ones.
    #[arg(long, value_name = "URL", env = "MAILSTEAD_RELEASES")]
    releases: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Dns {
    Box,
    External,
}

impl Setup {
    pub async fn run(self, paths: Paths) -> anyhow::Result<ExitCode> {
        anyhow::ensure!(paths.is_live(), "set-up is for this machine; for a box in a folder see: mailstead demo");
        let existing = existing(&paths)?;
        let config = self.config(existing.as_ref())?;
        let host = discover::host_facts(Some(&config));
        let mut findings = preflight::machine(&host, existing.is_none());
        // Told in one go: who has to change something hears of everything at once. On a box the status checks ask.
        if existing.is_none() {
            findings.extend(preflight::network(&config, &host).await);
        }
        findings.iter().filter(|finding| !finding.fatal).for_each(|finding| eprintln!("note: {}", finding.words));
        if refused(&findings) {
            return Ok(ExitCode::FAILURE);
        }
        anyhow::ensure!(
            release::installed().is_some(),
            "set-up runs from an installed release (in {}); run install.sh instead",
            release::RELEASES
        );
        set_up(&paths, &config).await
    }

    /// The answers: those of the box if it is one, else from flags and questions.
    fn config(&self, existing: Option<&BoxConfig>) -> anyhow::Result<BoxConfig> {
        let dns = self.dns.map(|dns| match dns {
            Dns::Box => DnsMode::Box,
            Dns::External => DnsMode::External,
        });
        let given = Given { email: self.email.clone(), hostname: self.hostname.clone(), dns, yes: self.yes };
        if let Some(config) = existing {
            answers::agree(config, &given)?;
            return Ok(config.clone());
        }
        let mut config = Answers::gather(&given, discover::guess_domain().as_ref())?.into_config();
        (config.ipv4, config.ipv6) = (self.ipv4, self.ipv6);
        // It may be a folder as well, in which nobody looks for news.
        if let Some(releases) = self.releases.as_deref().filter(|it| it.starts_with("http")) {
            config.releases = releases.trim_end_matches('/').to_owned();
        }
        if let Some(directory) = &self.acme_directory {
            config.acme.directory.clone_from(directory);
            config.acme.ca_file.clone_from(&self.acme_ca);
        }
        Ok(config)
    }
}

fn existing(paths: &Paths) -> anyhow::Result<Option<BoxConfig>> {
    match BoxConfig::load(paths) {
        Ok(config) => Ok(Some(config)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Prints what is fatal; whether anything was.
fn refused(findings: &[Finding]) -> bool {
    let fatal: Vec<&Finding> = findings.iter().filter(|finding| finding.fatal).collect();
    fatal.iter().for_each(|finding| eprintln!("mailstead: {}", finding.words));
    !fatal.is_empty()
}

/// From answers to a running box. Shared with `restore`.
pub async fn set_up(paths: &Paths, config: &BoxConfig) -> anyhow::Result<ExitCode> {
    let mut progress = Progress::new(paths);
    progress.log(&format!("mailstead {} sets up {}", release::version(), config.hostname));
    if existing(paths)?.as_ref() != Some(config) {
        base::durable::create_dir_all(&paths.etc(), 0o755)?;
        config.save(paths)?;
    }
    let steps = converge::host_steps(config)?;
    converge::apply_host(&steps, &mut progress)?;
    let (password, troubles, tasks) = with_roles(paths, config, &mut progress).await?;
    if steps.is_empty() && tasks == 0 {
        say!("Nothing to do: the box is as planned (mailstead {}).", release::version());
    }
    let first = !complete(paths).exists();
    finish(paths)?;
    let times: Vec<String> =
        progress.times.iter().map(|(stage, took)| format!("{stage} {:.1} s", took.as_secs_f64())).collect();
    progress.log(&format!("set-up is done: {}", times.join(", ")));
    final_screen(paths, config, password.as_ref(), first, &troubles).await?;
    Ok(ExitCode::SUCCESS)
}

/// What the running roles have to do; returns the first account's password if it was set just now.
async fn with_roles(
    paths: &Paths,
    config: &BoxConfig,
    progress: &mut Progress,
) -> anyhow::Result<(Option<Secret>, Vec<String>, usize)> {
    converge::wait_for_roles(paths).await?;
    let client = Client::new(paths.clone());
    let mut troubles = Vec::new();
    let mut tasks = converge::account_and_zones(paths, config).await?;
    let mut password = None;
    // A password that was made in a run that did not get to its end was never seen by anybody.
    if tasks.contains(&Task::FirstAccount) || !complete(paths).exists() {
        progress.begin("first account", 1);
        progress.step(&Task::FirstAccount.to_string());
        password = Some(first_account(&client, config).await?);
        progress.end();
    }
    progress.begin("zone", 1);
    troubles.extend(converge::publish(paths).await.err().map(|error| format!("{error:#}")));
    progress.end();
    if let Some(task) = converge::certificate_due(paths, config).await? {
        progress.begin("certificate", 1);
        progress.step(&task.to_string());
        troubles.extend(converge::certificate(paths).err().map(|error| format!("{error:#}")));
        // The first checks are to see what everybody sees from now on.
        tokio::time::sleep(base::tls::RECHECK).await;
        tasks.push(task);
        progress.end();
    } else if certs::served(paths)?.is_none_or(|served| served.self_signed) {
        troubles.push(format!(
            "{} does not lead to this box in public DNS yet, so it has no certificate that others trust; it is asked \
             for by itself every hour, and at once by: mailstead apply",
            config.hostname
        ));
    }
    if backup::list(paths)?.is_empty() {
        progress.begin("first backup", 1);
        let made = provision::host::run(&["systemctl", "start", "mailstead-backup.service"], &[]);
        troubles.extend(made.err().map(|error| format!("no backup was made: {error}")));
        progress.end();
    }
    progress.begin("first checks", 1);
    let checked = provision::host::run(&["systemctl", "start", "mailstead-checks.service"], &[]);
    troubles.extend(checked.err().map(|error| format!("the status checks did not run: {error}")));
    progress.end();
    Ok((password, troubles, tasks.len()))
}

async fn first_account(client: &Client, config: &BoxConfig) -> anyhow::Result<Secret> {
    let password = Secret::generate();
    let account = config.email.account();
    let accounts = client.ask(&directory::Accounts {}).await?;
    if accounts.iter().any(|existing| existing.address == account) {
        client.ask(&directory::SetPassword { account, password: password.clone() }).await?;
    } else {
        client.ask(&directory::AddAccount { address: account, password: password.clone(), admin: true }).await?;
    }
    Ok(password)
}

/// Is there once a set-up came to its end.
fn complete(paths: &Paths) -> PathBuf {
    paths.journal().join("complete")
}

/// Marks that set-up came to its end; `restore` marks it beforehand, since its accounts have passwords already.
pub fn finish(paths: &Paths) -> anyhow::Result<()> {
    if !complete(paths).exists() {
        base::durable::create_dir_all(&paths.journal(), 0o700)?;
        base::durable::write(&complete(paths), b"", 0o600)?;
    }
    Ok(())
}

/// The one screen at the end. Printed, never logged: it holds secrets.
async fn final_screen(
    paths: &Paths,
    config: &BoxConfig,
    password: Option<&Secret>,
    first: bool,
    troubles: &[String],
) -> anyhow::Result<()> {
    say!("\n{} is a Mailstead box.\n", config.hostname);
    say!("Panel:    https://{}/admin", config.hostname);
    say!("Mailbox:  {}", config.email);
    if let Some(password) = password {
        say!("Password: {}", password.expose());
    }
    if first {
        say!("Recovery key: {}", backup::recovery_key(paths)?.expose());
        say!("    Write the recovery key down somewhere else: without it no backup can be opened.");
    }
    to_do(paths, config).await?;
    if !troubles.is_empty() {
        say!("\nNot done yet:");
        troubles.iter().for_each(|trouble| say!("  - {trouble}"));
    }
    say!("\nWhat is wrong and how to mend it: mailstead status, or the panel.");
    say!("Log: {}", paths.log().join("setup.log").display());
    Ok(())
}

/// What only the owner can do, elsewhere, with the exact values.
async fn to_do(paths: &Paths, config: &BoxConfig) -> anyhow::Result<()> {
    let host = base::HostFacts::load(paths)?;
    say!("\nAt the registrar or DNS provider:");
    match config.dns {
        DnsMode::External => say!("  Enter the records that this prints: mailstead dns records"),
        DnsMode::Box => {
            let client = Client::new(paths.clone());
            for zone in client.ask(&directory::Domains {}).await? {
                say!("  {zone}: name servers ns1.{0} and ns2.{0}", config.hostname);
                let all = client.ask(&dns::DelegationSigners { domain: zone }).await?;
                // SHA-256 is what every registrar takes.
                for ds in all.iter().filter(|ds| ds.digest_type == 2) {
                    say!("  DS: {} {} {} {}", ds.key_tag, ds.algorithm, ds.digest_type, ds.digest);
                }
            }
            for address in host.addresses() {
                say!("  glue: ns1.{0} and ns2.{0} at {address}", config.hostname);
            }
        }
    }
    say!("At the VPS provider:");
    for address in host.addresses() {
        say!("  reverse DNS (PTR) of {address}: {}", config.hostname);
    }
    Ok(())
}
