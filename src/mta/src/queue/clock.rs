//! The time that the queue goes by, which tests can turn on without waiting for days to pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The wall clock, and how far it was turned on. Cheap to clone; all clones go together.
#[derive(Debug, Clone, Default)]
pub struct Clock(Arc<AtomicU64>);

impl Clock {
    /// Seconds since 1970.
    pub fn now(&self) -> u64 {
        base::time::now_unix() + self.0.load(Ordering::Relaxed)
    }

    /// Turns it on by so many seconds.
    pub fn turn(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}
