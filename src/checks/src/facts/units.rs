//! What systemd says of its units.

use super::said;
use serde::{Deserialize, Serialize};

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
    /// Octets, while it runs.
    pub memory: Option<u64>,
}

const PROPERTIES: &str = "Id,LoadState,ActiveState,UnitFileState,Result,NRestarts,MemoryCurrent";

/// Asks about these units, and finds out which units of the whole machine have failed.
pub fn look(names: &[String]) -> Result<Vec<Unit>, String> {
    let mut arguments = vec!["show", "--property", PROPERTIES];
    arguments.extend(names.iter().map(String::as_str));
    let mut units = read(&said("systemctl", &arguments)?);
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
fn read(shown: &str) -> Vec<Unit> {
    let blocks = shown.split("\n\n").filter(|block| !block.trim().is_empty());
    blocks.map(read_unit).collect()
}

fn read_unit(block: &str) -> Unit {
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
        // `[not set]`, or the largest number, where nothing is counted.
        memory: value("MemoryCurrent").parse().ok().filter(|octets| *octets < u64::MAX / 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_block_by_block() {
        let shown = "Result=success\nNRestarts=3\nMemoryCurrent=1048576\nId=nginx.service\nLoadState=loaded\n\
                     ActiveState=active\nUnitFileState=enabled\n\nId=gone.timer\nLoadState=not-found\nActiveState=inactive\n\
                     UnitFileState=\nMemoryCurrent=[not set]\n";
        let units = read(shown);
        assert_eq!(units.len(), 2);
        assert_eq!((units[0].name.as_str(), units[0].restarts, units[0].memory), ("nginx.service", 3, Some(1 << 20)));
        assert_eq!((units[1].load.as_str(), units[1].memory), ("not-found", None));
        assert_eq!(read("\n"), []);
    }
}
