//! How much the scripts of one account may send, so that a flood of mail in does not become one of mail out. What people
//! send themselves is bounded by [`crate::policy::sending`].
//!
//! Two buckets per account that refill with time: messages and recipients. Kept in memory: a restart forgives.

use crate::limits;
use base::Address;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// Accounts remembered; those that have sent nothing lately are dropped first.
const REMEMBERED: usize = 10_000;

#[derive(Debug, Default)]
pub struct Rates(Mutex<HashMap<Address, [Bucket; 2]>>);

#[derive(Debug, Clone, Copy)]
struct Bucket {
    size: f64,
    period: Duration,
    left: f64,
    seen: Instant,
}

impl Bucket {
    fn new(size: u32, period: Duration, now: Instant) -> Self {
        Self { size: f64::from(size), period, left: f64::from(size), seen: now }
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.seen).as_secs_f64() / self.period.as_secs_f64();
        self.left = (self.left + passed * self.size).min(self.size);
        self.seen = now;
    }
}

impl Rates {
    /// Counts a message to so many recipients; `false`, and nothing counted, when that is too much.
    pub fn take(&self, account: &Address, recipients: usize, now: Instant) -> bool {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if accounts.len() >= REMEMBERED && !accounts.contains_key(account) {
            accounts.retain(|_, buckets| now.saturating_duration_since(buckets[0].seen) < DAY);
        }
        let buckets = accounts.entry(account.clone()).or_insert_with(|| {
            [Bucket::new(limits::MESSAGES_PER_HOUR, HOUR, now), Bucket::new(limits::RECIPIENTS_PER_DAY, DAY, now)]
        });
        buckets.iter_mut().for_each(|bucket| bucket.refill(now));
        let wanted = [1.0, recipients as f64];
        let enough = buckets.iter().zip(wanted).all(|(bucket, wanted)| bucket.left >= wanted);
        if enough {
            buckets.iter_mut().zip(wanted).for_each(|(bucket, wanted)| bucket.left -= wanted);
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_that_sends_too_much_waits_and_others_do_not() {
        let (rates, now) = (Rates::default(), Instant::now());
        let (ann, bob) = (Address::parse("ann@example.org").unwrap(), Address::parse("bob@example.org").unwrap());
        let sent = (0..1_000).filter(|_| rates.take(&ann, 1, now)).count();
        assert_eq!(sent, limits::MESSAGES_PER_HOUR as usize);
        assert!(rates.take(&bob, 100, now));
        assert!(rates.take(&ann, 1, now + Duration::from_secs(13)));
        assert!(!rates.take(&ann, 1, now + Duration::from_secs(13)));
    }
}
