//! The pages: templates that are carried inside, and the values they are rendered with.
//!
//! The templates' names end in `.html`, so minijinja escapes every value: what strangers' servers said stands on the
//! status page, and is text there, never markup.

use crate::board::{Board, Run};
use crate::limits::{REFRESH_SECONDS, RESULTS_FRESH_FOR};
use base::time::ago;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, context};
use serde::Serialize;
use wire::status::{CheckResult, State};

pub const STYLE: &str = include_str!("../../../assets/style.css");

const TEMPLATES: [(&str, &str); 9] = [
    ("page.html", include_str!("../../../templates/web/page.html")),
    ("login.html", include_str!("../../../templates/web/login.html")),
    ("check.html", include_str!("../../../templates/web/check.html")),
    ("row.html", include_str!("../../../templates/web/row.html")),
    ("head.html", include_str!("../../../templates/web/head.html")),
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
        template.render(context! { hostname => &self.hostname, token, name, trouble })
    }

    /// A page with one message.
    pub fn message(&self, title: &str, words: &str) -> Result<String, minijinja::Error> {
        let template = self.environment.get_template("message.html")?;
        template.render(context! { hostname => &self.hostname, title, words })
    }

    /// The same for people who have nothing to do with the panel.
    pub fn notice(&self, title: &str, words: &str) -> Result<String, minijinja::Error> {
        let template = self.environment.get_template("notice.html")?;
        template.render(context! { hostname => &self.hostname, title, words })
    }

    /// The question whether somebody wants to leave a list.
    pub fn leave_list(&self, list: &str) -> Result<String, minijinja::Error> {
        let template = self.environment.get_template("leave_list.html")?;
        template.render(context! { hostname => &self.hostname, list })
    }

    pub fn status(&self, board: &Board, who: &str, token: &str, now: u64) -> Result<String, minijinja::Error> {
        let template = self.environment.get_template("status.html")?;
        template.render(context! {
            refresh => REFRESH_SECONDS,
            who,
            token,
            version => &board.version,
            urgent => Serde(shown(board, now, is_urgent)),
            groups => Serde(groups(board, now)),
            ..self.head_values(board, now)
        })
    }

    /// The same in pieces, for a page that is open already.
    pub fn fragments(&self, board: &Board, now: u64) -> Result<Fragments, minijinja::Error> {
        let row = self.environment.get_template("row.html")?;
        let mut rows = Vec::with_capacity(board.results.len());
        for one in shown(board, now, |_| true) {
            let html = row.render(context! { one => Serde(&one) })?;
            let CheckResult { id, group, state, .. } = one.result.clone();
            // What was seen, not for how long it has been so: words that only age are not news.
            let mark = serde_json::to_string(one.result).unwrap_or_default();
            rows.push(Row { id, group, urgent: is_urgent(state), html, mark });
        }
        let head = self.environment.get_template("head.html")?.render(self.head_values(board, now))?;
        let words = |group: Group<'_>| GroupWords { name: group.name.to_owned(), words: group.words };
        Ok(Fragments {
            title: format!("{} – {}", headline(&board.results), self.hostname),
            head,
            groups: groups(board, now).into_iter().map(words).collect(),
            rows,
        })
    }

    fn head_values(&self, board: &Board, now: u64) -> minijinja::Value {
        let (done, checks) = match board.run {
            Run::UnderWay { done, checks } => (done, checks),
            Run::Asked | Run::Over => (0, 0),
        };
        context! {
            hostname => &self.hostname,
            age => board.looked_at.map_or_else(String::new, |looked_at| ago(looked_at, now)),
            stale => board.looked_at.is_some_and(|looked_at| now.saturating_sub(looked_at) > RESULTS_FRESH_FOR),
            counts => Serde(counts(&board.results)),
            headline => headline(&board.results),
            worst => worst(&board.results).name(),
            running => board.run != Run::Over,
            done,
            checks,
        }
    }
}

/// The pieces of the status page that change.
#[derive(Debug)]
pub struct Fragments {
    pub title: String,
    pub head: String,
    pub groups: Vec<GroupWords>,
    pub rows: Vec<Row>,
}

/// What stands beside a group's heading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupWords {
    pub name: String,
    pub words: String,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    pub id: String,
    pub group: String,
    /// Whether it stands among what needs a look.
    pub urgent: bool,
    pub html: String,
    /// Differs when the result does.
    #[serde(skip)]
    pub mark: String,
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
    /// How bad it is, for the order.
    rank: u8,
    /// How long it has been so, in words.
    since_words: String,
    /// How old it is, where it is older than the run; else empty.
    age: String,
    /// How often it changed lately, where that is often; else empty.
    flapping: String,
    /// The first line of what was seen.
    short: &'a str,
}

#[derive(Debug, Serialize)]
struct Group<'a> {
    name: &'a str,
    checks: Vec<Shown<'a>>,
    words: String,
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

fn is_urgent(state: State) -> bool {
    state.is_broken() || state == State::Unknown
}

fn show<'a>(board: &Board, result: &'a CheckResult, now: u64) -> Shown<'a> {
    Shown {
        result,
        label: label(result.state),
        rank: result.state as u8,
        since_words: ago(result.since, now),
        age: board.looked_at.and_then(|run| result.age(run, now)).unwrap_or_default(),
        flapping: result.flaps.map(|flaps| flaps.words(now)).unwrap_or_default(),
        short: result.seen.lines().next().unwrap_or_default(),
    }
}

/// Those of some states, the worst first.
fn shown(board: &Board, now: u64, wanted: impl Fn(State) -> bool) -> Vec<Shown<'_>> {
    let results = board.results.iter().filter(|result| wanted(result.state));
    let mut found: Vec<Shown<'_>> = results.map(|result| show(board, result, now)).collect();
    found.sort_by_key(|shown| std::cmp::Reverse(shown.rank));
    found
}

/// All checks under their headings, in the order of the results.
fn groups(board: &Board, now: u64) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for result in &board.results {
        let place = groups.iter().position(|group| group.name == result.group).unwrap_or_else(|| {
            groups.push(Group { name: &result.group, checks: Vec::new(), words: String::new() });
            groups.len() - 1
        });
        if let Some(group) = groups.get_mut(place) {
            group.checks.push(show(board, result, now));
        }
    }
    for group in &mut groups {
        let good = group.checks.iter().filter(|check| !is_urgent(check.result.state)).count();
        group.words = format!("{good} of {} in order", group.checks.len());
    }
    groups
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
            flaps: None,
            took_ms: 0,
        }
    }

    fn board(results: Vec<CheckResult>) -> Board {
        let looked_at = wire::status::looked_at(&results);
        Board { results, looked_at, ..Board::default() }
    }

    #[test]
    fn what_is_broken_comes_first_and_nothing_a_stranger_said_is_markup() {
        let board = board(vec![
            result("good", "Mail", State::Ok),
            result("odd", "Mail", State::Warning),
            result("bad", "Names", State::Failed),
        ]);
        let pages = Pages::new("box.example.org".into()).unwrap();
        let page = pages.status(&board, "ann@example.org", "tok", 5100).unwrap();
        let place = |needle: &str| page.find(needle).unwrap_or_else(|| panic!("{needle} is not on the page"));
        assert!(place("Check bad") < place("Check odd") && place("Check odd") < place("Check good"));
        assert!(page.contains("2 things need you") && page.contains("Run &lt;this&gt;"));
        let pieces = pages.fragments(&board, 5100).unwrap();
        let all = pieces.rows.iter().map(|row| row.html.as_str()).collect::<String>() + &pieces.head;
        assert!(all.contains("Run &lt;this&gt;") && all.contains("2 things need you"));
        for text in [page.replace("<script src=\"/admin/status.js\" defer></script>", ""), all] {
            assert!(!text.contains("<script") && !text.contains("\" onload"), "{text}");
        }
        let words: Vec<_> = pieces.groups.iter().map(|group| (group.name.as_str(), group.words.as_str())).collect();
        assert_eq!(words, [("Mail", "1 of 2 in order"), ("Names", "0 of 1 in order")]);
    }

    #[test]
    fn a_result_that_is_older_than_the_run_shows_its_age_and_one_that_flaps_how_often() {
        let flaps = Some(wire::status::Flaps { times: 6, since: 20_000, broken: true });
        let kept = CheckResult { checked: 12_000, ..result("kept", "Mail", State::Ok) };
        let odd = CheckResult { checked: 40_000, flaps, ..result("odd", "Mail", State::Warning) };
        let pages = Pages::new("box.example.org".into()).unwrap();
        let page = pages.status(&board(vec![kept, odd]), "ann@example.org", "t", 41_600).unwrap();
        assert!(page.contains("looked at 8 hours ago") && page.contains("changed 6 times in 6 hours"), "{page}");
        assert_eq!(page.matches("looked at").count(), 1);
    }

    #[test]
    fn a_run_that_is_under_way_shows_how_far_it_is() {
        let pages = Pages::new("box.example.org".into()).unwrap();
        let under_way =
            Board { run: Run::UnderWay { done: 1, checks: 4 }, ..board(vec![result("a", "Mail", State::Ok)]) };
        let head = pages.fragments(&under_way, 5100).unwrap().head;
        assert!(head.contains("1 of 4") && head.contains("<progress"), "{head}");
        let asked = Board { run: Run::Asked, ..under_way };
        assert!(pages.fragments(&asked, 5100).unwrap().head.contains("about to look"));
        assert!(!pages.fragments(&board(vec![]), 5100).unwrap().head.contains("<progress"));
    }

    #[test]
    fn a_page_without_results_and_one_with_old_results_say_so() {
        let pages = Pages::new("box.example.org".into()).unwrap();
        assert!(pages.status(&board(vec![]), "ann@example.org", "t", 10).unwrap().contains("No results yet"));
        let old =
            pages.status(&board(vec![result("a", "Mail", State::Ok)]), "ann@example.org", "t", 5000 + 7200).unwrap();
        assert!(old.contains("2 hours") && old.contains("mailstead-checks.timer"));
    }
}
