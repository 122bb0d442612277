//! One file per command.

pub mod alias;
pub mod app_password;
pub mod backup;
pub mod backup_mx;
pub mod certificate;
pub mod demo;
pub mod dmarc;
pub mod dns;
pub mod filter;
pub mod fsck;
pub mod list;
pub mod plan;
pub mod queue;
pub mod quota;
pub mod relay;
pub mod release;
pub mod reports;
pub mod restore;
pub mod run;
pub mod second_factor;
pub mod sending;
pub mod setup;
pub mod status;
pub mod trace;
pub mod undelete;
pub mod user;

use base::{BoxConfig, Paths};

/// The box's answers, or a sentence that says how to get a box.
pub fn config(paths: &Paths) -> anyhow::Result<BoxConfig> {
    BoxConfig::load(paths).map_err(|error| match error.is_missing() {
        true => anyhow::anyhow!("this machine is not a box yet; set it up with: mailstead setup"),
        false => error.into(),
    })
}

/// Refuses commands that only root may give on a live machine.
pub fn require_root(paths: &Paths) -> anyhow::Result<()> {
    if paths.is_live() && !provision::host::is_root() {
        anyhow::bail!("this needs root: run it with sudo");
    }
    Ok(())
}
