//! The accounts that are open. Each is opened once, when first needed, and shared by all sessions.

use crate::blocking;
use base::{Address, Paths, durable};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use store::{Account, StoreError};
use tokio::sync::{Mutex, OnceCell};

type Cell = Arc<OnceCell<Arc<Account>>>;

pub struct Accounts {
    paths: Paths,
    open: Mutex<HashMap<Address, Cell>>,
}

impl Accounts {
    pub fn new(paths: Paths) -> Self {
        Self { paths, open: Mutex::default() }
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
        let dir = self.paths.account(address);
        let opened = cell.get_or_try_init(|| {
            blocking::run(dir, |dir| {
                durable::create_dir_all(dir, 0o700)
                    .map_err(|source| StoreError::Io { path: dir.to_owned(), source })?;
                Account::open(dir).map(Arc::new)
            })
        });
        opened.await.map(Arc::clone)
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
        let to = self.retired_path(address);
        blocking::run(self.paths.account(address), move |from| {
            if !from.exists() {
                return Ok(());
            }
            let parent = to.parent().map(PathBuf::from).unwrap_or_default();
            durable::create_dir_all(&parent, 0o700)
                .and_then(|()| durable::rename(from, &to))
                .map_err(|source| StoreError::Io { path: from.to_owned(), source })
        })
        .await?;
        open.remove(address);
        Ok(())
    }

    fn retired_path(&self, address: &Address) -> PathBuf {
        let account = self.paths.account(address);
        let local = account.file_name().unwrap_or_default().to_string_lossy();
        let domain = self.paths.mail().join(".retired").join(address.domain().as_str());
        domain.join(format!("{local}.{}", base::time::now_unix()))
    }
}
