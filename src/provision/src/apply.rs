//! Doing the steps, one by one, each journalled; every wait has a limit and then shows the unit's log.

use crate::ProvisionError;
use crate::difference::{Start, Step};
use crate::host::{Host, capture};
use crate::journal::{self, Started};
use crate::plan::Stage;
use crate::progress::Progress;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a service may take to run; the slowest seen, unbound on a small machine, took two seconds.
const START_WITHIN: Duration = Duration::from_secs(30);

/// Does the steps in order and stops at the first that fails.
pub fn apply(host: &dyn Host, steps: &[(Stage, Step)], progress: &mut Progress) -> Result<(), ProvisionError> {
    let mut started = Started::load(host.paths());
    for stage in Stage::ALL {
        let of_stage: Vec<&Step> = steps.iter().filter(|(of, _)| *of == stage).map(|(_, step)| step).collect();
        if of_stage.is_empty() {
            continue;
        }
        progress.begin(stage.title(), of_stage.len());
        enable(host, &of_stage)?;
        for step in of_stage {
            progress.step(&step.to_string());
            let outcome = one(host, step, &mut started, progress);
            let word = outcome.as_ref().map_or_else(ToString::to_string, |()| "done".to_owned());
            journal::write(host.paths(), stage.title(), &step.to_string(), &word)?;
            outcome?;
        }
        progress.end();
    }
    Ok(())
}

fn one(host: &dyn Host, step: &Step, started: &mut Started, progress: &mut Progress) -> Result<(), ProvisionError> {
    match step {
        Step::InstallPackages(names) => host.install(names, &mut |line| progress.detail(line)),
        Step::AddUser(name) => host.add_user(name),
        Step::AddGroup(name) => host.add_group(name),
        Step::AddMember { group, user } => host.add_member(group, user),
        Step::MakeFolder { path, owner, group, mode } => {
            host.make_folder(path, *mode)?;
            host.own(path, owner, group)?;
            // Changing the owner clears the set-group-id bit.
            host.make_folder(path, *mode)
        }
        Step::WriteFile { path, content, mode, is_new } => {
            if !is_new && let Some(former) = host.read(path)? {
                journal::keep(host.paths(), path, &former)?;
            }
            host.write(path, content.as_bytes(), *mode)
        }
        Step::MakeLink { path, target } => host.link(path, target),
        Step::Make { user, arguments, .. } => {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            host.run_self(user, &arguments)
        }
        Step::ReloadUnits => host.systemctl(&["daemon-reload"]),
        Step::StartUnit { name, how, digest } => {
            start(host, name, *how)?;
            started.record(host.paths(), name, digest)
        }
        Step::StopUnit(name) => host.systemctl(&["disable", "--now", name]),
    }
}

/// All units of a stage at once: systemd reads all its units anew each time, which takes longer than their start.
fn enable(host: &dyn Host, steps: &[&Step]) -> Result<(), ProvisionError> {
    let name = |step: &&Step| if let Step::StartUnit { name, .. } = step { Some(name.clone()) } else { None };
    let names: Vec<String> = steps.iter().filter_map(name).collect();
    if names.is_empty() {
        return Ok(());
    }
    let arguments: Vec<&str> = std::iter::once("enable").chain(names.iter().map(String::as_str)).collect();
    host.systemctl(&arguments)
}

fn start(host: &dyn Host, name: &str, how: Start) -> Result<(), ProvisionError> {
    let verb = match how {
        Start::Start => "start",
        Start::Restart => "restart",
        Start::Reload => "reload-or-restart",
    };
    let begun = host.systemctl(&[verb, name]).and_then(|()| wait_until_active(host, name));
    begun.map_err(|error| match error {
        ProvisionError::Failed { command, status, output } => {
            ProvisionError::Failed { command, status, output: format!("{output}\n{}", log_of(name)) }
        }
        other => other,
    })
}

fn wait_until_active(host: &dyn Host, name: &str) -> Result<(), ProvisionError> {
    let begun = Instant::now();
    let names = [name.to_owned()];
    loop {
        if host.units(&names)?.get(name).is_some_and(|state| state.active) {
            return Ok(());
        }
        if begun.elapsed() > START_WITHIN {
            let output = format!("it is not running after {} s", START_WITHIN.as_secs());
            return Err(ProvisionError::Failed {
                command: format!("starting {name}"),
                status: "time-out".into(),
                output,
            });
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The last lines of a unit's log, for an error message.
fn log_of(name: &str) -> String {
    let mut command = Command::new("journalctl");
    command.args(["--no-pager", "--lines=15", "--output=cat", "--unit", name]);
    capture(&mut command).map_or_else(|error| error.to_string(), |log| format!("Its log says:\n{log}"))
}
