//! The store blocks on the disk, so its work is done on threads for that.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::{Account, StoreError};

/// Runs work on an account on a blocking thread.
pub async fn on<T: Send + 'static>(
    account: &Arc<Account>,
    work: impl FnOnce(&Account) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let own = Arc::clone(account);
    run(account.dir().to_owned(), move |_| work(&own)).await
}

/// Runs work on a path on a blocking thread. Work that panics is a failure at that path.
pub async fn run<T: Send + 'static>(
    path: PathBuf,
    work: impl FnOnce(&Path) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let own = path.clone();
    let joined = tokio::task::spawn_blocking(move || work(&own)).await;
    joined.map_err(|why| StoreError::Io { path, source: std::io::Error::other(why) })?
}
