//! The certificate's next life, as root read it from what the certs role keeps: names that the authority refuses, and a
//! renewal that is overdue.

use super::safety::reported;
use crate::facts::Renewal;
use crate::finding::{Finding, Problem};
use crate::world::World;

const DAY: u64 = 86_400;

/// Every name that the box asked a certificate for, it got.
pub fn failures(world: &World) -> Finding {
    let wanted = "every name is issued";
    match reported(world, |report| &report.renewal, wanted) {
        Ok(renewal) => judge_failures(renewal, wanted),
        Err(finding) => finding,
    }
}

fn judge_failures(renewal: &Renewal, wanted: &str) -> Finding {
    let problems = renewal.failures.iter().map(|failure| {
        let seen = format!("refused {} times in a row: {}", failure.count, failure.why);
        let again = base::time::readable(failure.again);
        Problem::new(&failure.name, seen, wanted).detail(again)
    });
    Finding::judge(problems.collect(), "no name is refused", wanted)
}

/// A renewal that was due days ago has not come about.
pub fn overdue(world: &World, grace_days: u64) -> Finding {
    let wanted = format!("renewed within {grace_days} days of its time");
    match reported(world, |report| &report.renewal, &wanted) {
        Ok(renewal) => judge_overdue(renewal, world.now, grace_days, wanted),
        Err(finding) => finding,
    }
}

fn judge_overdue(renewal: &Renewal, now: u64, grace_days: u64, wanted: String) -> Finding {
    let Some(at) = renewal.at else {
        return Finding::skipped("the certificate is not renewed by the box");
    };
    let source = if renewal.by_authority { "as its authority suggests (ARI)" } else { "after two thirds of its life" };
    let seen = format!("due at {}, {source}", base::time::readable(at));
    match now > at + grace_days * DAY {
        true => Finding::bad(vec![Problem::new("", format!("{seen}; {}", renewal.last), wanted)]),
        false => Finding::good(seen, wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::NameFailure;
    use crate::finding::Verdict;

    fn renewal(at: Option<u64>) -> Renewal {
        Renewal { at, by_authority: true, last: "the authority does not answer".into(), failures: Vec::new() }
    }

    #[test]
    fn a_renewal_that_does_not_come_about_is_told_with_what_the_last_run_met() {
        assert_eq!(judge_overdue(&renewal(None), 9 * DAY, 2, String::new()).verdict, Verdict::Skipped);
        assert_eq!(judge_overdue(&renewal(Some(7 * DAY)), 9 * DAY, 2, String::new()).verdict, Verdict::Good);
        let late = judge_overdue(&renewal(Some(7 * DAY)), 9 * DAY + 1, 2, String::new());
        assert!(late.verdict == Verdict::Bad && late.seen.contains("does not answer"));
    }

    #[test]
    fn a_name_that_is_refused_is_told_with_its_reason() {
        let failure = NameFailure { name: "www.example.org".into(), count: 3, why: "no A record".into(), again: DAY };
        let found = judge_failures(&Renewal { failures: vec![failure], ..renewal(None) }, "");
        assert_eq!(found.seen, "www.example.org: refused 3 times in a row: no A record");
        assert_eq!(found.problems[0].detail, "1970-01-02 00:00:00Z");
    }
}
