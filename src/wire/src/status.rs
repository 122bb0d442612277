//! What the status checks found, as the checks write it and the panel, the command line and the mail read it.

use serde::{Deserialize, Serialize};

/// How a check came out, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ok,
    /// It makes no sense here; `seen` says why.
    Skipped,
    /// Worth knowing, nothing to worry about.
    Notice,
    /// It could not be found out.
    Unknown,
    Warning,
    Failed,
}

impl State {
    pub const WORST_FIRST: [State; 6] =
        [State::Failed, State::Warning, State::Unknown, State::Notice, State::Ok, State::Skipped];

    pub fn name(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Skipped => "skipped",
            State::Notice => "notice",
            State::Unknown => "unknown",
            State::Warning => "warning",
            State::Failed => "failed",
        }
    }

    /// Whether the owner has something to mend.
    pub fn is_broken(self) -> bool {
        matches!(self, State::Warning | State::Failed)
    }
}

/// A check that goes to and fro.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flaps {
    /// How often its state changed lately.
    pub times: usize,
    /// Seconds since 1970 of the first of these changes.
    pub since: u64,
    /// Whether it was broken at any time since.
    pub broken: bool,
}

impl Flaps {
    pub fn words(&self, now: u64) -> String {
        format!("changed {} times in {}", self.times, base::time::ago(self.since, now))
    }
}

/// The first line of `checks/run.jsonl`, in which a run that is under way leaves its results as they come, one a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunBegun {
    /// Seconds since 1970.
    pub began: u64,
    /// How many results there will be.
    pub checks: usize,
}

/// One check's outcome. All texts are plain text in the owner's words, with everything they need to act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// The check's name, the same in every version: `ptr-ipv4`.
    pub id: String,
    pub title: String,
    /// The heading that it stands under.
    pub group: String,
    pub state: State,
    pub seen: String,
    pub wanted: String,
    /// Why it matters to mail.
    pub why: String,
    /// What to do, with exact values; empty when there is nothing to do.
    pub remedy: String,
    /// The command by which the box can mend it itself (`mailstead status --mend ID` gives it); `None` where it cannot, or
    /// where there is nothing to mend.
    #[serde(default)]
    pub mend: Option<String>,
    /// Seconds since 1970 at which the check came into this state.
    pub since: u64,
    /// Seconds since 1970 at which this was seen.
    pub checked: u64,
    /// Set while the check goes to and fro: it is told of once, and again when it has come to rest.
    #[serde(default)]
    pub flaps: Option<Flaps>,
    /// How long looking took, in milliseconds.
    #[serde(default)]
    pub took_ms: u64,
}

impl CheckResult {
    /// How old this is, where it was taken over into a run that looked at the rest at `run`.
    pub fn age(&self, run: u64, now: u64) -> Option<String> {
        (self.checked.saturating_add(60) < run).then(|| base::time::ago(self.checked, now))
    }
}

/// When the latest of some results was seen: when the run was that they are from.
pub fn looked_at(results: &[CheckResult]) -> Option<u64> {
    results.iter().map(|result| result.checked).max()
}
