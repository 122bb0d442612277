//! Making a box as it is meant to be: the host's plan first, then what only the running roles can do.
//!
//! `setup`, `plan`, `apply`, `user add` and the others all come this way, so that the second time changes nothing.

use base::{BoxConfig, Paths};
use provision::difference::{Step, difference};
use provision::host::run;
use provision::journal::Started;
use provision::plan::PlanFacts;
use provision::{Live, Progress, Stage, discover};
use std::fmt;
use std::time::{Duration, Instant};
use wire::{Client, directory, dns};

/// How long a role may take until it answers at its door.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// Something that a running role is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    FirstAccount,
    Publish(Vec<base::Domain>),
    Certificate(String),
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Task::FirstAccount => f.write_str("add the first account"),
            Task::Publish(zones) => {
                let names: Vec<&str> = zones.iter().map(base::Domain::as_str).collect();
                write!(f, "sign and serve the zone of {}", names.join(", "))
            }
            Task::Certificate(why) => write!(f, "ask for a certificate ({why})"),
        }
    }
}

/// The plan's facts of this live machine.
pub fn facts(config: &BoxConfig) -> PlanFacts {
    PlanFacts {
        config: config.clone(),
        host: discover::host_facts(Some(config)),
        paths: Paths::live(),
        version: crate::release::version(),
        ssh_ports: discover::ssh_ports(),
        mta_sts_policy: ::dns::policy::mta_sts(&config.hostname),
        other_time_keeper: discover::other_time_keeper(),
    }
}

/// What is to be done on the host itself.
pub fn host_steps(config: &BoxConfig) -> anyhow::Result<Vec<(Stage, Step)>> {
    let host = Live::default();
    let plan = provision::plan::live(&facts(config))?;
    Ok(difference(&plan, &host, &Started::load(&Paths::live()))?)
}

/// Makes the host as planned.
pub fn apply_host(steps: &[(Stage, Step)], progress: &mut Progress) -> anyhow::Result<()> {
    provision::packages::clear_start_guard()?;
    Ok(provision::apply::apply(&Live::default(), steps, progress)?)
}

/// What the running roles have to be asked for.
pub async fn tasks(paths: &Paths, config: &BoxConfig) -> anyhow::Result<Vec<Task>> {
    let mut tasks = account_and_zones(paths, config).await?;
    tasks.extend(certificate_due(paths, config).await?);
    Ok(tasks)
}

/// What is due of accounts and zones. Asks no name server, unlike [`certificate_due`].
pub async fn account_and_zones(paths: &Paths, config: &BoxConfig) -> anyhow::Result<Vec<Task>> {
    let client = Client::new(paths.clone());
    let mut tasks = Vec::new();
    let accounts = client.ask(&directory::Accounts {}).await?;
    if !accounts.iter().any(|account| account.address == config.email.account()) {
        tasks.push(Task::FirstAccount);
    }
    let zones = client.ask(&dns::Publish { dry_run: true }).await?;
    if !zones.is_empty() {
        tasks.push(Task::Publish(zones));
    }
    Ok(tasks)
}

/// Whether a certificate is due and can be had. Only to be asked when the box's zones are served: a resolver that
/// was once told that they are not keeps that for a while.
pub async fn certificate_due(paths: &Paths, config: &BoxConfig) -> anyhow::Result<Option<Task>> {
    if config.demo.is_some() {
        return Ok(None);
    }
    let names = certs::reachable(paths, config).await?;
    if !names.iter().any(|name| name == config.hostname.as_str()) {
        return Ok(None);
    }
    Ok(certs::due(paths, &names, base::time::now_unix())?.map(Task::Certificate))
}

/// Has every zone that is due signed, and sees to it that the box's name server serves them all. Returns the zones that
/// changed.
pub async fn publish(paths: &Paths) -> anyhow::Result<Vec<base::Domain>> {
    let changed = Client::new(paths.clone()).ask(&dns::Publish { dry_run: false }).await?;
    if !paths.is_live() {
        return Ok(changed);
    }
    for zone in provision::served::zones(paths)? {
        // NSD 4.6 was seen to lose a zone in a reload (“reload closed cmd channel”); a fresh start does not.
        if provision::served::wait(paths, &zone).await.is_err() {
            run(&["systemctl", "restart", "nsd.service"], &[])?;
            provision::served::wait(paths, &zone).await?;
        }
    }
    Ok(changed)
}

/// Has the box's own resolver forget what it heard before something was mended. It has no door for more than that: a reload
/// empties its caches, and it answers again at once.
pub fn forget_names(paths: &Paths) -> anyhow::Result<()> {
    if paths.is_live() {
        run(&["systemctl", "reload", "unbound.service"], &[])?;
    }
    Ok(())
}

/// After a change of accounts or aliases: zones and certificate names follow. Says in words what could not be done.
pub async fn follow(paths: &Paths, config: &BoxConfig) -> anyhow::Result<Vec<String>> {
    let mut troubles = Vec::new();
    if let Err(error) = publish(paths).await {
        troubles.push(format!("{error:#}"));
    }
    if certificate_due(paths, config).await?.is_some()
        && let Err(error) = certificate(paths)
    {
        troubles.push(format!("{error:#}"));
    }
    Ok(troubles)
}

/// Has the certs role run now. The box works without, so the caller decides how bad a failure is.
pub fn certificate(paths: &Paths) -> anyhow::Result<()> {
    if paths.is_live() {
        run(&["systemctl", "start", "mailstead-certs.service"], &[]).map_err(|_| {
            anyhow::anyhow!(
                "no certificate was issued yet; it is tried again every hour. See: journalctl -u mailstead-certs"
            )
        })?;
    }
    Ok(())
}

/// Waits until the roles that are asked next answer.
pub async fn wait_for_roles(paths: &Paths) -> anyhow::Result<()> {
    let client = Client::new(paths.clone());
    let begun = Instant::now();
    loop {
        let directory = client.ask(&directory::Domains {}).await.map(drop);
        let keys = client.ask(&wire::filter::DkimKeys { domains: Vec::new() }).await.map(drop);
        let queue = client.ask(&wire::mta::Queue {}).await.map(drop);
        let usage = client.ask(&wire::mailbox::AccountUsage {}).await.map(drop);
        match directory.and(keys).and(queue).and(usage) {
            Ok(()) => return Ok(()),
            Err(error) if begun.elapsed() > ANSWERS_WITHIN => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Makes the users and groups alone: before a restore gives them their files.
pub fn make_users(config: &BoxConfig) -> anyhow::Result<()> {
    let steps = host_steps(config)?;
    let users = steps
        .into_iter()
        .filter(|(_, step)| matches!(step, Step::AddUser(_) | Step::AddGroup(_) | Step::AddMember { .. }));
    apply_host(&users.collect::<Vec<_>>(), &mut Progress::new(&Paths::live()))
}
