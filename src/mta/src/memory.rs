//! Budgets of memory for messages on their way through, so that many large ones cannot exhaust the box.

use crate::limits;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What one permit stands for.
const UNIT: usize = 64 << 10;

/// The budget. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Memory {
    free: Arc<Semaphore>,
    units: usize,
}

/// A part of the budget, given back when dropped.
#[derive(Debug)]
pub struct Share {
    budget: Memory,
    permits: Vec<OwnedSemaphorePermit>,
    held: usize,
}

impl Default for Memory {
    fn default() -> Self {
        Self::of(limits::MEMORY)
    }
}

impl Memory {
    /// A budget of so many octets.
    pub fn of(octets: usize) -> Self {
        let units = octets / UNIT;
        Self { free: Arc::new(Semaphore::new(units)), units }
    }

    pub fn share(&self) -> Share {
        Share { budget: self.clone(), permits: Vec::new(), held: 0 }
    }

    /// Waits until so many octets are free; what is larger than the whole budget gets all of it.
    pub async fn wait_for(&self, octets: usize) -> Share {
        let units = octets.div_ceil(UNIT).clamp(1, self.units.max(1));
        let permits = Arc::clone(&self.free).acquire_many_owned(u32::try_from(units).unwrap_or(1)).await;
        Share { budget: self.clone(), permits: permits.into_iter().collect(), held: units }
    }
}

impl Share {
    /// Grows the share to `octets`; `false` when the budget is used up.
    pub fn grow(&mut self, octets: usize) -> bool {
        let more = octets.div_ceil(UNIT).saturating_sub(self.held);
        if more == 0 {
            return true;
        }
        let asked = u32::try_from(more).unwrap_or(u32::MAX);
        match Arc::clone(&self.budget.free).try_acquire_many_owned(asked) {
            Ok(permit) => {
                // One permit object that grows: a long message would collect hundreds otherwise.
                match self.permits.first_mut() {
                    Some(first) => first.merge(permit),
                    None => self.permits.push(permit),
                }
                self.held += more;
                true
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_shared_and_given_back() {
        let memory = Memory::default();
        let (mut one, mut two) = (memory.share(), memory.share());
        assert!(one.grow(limits::MEMORY - UNIT));
        assert!(!two.grow(2 * UNIT));
        assert!(two.grow(UNIT));
        drop(one);
        assert!(two.grow(limits::MEMORY));
    }

    #[tokio::test]
    async fn what_is_larger_than_the_budget_waits_for_all_of_it_and_no_longer() {
        let memory = Memory::of(2 * UNIT);
        let whole = memory.wait_for(usize::MAX).await;
        assert!(!memory.share().grow(1));
        drop(whole);
        assert!(memory.share().grow(2 * UNIT));
    }
}
