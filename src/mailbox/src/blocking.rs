//! The store blocks on the disk, so its work is done on threads for that.

use std::sync::Arc;
use store::{Account, StoreError};

/// Runs work on an account on a blocking thread.
pub async fn on<T: Send + 'static>(
    account: &Arc<Account>,
    work: impl FnOnce(&Account) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let own = Arc::clone(account);
    let interrupted = |why: tokio::task::JoinError| StoreError::Io {
        path: account.dir().to_owned(),
        source: std::io::Error::other(why),
    };
    tokio::task::spawn_blocking(move || work(&own)).await.map_err(interrupted)?
}
