//! What lies on the disk: the mail and its index, whose it is, room for backups, and how long the disk still lasts.

use super::safety::{archives, reported};
use crate::facts::{Backups, Rehearsal};
use crate::finding::{Finding, Problem};
use crate::growth;
use crate::world::World;
use nix::sys::statvfs::{FsFlags, statvfs};
use std::path::PathBuf;
use wire::mailbox::{AccountUsage, Finding as Found, Inspect, Usage};
use wire::{Kind, WireError};

const DAY: u64 = 86_400;
const HOUR: u64 = 3600;

/// One account's mail after another, an account an hour, is what its index says.
pub async fn mail(world: &World) -> Finding {
    let wanted = "files and index of a mailbox agree";
    let usage = match world.client.ask(&AccountUsage {}).await {
        Ok(usage) => usage,
        Err(_) => return Finding::skipped("the mailbox service does not answer, which another check tells"),
    };
    let Some(account) = whose_turn(&usage, world.now) else { return Finding::good("no mailbox has mail yet", wanted) };
    match world.client.ask(&Inspect { account: account.account.clone() }).await {
        Ok(found) => judge_mail(account, &found, wanted),
        Err(WireError::Refused(refusal)) if refusal.kind == Kind::Busy => {
            Finding::skipped(format!("{}; at a quiet time: mailstead fsck --check", refusal.message))
        }
        Err(error) => Finding::unknown(error.to_string(), wanted),
    }
}

fn whose_turn(usage: &[Usage], now: u64) -> Option<&Usage> {
    let with_mail: Vec<&Usage> = usage.iter().filter(|one| one.messages > 0).collect();
    let hours = usize::try_from(now / HOUR).unwrap_or(0);
    with_mail.get(hours.checked_rem(with_mail.len())?).copied()
}

fn judge_mail(account: &Usage, found: &[Found], wanted: &str) -> Finding {
    let name = account.account.to_string();
    let problems =
        found.iter().map(|one| Problem::new(&name, format!("{}: {}", one.place, one.problem), wanted).detail(&name));
    Finding::judge(problems.collect(), format!("looked at {name}: {} messages", account.messages), wanted)
}

/// All mail belongs to the mailbox service.
pub fn owners(world: &World) -> Finding {
    let wanted = "all mail belongs to the mailbox service";
    match reported(world, |report| &report.foreign_mail, wanted) {
        Ok(foreign) => {
            let problems = foreign.iter().map(|path| Problem::new(path, "it belongs to somebody else", wanted));
            Finding::judge(problems.collect(), "it does", wanted)
        }
        Err(finding) => finding,
    }
}

/// The disk takes what is written: after errors the kernel lets it be read only.
pub fn writable(world: &World) -> Finding {
    let wanted = "can be written";
    let places =
        [world.paths.state(), world.paths.mail(), world.paths.queue(), world.paths.backups(), world.paths.log()];
    let is_closed =
        |place: &&PathBuf| statvfs(place.as_path()).is_ok_and(|stat| stat.flags().contains(FsFlags::ST_RDONLY));
    let problems = places.iter().filter(is_closed).map(|place| {
        let name = place.display().to_string();
        Problem::new(&name, "it can be read only", wanted).detail(&name)
    });
    Finding::judge(problems.collect(), "all of it can be written", wanted)
}

/// The disk is not full soon, as it grows now.
pub fn forecast(world: &World, least_days: u64) -> Finding {
    let wanted = format!("not full within {least_days} days");
    let Ok(stat) = statvfs(&world.paths.state()) else { return Finding::unknown("the disk cannot be asked", wanted) };
    let free = stat.blocks_available() * stat.fragment_size();
    judge_forecast(growth::per_day(&growth::load(&world.paths)), free, least_days, wanted)
}

fn judge_forecast(per_day: Option<f64>, free: u64, least_days: u64, wanted: String) -> Finding {
    let Some(per_day) = per_day else { return Finding::good("how it grows is known after some days", wanted) };
    if per_day < 1.0 {
        return Finding::good("it does not grow", wanted);
    }
    let (days, megabytes) = (free as f64 / per_day, per_day / 1e6);
    let seen = format!("it grows by {megabytes:.0} MB a day, and is full in {days:.0} days");
    match days < least_days as f64 {
        true => Finding::bad(vec![Problem::new("", seen, wanted)]),
        false => Finding::good(seen, wanted),
    }
}

/// There is room for the next backup.
pub fn backup_room(world: &World) -> Finding {
    let wanted = "room for two archives as large as the newest";
    let backups = match archives(world, wanted) {
        Ok(backups) => backups,
        Err(finding) => return finding,
    };
    let Ok(stat) = statvfs(&world.paths.backups()) else {
        return Finding::unknown("the disk of the backups cannot be asked", wanted);
    };
    judge_room(&backups, stat.blocks_available() * stat.fragment_size(), wanted)
}

fn judge_room(backups: &Backups, free: u64, wanted: &str) -> Finding {
    let Some(newest) = &backups.newest else {
        return Finding::skipped("there is no backup, which another check tells");
    };
    let seen = format!("{} KB free, the newest has {} KB", free >> 10, newest.bytes >> 10);
    match free < newest.bytes.saturating_mul(2) {
        true => Finding::bad(vec![Problem::new("", seen, wanted)]),
        false => Finding::good(seen, wanted),
    }
}

/// A backup was opened and read lately.
pub fn rehearsal(world: &World, oldest_days: u64) -> Finding {
    let wanted = format!("a backup opened with the recovery key and read within {oldest_days} days");
    match reported(world, |report| &report.rehearsal, &wanted) {
        Ok(last) => {
            let oldest = world.report.as_ref().and_then(|report| report.backups.as_ref().ok()?.oldest);
            judge_rehearsal(last.as_ref(), oldest, world.now, oldest_days, wanted)
        }
        Err(finding) => finding,
    }
}

fn judge_rehearsal(
    last: Option<&Rehearsal>,
    oldest_backup: Option<u64>,
    now: u64,
    oldest_days: u64,
    wanted: String,
) -> Finding {
    let is_old = |time: u64| now.saturating_sub(time) >= oldest_days * DAY;
    let problem = |seen: String| Finding::bad(vec![Problem::new("", seen, &wanted)]);
    match last {
        None if oldest_backup.is_some_and(is_old) => problem("none was ever opened".to_owned()),
        None => Finding::good("the first comes on Sunday", &wanted),
        Some(Rehearsal { archive, outcome: Err(why), .. }) => problem(format!("{archive}: {why}")),
        Some(Rehearsal { archive, at, outcome: Ok(words) }) => {
            let seen = format!("{archive}, at {}: {words}", base::time::readable(*at));
            if is_old(*at) { problem(seen) } else { Finding::good(seen, wanted) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Archive;
    use crate::finding::Verdict;
    use base::Address;

    fn usage(name: &str, messages: u64) -> Usage {
        let account = Address::parse(name).unwrap();
        Usage { account, messages, bytes: 0, removed_messages: 0, removed_bytes: 0, index_bytes: 0 }
    }

    #[test]
    fn each_account_with_mail_has_its_turn() {
        let all = [usage("a@example.org", 1), usage("b@example.org", 0), usage("c@example.org", 5)];
        let turns: Vec<String> =
            (0..3).map(|hour| whose_turn(&all, hour * HOUR).unwrap().account.to_string()).collect();
        assert_eq!(turns, ["a@example.org", "c@example.org", "a@example.org"]);
        assert!(whose_turn(&all[1..2], 7 * HOUR).is_none() && whose_turn(&[], 0).is_none());
        let found = Found { place: "INBOX".into(), problem: "a file is missing".into(), mended: false };
        assert_eq!(judge_mail(&all[0], &[found], "").seen, "a@example.org: INBOX: a file is missing");
    }

    #[test]
    fn a_disk_that_fills_quickly_is_told_of() {
        let judge = |per_day| judge_forecast(per_day, 10_000_000_000, 21, String::new());
        assert_eq!(judge(None).verdict, Verdict::Good);
        assert_eq!(judge(Some(-5.0)).verdict, Verdict::Good);
        assert_eq!(judge(Some(1e8)).verdict, Verdict::Good, "a hundred days");
        assert_eq!(judge(Some(1e9)).seen, "it grows by 1000 MB a day, and is full in 10 days");
    }

    #[test]
    fn the_next_backups_have_room() {
        let newest = Some(Archive { name: "a".into(), made: 0, bytes: 100 << 10 });
        let backups = Backups { count: 1, newest, usual_bytes: None, oldest: None };
        assert_eq!(judge_room(&backups, 200 << 10, "").verdict, Verdict::Good);
        assert_eq!(judge_room(&backups, (200 << 10) - 1, "").verdict, Verdict::Bad);
    }

    #[test]
    fn a_backup_that_does_not_open_or_was_not_opened_for_long_is_told() {
        let now = 100 * DAY;
        let last = |days: u64, outcome: Result<&str, &str>| Rehearsal {
            at: now - days * DAY,
            archive: "a.age".into(),
            outcome: outcome.map(str::to_owned).map_err(str::to_owned),
        };
        let judge = |last: Option<&Rehearsal>, oldest| judge_rehearsal(last, oldest, now, 10, String::new()).verdict;
        assert_eq!(judge(None, Some(now - 9 * DAY)), Verdict::Good);
        assert_eq!(judge(None, Some(now - 10 * DAY)), Verdict::Bad);
        assert_eq!(judge(Some(&last(9, Ok("3 files"))), None), Verdict::Good);
        assert_eq!(judge(Some(&last(10, Ok("3 files"))), None), Verdict::Bad);
        assert_eq!(judge(Some(&last(1, Err("wrong key"))), None), Verdict::Bad);
    }
}
