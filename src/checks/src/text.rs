//! The texts of `checks/*.yaml`: what each check is called, why it matters, what to do, and which probe it uses.

use crate::ChecksError;
use crate::finding::Problem;
use crate::limits::PROBE_WITHIN;
use crate::probes::Probe;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value, context};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Every file of `checks/`, by name.
const FILES: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/texts.rs"));

/// How bad it is when the check does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Mail is lost, refused or in danger.
    Fatal,
    /// Mail works, not as well as it should.
    Warning,
    /// Worth knowing.
    Notice,
}

/// One file of `checks/`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckText {
    pub id: String,
    pub title: String,
    pub group: Group,
    pub severity: Severity,
    pub probe: Probe,
    /// Whether it makes sense in a demo.
    #[serde(default = "yes")]
    pub in_demo: bool,
    /// Whether it makes sense when the domains' DNS is kept elsewhere.
    #[serde(default = "yes")]
    pub with_external_dns: bool,
    /// A good result is kept for so long before strangers are asked again.
    #[serde(default)]
    pub good_for_minutes: u64,
    /// How long the probe may take before nothing is known.
    #[serde(default = "within_seconds")]
    pub within_seconds: u64,
    /// What the box can do about it by itself.
    #[serde(default)]
    pub mend: Option<Mend>,
    pub why: String,
    pub remedy: String,
}

/// What `mailstead status --mend` does.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "how", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Mend {
    /// Makes the host as the plan has it.
    Apply {},
    /// Starts a unit, or starts it anew.
    Restart { unit: String },
    /// Has a unit read its files again, or starts it.
    Reload { unit: String },
    /// Starts a unit whose run comes to an end: a renewal, a backup.
    Run { unit: String },
    /// Builds, signs and hands over the zones.
    Publish {},
}

impl Mend {
    /// The command that does the same.
    pub fn command(&self) -> String {
        match self {
            Mend::Apply {} => "mailstead apply".to_owned(),
            Mend::Restart { unit } => format!("systemctl restart {unit}"),
            Mend::Reload { unit } => format!("systemctl reload-or-restart {unit}"),
            Mend::Run { unit } => format!("systemctl start {unit}"),
            Mend::Publish {} => "mailstead dns publish".to_owned(),
        }
    }
}

fn within_seconds() -> u64 {
    PROBE_WITHIN.as_secs()
}

fn yes() -> bool {
    true
}

/// The headings of the page, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    Services,
    Ports,
    Mail,
    Sending,
    Names,
    Certificate,
    Reputation,
    Accounts,
    Storage,
    Backups,
    Machine,
    Updates,
    Safety,
}

impl Group {
    /// The word by which the command line and the texts know it.
    pub fn name(self) -> &'static str {
        match self {
            Group::Services => "services",
            Group::Ports => "ports",
            Group::Mail => "mail",
            Group::Sending => "sending",
            Group::Names => "names",
            Group::Certificate => "certificate",
            Group::Reputation => "reputation",
            Group::Accounts => "accounts",
            Group::Storage => "storage",
            Group::Backups => "backups",
            Group::Machine => "machine",
            Group::Updates => "updates",
            Group::Safety => "safety",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Group::Services => "Services",
            Group::Ports => "Ports",
            Group::Mail => "Mail",
            Group::Sending => "Sending",
            Group::Names => "Names (DNS)",
            Group::Certificate => "Certificate",
            Group::Reputation => "Reputation",
            Group::Accounts => "Accounts",
            Group::Storage => "Storage",
            Group::Backups => "Backups",
            Group::Machine => "Machine",
            Group::Updates => "Updates",
            Group::Safety => "Safety",
        }
    }
}

/// The units that checks ask about, so that root looks at them.
pub fn units() -> Vec<String> {
    // A text that cannot be read is told by the checks themselves; see `all`.
    let texts = FILES.iter().filter_map(|(file, yaml)| read(file, yaml).ok());
    let mut units: Vec<String> = texts.filter_map(|text| text.probe.unit()).collect();
    units.sort();
    units.dedup();
    units
}

/// What every remedy may name besides the probe's problems.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Known {
    pub hostname: String,
    pub email: String,
    pub ipv4: String,
    pub ipv6: String,
    /// Whether the box is its domains' name server.
    pub dns_here: bool,
}

/// Every check, in the order of the page.
pub fn all() -> Result<Vec<CheckText>, ChecksError> {
    let mut texts = FILES.iter().map(|(file, yaml)| read(file, yaml)).collect::<Result<Vec<_>, _>>()?;
    texts.sort_by(|a, b| (a.group, &a.id).cmp(&(b.group, &b.id)));
    Ok(texts)
}

fn read(file: &str, yaml: &str) -> Result<CheckText, ChecksError> {
    let bad = |why: String| ChecksError::Text { file: file.to_owned(), why };
    let text: CheckText = serde_yaml::from_str(yaml).map_err(|error| bad(error.to_string()))?;
    if file.strip_suffix(".yaml") != Some(text.id.as_str()) {
        return Err(bad(format!("its id is {} and its file has another name", text.id)));
    }
    Ok(text)
}

impl CheckText {
    pub fn within(&self) -> Duration {
        Duration::from_secs(self.within_seconds)
    }

    /// The remedy with its values. A value that is not there is an error, never an empty place.
    pub fn remedy(&self, known: &Known, problems: &[Problem]) -> Result<String, minijinja::Error> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        let values = context! { problems => Serde(problems), ..Value::from(Serde(known)) };
        let text = environment.render_str(&self.remedy, values)?;
        Ok(text.trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn known() -> Known {
        Known {
            hostname: "box.example.org".into(),
            email: "ann@example.org".into(),
            ipv4: "192.0.2.25".into(),
            ipv6: "2001:db8::25".into(),
            dns_here: true,
        }
    }

    fn problem() -> Problem {
        Problem::new("the subject", "what was seen", "what was wanted").detail("the detail")
    }

    #[test]
    fn every_text_can_be_read_and_says_why_it_matters_and_what_to_do() {
        let texts = all().unwrap();
        assert!(texts.len() >= 25, "{}", texts.len());
        for text in &texts {
            assert!(text.why.trim().len() > 40, "{} does not say why", text.id);
            assert!(text.remedy.trim().len() > 20, "{} has no remedy", text.id);
            assert!(text.title.len() < 70, "{} has a long title", text.id);
            // All run at once, so this bounds a whole run.
            assert!((1..=9).contains(&text.within_seconds), "{} may take too long", text.id);
        }
        let ids: BTreeSet<&str> = texts.iter().map(|text| text.id.as_str()).collect();
        assert_eq!(ids.len(), texts.len());
    }

    #[test]
    fn every_remedy_can_be_written_whatever_was_found() {
        for text in all().unwrap() {
            for mode in [true, false] {
                let known = Known { dns_here: mode, ..known() };
                for problems in [vec![], vec![problem()], vec![problem(), problem()]] {
                    let remedy =
                        text.remedy(&known, &problems).unwrap_or_else(|error| panic!("{}: {error:#}", text.id));
                    assert!(!remedy.is_empty(), "{}", text.id);
                }
            }
        }
    }

    #[test]
    fn a_remedy_that_names_what_nobody_found_is_refused() {
        let mut text = all().unwrap().remove(0);
        text.remedy = "write {{ nothing_of_that_name }}".into();
        assert!(text.remedy(&known(), &[]).is_err());
    }

    #[test]
    fn an_unknown_key_or_probe_is_refused_with_its_file() {
        let good = "id: a\ntitle: t\ngroup: mail\nseverity: fatal\nprobe: {name: relay}\nwhy: w\nremedy: r\n";
        assert!(read("a.yaml", good).is_ok());
        for bad in
            [format!("{good}colour: red\n"), good.replace("relay", "horoscope"), good.replace("relay", "relay, x: 1")]
        {
            assert!(read("a.yaml", &bad).unwrap_err().to_string().contains("a.yaml"), "{bad}");
        }
        assert!(read("b.yaml", good).is_err());
    }
}
