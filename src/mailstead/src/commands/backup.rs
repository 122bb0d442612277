//! `mailstead backup`: archives now, their list, and the key that opens them.

use crate::output::say;
use crate::{commands, output};
use base::Paths;
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Make and list the encrypted backups, and show the key that opens them.
#[derive(Args)]
pub struct Backup {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make an archive now; prints its path.
    Now,
    /// List the archives.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Open the newest archive with the recovery key and read it to its end, as a restore would, and change nothing; a
    /// timer does this every week.
    Rehearse {
        /// This archive instead of the newest.
        archive: Option<PathBuf>,
        /// Print JSON: {"at", "archive", "outcome": {"Ok": {"made", "accounts", "files", "bytes"}} or {"Err": why}}.
        #[arg(long)]
        json: bool,
    },
    /// Show the recovery key. Keep it somewhere else: without it no backup can be opened.
    Key {
        /// Make the key if there is none, and show nothing.
        #[arg(long)]
        create: bool,
    },
}

impl Backup {
    pub async fn run(self, paths: Paths) -> anyhow::Result<ExitCode> {
        commands::require_root(&paths)?;
        match self.command {
            Command::Now if paths.is_live() => {
                // As the backup's own user, in its sandbox, exactly as at night.
                provision::host::run(&["systemctl", "start", "mailstead-backup.service"], &[])?;
                let newest = backup::list(&paths)?.into_iter().max_by_key(|archive| archive.time);
                let newest = newest
                    .ok_or_else(|| anyhow::anyhow!("no archive was made; see: journalctl -u mailstead-backup"))?;
                say!("{}", newest.file.display());
            }
            Command::Now => say!("{}", backup::run(paths).await?.display()),
            Command::List { json } => list(&paths, json)?,
            Command::Rehearse { archive, json } => return rehearse(&paths, archive.as_deref(), json),
            Command::Key { create: true } => backup::create_key(&paths)?,
            Command::Key { create: false } => say!("{}", backup::recovery_key(&paths)?.expose()),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn rehearse(paths: &Paths, archive: Option<&Path>, json: bool) -> anyhow::Result<ExitCode> {
    let rehearsal = backup::rehearse(paths, archive)?;
    let backup::Rehearsal { archive: name, outcome, .. } = &rehearsal;
    match outcome {
        _ if json => output::json(&rehearsal)?,
        Ok(it) => {
            let size = format!("{:.1} MB", it.bytes as f64 / 1e6);
            let made = base::time::readable(it.made);
            say!("{name} of {made} opens: {} accounts, {} files, {size}", it.accounts, it.files);
        }
        Err(why) => eprintln!("mailstead: {why}"),
    }
    Ok(if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn list(paths: &Paths, json: bool) -> anyhow::Result<()> {
    let archives = backup::list(paths)?;
    if json {
        return output::json(&archives);
    }
    if archives.is_empty() {
        say!("There is no backup yet; one is made every night, or now by: mailstead backup now");
    }
    let rows = archives.iter().map(|archive| {
        let size = format!("{:.1} MB", archive.bytes as f64 / 1e6);
        vec![base::time::readable(archive.time), size, archive.file.display().to_string()]
    });
    output::table(&rows.collect::<Vec<_>>());
    Ok(())
}
