//! `mailstead run ROLE`: what the systemd units start.

use base::{BoxConfig, Paths, Role};
use clap::Args;
use std::process::ExitCode;

/// Run one role of the box in the foreground (the systemd units do this).
#[derive(Args)]
pub struct Run {
    /// directory, mailbox, mta, filter, dns or web; or, once: certs, checks, backup.
    role: Role,
    /// With certs: only make the key and a first certificate.
    #[arg(long)]
    initial: bool,
    /// With certs: take a certificate and its key from standard input (mailstead certificate import does this).
    #[arg(long)]
    import: bool,
    /// With --import: serve it at once.
    #[arg(long, requires = "import")]
    at_once: bool,
    /// With certs: go back from an imported certificate.
    #[arg(long)]
    call_off_import: bool,
}

impl Run {
    pub async fn run(self, paths: Paths) -> anyhow::Result<ExitCode> {
        base::logging::start();
        if self.initial || self.import || self.call_off_import {
            anyhow::ensure!(self.role == Role::Certs, "--initial and --import belong to the role certs");
        }
        if self.initial {
            certs::initial(&paths, &BoxConfig::load(&paths)?)?;
        } else if self.import {
            crate::commands::certificate::take_import(&paths, self.at_once)?;
        } else if self.call_off_import {
            certs::call_off_import(&paths, base::time::now_unix())?;
        } else {
            crate::roles::run(self.role, paths).await?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
