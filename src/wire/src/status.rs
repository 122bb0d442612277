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
}
