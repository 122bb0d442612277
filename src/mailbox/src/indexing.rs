//! Keeping an account's full-text index up in the background: off the path of deliveries, one account at a time, and with
//! pauses, so that a large mailbox that is indexed anew does not stop the others.

use crate::{blocking, limits};
use std::sync::{Arc, Weak};
use std::time::Instant;
use store::{Account, StoreError};
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

/// Runs for as long as the account is open.
pub async fn run(account: Weak<Account>, turn: Arc<Semaphore>) {
    let Some(mut changes) = account.upgrade().map(|account| account.watch()) else { return };
    loop {
        settle(&mut changes).await;
        if let Err(why) = catch_up(&account, &turn).await {
            tracing::error!("mail is not put into the full-text index just now: {why}");
            sleep(limits::INDEX_AGAIN_AFTER).await;
        }
        if changes.changed().await.is_err() || account.upgrade().is_none_or(|account| account.is_retired()) {
            return;
        }
    }
}

/// Waits until no more mail comes in, or has come in for long: what arrives together is indexed together, and a burst of
/// deliveries has the processor for itself.
async fn settle(changes: &mut watch::Receiver<u64>) {
    let until = Instant::now() + limits::INDEX_AFTER_ALL;
    while Instant::now() < until {
        changes.mark_unchanged();
        sleep(limits::INDEX_AFTER).await;
        if !changes.has_changed().unwrap_or(false) {
            return;
        }
    }
}

/// Indexes until nothing is left, taking half of the time at most.
async fn catch_up(account: &Weak<Account>, turn: &Semaphore) -> Result<(), StoreError> {
    loop {
        let Some(account) = account.upgrade() else { return Ok(()) };
        let Ok(mine) = turn.acquire().await else { return Ok(()) };
        let began = Instant::now();
        let left = match blocking::on(&account, Account::index_some).await {
            Err(StoreError::Retired) => return Ok(()),
            other => other?,
        };
        drop((account, mine));
        if left == 0 {
            return Ok(());
        }
        sleep(began.elapsed().min(limits::INDEX_AGAIN_AFTER)).await;
    }
}
