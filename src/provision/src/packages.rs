//! Packages of the distribution, by dpkg and apt-get.

use crate::ProvisionError;
use crate::host::capture;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// A script that keeps fresh packages from starting services before their configuration is there (invoke-rc.d(8)).
const POLICY: &str = "/usr/sbin/policy-rc.d";
const POLICY_SAYS: &[u8] = b"#!/bin/sh\nexit 101\n";

/// Which of these packages are installed.
pub fn installed(packages: &[String]) -> Result<BTreeSet<String>, ProvisionError> {
    // dpkg-query fails when one of them is unknown, and still prints the others.
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat=${Package} ${db:Status-Status}\\n", "--"])
        .args(packages)
        .output()
        .map_err(|error| ProvisionError::Command("dpkg-query".into(), error))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().filter_map(|line| line.strip_suffix(" installed"));
    Ok(lines.map(str::to_owned).collect())
}

/// Installs packages with what they need, and nothing that is merely recommended.
pub fn install(packages: &[String], told: &mut dyn FnMut(&str)) -> Result<(), ProvisionError> {
    // An earlier run may have been cut off in the middle of dpkg's work.
    capture(Command::new("dpkg").args(["--configure", "-a"]).env("DEBIAN_FRONTEND", "noninteractive"))?;
    told("reading package lists");
    apt(&["update"], told)?;
    let _guard = StartGuard::new()?;
    let mut arguments =
        vec!["install", "--yes", "--no-install-recommends", "--option", "Dpkg::Options::=--force-confold"];
    arguments.extend(packages.iter().map(String::as_str));
    apt(&arguments, told)
}

fn apt(arguments: &[&str], told: &mut dyn FnMut(&str)) -> Result<(), ProvisionError> {
    let mut child = Command::new("apt-get")
        .args(["--quiet", "--option", "DPkg::Lock::Timeout=300", "--option", "Acquire::Retries=3"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| ProvisionError::Command("apt-get".into(), error))?;
    let errors = child.stderr.take().map(|stream| std::thread::spawn(move || last_lines(stream)));
    if let Some(stream) = child.stdout.take() {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            told(&line);
        }
    }
    let status = child.wait().map_err(|error| ProvisionError::Command("apt-get".into(), error))?;
    let output = errors.and_then(|thread| thread.join().ok()).unwrap_or_default();
    if status.success() {
        return Ok(());
    }
    let command = format!("apt-get {}", arguments.join(" "));
    Err(ProvisionError::Failed { command, status: status.to_string(), output })
}

fn last_lines(stream: impl std::io::Read) -> String {
    let mut lines: Vec<String> = BufReader::new(stream).lines().map_while(Result::ok).collect();
    lines.split_off(lines.len().saturating_sub(10)).join("\n")
}

/// Removes what a run that was killed among its packages left: no service would be restarted when its package is
/// upgraded. A policy that is not this program's stays.
pub fn clear_start_guard() -> Result<(), ProvisionError> {
    let path = std::path::Path::new(POLICY);
    base::durable::clear_unfinished(path).map_err(|error| ProvisionError::file(path, error))?;
    match std::fs::read(path) {
        Ok(content) if content == POLICY_SAYS => std::fs::remove_file(path),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
    .map_err(|error| ProvisionError::file(path, error))
}

/// While it lives, installed packages do not start their services.
struct StartGuard;

impl StartGuard {
    fn new() -> Result<Self, ProvisionError> {
        let path = std::path::Path::new(POLICY);
        base::durable::write(path, POLICY_SAYS, 0o755).map_err(|error| ProvisionError::file(path, error))?;
        Ok(Self)
    }
}

impl Drop for StartGuard {
    fn drop(&mut self) {
        // Left behind it would keep services from restarting on upgrades; a later run removes it as well.
        if let Err(error) = std::fs::remove_file(POLICY) {
            tracing::warn!("{POLICY} could not be removed: {error}");
        }
    }
}
