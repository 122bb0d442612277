//! Messages that the status checks send to the box as a stranger would, so that they see what strangers meet.
//!
//! Invariant: a message is one of them only while its token is waited for, and tokens come by the door alone. So nobody
//! else can have mail vanish, and a message that comes too late is mail like any other.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use wire::mta::Came;

/// How long one is waited for: longer than a check may take.
const WAITED_FOR: Duration = Duration::from_secs(60);
/// How many at a time; the checks send one.
const MOST: usize = 16;

#[derive(Debug)]
struct Trip {
    token: String,
    began: Instant,
    came: Option<Came>,
}

#[derive(Debug, Default)]
pub struct RoundTrips(Mutex<VecDeque<Trip>>);

impl RoundTrips {
    fn trips(&self, now: Instant) -> MutexGuard<'_, VecDeque<Trip>> {
        let mut trips = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        trips.retain(|trip| now.saturating_duration_since(trip.began) < WAITED_FOR);
        trips
    }

    /// From now on a message with this token is waited for.
    pub fn expect(&self, token: String, now: Instant) {
        let mut trips = self.trips(now);
        while trips.len() >= MOST {
            trips.pop_front();
        }
        trips.push_back(Trip { token, began: now, came: None });
    }

    /// Notes a message; tells whether it was waited for.
    pub fn came(&self, token: &str, came: Came, now: Instant) -> bool {
        let mut trips = self.trips(now);
        let trip = trips.iter_mut().find(|trip| trip.token == token);
        trip.is_some_and(|trip| trip.came.replace(came).is_none())
    }

    /// How it came, once it has.
    pub fn outcome(&self, token: &str, now: Instant) -> Option<Came> {
        self.trips(now).iter().find(|trip| trip.token == token)?.came.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::mta::Judged;

    fn came() -> Came {
        let judged = Judged { action: "accept".into(), tenths: 0, reasons: Vec::new(), authentication: None };
        Came { client: [192, 0, 2, 1].into(), tls: None, judged }
    }

    #[test]
    fn only_what_is_waited_for_is_taken_once_and_in_time() {
        let (trips, now) = (RoundTrips::default(), Instant::now());
        assert!(!trips.came("a", came(), now), "nobody waits for it");
        trips.expect("a".into(), now);
        assert_eq!(trips.outcome("a", now), None);
        assert!(trips.came("a", came(), now) && !trips.came("a", came(), now), "once");
        assert_eq!(trips.outcome("a", now), Some(came()));
        assert!(!trips.came("a", came(), now + WAITED_FOR), "too late");
        for number in 0..2 * MOST {
            trips.expect(number.to_string(), now);
        }
        assert!(!trips.came("0", came(), now) && trips.came("31", came(), now), "the oldest go");
    }
}
