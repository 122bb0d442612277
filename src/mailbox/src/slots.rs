//! How many there are of each: sessions of an account, connections from an address.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts by key. Entries that come down to none are forgotten.
pub struct Counts<K> {
    now: Mutex<HashMap<K, usize>>,
}

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self { now: Mutex::default() }
    }
}

/// A place that is given back when dropped.
pub struct Slot {
    leave: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl<K: Eq + Hash + Clone + Send + Sync + 'static> Counts<K> {
    /// A place for `key`, unless it has `most` already.
    pub fn enter(counts: &Arc<Self>, key: K, most: usize) -> Option<Slot> {
        let mut now = counts.now.lock().unwrap_or_else(PoisonError::into_inner);
        let count = now.get(&key).copied().unwrap_or(0);
        if count >= most {
            return None;
        }
        now.insert(key.clone(), count + 1);
        drop(now);
        let counts = Arc::clone(counts);
        Some(Slot { leave: Some(Box::new(move || counts.leave(&key))) })
    }

    fn leave(&self, key: &K) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = now.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                now.remove(key);
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(leave) = self.leave.take() {
            leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_left_is_free_again_and_others_are_not_counted() {
        let counts = Arc::new(Counts::default());
        let first = Counts::enter(&counts, "a", 1);
        assert!(first.is_some() && Counts::enter(&counts, "a", 1).is_none());
        assert!(Counts::enter(&counts, "b", 1).is_some());
        drop(first);
        assert!(Counts::enter(&counts, "a", 1).is_some());
        assert!(counts.now.lock().unwrap().is_empty());
    }
}
