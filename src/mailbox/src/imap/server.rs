//! Port 993: accepting, counting and encrypting connections.

use super::connection::{Connection, memory};
use super::prompt::Prompt;
use super::session::Session;
use crate::accounts::Accounts;
use crate::learn::Learner;
use crate::limits;
use crate::quota::Quotas;
use base::Address;
use base::endpoints::canonical;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// What all sessions share.
pub struct Shared {
    pub accounts: Arc<Accounts>,
    pub directory: wire::Client,
    pub learner: Learner,
    pub quotas: Arc<Quotas>,
    pub memory: Arc<Semaphore>,
    per_account: Arc<Counts<Address>>,
    per_address: Arc<Counts<IpAddr>>,
}

impl Shared {
    pub fn new(accounts: Arc<Accounts>, directory: wire::Client, learner: Learner, quotas: Arc<Quotas>) -> Self {
        Self {
            accounts,
            directory,
            learner,
            quotas,
            memory: memory(),
            per_account: Arc::default(),
            per_address: Arc::default(),
        }
    }

    /// A place among the sessions of an account.
    pub fn of_account(&self, address: &Address) -> Option<Slot> {
        Counts::enter(&self.per_account, address.clone(), limits::SESSIONS_PER_ACCOUNT)
    }
}

/// How many sessions there are of each.
struct Counts<K> {
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
    fn enter(counts: &Arc<Self>, key: K, most: usize) -> Option<Slot> {
        let mut now = counts.now.lock().unwrap_or_else(PoisonError::into_inner);
        let count = now.entry(key.clone()).or_insert(0);
        if *count >= most {
            return None;
        }
        *count += 1;
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

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, tls: Arc<rustls::ServerConfig>, shared: Arc<Shared>) {
    let acceptor = TlsAcceptor::from(tls);
    let places = Arc::new(Semaphore::new(limits::SESSIONS));
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely; they come back as sessions end.
                tracing::error!("IMAP cannot accept: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let client = canonical(peer.ip());
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!("{client} is turned away: there are {} IMAP sessions already", limits::SESSIONS);
            continue;
        };
        let Some(slot) = Counts::enter(&shared.per_address, client, limits::SESSIONS_PER_ADDRESS) else {
            tracing::warn!("{client} is turned away: it has {} IMAP sessions already", limits::SESSIONS_PER_ADDRESS);
            continue;
        };
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            one(stream, acceptor, shared, client).await;
            drop((slot, place));
        });
    }
}

async fn one(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>, client: IpAddr) {
    // Replies are small and awaited; Nagle would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("{client}: {error}");
    }
    match timeout(limits::HANDSHAKE_WITHIN, acceptor.accept(Prompt(stream))).await {
        Ok(Ok(stream)) => {
            let conn = Connection::new(stream, Arc::clone(&shared.memory));
            Session::new(conn, shared, client).run().await;
        }
        Ok(Err(error)) => tracing::debug!("{client}: no TLS: {error}"),
        Err(_) => tracing::debug!("{client}: the TLS handshake took too long"),
    }
}
