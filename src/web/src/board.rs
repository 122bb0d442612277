//! What the checks found, as the page shows it: the last whole run, and over it what a run that is under way has found.
//!
//! Files alone tell it: `checks/results.json`, `checks/run.jsonl` (see the checks' `running`), and the mark by which the
//! panel asks for a run, which a watch of systemd follows. The panel itself has no right to start anything.

use crate::limits::{ASKED_FOR, LOOK_AGAIN_AFTER, MAX_RESULTS, RUN_QUIET};
use base::Paths;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use wire::status::{CheckResult, RunBegun, looked_at};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Board {
    pub results: Vec<CheckResult>,
    /// When the last whole run was, in seconds since 1970; `None` before the first.
    pub looked_at: Option<u64>,
    pub run: Run,
    /// Names what is shown while no run is under way; else empty.
    pub version: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Run {
    #[default]
    Over,
    /// Asked for, and not begun yet.
    Asked,
    UnderWay {
        done: usize,
        checks: usize,
    },
}

/// The files, and when they were written.
#[derive(Debug, Clone)]
pub struct Source {
    results: PathBuf,
    run: PathBuf,
    mark: PathBuf,
}

/// Two that are the same: nothing was written in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp([Option<(SystemTime, u64)>; 3]);

/// What became of the wish for a run.
#[derive(Debug, PartialEq, Eq)]
pub enum Asking {
    /// It begins at once, or is under way.
    Granted,
    /// There was one just now.
    Wait(Duration),
}

impl Source {
    pub fn new(paths: &Paths) -> Self {
        let checks = paths.checks();
        Self { results: checks.join("results.json"), run: checks.join("run.jsonl"), mark: paths.look_again() }
    }

    pub fn stamp(&self) -> Stamp {
        Stamp([&self.results, &self.run, &self.mark].map(|path| written(path)))
    }

    pub fn read(&self, now: SystemTime) -> io::Result<Board> {
        // The run first: what it found stands in the results before its file goes.
        let under_way = self.under_way(now)?;
        let (results, version) = match open(&self.results)? {
            Some(mut file) => {
                let (at, length) = stamp_of(&file.metadata()?);
                let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                let results = serde_json::from_slice(&bounded(&mut file)?).map_err(io::Error::other)?;
                (results, format!("{}-{length}", since.as_nanos()))
            }
            None => (Vec::new(), "none".to_owned()),
        };
        let looked_at = looked_at(&results);
        Ok(match under_way {
            Some((begun, found)) => {
                let run = Run::UnderWay { done: found.len(), checks: begun.checks.max(found.len()) };
                Board { results: overlaid(results, found), looked_at, run, version: String::new() }
            }
            None if self.is_asked(now) => Board { results, looked_at, run: Run::Asked, version: String::new() },
            None => Board { results, looked_at, run: Run::Over, version },
        })
    }

    /// What a run has found so far, unless it was left by one that was killed.
    fn under_way(&self, now: SystemTime) -> io::Result<Option<(RunBegun, Vec<CheckResult>)>> {
        let Some(mut file) = open(&self.run)? else { return Ok(None) };
        if !is_younger(stamp_of(&file.metadata()?).0, RUN_QUIET, now) {
            return Ok(None);
        }
        let bytes = bounded(&mut file)?;
        let mut lines = bytes.split(|byte| *byte == b'\n');
        let begun = lines.next().and_then(|line| serde_json::from_slice(line).ok());
        // The last line may be half written.
        let found = lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
        Ok(begun.map(|begun| (begun, found)))
    }

    /// Whether a run was asked for of which nothing is seen yet.
    fn is_asked(&self, now: SystemTime) -> bool {
        let Some((asked, _)) = written(&self.mark) else { return false };
        let answered = written(&self.results).is_some_and(|(at, _)| at >= asked);
        !answered && is_younger(asked, ASKED_FOR, now)
    }

    /// Asks for a run by writing the mark. Not while there is one, and not right after one was asked for.
    pub fn ask(&self, now: SystemTime) -> io::Result<Asking> {
        if self.is_asked(now) || self.under_way(now)?.is_some() {
            return Ok(Asking::Granted);
        }
        if let Some((asked, _)) = written(&self.mark)
            && is_younger(asked, LOOK_AGAIN_AFTER, now)
        {
            let passed = now.duration_since(asked).unwrap_or_default();
            return Ok(Asking::Wait(LOOK_AGAIN_AFTER.saturating_sub(passed)));
        }
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        std::fs::write(&self.mark, format!("{}\n", since.as_secs()))?;
        Ok(Asking::Granted)
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn bounded(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_RESULTS).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn written(path: &Path) -> Option<(SystemTime, u64)> {
    std::fs::metadata(path).ok().map(|meta| stamp_of(&meta))
}

fn stamp_of(meta: &std::fs::Metadata) -> (SystemTime, u64) {
    (meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), meta.len())
}

/// A time ahead of the clock, which was set back then, is none of late.
fn is_younger(then: SystemTime, limit: Duration, now: SystemTime) -> bool {
    match now.duration_since(then) {
        Ok(passed) => passed < limit,
        // The clock of files runs some milliseconds behind or ahead.
        Err(ahead) => ahead.duration() < Duration::from_secs(1),
    }
}

/// The newer results in the places of the older ones; what is new altogether at the end.
fn overlaid(mut results: Vec<CheckResult>, found: Vec<CheckResult>) -> Vec<CheckResult> {
    for newer in found {
        match results.iter_mut().find(|older| older.id == newer.id) {
            Some(older) => *older = newer,
            None => results.push(newer),
        }
    }
    results
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::status::State;

    fn result(id: &str, state: State, checked: u64) -> CheckResult {
        CheckResult {
            id: id.into(),
            title: String::new(),
            group: String::new(),
            state,
            seen: String::new(),
            wanted: String::new(),
            why: String::new(),
            remedy: String::new(),
            mend: None,
            since: checked,
            checked,
            flaps: None,
            took_ms: 0,
        }
    }

    struct Place {
        _dir: tempfile::TempDir,
        source: Source,
    }

    fn place() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        for folder in [paths.checks(), paths.web()] {
            std::fs::create_dir_all(folder).unwrap();
        }
        Place { source: Source::new(&paths), _dir: dir }
    }

    fn line(value: &impl serde::Serialize) -> String {
        serde_json::to_string(value).unwrap() + "\n"
    }

    #[test]
    fn what_a_run_has_found_so_far_lies_over_the_last_run_until_it_is_over() {
        let Place { _dir, source } = place();
        let now = SystemTime::now();
        let empty = source.read(now).unwrap();
        assert_eq!((empty.results.len(), empty.run, empty.looked_at), (0, Run::Over, None));
        let old = [result("spf", State::Ok, 100), result("mx", State::Failed, 100)];
        std::fs::write(&source.results, serde_json::to_vec(&old).unwrap()).unwrap();
        let before = source.read(now).unwrap();
        assert!(before.looked_at == Some(100) && !before.version.is_empty());

        let stamp = source.stamp();
        let begun = line(&RunBegun { began: 200, checks: 3 });
        let new = line(&result("mx", State::Ok, 200)) + &line(&result("new", State::Ok, 200));
        std::fs::write(&source.run, format!("{begun}{new}{{\"id\":\"half a li")).unwrap();
        assert_ne!(source.stamp(), stamp);
        let during = source.read(SystemTime::now()).unwrap();
        assert_eq!(during.run, Run::UnderWay { done: 2, checks: 3 });
        let ids: Vec<_> = during.results.iter().map(|result| (result.id.as_str(), result.state)).collect();
        assert_eq!(ids, [("spf", State::Ok), ("mx", State::Ok), ("new", State::Ok)]);
        assert!(during.version.is_empty() && during.looked_at == Some(100));

        let later = SystemTime::now() + RUN_QUIET;
        assert_eq!(source.read(later).unwrap(), before, "a run that was killed has left this");
    }

    #[test]
    fn a_run_is_asked_for_once_and_again_after_a_while() {
        let Place { _dir, source } = place();
        let now = SystemTime::now();
        assert_eq!(source.ask(now).unwrap(), Asking::Granted);
        assert!(source.mark.exists() && source.read(now).unwrap().run == Run::Asked);
        assert_eq!(source.ask(now).unwrap(), Asking::Granted, "that one has not begun yet");
        assert_eq!(source.read(now + ASKED_FOR + Duration::from_secs(2)).unwrap().run, Run::Over, "nobody came");

        std::thread::sleep(Duration::from_millis(20));
        std::fs::write(&source.results, "[]").unwrap();
        assert_eq!(source.read(SystemTime::now()).unwrap().run, Run::Over);
        assert!(matches!(source.ask(SystemTime::now()).unwrap(), Asking::Wait(wait) if wait <= LOOK_AGAIN_AFTER));
        assert_eq!(source.ask(SystemTime::now() + LOOK_AGAIN_AFTER).unwrap(), Asking::Granted);
        std::fs::remove_file(&source.mark).unwrap();
        std::fs::write(&source.run, line(&RunBegun { began: 1, checks: 3 })).unwrap();
        assert_eq!(source.ask(SystemTime::now()).unwrap(), Asking::Granted);
        assert!(!source.mark.exists(), "a run is under way already");
    }
}
