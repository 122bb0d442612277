//! When the next try is, and when there is none. Pure.

use crate::limits;
use std::time::Duration;

/// The waits between tries.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    pub first: Duration,
    pub longest: Duration,
    pub give_up: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { first: limits::RETRY_FIRST, longest: limits::RETRY_LONGEST, give_up: limits::GIVE_UP }
    }
}

impl Schedule {
    /// When to try again after `tries` tries, in seconds since 1970; `None` when it is time to give up.
    /// `random` spreads the waits.
    pub fn next(&self, queued: u64, tries: u32, now: u64, random: u64) -> Option<u64> {
        if now.saturating_sub(queued) >= self.give_up.as_secs() {
            return None;
        }
        let doublings = tries.saturating_sub(1).min(20);
        let wait = self.first.as_secs().saturating_mul(1 << doublings).clamp(1, self.longest.as_secs().max(1));
        let spread = wait * limits::JITTER_PERCENT / 100;
        let wait = wait - spread + random % (2 * spread + 1);
        // The last try stands at the end of the time, not after it.
        Some((now + wait).min(queued + self.give_up.as_secs()).max(now + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_four_hours_and_end_after_five_days() {
        let schedule = Schedule::default();
        let middle = |tries: u32| {
            let wait: u64 = schedule.first.as_secs() << (tries - 1);
            wait.min(4 * 3600) * limits::JITTER_PERCENT / 100
        };
        let wait = |tries: u32| schedule.next(0, tries, 0, middle(tries)).unwrap() / 60;
        let waits: Vec<_> = (1..=8).map(wait).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 240, 240]);
        assert_eq!(schedule.next(0, 30, 5 * 86_400, 0), None);
        assert_eq!(schedule.next(0, 30, 5 * 86_400 - 100, 0), Some(5 * 86_400));
    }

    #[test]
    fn waits_are_spread_within_a_tenth() {
        let schedule = Schedule::default();
        for random in 0..1_000 {
            let wait = schedule.next(0, 1, 0, random).unwrap();
            assert!((270..=330).contains(&wait), "{wait}");
        }
    }
}
