//! Safety: what root reported of the firewall, ssh, backups and updates.

use crate::facts::{self, Backups, HostReport, Updates};
use crate::finding::{Finding, Problem};
use crate::world::World;

/// A report older than this is not of this run (the timer runs every ten minutes).
const REPORT_GOOD_FOR: u64 = 3600;
const DAY: u64 = 86_400;

/// One part of root's report; else the finding that says why there is none.
pub fn reported<'a, T>(
    world: &'a World,
    part: impl Fn(&'a HostReport) -> &'a Result<T, String>,
    wanted: &str,
) -> Result<&'a T, Finding> {
    let Some(report) =
        world.report.as_ref().filter(|report| world.now.saturating_sub(report.collected) < REPORT_GOOD_FOR)
    else {
        return Err(Finding::unknown(
            "root has not reported lately; that happens with each run of mailstead-checks.service",
            wanted,
        ));
    };
    part(report).as_ref().map_err(|why| Finding::unknown(why.clone(), wanted))
}

pub fn firewall(world: &World) -> Finding {
    let wanted = "the box's own rules are loaded and close all else";
    match reported(world, |report| &report.firewall, wanted) {
        Ok(firewall) if firewall.loaded && firewall.drops_the_rest => {
            Finding::good("loaded, all else is closed", wanted)
        }
        Ok(firewall) if firewall.loaded => {
            Finding::bad(vec![Problem::new("", "loaded, but what it does not name is let in", wanted)])
        }
        Ok(_) => Finding::bad(vec![Problem::new("", "the box's rules are not loaded", wanted)]),
        Err(finding) => finding,
    }
}

pub fn ssh_passwords(world: &World) -> Finding {
    let wanted = "ssh logs in by key alone";
    match reported(world, |report| &report.ssh, wanted) {
        Ok(ssh) if !ssh.installed => Finding::good("no ssh server is installed", wanted),
        Ok(ssh) if !ssh.passwords => Finding::good("passwords are refused", wanted),
        Ok(ssh) => {
            let ports: Vec<String> = ssh.ports.iter().map(u16::to_string).collect();
            let seen = format!("passwords are taken on port {}", ports.join(", "));
            Finding::bad(vec![Problem::new("", seen, wanted)])
        }
        Err(finding) => finding,
    }
}

pub fn updates(world: &World, lists_days: u64) -> Finding {
    let wanted = "no security update waits";
    match reported(world, |report| &report.updates, wanted) {
        Ok(updates) => judge_updates(updates, world.now, lists_days),
        Err(finding) => finding,
    }
}

fn judge_updates(updates: &Updates, now: u64, lists_days: u64) -> Finding {
    let wanted = format!("no security update waits, and updates were looked for within {lists_days} days");
    let days = now.saturating_sub(updates.lists_fetched) / DAY;
    let Updates { pending, security, .. } = updates;
    let problem = |seen: String| Finding::bad(vec![Problem::new("", seen, &wanted)]);
    match () {
        () if *security > 0 => problem(format!("{security} security updates wait, {pending} updates in all")),
        () if days >= lists_days => problem(format!("updates were last looked for {days} days ago")),
        () => Finding::good(format!("{pending} other updates wait; looked for {days} days ago"), wanted),
    }
}

pub fn reboot(world: &World) -> Finding {
    let wanted = "no restart is due";
    let flag = world.paths.on_host("/var/run/reboot-required");
    if !flag.exists() {
        return Finding::good("none is due", wanted);
    }
    let packages = std::fs::read_to_string(flag.with_file_name("reboot-required.pkgs")).unwrap_or_default();
    let mut names: Vec<&str> = packages.lines().collect();
    names.sort_unstable();
    names.dedup();
    Finding::bad(vec![Problem::new("", format!("updates wait for a restart: {}", names.join(", ")), wanted)])
}

/// What is known of the archives, else the finding that says why nothing is.
pub(super) fn archives(world: &World, wanted: &str) -> Result<Backups, Finding> {
    // A demo's archives are its user's own, so they can be looked at without root.
    let backups = match world.is_demo() {
        true => facts::backups(&world.paths.backups()).map_err(|why| Finding::unknown(why, wanted))?,
        false => reported(world, |report| &report.backups, wanted)?.clone(),
    };
    match world.is_demo() && backups.count == 0 {
        true => Err(Finding::skipped("a demo makes no backups by itself; try: mailstead --box DIR backup now")),
        false => Ok(backups),
    }
}

pub fn backup_age(world: &World, oldest_hours: u64) -> Finding {
    let wanted = format!("an archive of the last {oldest_hours} hours");
    match archives(world, &wanted) {
        Ok(backups) => judge_backups(&backups, world.now, oldest_hours, wanted),
        Err(finding) => finding,
    }
}

pub fn backup_size(world: &World, least_percent: u64) -> Finding {
    let wanted = format!("at least {least_percent} % of what archives usually have");
    match archives(world, &wanted) {
        Ok(backups) => judge_size(&backups, least_percent, wanted),
        Err(finding) => finding,
    }
}

/// An archive that is suddenly small holds less than it should.
fn judge_size(backups: &Backups, least_percent: u64, wanted: String) -> Finding {
    let (Some(newest), Some(usual)) = (&backups.newest, backups.usual_bytes) else {
        return Finding::good("there are too few archives to compare", wanted);
    };
    let seen = format!("{} has {} KB, usual are {} KB", newest.name, newest.bytes / 1024, usual / 1024);
    match newest.bytes.saturating_mul(100) < usual.saturating_mul(least_percent) {
        true => Finding::bad(vec![Problem::new("", seen, wanted)]),
        false => Finding::good(seen, wanted),
    }
}

/// Nothing was changed by hand, and nothing that was to be done is left.
pub fn as_planned(world: &World) -> Finding {
    let wanted = "nothing differs from the plan";
    match reported(world, |report| &report.differences, wanted) {
        Ok(lines) => {
            let problems = lines.iter().map(|line| Problem::new("", line, wanted)).collect();
            Finding::judge(problems, "nothing differs", wanted)
        }
        Err(finding) => finding,
    }
}

fn judge_backups(backups: &Backups, now: u64, oldest_hours: u64, wanted: String) -> Finding {
    let Some(newest) = &backups.newest else {
        return Finding::bad(vec![Problem::new("", "no archive at all", wanted)]);
    };
    let hours = now.saturating_sub(newest.made) / 3600;
    let age = if hours < 48 { format!("{hours} hours") } else { format!("{} days", hours / 24) };
    let seen =
        format!("{} of {}, {age} old, {} KB", newest.name, base::time::readable(newest.made), newest.bytes / 1024);
    match () {
        () if hours >= oldest_hours => Finding::bad(vec![Problem::new("", seen, wanted)]),
        () if newest.bytes == 0 => Finding::bad(vec![Problem::new("", format!("{} is empty", newest.name), wanted)]),
        () => Finding::good(format!("{seen}; {} kept", backups.count), wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Archive;
    use crate::finding::Verdict;

    #[test]
    fn a_backup_a_month_and_three_hours_old_is_old() {
        let now = 2_000_000_000;
        let judge = |age: u64, bytes| {
            let newest = Some(Archive { name: "box.tar.zst.age".into(), made: now - age, bytes });
            judge_backups(&Backups { count: 1, newest, usual_bytes: None, oldest: None }, now, 30, String::new())
        };
        assert_eq!(judge(3 * 3600, 10).verdict, Verdict::Good);
        let old = judge(30 * DAY + 3 * 3600, 10);
        assert_eq!(old.verdict, Verdict::Bad);
        assert!(old.seen.contains("30 days old"));
        assert_eq!(judge(33 * DAY, 10).verdict, Verdict::Bad);
        assert_eq!(judge(3600, 0).verdict, Verdict::Bad, "an empty archive");
        assert_eq!(
            judge_backups(&Backups { count: 0, newest: None, usual_bytes: None, oldest: None }, now, 30, String::new())
                .verdict,
            Verdict::Bad
        );
    }

    #[test]
    fn an_archive_that_is_suddenly_small_is_told() {
        let judge = |bytes, usual_bytes| {
            let newest = Some(Archive { name: "box.tar.zst.age".into(), made: 0, bytes });
            judge_size(&Backups { count: 9, newest, usual_bytes, oldest: None }, 50, String::new()).verdict
        };
        assert_eq!(judge(1, None), Verdict::Good, "the first");
        assert_eq!(judge(600, Some(1000)), Verdict::Good);
        assert_eq!(judge(400, Some(1000)), Verdict::Bad);
    }

    #[test]
    fn security_updates_and_stale_lists_are_told() {
        let now = 100 * DAY;
        let updates =
            |security, days| Updates { pending: 3, security, lists_fetched: now - days * DAY, packages_changed: 0 };
        assert_eq!(judge_updates(&updates(0, 1), now, 4).verdict, Verdict::Good);
        assert_eq!(judge_updates(&updates(1, 1), now, 4).verdict, Verdict::Bad);
        assert_eq!(judge_updates(&updates(0, 4), now, 4).verdict, Verdict::Bad);
    }
}
