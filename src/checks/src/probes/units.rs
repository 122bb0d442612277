//! systemd's units, as root saw them just before: do they run, did their last run end well, do they keep falling over?

use super::safety::reported;
use crate::facts::Unit;
use crate::finding::{Finding, Problem};
use crate::world::World;
use base::Role;

/// A service, timer or watch is to run.
pub fn active(world: &World, name: &str) -> Finding {
    judged(world, name, "loaded and active", judge_active)
}

/// A unit that comes to its end is to have ended well when it last ran.
pub fn last_run(world: &World, name: &str) -> Finding {
    judged(world, name, "its last run succeeded", judge_last_run)
}

/// A role is not to be started again and again.
pub fn restarts(world: &World, role: Role, most: u64) -> Finding {
    let wanted = format!("started again by itself no more than {most} times");
    judged(world, unit_of(role), &wanted, |unit, wanted| judge_restarts(unit, most, wanted))
}

/// A role is not to take more memory than a mail box of this size has any use for.
pub fn memory(world: &World, role: Role, most_megabytes: u64) -> Finding {
    let wanted = format!("at most {most_megabytes} MB");
    judged(world, unit_of(role), &wanted, |unit, wanted| judge_memory(unit, most_megabytes, wanted))
}

/// No unit of the whole machine has failed. Those that have a check of their own are left to it.
pub fn none_failed(world: &World) -> Finding {
    let wanted = "no unit has failed";
    let own = crate::text::units();
    match reported(world, |report| &report.units, wanted) {
        Ok(units) => judge_failed(units, &own),
        Err(finding) => finding,
    }
}

/// The unit of a role that runs all the time.
pub fn unit_of(role: Role) -> &'static str {
    match role {
        Role::Directory => "mailstead-directory.service",
        Role::Mailbox => "mailstead-mailbox.service",
        Role::Mta => "mailstead-mta.service",
        Role::Filter => "mailstead-filter.service",
        Role::Dns => "mailstead-dns.service",
        Role::Web => "mailstead-web.service",
        Role::Certs => "mailstead-certs.service",
        Role::Checks => "mailstead-checks.service",
        Role::Backup => "mailstead-backup.service",
        Role::Owner => "",
    }
}

fn judged(world: &World, name: &str, wanted: &str, judge: impl Fn(&Unit, &str) -> Finding) -> Finding {
    if world.is_demo() {
        return Finding::skipped("a demo runs without systemd");
    }
    match reported(world, |report| &report.units, wanted) {
        Ok(units) => match units.iter().find(|unit| unit.name == name) {
            Some(unit) => judge(unit, wanted),
            None => Finding::unknown(format!("systemd said nothing of {name}"), wanted),
        },
        Err(finding) => finding,
    }
}

fn problem(unit: &Unit, seen: String, wanted: &str) -> Finding {
    Finding::bad(vec![Problem::new(&unit.name, seen, wanted).detail(&unit.name)])
}

fn judge_active(unit: &Unit, wanted: &str) -> Finding {
    match (unit.load.as_str(), unit.active.as_str()) {
        ("loaded", "active" | "reloading" | "activating") => Finding::good(&unit.active, wanted),
        ("loaded", active) => problem(unit, active.to_owned(), wanted),
        (load, _) => problem(unit, format!("not there ({load})"), wanted),
    }
}

fn judge_last_run(unit: &Unit, wanted: &str) -> Finding {
    match unit.load.as_str() {
        "loaded" if unit.active == "failed" || !matches!(unit.result.as_str(), "success" | "") => {
            problem(unit, format!("its last run failed ({})", unit.result), wanted)
        }
        "loaded" => Finding::good("it ended well, or has not run yet", wanted),
        load => problem(unit, format!("not there ({load})"), wanted),
    }
}

fn judge_restarts(unit: &Unit, most: u64, wanted: &str) -> Finding {
    match unit.restarts {
        0 => Finding::good("never", wanted),
        few if few <= most => Finding::good(format!("{few} times"), wanted),
        many => problem(unit, format!("systemd has had to start it again {many} times"), wanted),
    }
}

fn judge_memory(unit: &Unit, most: u64, wanted: &str) -> Finding {
    if !matches!(unit.active.as_str(), "active" | "reloading" | "activating") {
        return Finding::skipped("it does not run, which another check tells");
    }
    let Some(octets) = unit.memory else { return Finding::skipped("what it holds cannot be read") };
    let megabytes = octets >> 20;
    match megabytes > most {
        true => problem(unit, format!("{megabytes} MB"), wanted),
        false => Finding::good(format!("{megabytes} MB"), wanted),
    }
}

fn judge_failed(units: &[Unit], own: &[String]) -> Finding {
    let wanted = "no unit has failed";
    let failed = units.iter().filter(|unit| unit.active == "failed" && !own.contains(&unit.name));
    let problems = failed.map(|unit| Problem::new(&unit.name, "failed", wanted).detail(&unit.name));
    Finding::judge(problems.collect(), "none has", wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Verdict;

    fn unit(active: &str) -> Unit {
        let (name, load) = ("nginx.service".to_owned(), "loaded".to_owned());
        Unit { name, load, active: active.into(), result: "success".into(), ..Unit::default() }
    }

    #[test]
    fn a_unit_that_stands_still_is_told_with_its_name() {
        assert_eq!(judge_active(&unit("active"), "").verdict, Verdict::Good);
        for state in ["inactive", "failed", "deactivating"] {
            assert_eq!(judge_active(&unit(state), "").seen, format!("nginx.service: {state}"));
        }
        let gone = Unit { load: "not-found".into(), ..unit("inactive") };
        assert!(judge_active(&gone, "").seen.contains("not there"));
    }

    #[test]
    fn a_last_run_that_failed_is_told_and_one_that_has_not_been_is_not() {
        assert_eq!(judge_last_run(&unit("inactive"), "").verdict, Verdict::Good);
        let failed = Unit { result: "exit-code".into(), ..unit("failed") };
        assert!(judge_last_run(&failed, "").seen.contains("exit-code"));
    }

    #[test]
    fn a_service_that_falls_over_again_and_again_is_told_and_one_that_did_so_twice_is_not() {
        let restarted = |restarts| judge_restarts(&Unit { restarts, ..unit("active") }, 3, "").verdict;
        assert_eq!([0, 3, 4].map(restarted), [Verdict::Good, Verdict::Good, Verdict::Bad]);
        let memory = |megabytes: u64| judge_memory(&Unit { memory: Some(megabytes << 20), ..unit("active") }, 300, "");
        assert_eq!([300, 301].map(memory).map(|found| found.verdict), [Verdict::Good, Verdict::Bad]);
        assert_eq!(judge_memory(&unit("active"), 300, "").verdict, Verdict::Skipped);
    }

    #[test]
    fn failed_units_of_others_are_named_and_those_with_their_own_check_are_not() {
        let other = Unit { name: "other.service".into(), ..unit("failed") };
        let found = judge_failed(&[unit("failed"), other], &["nginx.service".to_owned()]);
        assert_eq!(found.seen, "other.service: failed");
        assert_eq!(judge_failed(&[unit("active")], &[]).verdict, Verdict::Good);
    }
}
