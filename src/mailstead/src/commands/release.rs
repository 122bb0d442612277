//! `mailstead release pack`: makes what `install.sh` fetches.

use crate::output::say;
use anyhow::Context;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Pack and sign a release (for those who publish one).
#[derive(Args)]
pub struct Release {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write OUT/VERSION with the artifact, the manifest and its signature, and OUT/latest.
    ///
    /// Call it once for each architecture, with the same VERSION: the manifest grows by one artifact each time.
    Pack {
        /// The program to pack, built for --arch.
        #[arg(long, value_name = "FILE")]
        binary: PathBuf,
        /// The Ed25519 private key (PKCS #8, PEM), as `openssl genpkey -algorithm ed25519` makes it.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        #[arg(long, default_value = env!("CARGO_PKG_VERSION"))]
        version: String,
        #[arg(long, default_value = std::env::consts::ARCH)]
        arch: String,
        /// What is new in it, as plain text: boxes of older releases show it.
        #[arg(long, value_name = "FILE")]
        changes: Option<PathBuf>,
    },
}

impl Release {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let Command::Pack { binary, key, out, version, arch, changes } = self.command;
        let program = std::fs::read(&binary).with_context(|| binary.display().to_string())?;
        let key = std::fs::read_to_string(&key).with_context(|| key.display().to_string())?;
        let folder = provision::release::pack(&program, &key, &out, &version, &arch)?;
        if let Some(changes) = changes {
            std::fs::copy(&changes, folder.join("changes")).with_context(|| changes.display().to_string())?;
        }
        say!("{}", folder.display());
        Ok(ExitCode::SUCCESS)
    }
}
