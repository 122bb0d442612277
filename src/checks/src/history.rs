//! What the runs leave behind: the latest results, and a bounded list of what changed when.

use crate::ChecksError;
use crate::limits::{HISTORY_DAYS, MAX_CHANGES};
use base::Paths;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use wire::status::{CheckResult, State};

/// A line of `changes.jsonl`: a check that came into another state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Seconds since 1970.
    pub time: u64,
    /// The check's.
    pub id: String,
    /// `None` the first time.
    pub from: Option<State>,
    pub to: State,
    pub seen: String,
}

/// What changed since the box was set up, within the bounds of the history; the oldest first. Lines that cannot be read
/// are left out.
pub fn past(paths: &Paths) -> Result<Vec<Change>, ChecksError> {
    let lines = lines(&changes_file(paths))?;
    Ok(lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

fn changes_file(paths: &Paths) -> PathBuf {
    paths.checks().join("changes.jsonl")
}

fn lines(path: &Path) -> Result<Vec<String>, ChecksError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(ChecksError::Read { path: path.to_owned(), source }),
    }
}

fn results_file(paths: &Paths) -> PathBuf {
    paths.checks().join("results.json")
}

/// The results of the last run by the timer; `None` before the first.
pub fn latest(paths: &Paths) -> Result<Option<Vec<CheckResult>>, ChecksError> {
    let path = results_file(paths);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ChecksError::Read { path, source }),
    };
    let read = serde_json::from_slice(&bytes).map_err(std::io::Error::other);
    read.map(Some).map_err(|source| ChecksError::Read { path, source })
}

/// Writes the results, and notes what changed since the last ones.
pub fn keep(paths: &Paths, results: &[CheckResult]) -> Result<(), ChecksError> {
    let folder = paths.checks();
    base::durable::create_dir_all(&folder, 0o755).map_err(ChecksError::write(folder))?;
    let previous = latest(paths).ok().flatten().unwrap_or_default();
    note_changes(paths, &changes(&previous, results))?;
    let path = results_file(paths);
    let text = serde_json::to_vec_pretty(results).unwrap_or_default();
    base::durable::write(&path, &text, 0o644).map_err(ChecksError::write(path))
}

fn changes(previous: &[CheckResult], results: &[CheckResult]) -> Vec<Change> {
    let before = |id: &str| previous.iter().find(|old| old.id == id).map(|old| old.state);
    let change = |result: &CheckResult| Change {
        time: result.checked,
        id: result.id.clone(),
        from: before(&result.id),
        to: result.state,
        seen: result.seen.clone(),
    };
    results.iter().map(change).filter(|change| change.from != Some(change.to)).collect()
}

fn note_changes(paths: &Paths, changes: &[Change]) -> Result<(), ChecksError> {
    if changes.is_empty() {
        return Ok(());
    }
    let path = changes_file(paths);
    let mut lines = lines(&path)?;
    let newest = changes.iter().map(|change| change.time).max().unwrap_or(0);
    let old = newest.saturating_sub(HISTORY_DAYS * 86_400);
    lines.retain(|line| serde_json::from_str::<Change>(line).is_ok_and(|change| change.time >= old));
    lines.extend(changes.iter().filter_map(|change| serde_json::to_string(change).ok()));
    let text = bounded(lines, MAX_CHANGES).join("\n") + "\n";
    base::durable::write(&path, text.as_bytes(), 0o644).map_err(ChecksError::write(path))
}

/// No more lines than `most`, in their order: what goes first is the oldest line of the check that has the most, so that one
/// that goes to and fro leaves the history of all others whole.
fn bounded(mut lines: Vec<String>, most: usize) -> Vec<String> {
    let id = |line: &String| serde_json::from_str::<Change>(line).map(|change| change.id).unwrap_or_default();
    let ids: Vec<String> = lines.iter().map(id).collect();
    let mut places: BTreeMap<&str, VecDeque<usize>> = BTreeMap::new();
    ids.iter().enumerate().for_each(|(place, id)| places.entry(id).or_default().push_back(place));
    let mut goes = vec![false; lines.len()];
    for _ in most..lines.len() {
        let oldest = places.values_mut().max_by_key(|places| places.len()).and_then(VecDeque::pop_front);
        if let Some(goes) = oldest.and_then(|place| goes.get_mut(place)) {
            *goes = true;
        }
    }
    let mut goes = goes.into_iter();
    lines.retain(|_| !goes.next().unwrap_or_default());
    lines
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn result(id: &str, state: State, at: u64) -> CheckResult {
        CheckResult {
            id: id.into(),
            title: format!("The title of {id}"),
            group: "Mail".into(),
            state,
            seen: "what was seen".into(),
            wanted: "what was wanted".into(),
            why: "Because.".into(),
            remedy: if state.is_broken() { "Mend it.".into() } else { String::new() },
            mend: None,
            since: at,
            checked: at,
            flaps: None,
            took_ms: 0,
        }
    }

    #[test]
    fn the_history_ends_after_its_days_and_what_is_no_line_of_it_goes() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        std::fs::create_dir_all(paths.checks()).unwrap();
        std::fs::write(changes_file(&paths), "half a li\n").unwrap();
        let day = 86_400;
        for at in [0, 10 * day, (HISTORY_DAYS + 5) * day] {
            note_changes(&paths, &changes(&[], &[result("a", State::Ok, at)])).unwrap();
        }
        let times: Vec<u64> = past(&paths).unwrap().iter().map(|change| change.time / day).collect();
        assert_eq!(times, [10, HISTORY_DAYS + 5]);
    }

    #[test]
    fn only_changes_are_noted_and_their_number_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        assert!(latest(&paths).unwrap().is_none());
        for round in 0..(MAX_CHANGES as u64 / 2 + 20) {
            // Two changes in each round; the third check never changes.
            let state = if round % 2 == 0 { State::Ok } else { State::Failed };
            let found = [result("a", state, round), result("b", state, round), result("c", State::Ok, round)];
            if round < 5 || round > MAX_CHANGES as u64 / 2 + 15 {
                keep(&paths, &found).unwrap();
            } else {
                note_changes(&paths, &changes(&[], &found[..2])).unwrap();
            }
        }
        let text = std::fs::read_to_string(paths.checks().join("changes.jsonl")).unwrap();
        assert_eq!(text.lines().count(), MAX_CHANGES);
        assert_eq!(text.matches("\"c\"").count(), 1, "what changed seldom outlasts what goes to and fro");
        let times: Vec<u64> = past(&paths).unwrap().iter().map(|change| change.time).collect();
        assert!(times.is_sorted() && times.last() == Some(&(MAX_CHANGES as u64 / 2 + 19)));
        assert_eq!(latest(&paths).unwrap().unwrap().len(), 3);
    }
}
