//! How many deliveries are under way at once, such that servers that take their time hold up no others.
//!
//! A server may take minutes for each reply (RFC 5321 §4.5.3.2), and some never speak at all. A delivery that lasts long
//! moves to a larger room of its own, and its first place goes to the next.

use crate::limits;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The places for deliveries. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Places {
    usual: Arc<Semaphore>,
    slow: Arc<Semaphore>,
    patience: Duration,
}

/// One delivery's place, given back when its delivery ends.
#[derive(Debug)]
pub struct Place {
    usual: OwnedSemaphorePermit,
    all: Places,
}

impl Default for Places {
    fn default() -> Self {
        Self::of(limits::DELIVERIES, limits::SLOW_DELIVERIES, limits::SLOW_AFTER)
    }
}

impl Places {
    fn of(usual: usize, slow: usize, patience: Duration) -> Self {
        Self { usual: Arc::new(Semaphore::new(usual)), slow: Arc::new(Semaphore::new(slow)), patience }
    }

    /// Waits for a free place; `None` when there will be none any more.
    pub async fn take(&self) -> Option<Place> {
        let usual = Arc::clone(&self.usual).acquire_owned().await.ok()?;
        Some(Place { usual, all: self.clone() })
    }
}

impl Place {
    /// Makes a delivery, to its end. When it lasts and there is room among the slow ones, another may begin.
    pub async fn hold(self, delivery: impl Future<Output = ()>) {
        let mut delivery = pin!(delivery);
        if timeout(self.all.patience, &mut delivery).await.is_ok() {
            return;
        }
        let _place = match Arc::clone(&self.all.slow).try_acquire_owned() {
            Ok(slow) => {
                drop(self.usual);
                slow
            }
            Err(_) => self.usual,
        };
        delivery.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    async fn is_free(places: &Places) -> bool {
        timeout(Duration::from_millis(300), places.take()).await.is_ok()
    }

    #[tokio::test]
    async fn deliveries_that_last_make_room_for_others_up_to_a_bound() {
        let places = Places::of(1, 1, Duration::from_millis(50));
        let first = tokio::spawn(places.take().await.unwrap().hold(pending()));
        assert!(is_free(&places).await, "a slow delivery holds up the next");
        let second = tokio::spawn(places.take().await.unwrap().hold(pending()));
        assert!(!is_free(&places).await, "there is no end to the slow ones");
        first.abort();
        second.abort();
        assert!(is_free(&places).await);
    }

    #[tokio::test]
    async fn a_quick_delivery_gives_its_place_back_and_takes_no_other() {
        let places = Places::of(1, 0, Duration::from_secs(60));
        places.take().await.unwrap().hold(async {}).await;
        assert!(is_free(&places).await);
    }
}
