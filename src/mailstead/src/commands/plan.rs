//! `mailstead plan` and `mailstead apply`: the difference between the box as it is and as it is meant to be.

use crate::converge::{self, Task};
use crate::output::say;
use crate::{commands, output};
use base::{BoxConfig, Paths};
use clap::Args;
use provision::Progress;
use std::process::ExitCode;

/// Show what `apply` would change, and change nothing.
#[derive(Args)]
pub struct Plan {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Make the box as it is meant to be: after an edit of box.yaml, or to repair what was changed by hand.
#[derive(Args)]
pub struct Apply {}

impl Plan {
    pub async fn run(self, paths: Paths) -> anyhow::Result<ExitCode> {
        commands::require_root(&paths)?;
        let config = commands::config(&paths)?;
        let lines = pending(&paths, &config).await?;
        if self.json {
            output::json(&lines)?;
        } else if lines.is_empty() {
            say!("Nothing to do.");
        } else {
            lines.iter().for_each(|line| say!("{line}"));
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn pending(paths: &Paths, config: &BoxConfig) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    if paths.is_live() {
        let steps = converge::host_steps(config)?;
        lines.extend(steps.iter().map(|(stage, step)| format!("{}: {step}", stage.title())));
    }
    // Roles that do not run yet cannot be asked; starting them is a step by then.
    match converge::tasks(paths, config).await {
        Ok(tasks) => lines.extend(tasks.iter().map(Task::to_string)),
        Err(_) if !lines.is_empty() => {}
        Err(error) => return Err(error),
    }
    Ok(lines)
}

impl Apply {
    pub async fn run(self, paths: Paths) -> anyhow::Result<ExitCode> {
        commands::require_root(&paths)?;
        let config = commands::config(&paths)?;
        apply(&paths, &config).await?;
        say!("The box is as planned.");
        Ok(ExitCode::SUCCESS)
    }
}

/// Makes the host as planned, then what follows from it.
pub async fn apply(paths: &Paths, config: &BoxConfig) -> anyhow::Result<()> {
    if paths.is_live() {
        let steps = converge::host_steps(config)?;
        converge::apply_host(&steps, &mut Progress::new(paths))?;
        steps.iter().for_each(|(_, step)| say!("{step}"));
    }
    converge::wait_for_roles(paths).await?;
    // The owner may have mended what stood against a certificate.
    certs::wish(paths, certs::Wish { again: true, ..Default::default() })?;
    for trouble in converge::follow(paths, config).await? {
        eprintln!("mailstead: {trouble}");
    }
    Ok(())
}
