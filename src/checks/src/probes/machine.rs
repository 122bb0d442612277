//! The machine: disk, memory, load, clock.

use crate::finding::{Finding, Problem};
use crate::limits::CONNECT_WITHIN;
use crate::world::World;
use nix::sys::statvfs::statvfs;
use std::path::PathBuf;

const MEGABYTE: u64 = 1 << 20;

/// The folders that grow. They may lie on one file system, which is then told once.
fn places(world: &World) -> [PathBuf; 2] {
    [world.paths.state(), world.paths.log()]
}

pub fn disk(world: &World, warn_percent: u64, fail_megabytes: u64) -> Finding {
    let wanted = format!("at least {warn_percent} % free, never less than {fail_megabytes} MB");
    let mut seen = Vec::new();
    for place in places(world) {
        let Ok(stat) = statvfs(&place) else { continue };
        let block = stat.fragment_size();
        let (free, total) = (stat.blocks_available() * block, stat.blocks() * block);
        let line = space(free, total);
        match judge_space(free, total, warn_percent, fail_megabytes * MEGABYTE) {
            Space::Enough => seen.push((place, line)),
            Space::Little => return Finding::poor(vec![Problem::new(place.display().to_string(), line, wanted)]),
            Space::None => return Finding::bad(vec![Problem::new(place.display().to_string(), line, wanted)]),
        }
    }
    seen.dedup_by(|a, b| a.1 == b.1);
    let lines: Vec<String> = seen.iter().map(|(place, line)| format!("{}: {line}", place.display())).collect();
    if lines.is_empty() {
        Finding::unknown("the disk cannot be asked", wanted)
    } else {
        Finding::good(lines.join("\n"), wanted)
    }
}

fn space(free: u64, total: u64) -> String {
    format!("{} MB free of {} MB ({} %)", free / MEGABYTE, total / MEGABYTE, percent(free, total))
}

fn percent(part: u64, whole: u64) -> u64 {
    part.saturating_mul(100).checked_div(whole).unwrap_or(100)
}

#[derive(Debug, PartialEq, Eq)]
enum Space {
    Enough,
    Little,
    None,
}

fn judge_space(free: u64, total: u64, warn_percent: u64, fail_bytes: u64) -> Space {
    match () {
        () if free < fail_bytes => Space::None,
        () if percent(free, total) < warn_percent => Space::Little,
        () => Space::Enough,
    }
}

pub fn inodes(world: &World, warn_percent: u64) -> Finding {
    let wanted = format!("at least {warn_percent} % of the disk's inodes free");
    let (mut seen, mut problems) = (Vec::new(), Vec::new());
    for place in places(world) {
        let Ok(stat) = statvfs(&place) else { continue };
        let (free, total) = (stat.files_available(), stat.files());
        let place = place.display();
        match percent(free, total) {
            _ if total == 0 => seen.push(format!("{place}: this file system has no such limit")),
            left if left < warn_percent => {
                problems.push(Problem::new(place.to_string(), format!("{left} % free"), &wanted));
            }
            left => seen.push(format!("{place}: {left} % free")),
        }
    }
    match seen.is_empty() && problems.is_empty() {
        true => Finding::unknown("the disk cannot be asked", wanted),
        false => Finding::judge(problems, seen.join("\n"), wanted),
    }
}

pub fn memory(warn_percent: u64) -> Finding {
    let wanted = format!("at least {warn_percent} % available, nothing killed for want of it");
    let (Ok(meminfo), vmstat) = (std::fs::read_to_string("/proc/meminfo"), std::fs::read_to_string("/proc/vmstat"))
    else {
        return Finding::unknown("/proc/meminfo cannot be read", wanted);
    };
    // The kernel counts the processes of every container together.
    let vmstat = if in_container() { String::new() } else { vmstat.unwrap_or_default() };
    judge_memory(&meminfo, &vmstat, warn_percent, wanted)
}

/// systemd writes there what kind of container it runs in.
fn in_container() -> bool {
    std::path::Path::new("/run/systemd/container").exists()
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
}

fn judge_memory(meminfo: &str, vmstat: &str, warn_percent: u64, wanted: String) -> Finding {
    let (Some(available), Some(total)) = (field(meminfo, "MemAvailable"), field(meminfo, "MemTotal")) else {
        return Finding::unknown("/proc/meminfo does not say it", wanted);
    };
    let killed = field(vmstat, "oom_kill").unwrap_or(0);
    let killed_words = if killed > 0 {
        format!("; {killed} processes killed for want of memory since the start")
    } else {
        String::new()
    };
    let seen = format!("{} MB available of {} MB{killed_words}", available / 1024, total / 1024);
    match percent(available, total) < warn_percent {
        true => Finding::bad(vec![Problem::new("", seen, wanted)]),
        false if killed > 0 => Finding::poor(vec![Problem::new("", seen, wanted)]),
        false => Finding::good(seen, wanted),
    }
}

/// Swap that is nearly used up: what comes next is that the kernel kills something.
pub fn swap(most_percent: u64) -> Finding {
    judge_swap(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default(), most_percent)
}

fn judge_swap(meminfo: &str, most_percent: u64) -> Finding {
    let wanted = format!("at most {most_percent} % used");
    let (Some(total), Some(free)) = (field(meminfo, "SwapTotal"), field(meminfo, "SwapFree")) else {
        return Finding::skipped("this machine does not say");
    };
    if total == 0 {
        return Finding::skipped("this machine has no swap");
    }
    let used = total.saturating_sub(free);
    let seen = format!("{} MB used of {} MB", used / 1024, total / 1024);
    match percent(used, total) > most_percent {
        true => Finding::bad(vec![Problem::new("", seen, wanted)]),
        false => Finding::good(seen, wanted),
    }
}

pub fn load(most_per_core: u32) -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    judge_load(&text, cores, most_per_core)
}

/// The third number of /proc/loadavg is that of the last fifteen minutes.
fn judge_load(loadavg: &str, cores: usize, most_per_core: u32) -> Finding {
    let wanted = format!("no more than {most_per_core} for each of {cores} cores over fifteen minutes");
    let Some(load) = loadavg.split_whitespace().nth(2).and_then(|number| number.parse::<f64>().ok()) else {
        return Finding::unknown("/proc/loadavg does not say it", wanted);
    };
    let most = f64::from(most_per_core) * cores as f64;
    match load > most {
        true => Finding::bad(vec![Problem::new("", load.to_string(), wanted)]),
        false => Finding::good(load.to_string(), wanted),
    }
}

pub async fn clock() -> Finding {
    let asked = tokio::process::Command::new("timedatectl").arg("show").env("LC_ALL", "C").kill_on_drop(true).output();
    let shown = match tokio::time::timeout(CONNECT_WITHIN, asked).await {
        Ok(Ok(output)) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
        _ => String::new(),
    };
    judge_clock(&shown, in_container())
}

fn judge_clock(shown: &str, in_container: bool) -> Finding {
    let wanted = "set by time servers (NTP)";
    let value = |name: &str| shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    match value("NTPSynchronized") {
        Some("yes") => Finding::good("synchronised", wanted),
        _ if in_container => Finding::skipped("in a container the clock is the host machine's"),
        Some(_) if value("NTP") == Some("yes") => {
            Finding::bad(vec![Problem::new("", "a time service runs and has reached no time server yet", wanted)])
        }
        Some(_) => Finding::bad(vec![Problem::new("", "no time service runs", wanted)]),
        None => Finding::unknown("timedatectl does not say it", wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Verdict;

    #[test]
    fn a_disk_warns_before_it_is_full() {
        let gigabyte = 1024 * MEGABYTE;
        assert_eq!(judge_space(50 * gigabyte, 100 * gigabyte, 10, 500 * MEGABYTE), Space::Enough);
        assert_eq!(judge_space(5 * gigabyte, 100 * gigabyte, 10, 500 * MEGABYTE), Space::Little);
        assert_eq!(judge_space(gigabyte / 4, gigabyte, 10, 500 * MEGABYTE), Space::None);
        assert_eq!(judge_space(0, 0, 10, 0), Space::Enough);
    }

    #[test]
    fn memory_is_judged_by_what_is_available_and_what_was_killed() {
        let meminfo = |available| format!("MemTotal:  1000000 kB\nMemFree: 1 kB\nMemAvailable:   {available} kB\n");
        let judge = |available, vmstat| judge_memory(&meminfo(available), vmstat, 10, String::new()).verdict;
        assert_eq!(judge(500_000, "oom_kill 0\n"), Verdict::Good);
        assert_eq!(judge(50_000, ""), Verdict::Bad);
        assert_eq!(judge(500_000, "pgfault 3\noom_kill 2\n"), Verdict::Poor);
        assert_eq!(judge_memory("", "", 10, String::new()).verdict, Verdict::Unknown);
    }

    #[test]
    fn load_is_counted_for_each_core() {
        assert_eq!(judge_load("9.0 9.0 3.9 1/2 3", 2, 2).verdict, Verdict::Good);
        assert_eq!(judge_load("0.1 0.1 4.1 1/2 3", 2, 2).verdict, Verdict::Bad);
        assert_eq!(judge_load("", 2, 2).verdict, Verdict::Unknown);
    }

    #[test]
    fn swap_that_is_nearly_used_up_is_told_of() {
        let judge = |free: u64| judge_swap(&format!("SwapTotal: 1024000 kB\nSwapFree: {free} kB\n"), 80).verdict;
        assert_eq!(judge(512_000), Verdict::Good);
        assert_eq!(judge(102_400), Verdict::Bad);
        assert_eq!(judge_swap("SwapTotal: 0 kB\nSwapFree: 0 kB\n", 80).verdict, Verdict::Skipped);
    }

    #[test]
    fn a_clock_that_nobody_sets_is_told_but_not_in_a_container() {
        assert_eq!(judge_clock("NTP=yes\nNTPSynchronized=yes\n", false).verdict, Verdict::Good);
        assert_eq!(judge_clock("NTP=no\nNTPSynchronized=no\n", false).verdict, Verdict::Bad);
        assert_eq!(judge_clock("NTP=no\nNTPSynchronized=no\n", true).verdict, Verdict::Skipped);
        assert_eq!(judge_clock("", false).verdict, Verdict::Unknown);
    }
}
