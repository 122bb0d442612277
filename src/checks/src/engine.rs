//! Runs probes side by side, each alone: one that hangs or panics is told as its own result and disturbs no other.

use crate::finding::{Finding, Verdict};
use crate::limits::{MAX_REMEDY, MAX_SEEN};
use crate::text::{CheckText, Known, Mend, Severity};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use wire::status::{CheckResult, State};

/// A probe that is ready to run.
pub type Job = Pin<Box<dyn Future<Output = Finding> + Send>>;

/// Runs all jobs at once, each no longer than its text allows. `tell` hears of each result as it comes, and may add what
/// is known of earlier runs; they are returned in the order of the texts.
pub async fn run_all(
    jobs: Vec<(CheckText, Job)>,
    known: &Known,
    now: u64,
    tell: &mut (dyn FnMut(&mut CheckResult) + Send),
) -> Vec<CheckResult> {
    let mut running = JoinSet::new();
    let mut places = HashMap::new();
    let mut texts = Vec::with_capacity(jobs.len());
    for (place, (text, job)) in jobs.into_iter().enumerate() {
        let limit = text.within();
        texts.push(text);
        let timed = async move {
            let began = Instant::now();
            (tokio::time::timeout(limit, job).await, began.elapsed())
        };
        places.insert(running.spawn(timed).id(), place);
    }
    let mut results: Vec<Option<CheckResult>> = texts.iter().map(|_| None).collect();
    while let Some(ended) = running.join_next_with_id().await {
        let id = ended.as_ref().map_or_else(tokio::task::JoinError::id, |(id, _)| *id);
        let Some((text, slot)) = places.get(&id).and_then(|place| Some((&texts[*place], results.get_mut(*place)?)))
        else {
            continue;
        };
        let (finding, took) = match ended {
            Ok((_, (Ok(finding), took))) => (finding, took),
            Ok((_, (Err(_), took))) => {
                let why = format!("no result within {} seconds", text.within_seconds);
                (Finding::unknown(why, "an answer in time"), took)
            }
            Err(error) => {
                tracing::error!("the check {} failed itself: {error}", text.id);
                let why = "the check itself failed; its fault is in the log of mailstead-checks";
                (Finding::unknown(why, "a result"), Duration::ZERO)
            }
        };
        let mut found = result(text, finding, known, now);
        found.took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tell(&mut found);
        *slot = Some(found);
    }
    results.into_iter().flatten().collect()
}

/// A finding in the owner's words.
pub fn result(text: &CheckText, finding: Finding, known: &Known, now: u64) -> CheckResult {
    let state = state(text.severity, finding.verdict);
    let remedy = match state {
        State::Ok | State::Skipped => String::new(),
        State::Unknown if finding.problems.is_empty() => {
            "Look again in some minutes: mailstead status. If it stays so, look at the services first.".to_owned()
        }
        _ => text.remedy(known, &finding.problems).unwrap_or_else(|error| {
            tracing::error!("the remedy of {} cannot be written: {error:#}", text.id);
            "See what was wanted, and make it so.".to_owned()
        }),
    };
    let mend = text.mend.as_ref().filter(|_| state.is_broken()).map(Mend::command);
    CheckResult {
        id: text.id.clone(),
        mend,
        title: text.title.clone(),
        group: text.group.title().to_owned(),
        state,
        seen: bounded(finding.seen, MAX_SEEN),
        wanted: bounded(finding.wanted, MAX_SEEN),
        why: text.why.trim().to_owned(),
        remedy: bounded(remedy, MAX_REMEDY),
        since: now,
        checked: now,
        flaps: None,
        took_ms: 0,
    }
}

fn state(severity: Severity, verdict: Verdict) -> State {
    match (verdict, severity) {
        (Verdict::Good, _) => State::Ok,
        (Verdict::Skipped, _) => State::Skipped,
        (Verdict::Unknown, _) => State::Unknown,
        (Verdict::Bad, Severity::Fatal) => State::Failed,
        (Verdict::Bad | Verdict::Poor, Severity::Notice) => State::Notice,
        (Verdict::Bad, Severity::Warning) | (Verdict::Poor, Severity::Fatal | Severity::Warning) => State::Warning,
    }
}

/// Plain text of a length fit for a page; what strangers' servers said may hold anything, and would be told to a terminal.
fn bounded(text: String, most: usize) -> String {
    let plain = |c: char| if c.is_control() && c != '\n' { '\u{fffd}' } else { c };
    let mut out: String = text.chars().take(most).map(plain).collect();
    if text.chars().nth(most).is_some() {
        out.push('…');
    }
    out
}

/// Takes over from the last run since when the check is in its state.
pub fn carry_over(result: &mut CheckResult, previous: &[CheckResult]) {
    if let Some(old) = previous.iter().find(|old| old.id == result.id && old.state == result.state) {
        result.since = old.since.min(result.since);
    }
}

/// Whether a result of an earlier run still stands, so that strangers need not be asked again.
pub fn still_good(text: &CheckText, previous: Option<&CheckResult>, now: u64) -> bool {
    let good_for = text.good_for_minutes.saturating_mul(60);
    previous.is_some_and(|old| old.state == State::Ok && old.checked <= now && now - old.checked < good_for)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Problem;
    use crate::text;

    fn texts() -> Vec<CheckText> {
        let few = text::all().unwrap().into_iter().take(4);
        few.map(|text| CheckText { within_seconds: 1, ..text }).collect()
    }

    #[tokio::test]
    async fn a_probe_that_hangs_and_one_that_panics_disturb_no_other() {
        let jobs: Vec<Job> = vec![
            Box::pin(async { Finding::good("all is well", "well") }),
            Box::pin(std::future::pending()),
            // As `panic!` does it, less the message on the terminal.
            Box::pin(async { std::panic::resume_unwind(Box::new("a fault in a probe")) }),
            Box::pin(async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Finding::skipped("not here")
            }),
        ];
        let jobs = texts().into_iter().zip(jobs).collect();
        let started = std::time::Instant::now();
        let mut told = Vec::new();
        let mut tell = |result: &mut CheckResult| told.push(result.id.clone());
        let results = run_all(jobs, &Known::default(), 7, &mut tell).await;
        assert_eq!(told.len(), 4);
        let place = |id: &str| told.iter().position(|told| told == id).unwrap();
        assert!(place(&results[0].id) < place(&results[1].id), "the one that hangs is told last");
        assert!(started.elapsed() < Duration::from_secs(5));
        assert!(results[1].seen.contains("within 1 seconds") && (1000..1900).contains(&results[1].took_ms));
        let states: Vec<State> = results.iter().map(|result| result.state).collect();
        assert_eq!(states, [State::Ok, State::Unknown, State::Unknown, State::Skipped]);
        assert!(results[1].seen.contains("no result within"));
        assert!(results[2].seen.contains("the check itself failed"));
        assert!(results[0].remedy.is_empty() && !results[1].remedy.is_empty());
    }

    #[test]
    fn the_severity_decides_how_bad_it_is() {
        assert_eq!(state(Severity::Fatal, Verdict::Bad), State::Failed);
        assert_eq!(state(Severity::Fatal, Verdict::Poor), State::Warning);
        assert_eq!(state(Severity::Warning, Verdict::Bad), State::Warning);
        assert_eq!(state(Severity::Notice, Verdict::Bad), State::Notice);
    }

    #[test]
    fn since_is_when_the_state_began_not_when_it_was_last_seen() {
        let text = &texts()[0];
        let at = |finding, now| result(text, finding, &Known::default(), now);
        let old = [at(Finding::good("a", "a"), 10)];
        let mut same = at(Finding::good("b", "a"), 20);
        carry_over(&mut same, &old);
        assert_eq!((same.since, same.checked), (10, 20));
        let mut changed = at(Finding::skipped("b"), 20);
        carry_over(&mut changed, &old);
        assert_eq!(changed.since, 20);
    }

    #[test]
    fn a_good_answer_of_a_stranger_is_kept_for_its_time_and_a_bad_one_is_not() {
        let text = CheckText { good_for_minutes: 60, ..texts()[0].clone() };
        let good = result(&text, Finding::good("", ""), &Known::default(), 1000);
        assert!(still_good(&text, Some(&good), 1000 + 3599));
        assert!(!still_good(&text, Some(&good), 1000 + 3600));
        assert!(!still_good(&text, Some(&good), 999), "a clock that was set back");
        let bad = result(&text, Finding::unknown("", ""), &Known::default(), 1000);
        assert!(!still_good(&text, Some(&bad), 1001));
    }

    #[test]
    fn what_a_stranger_said_is_cleaned_in_the_remedy_too() {
        let text = text::all().unwrap().into_iter().find(|text| text.id == "put-off").unwrap();
        let problem =
            Problem::new("Example Mail", "12 of 22", "fewer").detail("\u{1b}]0;owned\u{7} later".repeat(5000));
        let result = result(&text, Finding::bad(vec![problem]), &Known::default(), 0);
        assert!(result.remedy.contains("later") && !result.remedy.contains(['\u{1b}', '\u{7}']));
        assert!(result.remedy.chars().count() <= MAX_REMEDY + 1);
    }

    #[test]
    fn what_a_stranger_said_is_cut_and_cleaned() {
        let text = bounded(format!("\u{1b}[31m{}", "x".repeat(5000)), MAX_SEEN);
        assert!(text.chars().count() <= MAX_SEEN + 1 && !text.contains('\u{1b}'));
    }
}
