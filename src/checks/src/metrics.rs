//! The figures for Prometheus (text format 0.0.4): `checks/metrics.prom`, which nginx serves on loopback.

use crate::ChecksError;
use base::Paths;
use std::fmt::Write as _;
use std::time::Duration;
use wire::status::{CheckResult, State, looked_at};

pub fn write(paths: &Paths, results: &[CheckResult], took: Duration) -> Result<(), ChecksError> {
    let path = paths.checks().join("metrics.prom");
    base::durable::write(&path, text(results, took).as_bytes(), 0o644).map_err(ChecksError::write(path))
}

type Value = fn(&CheckResult) -> u64;

/// One line for each check: name, what it tells, and the value.
const BY_CHECK: [(&str, &str, Value); 4] = [
    ("mailstead_check_state", "0 ok, 1 skipped, 2 notice, 3 unknown, 4 warning, 5 failed.", |result| {
        result.state as u64
    }),
    ("mailstead_check_since_timestamp_seconds", "When the check came into its state.", |result| result.since),
    ("mailstead_check_looked_timestamp_seconds", "When the check was looked at.", |result| result.checked),
    (
        "mailstead_check_recent_changes",
        "How often the state changed within a day, where that is often; else 0.",
        |result| result.flaps.map_or(0, |flaps| flaps.times as u64),
    ),
];

fn text(results: &[CheckResult], took: Duration) -> String {
    let mut text = String::new();
    for (name, help, value) in BY_CHECK {
        head(&mut text, name, help);
        for result in results {
            let (check, group) = (escaped(&result.id), escaped(&result.group));
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name}{{check=\"{check}\",group=\"{group}\"}} {}", value(result));
        }
    }
    head(&mut text, "mailstead_check_duration_seconds", "How long looking took.");
    for result in results {
        let (check, group) = (escaped(&result.id), escaped(&result.group));
        let took = Duration::from_millis(result.took_ms).as_secs_f64();
        let _ = writeln!(text, "mailstead_check_duration_seconds{{check=\"{check}\",group=\"{group}\"}} {took}");
    }
    head(&mut text, "mailstead_checks", "How many checks are in a state.");
    for state in State::WORST_FIRST {
        let count = results.iter().filter(|result| result.state == state).count();
        let _ = writeln!(text, "mailstead_checks{{state=\"{}\"}} {count}", state.name());
    }
    head(&mut text, "mailstead_checks_run_timestamp_seconds", "When the checks ran last.");
    let _ = writeln!(text, "mailstead_checks_run_timestamp_seconds {}", looked_at(results).unwrap_or(0));
    head(&mut text, "mailstead_checks_run_duration_seconds", "How long that run took.");
    let _ = writeln!(text, "mailstead_checks_run_duration_seconds {:.3}", took.as_secs_f64());
    text
}

fn head(text: &mut String, name: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
}

/// A label's value: backslash, quote and line end are written with a backslash.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::tests::result;

    #[test]
    fn the_figures_are_what_prometheus_reads() {
        let odd = CheckResult { group: "a \"b\" \\\nc".into(), ..result("mx", State::Ok, 9) };
        let slow = CheckResult { took_ms: 1250, ..result("spf", State::Failed, 7) };
        let text = text(&[slow, odd], Duration::from_millis(1500));
        for line in [
            "# TYPE mailstead_check_state gauge",
            "mailstead_check_state{check=\"spf\",group=\"Mail\"} 5",
            "mailstead_check_state{check=\"mx\",group=\"a \\\"b\\\" \\\\\\nc\"} 0",
            "mailstead_check_since_timestamp_seconds{check=\"spf\",group=\"Mail\"} 7",
            "mailstead_check_recent_changes{check=\"spf\",group=\"Mail\"} 0",
            "mailstead_check_duration_seconds{check=\"spf\",group=\"Mail\"} 1.25",
            "mailstead_checks{state=\"failed\"} 1",
            "mailstead_checks{state=\"warning\"} 0",
            "mailstead_checks_run_timestamp_seconds 9",
            "mailstead_checks_run_duration_seconds 1.500",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
