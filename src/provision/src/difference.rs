//! The difference between a plan and a host: the steps that make it so. Looks, changes nothing.

use crate::ProvisionError;
use crate::host::{Host, Kind};
use crate::journal::Started;
use crate::plan::{Item, OnChange, Plan, Stage};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One change to the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    InstallPackages(Vec<String>),
    AddUser(String),
    AddGroup(String),
    AddMember {
        group: String,
        user: String,
    },
    MakeFolder {
        path: String,
        owner: String,
        group: String,
        mode: u32,
    },
    WriteFile {
        path: String,
        content: String,
        mode: u32,
        is_new: bool,
    },
    MakeLink {
        path: String,
        target: String,
    },
    Make {
        path: String,
        user: String,
        arguments: Vec<String>,
        what: String,
    },
    /// Tells systemd that unit files changed.
    ReloadUnits,
    StartUnit {
        name: String,
        how: Start,
        digest: String,
    },
    StopUnit(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Start,
    Restart,
    Reload,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::InstallPackages(names) => write!(f, "install {}", names.join(", ")),
            Step::AddUser(name) => write!(f, "add the user {name}"),
            Step::AddGroup(name) => write!(f, "add the group {name}"),
            Step::AddMember { group, user } => write!(f, "add {user} to the group {group}"),
            Step::MakeFolder { path, .. } => write!(f, "set up the folder {path}"),
            Step::WriteFile { path, is_new: true, .. } => write!(f, "write {path}"),
            Step::WriteFile { path, .. } => write!(f, "change {path}"),
            Step::MakeLink { path, target } => write!(f, "link {path} to {target}"),
            Step::Make { what, .. } => write!(f, "make {what}"),
            Step::ReloadUnits => write!(f, "have systemd read its units anew"),
            Step::StartUnit { name, how: Start::Start, .. } => write!(f, "start {name}"),
            Step::StartUnit { name, how: Start::Restart, .. } => write!(f, "restart {name}"),
            Step::StartUnit { name, how: Start::Reload, .. } => write!(f, "reload {name}"),
            Step::StopUnit(name) => write!(f, "stop {name}"),
        }
    }
}

/// The steps from what is there to what is wanted, in the order in which they are to be done.
pub fn difference(plan: &Plan, host: &dyn Host, started: &Started) -> Result<Vec<(Stage, Step)>, ProvisionError> {
    let mut look = Look { plan, host, started, steps: Vec::new() };
    look.packages()?;
    for (stage, item) in &plan.items {
        look.item(*stage, item)?;
    }
    look.units()?;
    let mut steps = look.steps;
    // Stable: within a stage the plan's order stays.
    steps.sort_by_key(|(stage, _)| *stage);
    Ok(steps)
}

struct Look<'a> {
    plan: &'a Plan,
    host: &'a dyn Host,
    started: &'a Started,
    steps: Vec<(Stage, Step)>,
}

impl Look<'_> {
    fn packages(&mut self) -> Result<(), ProvisionError> {
        let name = |item: &Item| if let Item::Package(name) = item { Some(name.clone()) } else { None };
        let wanted: Vec<String> = self.plan.items.iter().filter_map(|(_, item)| name(item)).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let there = self.host.installed(&wanted)?;
        let missing: Vec<String> = wanted.into_iter().filter(|name| !there.contains(name)).collect();
        if !missing.is_empty() {
            self.steps.push((Stage::Packages, Step::InstallPackages(missing)));
        }
        Ok(())
    }

    fn item(&mut self, stage: Stage, item: &Item) -> Result<(), ProvisionError> {
        match item {
            Item::Package(_) | Item::Unit { .. } | Item::UnitOff { .. } => Ok(()),
            Item::User(name) => {
                if !self.host.user_exists(name)? {
                    self.steps.push((stage, Step::AddUser(name.clone())));
                }
                Ok(())
            }
            Item::Group { name, members } => self.group(stage, name, members),
            Item::Folder { path, owner, group, mode } => self.folder(stage, path, owner, group, *mode),
            Item::File { path, content, mode } => self.file(stage, path, content, *mode),
            Item::Link { path, target } => {
                let there = self.host.entry(path)?;
                if there.is_none_or(|entry| entry.kind != Kind::Link(target.clone())) {
                    self.steps.push((stage, Step::MakeLink { path: path.clone(), target: target.clone() }));
                }
                Ok(())
            }
            Item::Made { path, user, arguments, what } => {
                if self.host.entry(path)?.is_none() {
                    let (path, user) = (path.clone(), user.clone());
                    let step = Step::Make { path, user, arguments: arguments.clone(), what: what.clone() };
                    self.steps.push((stage, step));
                }
                Ok(())
            }
        }
    }

    fn group(&mut self, stage: Stage, name: &str, members: &[String]) -> Result<(), ProvisionError> {
        if !self.host.owns_files() {
            return Ok(());
        }
        let there = self.host.members(name)?;
        if there.is_none() {
            self.steps.push((stage, Step::AddGroup(name.to_owned())));
        }
        let there = there.unwrap_or_default();
        for user in members.iter().filter(|user| !there.contains(*user)) {
            self.steps.push((stage, Step::AddMember { group: name.to_owned(), user: user.clone() }));
        }
        Ok(())
    }

    fn folder(&mut self, stage: Stage, path: &str, owner: &str, group: &str, mode: u32) -> Result<(), ProvisionError> {
        let right = self.host.entry(path)?.is_some_and(|entry| {
            let owned = !self.host.owns_files() || (entry.owner == owner && entry.group == group);
            entry.kind == Kind::Folder && entry.mode == mode && owned
        });
        if !right {
            let (path, owner, group) = (path.to_owned(), owner.to_owned(), group.to_owned());
            self.steps.push((stage, Step::MakeFolder { path, owner, group, mode }));
        }
        Ok(())
    }

    fn file(&mut self, stage: Stage, path: &str, content: &str, mode: u32) -> Result<(), ProvisionError> {
        let entry = self.host.entry(path)?;
        let is_file = entry.as_ref().is_some_and(|entry| entry.kind == Kind::File && entry.mode == mode);
        if !is_file || self.host.read(path)?.as_deref() != Some(content.as_bytes()) {
            let (path, content, is_new) = (path.to_owned(), content.to_owned(), entry.is_none());
            self.steps.push((stage, Step::WriteFile { path, content, mode, is_new }));
        }
        Ok(())
    }

    /// Units come last in their stage's order of the plan, but are asked for in one call.
    fn units(&mut self) -> Result<(), ProvisionError> {
        let name = |item: &Item| match item {
            Item::Unit { name, .. } | Item::UnitOff { name } => Some(name.clone()),
            _ => None,
        };
        let names: Vec<String> = self.plan.items.iter().filter_map(|(_, item)| name(item)).collect();
        if names.is_empty() {
            return Ok(());
        }
        let states = self.host.units(&names)?;
        if self.unit_files_change() {
            self.steps.push((Stage::Files, Step::ReloadUnits));
        }
        let known: BTreeMap<&String, _> = states.iter().collect();
        for (stage, item) in &self.plan.items {
            match item {
                Item::Unit { name, inputs, on_change } => {
                    let state = known.get(name).copied().cloned().unwrap_or_default();
                    let digest = self.digest(inputs)?;
                    // An input that is put back now was another while the unit ran, perhaps also when it was last loaded.
                    let fresh = self.started.digest(name) == Some(&digest) && !self.is_written(inputs);
                    let how = match (state.active, fresh, on_change) {
                        (true, true, _) if state.enabled => continue,
                        (false, ..) | (_, true, _) => Start::Start,
                        (true, false, OnChange::Restart) => Start::Restart,
                        (true, false, OnChange::Reload) => Start::Reload,
                        (true, false, OnChange::Start) => Start::Restart,
                    };
                    self.steps.push((*stage, Step::StartUnit { name: name.clone(), how, digest }));
                }
                Item::UnitOff { name } => {
                    let state = known.get(name).copied().cloned().unwrap_or_default();
                    if state.active || state.enabled {
                        self.steps.push((*stage, Step::StopUnit(name.clone())));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn is_written(&self, inputs: &[String]) -> bool {
        self.steps.iter().any(|(_, step)| matches!(step, Step::WriteFile { path, .. } if inputs.contains(path)))
    }

    fn unit_files_change(&self) -> bool {
        let is_unit = |path: &str| path.starts_with("/etc/systemd/system/");
        self.steps.iter().any(|(_, step)| matches!(step, Step::WriteFile { path, .. } if is_unit(path)))
    }

    /// A hash of what the unit is to be started with: wanted content where the plan has it, else what is there.
    fn digest(&self, inputs: &[String]) -> Result<String, ProvisionError> {
        let mut text = Vec::new();
        for path in inputs.iter().collect::<BTreeSet<_>>() {
            match self.plan.content(path) {
                Some(content) => text.extend_from_slice(content.as_bytes()),
                None => text.extend(self.host.read(path)?.unwrap_or_default()),
            }
            text.push(0);
        }
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text);
        Ok(base64::Engine::encode(&base64::prelude::BASE64_STANDARD, digest.as_ref()))
    }
}
