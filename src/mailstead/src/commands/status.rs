//! `mailstead status`: the status checks, now.

use crate::{commands, output};
use base::Paths;
use clap::Args;
use std::io::IsTerminal;
use std::process::ExitCode;

/// Run the status checks: what was seen, what was wanted, why it matters, what to do.
///
/// Exits with 0 when all is well, 1 for warnings, 2 for failures.
#[derive(Args)]
pub struct Status {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Collect what only root can see, for the checks (their timer does this).
#[derive(Args)]
#[command(hide = true)]
pub struct Facts {}

impl Status {
    pub async fn run(self, paths: Paths) -> anyhow::Result<ExitCode> {
        commands::require_root(&paths)?;
        commands::config(&paths)?;
        checks::facts::collect(&paths)?;
        let results = checks::check(paths).await?;
        if self.json {
            output::json(&results)?;
        } else {
            output::text(&checks::render_text(&results, std::io::stdout().is_terminal()));
        }
        Ok(ExitCode::from(checks::exit_code(&results)))
    }
}

impl Facts {
    pub async fn run(self, paths: Paths) -> anyhow::Result<ExitCode> {
        commands::require_root(&paths)?;
        checks::facts::collect(&paths)?;
        Ok(ExitCode::SUCCESS)
    }
}
