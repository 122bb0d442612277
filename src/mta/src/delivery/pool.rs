//! Conversations that may be used again: after a message they wait a few seconds for the next one to the same place.

use super::client::Conversation;
use super::remote::Security;
use crate::limits;
use base::Domain;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Where a conversation leads, and how much it was made to promise. Only mail for the same key may use it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    Domain { domain: Domain, require_tls: bool },
    Relay { host: Domain, port: u16, login: Option<String>, require_tls: bool },
}

/// A conversation between two messages.
pub struct Idle {
    pub conversation: Conversation,
    pub security: Security,
    /// Messages sent so far.
    pub used: usize,
    pub opened: Instant,
}

/// With since when each waits.
type Waiting = Vec<(Instant, Idle)>;

/// The conversations that wait. Cheap to clone.
#[derive(Clone, Default)]
pub struct Pool {
    idle: Arc<Mutex<HashMap<Key, Waiting>>>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pool")
    }
}

impl Pool {
    /// The one that was used last: it is the most likely to be alive.
    pub fn take(&self, key: &Key) -> Option<Idle> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = idle.get_mut(key)?;
        let taken = waiting.pop().map(|(_, idle)| idle);
        if waiting.is_empty() {
            idle.remove(key);
        }
        taken
    }

    /// Lets a conversation wait for more, or ends it in the background.
    pub fn park(&self, key: Key, it: Idle) {
        let now = Instant::now();
        let worn = it.used >= limits::MESSAGES_PER_CONNECTION || now - it.opened >= limits::CONNECTION_REUSED_FOR;
        if !it.conversation.is_alive() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let full = idle.values().map(Vec::len).sum::<usize>() >= limits::IDLE_CONNECTIONS;
        if worn || full {
            drop(idle);
            tokio::spawn(it.conversation.quit());
            return;
        }
        idle.entry(key.clone()).or_default().push((now, it));
        drop(idle);
        let pool = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(limits::CONNECTION_IDLE).await;
            for old in pool.expired(&key) {
                old.conversation.quit().await;
            }
        });
    }

    fn expired(&self, key: &Key) -> Vec<Idle> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(waiting) = idle.get_mut(key) else { return Vec::new() };
        let now = Instant::now();
        let (old, young) = waiting.drain(..).partition(|(since, _)| now - *since >= limits::CONNECTION_IDLE);
        *waiting = young;
        if waiting.is_empty() {
            idle.remove(key);
        }
        let old: Waiting = old;
        old.into_iter().map(|(_, idle)| idle).collect()
    }
}
