//! The results on a terminal.

use std::fmt::Write as _;
use wire::status::{CheckResult, State, looked_at};

/// 0 when nothing is wrong, 1 with warnings, 2 with failures. What is unknown is a warning.
pub fn exit_code(results: &[CheckResult]) -> u8 {
    match results.iter().map(|result| result.state).max() {
        Some(State::Failed) => 2,
        Some(State::Warning | State::Unknown) => 1,
        _ => 0,
    }
}

/// The page as text: what is broken first and in full, then the rest by group, and a summary.
pub fn render_text(results: &[CheckResult], colour: bool) -> String {
    let mut out = String::new();
    let run = looked_at(results).unwrap_or(0);
    for state in [State::Failed, State::Warning, State::Unknown, State::Notice] {
        for result in results.iter().filter(|result| result.state == state) {
            full(&mut out, result, run, colour);
        }
    }
    let mut group = "";
    for result in results.iter().filter(|result| matches!(result.state, State::Ok | State::Skipped)) {
        if result.group != group {
            group = &result.group;
            let _ = writeln!(out, "{group}");
        }
        let seen = result.seen.lines().next().unwrap_or_default();
        let notes: String = notes(result, run).into_iter().map(|note| format!(" ({note})")).collect();
        let _ = writeln!(out, "  {} {} – {seen}{notes}", mark(result.state, colour), result.title);
    }
    let _ = writeln!(out, "\n{}", summary(results));
    out
}

/// What else is to be known of a result: that it is older than the run, and that the check goes to and fro.
fn notes(result: &CheckResult, run: u64) -> Vec<String> {
    let aged = result.age(run, run).map(|age| format!("looked at {age} ago"));
    result.flaps.map(|flaps| flaps.words(run)).into_iter().chain(aged).collect()
}

fn full(out: &mut String, result: &CheckResult, run: u64, colour: bool) {
    let _ = writeln!(out, "{} {}", mark(result.state, colour), result.title);
    let since = base::time::readable(result.since);
    let notes = notes(result, run).join("; ");
    let by_itself = match &result.mend {
        Some(command) => format!("let the box do it ({command}):  mailstead status --mend {}", result.id),
        None => String::new(),
    };
    let parts = [
        ("seen", &result.seen),
        ("wanted", &result.wanted),
        ("why", &result.why),
        ("do", &result.remedy),
        ("or", &by_itself),
        ("since", &since),
        ("note", &notes),
    ];
    for (name, text) in parts.into_iter().filter(|(_, text)| !text.is_empty()) {
        for (number, line) in text.lines().enumerate() {
            let label = if number == 0 { format!("{name}:") } else { String::new() };
            let _ = writeln!(out, "    {label:<8}{line}");
        }
    }
    out.push('\n');
}

fn mark(state: State, colour: bool) -> String {
    let (sign, code) = match state {
        State::Ok => ("✓ ok", "32"),
        State::Skipped => ("– skipped", "2"),
        State::Notice => ("i notice", "36"),
        State::Unknown => ("? unknown", "33"),
        State::Warning => ("! warning", "33;1"),
        State::Failed => ("✗ FAILED", "31;1"),
    };
    if colour { format!("\u{1b}[{code}m{sign}\u{1b}[0m") } else { sign.to_owned() }
}

/// `31 ok, 2 warnings …` in words.
fn summary(results: &[CheckResult]) -> String {
    let count = |state| results.iter().filter(|result| result.state == state).count();
    let parts = State::WORST_FIRST.into_iter().filter(|state| count(*state) > 0);
    parts.map(|state| format!("{} {}", count(state), state.name())).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::tests::result;

    #[test]
    fn what_is_broken_comes_first_with_its_remedy_and_the_exit_code_tells_the_worst() {
        let results = [result("good", State::Ok, 5), result("bad", State::Failed, 5), result("odd", State::Warning, 5)];
        let text = render_text(&results, false);
        let place = |needle: &str| text.find(needle).unwrap();
        assert!(place("title of bad") < place("title of odd") && place("title of odd") < place("title of good"));
        assert!(text.contains("do:     Mend it.") && text.contains("1 failed, 1 warning, 1 ok"));
        assert!(!text.contains('\u{1b}') && render_text(&results, true).contains('\u{1b}'));
        assert_eq!((exit_code(&results), exit_code(&results[..1]), exit_code(&results[2..])), (2, 0, 1));
    }

    #[test]
    fn what_is_older_than_the_run_and_what_goes_to_and_fro_says_so() {
        let hour = 3600;
        let flaps = Some(wire::status::Flaps { times: 6, since: hour, broken: true });
        let kept = result("kept", State::Ok, 10 * hour);
        let seen = [
            kept,
            CheckResult { flaps, ..result("odd", State::Warning, 13 * hour) },
            CheckResult { flaps, ..result("now", State::Ok, 13 * hour) },
        ];
        let text = render_text(&seen, false);
        assert!(text.contains("title of kept – what was seen (looked at 3 hours ago)\n"), "{text}");
        assert!(text.contains("    note:   changed 6 times in 12 hours\n"), "{text}");
        assert!(text.contains("title of now – what was seen (changed 6 times in 12 hours)\n"), "{text}");
    }
}
