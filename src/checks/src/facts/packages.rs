//! What dpkg and apt say: packages that are kept back or half installed, and whether security updates come by themselves.

use super::said;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packages {
    /// Those that somebody keeps at their version.
    pub held: Vec<String>,
    /// Those that are not installed whole.
    pub broken: Vec<String>,
    /// Whether updates are looked for and installed every day.
    pub automatic: bool,
}

pub fn look() -> Result<Packages, String> {
    let shown = said("dpkg-query", &["-W", "-f", "${Package} ${db:Status-Want} ${db:Status-Status}\n"])?;
    let settings = said("apt-config", &["dump"])?;
    let (held, broken) = read_states(&shown);
    Ok(Packages { held, broken, automatic: is_automatic(&settings) })
}

/// Lines of `name want status`.
fn read_states(shown: &str) -> (Vec<String>, Vec<String>) {
    let (mut held, mut broken) = (Vec::new(), Vec::new());
    for line in shown.lines() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(want), Some(status)) = (words.next(), words.next(), words.next()) else { continue };
        if want == "hold" {
            held.push(name.to_owned());
        }
        if matches!(status, "half-installed" | "unpacked" | "half-configured" | "triggers-pending") {
            broken.push(name.to_owned());
        }
    }
    (held, broken)
}

/// `APT::Periodic::Unattended-Upgrade "1";`: every how many days (apt.systemd.daily(8)); 0 is never.
fn is_automatic(settings: &str) -> bool {
    let on = |name: &str| {
        let value = settings.lines().rev().find_map(|line| line.strip_prefix(name)?.trim().strip_prefix('"'));
        value.and_then(|value| value.split('"').next()).is_some_and(|value| !matches!(value, "" | "0"))
    };
    on("APT::Periodic::Unattended-Upgrade ") && on("APT::Periodic::Update-Package-Lists ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_that_are_kept_back_or_half_installed_are_told() {
        let shown =
            "nginx hold installed\nnsd install half-configured\nvim install installed\nold deinstall config-files\n";
        assert_eq!(read_states(shown), (vec!["nginx".to_owned()], vec!["nsd".to_owned()]));
    }

    #[test]
    fn updates_by_themselves_need_both_settings() {
        let lists = "APT::Periodic::Update-Package-Lists \"1\";\n";
        assert!(is_automatic(&format!("{lists}APT::Periodic::Unattended-Upgrade \"1\";\n")));
        assert!(!is_automatic(&format!("{lists}APT::Periodic::Unattended-Upgrade \"0\";\n")));
        assert!(!is_automatic(lists));
    }
}
