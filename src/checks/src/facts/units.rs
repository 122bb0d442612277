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
const CONTROL_GROUPS: &str = "/sys/fs/cgroup";

/// Asks about these units, and finds out which units of the whole machine have failed.
pub fn look(names: &[String]) -> Result<Vec<Unit>, String> {
    let mut arguments = vec!["show", "--property", PROPERTIES];
    arguments.extend(names.iter().map(String::as_str));
    let mut units = read(&said("systemctl", &arguments)?, Path::new(CONTROL_GROUPS));
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
fn read(shown: &str, groups: &Path) -> Vec<Unit> {
    let blocks = shown.split("\n\n").filter(|block| !block.trim().is_empty());
    blocks.map(|block| read_unit(block, groups)).collect()
}

fn read_unit(block: &str, groups: &Path) -> Unit {
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
        memory: held(groups, &value("ControlGroup")),
    }
}

/// The `anon` of a control group's memory.stat (Documentation/admin-guide/cgroup-v2.rst of Linux).
fn held(groups: &Path, group: &str) -> Option<u64> {
    let group = group.strip_prefix('/').filter(|group| !group.is_empty())?;
    let text = std::fs::read_to_string(groups.join(group).join("memory.stat")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("anon ")).and_then(|octets| octets.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_block_by_block() {
        let groups = tempfile::tempdir().unwrap();
        let group = groups.path().join("system.slice/nginx.service");
        std::fs::create_dir_all(&group).unwrap();
        std::fs::write(group.join("memory.stat"), "anon 1048576\nfile 999999999\nanon_thp 0\n").unwrap();
        let shown = "Result=success\nNRestarts=3\nControlGroup=/system.slice/nginx.service\nId=nginx.service\nLoadState=loaded\n\
                     ActiveState=active\nUnitFileState=enabled\n\nId=gone.timer\nLoadState=not-found\nActiveState=inactive\n\
                     UnitFileState=\nControlGroup=\n";
        let units = read(shown, groups.path());
        assert_eq!(units.len(), 2);
        assert_eq!((units[0].name.as_str(), units[0].restarts, units[0].memory), ("nginx.service", 3, Some(1 << 20)));
        assert_eq!((units[1].load.as_str(), units[1].memory), ("not-found", None));
        assert_eq!(read("\n", groups.path()), []);
    }
}
