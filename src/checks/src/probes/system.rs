//! The operating system: how long it is supported, what the machine calls itself, and what it runs short of.

use crate::finding::{Finding, Problem};
use crate::world::World;
use nix::sys::statvfs::statvfs;
use serde::Deserialize;
use std::path::Path;

const DAY: i64 = 86_400;

/// Until when a release gets security updates for nothing, as its maker says
/// (https://ubuntu.com/about/release-cycle, https://wiki.debian.org/LTS), in days since 1970.
const SUPPORTED: [(&str, &str, i64); 5] = [
    ("ubuntu", "22.04", 20_909), // 2027-04-01
    ("ubuntu", "24.04", 21_670), // 2029-05-01
    ("ubuntu", "26.04", 22_400), // 2031-05-01
    ("debian", "12", 21_365),    // 2028-06-30
    ("debian", "13", 22_095),    // 2030-06-30
];

/// The system gets security updates for a good while.
pub fn support(world: &World, warn_days: i64) -> Finding {
    let release = std::fs::read_to_string(world.paths.on_host("/etc/os-release")).unwrap_or_default();
    judge_support(&release, i64::try_from(world.now).unwrap_or(i64::MAX) / DAY, warn_days)
}

fn judge_support(release: &str, today: i64, warn_days: i64) -> Finding {
    let wanted = format!("security updates for at least {warn_days} days more");
    let value = |name: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches('"')
    };
    let (id, version, name) = (value("ID"), value("VERSION_ID"), value("PRETTY_NAME"));
    let Some((.., until)) = SUPPORTED.iter().find(|(known, release, _)| (*known, *release) == (id, version)) else {
        return Finding::unknown(format!("how long {name} gets updates is not known here"), wanted);
    };
    let end = base::time::readable(u64::try_from(until * DAY).unwrap_or(0));
    match until - today {
        left if left < 0 => Finding::bad(vec![Problem::new(name, format!("no more updates since {end}"), wanted)]),
        left if left < warn_days => {
            Finding::poor(vec![Problem::new(name, format!("updates until {end}, {left} days more"), wanted)])
        }
        _ => Finding::good(format!("{name}: updates until {end}"), wanted),
    }
}

/// The machine calls itself what the box is called; programs put that name into logs and mail.
pub fn name(world: &World) -> Finding {
    if world.is_demo() {
        return Finding::skipped("a demo leaves the machine's name alone");
    }
    let own = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    judge_name(&own, world.hostname())
}

fn judge_name(own: &str, hostname: &str) -> Finding {
    let short = hostname.split('.').next().unwrap_or_default();
    match own.eq_ignore_ascii_case(hostname) || own.eq_ignore_ascii_case(short) {
        true => Finding::good(own, hostname),
        false => Finding::bad(vec![Problem::new("", own, hostname)]),
    }
}

/// What tasks wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    Cpu,
    Memory,
    Io,
}

impl Resource {
    fn file(self) -> &'static str {
        match self {
            Resource::Cpu => "/proc/pressure/cpu",
            Resource::Memory => "/proc/pressure/memory",
            Resource::Io => "/proc/pressure/io",
        }
    }
}

/// How much of the last five minutes tasks have waited for something (Documentation/accounting/psi.rst of Linux).
pub fn pressure(of: Resource, warn_percent: u32) -> Finding {
    match std::fs::read_to_string(of.file()) {
        Ok(text) => judge_pressure(&text, warn_percent),
        Err(_) => Finding::skipped("this kernel does not say how long tasks wait"),
    }
}

fn judge_pressure(text: &str, warn_percent: u32) -> Finding {
    let wanted = format!("below {warn_percent} % of the last five minutes");
    let some = text.lines().find(|line| line.starts_with("some "));
    let average = some.and_then(|line| line.split_whitespace().find_map(|part| part.strip_prefix("avg300=")));
    let Some(percent) = average.and_then(|text| text.parse::<f64>().ok()) else {
        return Finding::unknown("the kernel's words on waiting tasks cannot be read", wanted);
    };
    let seen = format!("tasks waited for {percent} % of the last five minutes");
    match percent >= f64::from(warn_percent) {
        true => Finding::bad(vec![Problem::new("", seen, wanted)]),
        false => Finding::good(seen, wanted),
    }
}

/// Files that all programs have open, of those that the kernel allows.
pub fn open_files(warn_percent: u64) -> Finding {
    judge_open_files(&std::fs::read_to_string("/proc/sys/fs/file-nr").unwrap_or_default(), warn_percent)
}

fn judge_open_files(text: &str, warn_percent: u64) -> Finding {
    let wanted = format!("below {warn_percent} % of what the kernel allows");
    let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [open, _, most] = numbers.as_slice() else {
        return Finding::unknown("/proc/sys/fs/file-nr does not say it", wanted);
    };
    let seen = format!("{open} of {most}");
    match u128::from(*open) * 100 >= u128::from(*most) * u128::from(warn_percent) {
        true => Finding::bad(vec![Problem::new("", seen, wanted)]),
        false => Finding::good(seen, wanted),
    }
}

/// There is room where programs of the system write.
pub fn space(world: &World, at: &str, least_megabytes: u64) -> Finding {
    if world.is_demo() {
        return Finding::skipped("a demo writes nowhere else");
    }
    let wanted = format!("at least {least_megabytes} MB free");
    match statvfs(Path::new(at)) {
        Ok(stat) => judge_room(at, (stat.blocks_available() * stat.fragment_size()) >> 20, least_megabytes, wanted),
        Err(error) => Finding::unknown(format!("{at}: {error}"), wanted),
    }
}

fn judge_room(at: &str, free: u64, least: u64, wanted: String) -> Finding {
    let seen = format!("{free} MB free");
    match free < least {
        true => Finding::bad(vec![Problem::new(at, seen, wanted)]),
        false => Finding::good(seen, wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Verdict;

    #[test]
    fn a_release_is_told_of_before_its_updates_end() {
        let jammy = "PRETTY_NAME=\"Ubuntu 22.04.5 LTS\"\nID=ubuntu\nVERSION_ID=\"22.04\"\n";
        let judge = |today| judge_support(jammy, today, 180);
        assert_eq!(judge(20_909 - 180).verdict, Verdict::Good);
        assert_eq!(judge(20_909 - 179).verdict, Verdict::Poor);
        let over = judge(20_910);
        assert!(over.verdict == Verdict::Bad && over.seen.contains("2027-04-01"), "{}", over.seen);
        assert_eq!(judge_support("ID=arch\n", 1, 1).verdict, Verdict::Unknown);
    }

    #[test]
    fn every_release_in_the_table_ends_on_the_day_that_stands_beside_it() {
        let day = |days: i64| base::time::readable(u64::try_from(days * DAY).unwrap());
        let ends: Vec<String> = SUPPORTED.iter().map(|(.., until)| day(*until)[..10].to_owned()).collect();
        assert_eq!(ends, ["2027-04-01", "2029-05-01", "2031-05-01", "2028-06-30", "2030-06-30"]);
    }

    #[test]
    fn a_machine_with_another_name_is_told() {
        assert_eq!(judge_name("box", "box.example.org").verdict, Verdict::Good);
        assert_eq!(judge_name("BOX.example.org", "box.example.org").verdict, Verdict::Good);
        assert_eq!(judge_name("vps-17", "box.example.org").seen, "vps-17");
    }

    #[test]
    fn waiting_tasks_and_open_files_are_counted() {
        let psi = "some avg10=9.00 avg60=5.00 avg300=41.50 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n";
        assert_eq!(judge_pressure(psi, 40).verdict, Verdict::Bad);
        assert_eq!(judge_pressure(psi, 50).verdict, Verdict::Good);
        assert_eq!(judge_pressure("", 50).verdict, Verdict::Unknown);
        assert_eq!(judge_open_files("900 0 1000\n", 80).verdict, Verdict::Bad);
        assert_eq!(judge_open_files("900 0 9223372036854775807\n", 80).verdict, Verdict::Good);
        assert_eq!(judge_open_files("", 80).verdict, Verdict::Unknown);
        assert_eq!(judge_room("/tmp", 9, 10, String::new()).verdict, Verdict::Bad);
    }
}
