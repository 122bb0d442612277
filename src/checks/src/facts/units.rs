//! What systemd says of its units.

use super::said;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The state of one unit, as `systemctl show` tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// With its ending: `nginx.service`.
    pub name: String,
    /// `loaded`, `not-found`, `masked` …
    pub load: String,
    /// `active`, `inactive`, `failed`, `activating` …
    pub active: String,
    /// `enabled`, `disabled`, `static` …; empty where there is no file.
    pub file: String,
    /// How its last run ended: `success`, `exit-code`, `signal`, `oom-kill` …
    pub result: String,
    /// How often systemd has started it again by itself since it was started.
    pub restarts: u64,
    /// Octets that its processes hold, while it runs. Files that the kernel keeps for them are not counted: those are
    /// given up when somebody needs the room.
    pub memory: Option<u64>,
}

const PROPERTIES: &str = "Id,LoadState,ActiveState,UnitFileState,Result,NRestarts,ControlGroup";
const PROCESSES: &str = "/proc";
/// Most processes of the machine that are looked at; far beyond what a mail box runs.
const MOST_PROCESSES: usize = 10_000;

/// Asks about these units, and finds out which units of the whole machine have failed.
pub fn look(names: &[String]) -> Result<Vec<Unit>, String> {
    let mut arguments = vec!["show", "--property", PROPERTIES];
    arguments.extend(names.iter().map(String::as_str));
    let held = Held::look(Path::new(PROCESSES));
    let mut units = read(&said("systemctl", &arguments)?, &held);
    let failed = said("systemctl", &["list-units", "--state=failed", "--no-legend", "--plain", "--full"])?;
    for name in failed.lines().filter_map(|line| line.split_whitespace().next()) {
        if !units.iter().any(|unit| unit.name == name) {
            units.push(Unit {
                name: name.to_owned(),
                load: "loaded".into(),
                active: "failed".into(),
                ..Unit::default()
            });
        }
    }
    Ok(units)
}

/// Blocks of `Name=value` lines, with an empty line between two units.
fn read(shown: &str, held: &Held) -> Vec<Unit> {
    let blocks = shown.split("\n\n").filter(|block| !block.trim().is_empty());
    blocks.map(|block| read_unit(block, held)).collect()
}

fn read_unit(block: &str, held: &Held) -> Unit {
    let value = |name: &str| {
        let found = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_default().to_owned()
    };
    Unit {
        name: value("Id"),
        load: value("LoadState"),
        active: value("ActiveState"),
        file: value("UnitFileState"),
        result: value("Result"),
        restarts: value("NRestarts").parse().unwrap_or(0),
        memory: held.by(&value("ControlGroup")),
    }
}

/// What the machine's processes hold of memory and swap, each with the control groups that it is in. Asked of each process,
/// since not every machine counts memory by group (a container may not), and what was swapped out is not counted there.
#[derive(Default)]
struct Held(Vec<(Vec<String>, u64)>);

impl Held {
    fn look(processes: &Path) -> Self {
        let Ok(entries) = std::fs::read_dir(processes) else { return Self::default() };
        let numbers = entries.flatten().map(|entry| entry.path()).filter(|path| path.join("cgroup").is_file());
        // One that ends meanwhile holds nothing.
        Self(numbers.take(MOST_PROCESSES).filter_map(|process| one(&process)).collect())
    }

    /// Octets that the processes of a group and of those within it hold; None where it has none.
    fn by(&self, group: &str) -> Option<u64> {
        let within =
            |own: &String| own.strip_prefix(group).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let members = self.0.iter().filter(|(groups, _)| groups.iter().any(within));
        (!group.is_empty()).then_some(members)?.map(|(_, octets)| *octets).reduce(u64::saturating_add)
    }
}

fn one(process: &Path) -> Option<(Vec<String>, u64)> {
    let read = |name: &str| std::fs::read_to_string(process.join(name)).ok();
    Some((groups(&read("cgroup")?), own(&read("status")?)))
}

/// The groups by which systemd keeps its units apart: of the one hierarchy (`0::/path`), or of its own beside others
/// (`1:name=systemd:/path`; cgroups(7)).
fn groups(text: &str) -> Vec<String> {
    let lines =
        text.lines().filter_map(|line| line.strip_prefix("0::").or_else(|| Some(line.split_once(":name=systemd:")?.1)));
    lines.map(str::to_owned).collect()
}

/// Octets of a process's own: `RssAnon` and `VmSwap` of its status, in kB (proc_pid_status(5)).
fn own(status: &str) -> u64 {
    let kilobytes = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    (kilobytes("RssAnon") + kilobytes("VmSwap")) << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_block_by_block() {
        let shown = "Result=success\nNRestarts=3\nControlGroup=/system.slice/nginx.service\nId=nginx.service\nLoadState=loaded\n\
                     ActiveState=active\nUnitFileState=enabled\n\nId=gone.timer\nLoadState=not-found\nActiveState=inactive\n\
                     UnitFileState=\nControlGroup=\n";
        let held = Held(vec![(vec!["/system.slice/nginx.service".to_owned()], 1 << 20)]);
        let units = read(shown, &held);
        assert_eq!(units.len(), 2);
        assert_eq!((units[0].name.as_str(), units[0].restarts, units[0].memory), ("nginx.service", 3, Some(1 << 20)));
        assert_eq!((units[1].load.as_str(), units[1].memory), ("not-found", None));
        assert_eq!(read("\n", &Held::default()), []);
    }

    #[test]
    fn all_processes_of_a_unit_count_by_what_is_theirs_alone() {
        let root = tempfile::tempdir().unwrap();
        let process = |number: &str, group: &str, status: &str| {
            std::fs::create_dir(root.path().join(number)).unwrap();
            std::fs::write(root.path().join(number).join("cgroup"), group).unwrap();
            std::fs::write(root.path().join(number).join("status"), status).unwrap();
        };
        process(
            "7",
            "0::/system.slice/nginx.service\n",
            "VmRSS:\t  9000 kB\nRssAnon:\t    1000 kB\nVmSwap:\t      24 kB\n",
        );
        process("8", "2:cpu:/\n1:name=systemd:/system.slice/nginx.service/workers\n0::/\n", "RssAnon:\t1024 kB\n");
        process("9", "0::/system.slice/nginx.service-other\n", "RssAnon:\t1024 kB\n");
        let held = Held::look(root.path());
        assert_eq!(held.by("/system.slice/nginx.service"), Some(2 << 20));
        assert_eq!([held.by("/system.slice/gone.service"), held.by("")], [None, None]);
    }
}
