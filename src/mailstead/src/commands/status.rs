//! `mailstead status`: the status checks, now; and mending what the box can mend by itself.

use crate::output::say;
use crate::{commands, converge, output};
use anyhow::Context;
use base::{BoxConfig, Paths};
use checks::facts::{NameFailure, Rehearsal, Renewal, Told};
use checks::{Ask, CheckResult, Mend, State};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

/// Run the status checks: what was seen, what was wanted, why it matters, what to do.
///
/// Exits with 0 when all is well, 1 for warnings, 2 for failures.
#[derive(Args)]
pub struct Status {
    /// Print JSON; with --watch one line for each round.
    #[arg(long)]
    json: bool,
    /// Only the checks of this group, or the check of this name. May be given several times.
    #[arg(long, short, value_name = "NAME")]
    group: Vec<String>,
    /// Ask everybody anew, also those whose last good answer is still recent.
    #[arg(long)]
    fresh: bool,
    /// Look again and again, until interrupted; with the seconds between two rounds.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "60",
          value_parser = clap::value_parser!(u64).range(5..))]
    watch: Option<u64>,
    /// List the checks by group, without looking.
    #[arg(long, conflicts_with_all = ["watch", "mend", "fresh"])]
    list: bool,
    /// Show what changed when, the latest last; with --group only of these checks.
    #[arg(long, conflicts_with_all = ["watch", "mend", "fresh", "list"])]
    history: bool,
    /// Have the box mend what this check found, and look again.
    #[arg(long, value_name = "CHECK", conflicts_with_all = ["watch", "group"])]
    mend: Option<String>,
}

/// Collect what only root can see, for the checks (their timer does this).
#[derive(Args)]
#[command(hide = true)]
pub struct Facts {}

impl Status {
    pub async fn run(self, paths: Paths) -> anyhow::Result<ExitCode> {
        if self.list {
            return self.list_checks();
        }
        commands::require_root(&paths)?;
        // One that cannot be read is what a check tells, with the line.
        if BoxConfig::load(&paths).is_err_and(|error| error.is_missing()) {
            commands::config(&paths)?;
        }
        if self.history {
            return self.show_history(&paths);
        }
        match (&self.mend, self.watch) {
            (Some(id), _) => self.mend(&paths, id).await,
            (None, Some(seconds)) => loop {
                self.look(&paths, &self.group).await?;
                tokio::time::sleep(Duration::from_secs(seconds)).await;
            },
            (None, None) => self.look(&paths, &self.group).await,
        }
    }

    /// Looks and shows.
    async fn look(&self, paths: &Paths, only: &[String]) -> anyhow::Result<ExitCode> {
        let results = self.results(paths, only, self.fresh).await?;
        if self.json && self.watch.is_some() {
            say!("{}", serde_json::to_string(&results)?);
        } else if self.json {
            output::json(&results)?;
        } else {
            output::text(&checks::render_text(&results, std::io::stdout().is_terminal()));
        }
        Ok(ExitCode::from(checks::exit_code(&results)))
    }

    async fn results(&self, paths: &Paths, only: &[String], fresh: bool) -> anyhow::Result<Vec<CheckResult>> {
        collect(paths)?;
        let ask = Ask { fresh, only: only.to_vec() };
        let bar = progress();
        let mut tell = |result: &CheckResult| {
            bar.inc(1);
            if result.state.is_broken() {
                bar.println(format!("{}: {}", result.title, result.state.name()));
            }
        };
        let results = checks::check(paths.clone(), ask, &mut tell).await;
        bar.finish_and_clear();
        Ok(results?)
    }

    fn show_history(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let known = checks::known()?;
        let title = |id: &str| known.iter().find(|check| check.id == id).map_or(id, |check| &check.title).to_owned();
        let in_group = |id: &str| known.iter().any(|check| check.id == id && self.group.contains(&check.group));
        let wanted = |id: &String| self.group.is_empty() || self.group.contains(id) || in_group(id);
        let past: Vec<_> = checks::past(paths)?.into_iter().filter(|change| wanted(&change.id)).collect();
        if self.json {
            output::json(&past)?;
            return Ok(ExitCode::SUCCESS);
        }
        for change in past {
            let seen = change.seen.lines().next().unwrap_or_default();
            let at = base::time::readable(change.time);
            say!("{at}  {:<8} {}: {seen}", change.to.name(), title(&change.id));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn list_checks(&self) -> anyhow::Result<ExitCode> {
        let known = checks::known()?;
        if self.json {
            output::json(&known)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut group = String::new();
        for check in &known {
            if check.group != group {
                group.clone_from(&check.group);
                say!("{group}");
            }
            say!("  {:<22} {}", check.id, check.title);
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Does what the check's text says that the box can do, and tells whether that was enough.
    async fn mend(&self, paths: &Paths, id: &str) -> anyhow::Result<ExitCode> {
        let only = [id.to_owned()];
        let Some(mend) = checks::mend(id)? else {
            anyhow::bail!("the box cannot mend that by itself; what to do stands in: mailstead status --group {id}");
        };
        let before = self.results(paths, &only, true).await?;
        if !before.iter().any(|result| result.state.is_broken() || result.state == State::Unknown) {
            say!(
                "There is nothing to mend: {} is in order.",
                before.first().map_or(id, |result| result.title.as_str())
            );
            return Ok(ExitCode::SUCCESS);
        }
        say!("{}", mend.command());
        act(paths, &mend).await?;
        self.look(paths, &only).await
    }
}

/// What a unit left for others, such as a certificate for the web server, they take a moment later.
const TAKEN_WITHIN: Duration = Duration::from_secs(2);

/// Through plan and apply where the plan knows the thing, and by systemd where it runs it.
async fn act(paths: &Paths, mend: &Mend) -> anyhow::Result<()> {
    match mend {
        Mend::Apply {} => commands::plan::apply(paths, &commands::config(paths)?).await,
        Mend::Publish {} => {
            for trouble in converge::follow(paths, &commands::config(paths)?).await? {
                eprintln!("mailstead: {trouble}");
            }
            converge::forget_names(paths)
        }
        Mend::Restart { unit } => systemctl(paths, "restart", unit).await,
        Mend::Reload { unit } => systemctl(paths, "reload-or-restart", unit).await,
        Mend::Run { unit } => {
            systemctl(paths, "start", unit).await?;
            tokio::time::sleep(TAKEN_WITHIN).await;
            Ok(())
        }
    }
}

async fn systemctl(paths: &Paths, verb: &str, unit: &str) -> anyhow::Result<()> {
    anyhow::ensure!(paths.is_live(), "a demo runs without systemd: start it anew instead");
    provision::host::run(&["systemctl", verb], &[unit]).with_context(|| format!("systemctl {verb} {unit}"))?;
    converge::wait_for_roles(paths).await
}

/// On standard error, and only on a terminal: checks wait for others for some seconds.
fn progress() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    // The pattern is ours, and a test sees that it is one.
    if let Ok(style) = ProgressStyle::with_template("{spinner} looked at {pos} things") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// What only root can see, the difference from the plan included.
pub fn collect(paths: &Paths) -> anyhow::Result<()> {
    let differences = match (paths.is_live(), commands::config(paths)) {
        (false, _) => Err("a demo leaves the machine alone".to_owned()),
        (true, Err(error)) => Err(error.to_string()),
        (true, Ok(config)) => converge::host_steps(&config)
            .map(|steps| steps.iter().map(|(_, step)| step.to_string()).collect())
            .map_err(|error| format!("{error:#}")),
    };
    Ok(checks::facts::collect(paths, Told { differences, renewal: renewal(paths), rehearsal: Ok(rehearsal(paths)) })?)
}

fn rehearsal(paths: &Paths) -> Option<Rehearsal> {
    let backup::Rehearsal { at, archive, outcome } = backup::last_rehearsal(paths)?;
    let words = |it: backup::Contents| format!("{} accounts, {} files, {} MB", it.accounts, it.files, it.bytes >> 20);
    Some(Rehearsal { at, archive, outcome: outcome.map(words) })
}

/// What the certs role keeps of the next renewal, which root alone can read beside it.
fn renewal(paths: &Paths) -> Result<Renewal, String> {
    let status = certs::status(paths, base::time::now_unix()).map_err(|error| error.to_string())?;
    let failures = status.left_out.into_iter().map(|(name, failure)| NameFailure {
        name,
        count: failure.count,
        why: failure.why,
        again: failure.again,
    });
    Ok(Renewal {
        at: status.renewal_at,
        by_authority: status.window.is_some(),
        last: status.last.map_or_else(|| "no run was noted yet".to_owned(), |last| last.words),
        failures: failures.collect(),
    })
}

impl Facts {
    pub async fn run(self, paths: Paths) -> anyhow::Result<ExitCode> {
        commands::require_root(&paths)?;
        collect(&paths)?;
        Ok(ExitCode::SUCCESS)
    }
}
