//! The pages: templates that are carried inside, and the values they are rendered with.
//!
//! The templates' names end in `.html`, so minijinja escapes every value: what strangers' servers said stands on the
//! status page, and is text there, never markup.

use crate::limits::{REFRESH_SECONDS, RESULTS_FRESH_FOR};
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, context};
use serde::Serialize;
use wire::status::{CheckResult, State};

pub const STYLE: &str = include_str!("../../../assets/style.css");

const TEMPLATES: [(&str, &str); 6] = [
    ("page.html", include_str!("../../../templates/web/page.html")),
    ("login.html", include_str!("../../../templates/web/login.html")),
    ("status.html", include_str!("../../../templates/web/status.html")),
    ("message.html", include_str!("../../../templates/web/message.html")),
    ("notice.html", include_str!("../../../templates/web/notice.html")),
    ("leave_list.html", include_str!("../../../templates/web/leave_list.html")),
];

#[derive(Debug)]
pub struct Pages {
    environment: Environment<'static>,
    hostname: String,
}

impl Pages {
    pub fn new(hostname: String) -> Result<Self, minijinja::Error> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        for (name, source) in TEMPLATES {
            environment.add_template(name, source)?;
        }
        Ok(Self { environment, hostname })
    }

    /// The login form; `trouble` is shown above it.
    pub fn login(&self, token: &str, name: &str, trouble: Option<&str>) -> Result<String, minijinja::Error> {
        let trouble = trouble.unwrap_or_default();
        let template = self.environment.get_template("login.html")?;
        template.render(context! { hostname => &self.hostname, refresh => 0, token, name, trouble })
    }

    /// A page with one message.
    pub fn message(&self, title: &str, words: &str) -> Result<String, minijinja::Error> {
        let template = self.environment.get_template("message.html")?;
        template.render(context! { hostname => &self.hostname, refresh => 0, title, words })
    }

    /// The same for people who have nothing to do with the panel.
    pub fn notice(&self, title: &str, words: &str) -> Result<String, minijinja::Error> {
        let template = self.environment.get_template("notice.html")?;
        template.render(context! { hostname => &self.hostname, refresh => 0, title, words })
    }

    /// The question whether somebody wants to leave a list.
    pub fn leave_list(&self, list: &str) -> Result<String, minijinja::Error> {
        let template = self.environment.get_template("leave_list.html")?;
        template.render(context! { hostname => &self.hostname, refresh => 0, list })
    }

    pub fn status(
        &self,
        results: &[CheckResult],
        who: &str,
        token: &str,
        now: u64,
    ) -> Result<String, minijinja::Error> {
        let checked = results.iter().map(|result| result.checked).max();
        let template = self.environment.get_template("status.html")?;
        template.render(context! {
            hostname => &self.hostname,
            refresh => REFRESH_SECONDS,
            who,
            token,
            age => checked.map_or_else(String::new, |checked| ago(checked, now)),
            stale => checked.is_some_and(|checked| now.saturating_sub(checked) > RESULTS_FRESH_FOR),
            counts => Serde(counts(results)),
            headline => headline(results),
            worst => worst(results).name(),
            urgent => Serde(shown(results, now, |state| state.is_broken() || state == State::Unknown)),
            groups => Serde(groups(results, now)),
        })
    }
}

#[derive(Debug, Serialize)]
struct Count {
    state: &'static str,
    number: usize,
}

/// A check as the page shows it.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    result: &'a CheckResult,
    label: &'static str,
    /// How long it has been so, in words.
    since_words: String,
    /// The first line of what was seen.
    short: &'a str,
}

#[derive(Debug, Serialize)]
struct Group<'a> {
    name: &'a str,
    checks: Vec<Shown<'a>>,
    good: usize,
}

fn label(state: State) -> &'static str {
    match state {
        State::Ok => "OK",
        State::Skipped => "Skipped",
        State::Notice => "Notice",
        State::Unknown => "Unknown",
        State::Warning => "Warning",
        State::Failed => "Failed",
    }
}

fn worst(results: &[CheckResult]) -> State {
    results.iter().map(|result| result.state).max().unwrap_or(State::Unknown)
}

fn counts(results: &[CheckResult]) -> Vec<Count> {
    let count = |state: State| results.iter().filter(|result| result.state == state).count();
    let all = State::WORST_FIRST.into_iter().map(|state| Count { state: state.name(), number: count(state) });
    all.filter(|count| count.number > 0).collect()
}

fn headline(results: &[CheckResult]) -> String {
    let broken = results.iter().filter(|result| result.state.is_broken()).count();
    match (results.is_empty(), broken) {
        (true, _) => "No results yet".to_owned(),
        (_, 0) => "Everything is in order".to_owned(),
        (_, 1) => "One thing needs you".to_owned(),
        (_, many) => format!("{many} things need you"),
    }
}

fn show(result: &CheckResult, now: u64) -> Shown<'_> {
    let short = result.seen.lines().next().unwrap_or_default();
    Shown { result, label: label(result.state), since_words: ago(result.since, now), short }
}

/// Those of some states, the worst first.
fn shown(results: &[CheckResult], now: u64, wanted: impl Fn(State) -> bool) -> Vec<Shown<'_>> {
    let mut found: Vec<Shown<'_>> =
        results.iter().filter(|result| wanted(result.state)).map(|result| show(result, now)).collect();
    found.sort_by_key(|shown| std::cmp::Reverse(shown.result.state));
    found
}

/// All checks under their headings, in the order of the results.
fn groups(results: &[CheckResult], now: u64) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for result in results {
        let place = groups.iter().position(|group| group.name == result.group).unwrap_or_else(|| {
            groups.push(Group { name: &result.group, checks: Vec::new(), good: 0 });
            groups.len() - 1
        });
        if let Some(group) = groups.get_mut(place) {
            group.good += usize::from(!result.state.is_broken() && result.state != State::Unknown);
            group.checks.push(show(result, now));
        }
    }
    groups
}

fn ago(then: u64, now: u64) -> String {
    let plural = |number: u64, unit: &str| format!("{number} {unit}{}", if number == 1 { "" } else { "s" });
    match now.saturating_sub(then) {
        0..60 => "less than a minute".to_owned(),
        seconds @ 60..3600 => plural(seconds / 60, "minute"),
        seconds @ 3600..172_800 => plural(seconds / 3600, "hour"),
        seconds => plural(seconds / 86_400, "day"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(id: &str, group: &str, state: State) -> CheckResult {
        CheckResult {
            id: id.into(),
            title: format!("Check {id}"),
            group: group.into(),
            state,
            seen: "220 <script>alert(1)</script> ESMTP".into(),
            wanted: "\" onload=\"x".into(),
            why: "Because.".into(),
            mend: None,
            remedy: if state.is_broken() { "Run <this>\nand that.".into() } else { String::new() },
            since: 1000,
            checked: 5000,
        }
    }

    #[test]
    fn what_is_broken_comes_first_and_nothing_a_stranger_said_is_markup() {
        let results = [
            result("good", "Mail", State::Ok),
            result("odd", "Mail", State::Warning),
            result("bad", "Names", State::Failed),
        ];
        let page =
            Pages::new("box.example.org".into()).unwrap().status(&results, "ann@example.org", "tok", 5100).unwrap();
        let place = |needle: &str| page.find(needle).unwrap_or_else(|| panic!("{needle} is not on the page"));
        assert!(place("Check bad") < place("Check odd") && place("Check odd") < place("Check good"));
        assert!(page.contains("2 things need you") && page.contains("Run &lt;this&gt;"));
        assert!(!page.contains("<script") && !page.contains("\" onload"));
    }

    #[test]
    fn a_page_without_results_and_one_with_old_results_say_so() {
        let pages = Pages::new("box.example.org".into()).unwrap();
        assert!(pages.status(&[], "ann@example.org", "t", 10).unwrap().contains("No results yet"));
        let old = pages.status(&[result("a", "Mail", State::Ok)], "ann@example.org", "t", 5000 + 7200).unwrap();
        assert!(old.contains("2 hours") && old.contains("mailstead-checks.timer"));
    }
}
