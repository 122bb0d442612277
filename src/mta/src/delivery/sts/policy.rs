//! MTA-STS records and policies (RFC 8461 §3) as values. Pure.

use base::Domain;
use serde::{Deserialize, Serialize};

/// What a policy asks of senders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Enforce,
    /// Nothing is refused; failures are only reported.
    Testing,
    /// As good as no policy.
    None,
}

/// A policy as it was fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    pub mode: Mode,
    /// Patterns, lower case: a name, or `*.` and a name for any one label before it.
    pub mx: Vec<String>,
    /// Seconds that it holds for.
    pub max_age: u64,
}

/// RFC 8461 §3.2: "at most 31557600 seconds", about a year.
const LONGEST: u64 = 31_557_600;
/// A domain has a handful of exchangers; Google's policy has five patterns.
const PATTERNS: usize = 100;

/// Why a text is no policy; a part of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error("it does not say “version: STSv1”")]
    Version,
    #[error("its mode is none that is known")]
    Mode,
    #[error("its max_age is missing or no number")]
    MaxAge,
    #[error("it names no exchanger")]
    Mx,
}

impl Policy {
    /// Reads a policy file. Keys that are unknown are passed over (§3.2), and of a key that may come once the first
    /// counts.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let pairs: Vec<(&str, &str)> = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(key, value)| (key.trim(), value.trim()))
            .collect();
        let first = |key: &str| pairs.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
        if first("version") != Some("STSv1") {
            return Err(PolicyError::Version);
        }
        let mode = match first("mode") {
            Some("enforce") => Mode::Enforce,
            Some("testing") => Mode::Testing,
            Some("none") => Mode::None,
            _ => return Err(PolicyError::Mode),
        };
        let max_age = first("max_age").and_then(|value| value.parse::<u64>().ok()).ok_or(PolicyError::MaxAge)?;
        let patterns = pairs.iter().filter(|(key, _)| *key == "mx").map(|(_, value)| value.to_ascii_lowercase());
        let mx: Vec<String> = patterns.take(PATTERNS).collect();
        if mx.is_empty() && mode != Mode::None {
            return Err(PolicyError::Mx);
        }
        Ok(Self { mode, mx, max_age: max_age.min(LONGEST) })
    }

    /// Whether the policy names this exchanger (§4.1).
    pub fn names(&self, host: &Domain) -> bool {
        let parent = host.as_str().split_once('.').map(|(_, parent)| parent);
        self.mx
            .iter()
            .any(|pattern| pattern == host.as_str() || (parent.is_some() && pattern.strip_prefix("*.") == parent))
    }

    /// The lines of the policy, as reports quote them (RFC 8460 §4.4).
    pub fn lines(&self) -> Vec<String> {
        let mode = match self.mode {
            Mode::Enforce => "enforce",
            Mode::Testing => "testing",
            Mode::None => "none",
        };
        let mut lines = vec!["version: STSv1".to_owned(), format!("mode: {mode}")];
        lines.extend(self.mx.iter().map(|pattern| format!("mx: {pattern}")));
        lines.push(format!("max_age: {}", self.max_age));
        lines
    }
}

/// The id in a domain's `_mta-sts` records; `None` when there is not exactly one record that is valid (§3.1).
pub fn id(records: &[String]) -> Option<String> {
    let mut ours = records.iter().filter(|record| record.starts_with("v=STSv1"));
    let record = ours.next()?;
    if ours.next().is_some() {
        return None;
    }
    let mut fields = record.split(';').map(str::trim);
    if fields.next() != Some("v=STSv1") {
        return None;
    }
    let id = fields.find_map(|field| field.strip_prefix("id="))?.trim();
    let good = (1..=32).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    good.then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EXAMPLE: &str =
        "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.Example.net\r\nx: y\r\nmax_age: 604800\r\n";

    #[test]
    fn the_example_of_the_rfc_is_read() {
        let policy = Policy::parse(EXAMPLE).unwrap();
        assert_eq!((policy.mode, policy.max_age), (Mode::Enforce, 604_800));
        let names = |host| policy.names(&Domain::parse(host).unwrap());
        assert!(names("mail.example.com") && names("a.example.net"));
        assert!(!names("example.net") && !names("a.b.example.net") && !names("mail.example.com.evil.example"));
        assert_eq!(Policy::parse(&policy.lines().join("\n")), Ok(policy));
    }

    #[test]
    fn what_is_no_policy_is_told() {
        for (text, why) in [
            ("mode: enforce", PolicyError::Version),
            ("version: STSv1\nmode: strict\nmx: a\nmax_age: 1", PolicyError::Mode),
            ("version: STSv1\nmode: testing\nmx: a\nmax_age: -1", PolicyError::MaxAge),
            ("version: STSv1\nmode: enforce\nmax_age: 1", PolicyError::Mx),
        ] {
            assert_eq!(Policy::parse(text), Err(why));
        }
        assert_eq!(Policy::parse("version: STSv1\nmode: none\nmax_age: 99999999999").unwrap().max_age, LONGEST);
    }

    #[test]
    fn only_one_record_with_an_id_counts() {
        let id = |records: &[&str]| id(&records.iter().map(|record| (*record).to_owned()).collect::<Vec<_>>());
        assert_eq!(id(&["other", "v=STSv1; id=20160831085700Z;"]).as_deref(), Some("20160831085700Z"));
        assert_eq!(id(&["v=STSv1;id=1", "v=STSv1;id=2"]), None);
        assert_eq!(id(&["v=STSv1"]), None);
        assert_eq!(id(&["v=STSv10;id=1"]), None);
        assert_eq!(id(&["v=STSv1; id=a b"]), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_crash(text in "(version: STSv1\n)?(.{0,40}\n){0,10}") {
            let _ = Policy::parse(&text);
            let _ = id(&[text]);
        }
    }
}
