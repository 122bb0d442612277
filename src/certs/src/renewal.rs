//! When a certificate is to be renewed: within the window that the authority suggests (ARI, RFC 9773), else a third of its
//! life before its end, as Let's Encrypt advises. Pure.

use crate::Certificate;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Without a suggestion: what is left of its life when a certificate is renewed.
const REMAINING: u64 = 3;
/// Whatever is suggested: a twelfth of its life before its end it is renewed. A week, of ninety days.
const AT_LAST: u64 = 12;
/// What is left of its life when a certificate is renewed without the names that fail. Two weeks, of ninety days: the
/// owner has had that long to mend them.
const WITHOUT_FAILING: u64 = 6;

/// The authority's suggestion for one certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Which certificate: its unique identifier (RFC 9773 §4.1).
    pub certificate: String,
    /// Seconds since 1970.
    pub start: u64,
    pub end: u64,
    /// When to ask again.
    pub again: u64,
    /// Where the authority explains an unusual suggestion.
    pub explanation: Option<String>,
}

impl Window {
    /// A window that makes no sense is treated as none (RFC 9773 §4.2).
    fn is_sane(&self) -> bool {
        self.start < self.end
    }

    /// One moment in the window, the same whenever it is asked for, and another for each certificate.
    fn moment(&self) -> u64 {
        let hash = Sha256::digest(self.certificate.as_bytes());
        let random = hash.iter().take(8).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        self.start + random % (self.end - self.start)
    }
}

/// When to renew, in seconds since 1970.
pub fn at(certificate: &Certificate, window: Option<&Window>) -> u64 {
    let life = certificate.not_after.saturating_sub(certificate.not_before);
    let before_end = |part: u64| certificate.not_after.saturating_sub(life / part);
    match window.filter(|window| window.is_sane()) {
        Some(window) => window.moment().min(before_end(AT_LAST)),
        None => before_end(REMAINING),
    }
}

/// Whether a renewal may now leave out a name that the served certificate has, because it fails. Before that it waits: the
/// name may come back, and nobody is served worse in the meantime.
pub fn may_leave_out(certificate: &Certificate, now: u64) -> bool {
    let life = certificate.not_after.saturating_sub(certificate.not_before);
    certificate.not_after.saturating_sub(now) < life / WITHOUT_FAILING
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    fn certificate() -> Certificate {
        Certificate { not_before: 0, not_after: 90 * DAY, ..Certificate::default() }
    }

    fn window(start: u64, end: u64) -> Window {
        Window { certificate: "aki.serial".into(), start, end, again: 0, explanation: None }
    }

    #[test]
    fn it_is_renewed_within_the_suggested_window_and_each_certificate_at_another_moment() {
        let (start, end) = (60 * DAY, 62 * DAY);
        let moments: std::collections::BTreeSet<u64> = (0..50)
            .map(|number| Window { certificate: format!("aki.{number}"), ..window(start, end) })
            .map(|window| at(&certificate(), Some(&window)))
            .collect();
        assert!(moments.iter().all(|moment| (start..end).contains(moment)) && moments.len() > 45);
        assert_eq!(at(&certificate(), Some(&window(start, end))), at(&certificate(), Some(&window(start, end))));
        // A revocation is coming: the window lies in the past, and the moment too.
        assert!(at(&certificate(), Some(&window(3 * DAY, 4 * DAY))) < 4 * DAY);
    }

    #[test]
    fn without_a_sensible_suggestion_a_third_of_its_life_is_left() {
        assert_eq!(at(&certificate(), None), 60 * DAY);
        assert_eq!(at(&certificate(), Some(&window(70 * DAY, 70 * DAY))), 60 * DAY);
        assert!(at(&certificate(), Some(&window(100 * DAY, 200 * DAY))) <= 83 * DAY);
    }

    #[test]
    fn a_failing_name_that_is_served_holds_up_the_renewal_for_a_while_only() {
        assert!(!may_leave_out(&certificate(), 70 * DAY));
        assert!(may_leave_out(&certificate(), 76 * DAY));
    }
}
