//! `mailstead restore`: a backup becomes a box again, on a fresh machine.

use crate::commands::setup;
use crate::output::say;
use crate::{commands, release};
use anyhow::Context;
use base::{BoxConfig, Paths, Secret};
use clap::Args;
use provision::{discover, preflight};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Make this fresh machine the box that a backup was made of: accounts, mail, keys and zones.
///
/// The machine needs this release installed (install.sh --no-setup) and nothing else. A machine that is a box already
/// is left alone.
#[derive(Args)]
pub struct Restore {
    /// The archive.
    file: PathBuf,
    /// A file with the recovery key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

impl Restore {
    pub async fn run(self, paths: Paths) -> anyhow::Result<ExitCode> {
        commands::require_root(&paths)?;
        let key = std::fs::read_to_string(&self.key).with_context(|| self.key.display().to_string())?;
        let key = Secret::new(key.trim());
        if !paths.is_live() {
            let config = backup::restore(&paths, &self.file, &key)?;
            renumber(&paths)?;
            backup::restored(&paths)?;
            say!("{} is restored; start it with: mailstead demo {}", config.email, paths.root().display());
            return Ok(ExitCode::SUCCESS);
        }
        if BoxConfig::load(&paths).is_ok() && !backup::is_restoring(&paths) {
            anyhow::bail!("this machine is a box already; restore on a fresh one");
        }
        anyhow::ensure!(
            release::installed().is_some(),
            "restore runs from an installed release; run install.sh --no-setup first"
        );
        let fatal: Vec<_> = preflight::machine(&discover::host_facts(None), !backup::is_restoring(&paths))
            .into_iter()
            .filter(|finding| finding.fatal)
            .collect();
        if let Some(finding) = fatal.first() {
            anyhow::bail!("{}", finding.words);
        }
        // The answers come first, so that users and folders are there to receive what they own.
        let config = backup::restore(&paths, &self.file, &key)?;
        renumber(&paths)?;
        setup::finish(&paths)?;
        own_restored(&config)?;
        backup::restored(&paths)?;
        setup::set_up(&paths, &config).await
    }
}

/// Messages that came after the backup had UIDs that clients remember; every folder skips past them.
fn renumber(paths: &Paths) -> anyhow::Result<()> {
    let subfolders = |folder: &Path| -> std::io::Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(folder)?.filter_map(Result::ok);
        Ok(entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.path()).collect())
    };
    if !paths.mail().exists() {
        return Ok(());
    }
    for domain in subfolders(&paths.mail())? {
        for account in subfolders(&domain)? {
            if account.join("index.db").exists() {
                store::after_restore(&account)?;
            }
        }
    }
    Ok(())
}

/// Gives what was restored to the users it belongs to; they are made first.
fn own_restored(config: &BoxConfig) -> anyhow::Result<()> {
    crate::converge::make_users(config)?;
    for (role, folder) in backup::owners() {
        // What was empty is not in the archive; the plan makes such folders.
        if !Path::new(folder).exists() {
            continue;
        }
        let user = role.user();
        provision::host::run(&["chown", "--recursive", "--no-dereference", &format!("{user}:{user}"), folder], &[])?;
    }
    // The certificate's key is read by those who serve it.
    provision::host::run(&["chgrp", "--recursive", "ms-tls", "/var/lib/mailstead/tls"], &[])?;
    Ok(())
}
