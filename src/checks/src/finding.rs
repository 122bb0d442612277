//! What a probe found, before it is put into the owner's words.

use serde::Serialize;

/// What a probe makes of what it saw. How bad `Bad` is, the check's severity says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Good,
    /// Not as it should be; never more than a warning.
    Poor,
    Bad,
    /// It could not be found out.
    Unknown,
    /// It makes no sense here.
    Skipped,
}

/// One thing that is not as it should be. Remedies are written from these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What it is about: a record, a port, a name.
    pub subject: String,
    pub seen: String,
    pub wanted: String,
    /// Anything more that the remedy needs; may be empty.
    pub detail: String,
}

impl Problem {
    pub fn new(subject: impl Into<String>, seen: impl Into<String>, wanted: impl Into<String>) -> Self {
        Self { subject: subject.into(), seen: seen.into(), wanted: wanted.into(), detail: String::new() }
    }

    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub verdict: Verdict,
    pub seen: String,
    pub wanted: String,
    pub problems: Vec<Problem>,
}

impl Finding {
    fn new(verdict: Verdict, seen: impl Into<String>, wanted: impl Into<String>) -> Self {
        Self { verdict, seen: seen.into(), wanted: wanted.into(), problems: Vec::new() }
    }

    pub fn good(seen: impl Into<String>, wanted: impl Into<String>) -> Self {
        Self::new(Verdict::Good, seen, wanted)
    }

    pub fn skipped(why: impl Into<String>) -> Self {
        Self::new(Verdict::Skipped, why, "")
    }

    pub fn unknown(why: impl Into<String>, wanted: impl Into<String>) -> Self {
        Self::new(Verdict::Unknown, why, wanted)
    }

    pub fn bad(problems: Vec<Problem>) -> Self {
        Self::from_problems(Verdict::Bad, problems)
    }

    pub fn poor(problems: Vec<Problem>) -> Self {
        Self::from_problems(Verdict::Poor, problems)
    }

    fn from_problems(verdict: Verdict, problems: Vec<Problem>) -> Self {
        let line = |problem: &Problem, value: &str| match problem.subject.as_str() {
            "" => value.to_owned(),
            subject => format!("{subject}: {value}"),
        };
        let join = |lines: Vec<String>| lines.join("\n");
        let seen = join(problems.iter().map(|problem| line(problem, &problem.seen)).collect());
        let wanted = join(problems.iter().map(|problem| line(problem, &problem.wanted)).collect());
        Self { verdict, seen, wanted, problems }
    }

    /// Good when there are no problems, else bad.
    pub fn judge(problems: Vec<Problem>, seen: impl Into<String>, wanted: impl Into<String>) -> Self {
        if problems.is_empty() { Self::good(seen, wanted) } else { Self::bad(problems) }
    }
}
