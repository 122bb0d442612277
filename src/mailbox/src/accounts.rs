//! The accounts that are open. Each is opened once, when first needed, and shared by all sessions.

use crate::{blocking, indexing};
use base::{Address, Paths, durable};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::{Account, StoreError};
use tokio::sync::{Mutex, OnceCell, Semaphore};

type Cell = Arc<OnceCell<Arc<Account>>>;

pub struct Accounts {
    paths: Paths,
    open: Mutex<HashMap<Address, Cell>>,
    /// Whose turn it is to put mail into its full-text index.
    indexing: Arc<Semaphore>,
}

impl Accounts {
    pub fn new(paths: Paths) -> Self {
        Self { paths, open: Mutex::default(), indexing: Arc::new(Semaphore::new(1)) }
    }

    /// The account, opened if it is not yet. The caller knows from the directory that it exists.
    pub async fn get(&self, address: &Address) -> Result<Arc<Account>, StoreError> {
        let cell = Arc::clone(self.open.lock().await.entry(address.clone()).or_default());
        self.opened(&cell, address).await
    }

    /// The account, if it was ever used; asking for it does not make one.
    pub async fn existing(&self, address: &Address) -> Result<Option<Arc<Account>>, StoreError> {
        if !self.paths.account(address).join("index.db").exists() {
            return Ok(None);
        }
        self.get(address).await.map(Some)
    }

    async fn opened(&self, cell: &Cell, address: &Address) -> Result<Arc<Account>, StoreError> {
        let dir = self.path(address);
        let opened = cell.get_or_try_init(|| async {
            let account = blocking::run(dir, |dir| {
                durable::create_dir_all(dir, 0o700)
                    .map_err(|source| StoreError::Io { path: dir.to_owned(), source })?;
                Account::open(dir).map(Arc::new)
            })
            .await?;
            tokio::spawn(indexing::run(Arc::downgrade(&account), Arc::clone(&self.indexing)));
            Ok(account)
        });
        opened.await.map(Arc::clone)
    }

    /// Where an account's mail lies.
    pub fn path(&self, address: &Address) -> PathBuf {
        self.paths.account(address)
    }

    /// Gives back memory that the open accounts do not need.
    pub async fn tidy(&self) {
        let open: Vec<Cell> = self.open.lock().await.values().map(Arc::clone).collect();
        open.iter().filter_map(|cell| cell.get()).for_each(|account| account.tidy());
    }

    /// Moves an account's folder to `mail/.retired/`, durably, and ends its sessions. One that was never used has none.
    pub async fn retire(&self, address: &Address) -> Result<(), StoreError> {
        // Held throughout, so that nobody opens the account anew while it is moved.
        let mut open = self.open.lock().await;
        if let Some(cell) = open.get(address).map(Arc::clone) {
            // Somebody may be opening it at this moment; two openings of one folder must not be.
            let account = self.opened(&cell, address).await?;
            blocking::on(&account, |account| {
                account.retire();
                Ok(())
            })
            .await?;
        }
        let to = self.retired_of(address).join(format!("{}.{}", local(&self.path(address)), base::time::now_unix()));
        blocking::run(self.path(address), move |from| if from.exists() { rename(from, &to) } else { Ok(()) }).await?;
        open.remove(address);
        Ok(())
    }

    /// Where the mail of removed accounts of a domain lies.
    fn retired_of(&self, address: &Address) -> PathBuf {
        self.paths.mail().join(".retired").join(address.domain().as_str())
    }

    /// Moves the mail of an account that was removed last back to its place. Tells whether there was any.
    pub async fn reinstate(&self, address: &Address) -> Result<bool, StoreError> {
        // Held throughout, as in retiring.
        let open = self.open.lock().await;
        let (dir, own) = (self.retired_of(address), format!("{}.", local(&self.path(address))));
        let to = self.path(address);
        let moved = blocking::run(dir, move |dir| {
            let found = retired_in(dir)?.into_iter().filter(|(name, _)| name.starts_with(&own));
            let Some((name, _)) = found.max_by_key(|(_, when)| *when) else { return Ok(false) };
            if to.exists() {
                let taken =
                    std::io::Error::new(std::io::ErrorKind::AlreadyExists, "there is an account's mail already");
                return Err(StoreError::Io { path: to, source: taken });
            }
            rename(&dir.join(name), &to).map(|()| true)
        })
        .await?;
        drop(open);
        Ok(moved)
    }

    /// Deletes the mail of accounts that were removed longer ago than removed mail is kept.
    pub async fn purge_retired(&self, now: u64) -> Result<(), StoreError> {
        let retired = self.paths.mail().join(".retired");
        blocking::run(retired, move |retired| {
            for domain in directories(retired)? {
                for (name, when) in retired_in(&domain)? {
                    if now.saturating_sub(when) > store::limits::KEPT_SECONDS {
                        let path = domain.join(&name);
                        std::fs::remove_dir_all(&path)
                            .map_err(|source| StoreError::Io { path: path.clone(), source })?;
                        tracing::info!("{} was deleted for good", path.display());
                    }
                }
            }
            Ok(())
        })
        .await
    }

    /// Ends all work on the open accounts, so that their next opening need not compare index and files.
    pub fn close(&self) {
        // Somebody holding the lock at this moment is opening an account; that one is compared next time, no more.
        let Ok(open) = self.open.try_lock() else { return };
        open.values().filter_map(|cell| cell.get()).for_each(|account| account.retire());
    }
}

fn local(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    let parent = to.parent().map(PathBuf::from).unwrap_or_default();
    durable::create_dir_all(&parent, 0o700)
        .and_then(|()| durable::rename(from, to))
        .map_err(|source| StoreError::Io { path: from.to_owned(), source })
}

/// The directories in one, none if it is not there.
fn directories(path: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let failed = |source| StoreError::Io { path: path.to_owned(), source };
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    Ok(found)
}

/// The names of retired accounts of a domain, with when they were.
fn retired_in(domain: &Path) -> Result<Vec<(String, u64)>, StoreError> {
    let names = directories(domain)?.into_iter().map(|path| local(&path));
    Ok(names.filter_map(|name| Some((name.clone(), name.rsplit_once('.')?.1.parse().ok()?))).collect())
}
