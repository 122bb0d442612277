//! What EHLO offers, in one table: the keyword, its RFC, and when it stands.

use super::{Kind, Session};
use crate::limits;
use base::time;

/// Where an extension is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    OutsideTls,
    InsideTls,
    Submission,
    /// Before the login, where one is possible.
    Login,
}

/// One extension.
struct Capability {
    name: &'static str,
    /// For who reads this table.
    #[cfg_attr(not(test), allow(dead_code))]
    rfc: &'static str,
    when: When,
}

const fn row(name: &'static str, rfc: &'static str, when: When) -> Capability {
    Capability { name, rfc, when }
}

/// The order is that of the reply.
const CAPABILITIES: [Capability; 14] = [
    row("PIPELINING", "RFC 2920", When::Always),
    row("SIZE", "RFC 1870", When::Always),
    row("8BITMIME", "RFC 6152", When::Always),
    row("BINARYMIME", "RFC 3030", When::Always),
    row("CHUNKING", "RFC 3030", When::Always),
    row("SMTPUTF8", "RFC 6531", When::Always),
    row("DSN", "RFC 3461", When::Always),
    row("ENHANCEDSTATUSCODES", "RFC 2034", When::Always),
    row("LIMITS", "RFC 9422", When::Always),
    row("STARTTLS", "RFC 3207", When::OutsideTls),
    row("REQUIRETLS", "RFC 8689", When::InsideTls),
    row("FUTURERELEASE", "RFC 4865", When::Submission),
    row("AUTH", "RFC 4954", When::Login),
    row("HELP", "RFC 5321", When::Always),
];

impl Session {
    /// The lines of the reply to EHLO behind its first.
    pub(super) fn capabilities(&self, now: u64) -> Vec<String> {
        CAPABILITIES.iter().filter(|it| self.offers(it)).map(|it| self.line_of(it, now)).collect()
    }

    fn offers(&self, it: &Capability) -> bool {
        let submission = self.kind == Kind::Submission;
        match it.when {
            When::Always => true,
            When::OutsideTls => self.tls.is_none(),
            When::InsideTls => self.tls.is_some(),
            When::Submission => submission,
            When::Login => submission && self.tls.is_some() && self.account.is_none(),
        }
    }

    fn line_of(&self, it: &Capability, now: u64) -> String {
        let longest = limits::FUTURE_RELEASE.as_secs();
        match it.name {
            "SIZE" => format!("SIZE {}", limits::MESSAGE),
            "LIMITS" => format!("LIMITS RCPTMAX={}", limits::RECIPIENTS),
            "FUTURERELEASE" => format!("FUTURERELEASE {longest} {}", time::rfc3339(now.saturating_add(longest))),
            "AUTH" => format!("AUTH {}", self.offer.names()),
            name => name.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_extension_stands_once_with_its_source() {
        for (at, it) in CAPABILITIES.iter().enumerate() {
            assert!(it.rfc.starts_with("RFC "), "{}", it.name);
            assert!(CAPABILITIES.iter().skip(at + 1).all(|other| other.name != it.name), "{}", it.name);
        }
    }
}
