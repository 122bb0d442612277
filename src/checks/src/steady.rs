//! What is at rest and what goes to and fro: the one rule behind the page, the terminal, the pushes and the mails.
//!
//! A check counts as broken, or as mended, when it has been so for [`STEADY_FOR`]. One that changed [`FLAPS_FROM`] times
//! within [`FLAPS_WITHIN`] flaps: it is shown as such, and counts as broken all the while if it was broken in between. So
//! it is told of once, and again when it has come to rest. What could not be found out counts as it did.

use crate::history::Change;
use crate::limits::{FLAPS_FROM, FLAPS_WITHIN, STEADY_FOR};
use std::collections::BTreeSet;
use wire::status::{CheckResult, Flaps, State};

/// Whether a check goes to and fro, by what is noted of it and by its state in the run before.
pub fn flaps(result: &CheckResult, before: Option<State>, past: &[Change], now: u64) -> Option<Flaps> {
    let lately = |time: u64| now.saturating_sub(time) < FLAPS_WITHIN.as_secs();
    let noted = past.iter().filter(|change| change.id == result.id && lately(change.time));
    let mut changes: Vec<(u64, State, State)> =
        noted.filter_map(|change| Some((change.time, change.from?, change.to))).collect();
    // The change of this very run is noted at its end.
    changes.extend(before.filter(|before| *before != result.state).map(|before| (now, before, result.state)));
    let since = changes.iter().map(|(time, ..)| *time).min()?;
    let broken = changes.iter().any(|(_, from, to)| from.is_broken() || to.is_broken());
    (changes.len() >= FLAPS_FROM).then_some(Flaps { times: changes.len(), since, broken })
}

/// What is news to somebody who knows certain checks to be broken.
#[derive(Debug, Default)]
pub struct News<'a> {
    /// The worst first.
    pub broke: Vec<&'a CheckResult>,
    pub mended: Vec<&'a CheckResult>,
    /// What they were told of before and is still so.
    pub still: Vec<&'a CheckResult>,
    /// Whether something changed that is not at rest yet.
    pub unsettled: bool,
}

impl<'a> News<'a> {
    pub fn since(known: &BTreeSet<String>, results: &'a [CheckResult], now: u64) -> Self {
        let mut news = News::default();
        for result in results {
            let was = known.contains(&result.id);
            match (was, counts_as_broken(result, was, now)) {
                (false, true) => news.broke.push(result),
                (true, false) => news.mended.push(result),
                (true, true) => news.still.push(result),
                (false, false) => {}
            }
            news.unsettled |=
                result.state != State::Unknown && !is_at_rest(result, now) && result.state.is_broken() != was;
        }
        news.broke.sort_by_key(|result| std::cmp::Reverse(result.state));
        news
    }

    pub fn is_none(&self) -> bool {
        self.broke.is_empty() && self.mended.is_empty()
    }

    /// What whoever gets this knows to be broken then.
    pub fn known(&self) -> BTreeSet<String> {
        self.broke.iter().chain(&self.still).map(|result| result.id.clone()).collect()
    }

    pub fn title(&self, host: &str) -> String {
        match self.broke.len() {
            0 => format!("{host}: mended"),
            1 => format!("{host}: one thing needs you"),
            many => format!("{host}: {many} things need you"),
        }
    }
}

fn is_at_rest(result: &CheckResult, now: u64) -> bool {
    result.flaps.is_some() || now.saturating_sub(result.since) >= STEADY_FOR.as_secs()
}

fn counts_as_broken(result: &CheckResult, was: bool, now: u64) -> bool {
    match result.flaps {
        Some(flaps) => flaps.broken,
        None if result.state == State::Unknown || !is_at_rest(result, now) => was,
        None => result.state.is_broken(),
    }
}

/// A state in words, with how often it changed lately.
pub fn state_in_words(result: &CheckResult, now: u64) -> String {
    match result.flaps {
        Some(flaps) => format!("{}, {}", result.state.name(), flaps.words(now)),
        None => result.state.name().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::tests::result;

    const NOW: u64 = 1_000_000;
    const MINUTE: u64 = 60;

    fn change(id: &str, minutes_ago: u64, from: Option<State>, to: State) -> Change {
        Change { time: NOW - minutes_ago * MINUTE, id: id.into(), from, to, seen: String::new() }
    }

    fn ids(list: &[&CheckResult]) -> Vec<String> {
        list.iter().map(|result| result.id.clone()).collect()
    }

    #[test]
    fn a_check_flaps_when_it_changed_often_within_a_day() {
        let (ok, failed) = (State::Ok, State::Failed);
        let mut past = vec![
            change("a", 2000, Some(ok), failed),
            change("a", 300, None, ok),
            change("a", 200, Some(ok), failed),
            change("a", 100, Some(failed), ok),
            change("b", 90, Some(ok), failed),
            change("a", 50, Some(ok), failed),
        ];
        let now = result("a", failed, 0);
        assert_eq!(flaps(&now, Some(failed), &past, NOW), None, "three changes of its own within a day");
        let fourth = flaps(&result("a", ok, 0), Some(failed), &past, NOW).unwrap();
        assert_eq!(fourth, Flaps { times: 4, since: NOW - 200 * MINUTE, broken: true });
        assert_eq!(fourth.words(NOW), "changed 4 times in 3 hours");
        assert_eq!(flaps(&result("a", ok, 0), None, &past, NOW), None, "the first run knows of no change");
        past.push(change("a", 20, Some(failed), ok));
        assert!(flaps(&now, None, &past, NOW).is_some());
        assert!(flaps(&now, None, &past, NOW + 23 * 60 * MINUTE).is_none(), "a day later it has come to rest");
    }

    #[test]
    fn to_and_fro_between_well_and_unknown_is_nothing_broken() {
        let turn = |at| if at % 2 == 0 { (State::Ok, State::Unknown) } else { (State::Unknown, State::Ok) };
        let past: Vec<Change> = (0..6).map(|at| change("a", at * 10, Some(turn(at).0), turn(at).1)).collect();
        let shown =
            CheckResult { flaps: flaps(&result("a", State::Ok, 0), None, &past, NOW), ..result("a", State::Ok, 0) };
        assert!(shown.flaps.is_some_and(|flaps| !flaps.broken));
        assert!(News::since(&BTreeSet::new(), &[shown], NOW).is_none());
    }

    #[test]
    fn what_goes_to_and_fro_is_told_once_and_when_it_has_come_to_rest() {
        let fresh = NOW - STEADY_FOR.as_secs() + 1;
        let steady = NOW - STEADY_FOR.as_secs();
        let results = [
            result("new", State::Failed, fresh),
            result("old", State::Warning, steady),
            result("dim", State::Unknown, 0),
        ];
        let news = News::since(&["dim".to_owned()].into(), &results, NOW);
        assert_eq!((ids(&news.broke), ids(&news.mended)), (vec!["old".to_owned()], vec![]));
        assert!(news.unsettled, "new is not at rest");
        let known = news.known();
        assert_eq!(known, ["dim".to_owned(), "old".to_owned()].into());

        // It flaps now, and is well at the moment.
        let flaps = Some(Flaps { times: 4, since: steady, broken: true });
        let mut flapping = [CheckResult { flaps, ..result("old", State::Ok, fresh) }, result("dim", State::Ok, steady)];
        let news = News::since(&known, &flapping, NOW);
        assert_eq!(
            (ids(&news.mended), ids(&news.still), news.unsettled),
            (vec!["dim".into()], vec!["old".into()], false)
        );
        // Whoever was not told yet is told once.
        assert_eq!(ids(&News::since(&BTreeSet::new(), &flapping, NOW).broke), ["old"]);
        flapping[0].flaps = None;
        assert!(News::since(&known, &flapping, NOW).unsettled);
        assert_eq!(ids(&News::since(&known, &flapping, NOW + 15 * MINUTE).mended), ["old", "dim"]);
    }
}
