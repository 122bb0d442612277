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
}

impl Run {
    pub async fn run(self, paths: Paths) -> anyhow::Result<ExitCode> {
        base::logging::start();
        if self.initial {
            anyhow::ensure!(self.role == Role::Certs, "--initial belongs to the role certs");
            certs::initial(&paths, &BoxConfig::load(&paths)?)?;
        } else {
            crate::roles::run(self.role, paths).await?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
