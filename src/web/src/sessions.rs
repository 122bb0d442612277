//! Who is logged in. Kept in memory only: a restart logs everybody out.
//!
//! Ids are 256 random bits; only their hashes are kept, so that neither memory dumps nor timing give one away. The token
//! of forms is derived from the id, and so is bound to it.

use crate::limits::{MAX_SESSIONS, SESSION_FOR};
use base::Address;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::time::Instant;
use subtle::ConstantTimeEq;

/// A session's id as the browser holds it.
#[derive(Clone, PartialEq, Eq)]
pub struct Id([u8; 32]);

impl Id {
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// Reads a cookie's value; anything that is not an id is none.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    pub fn cookie(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The token that forms of this session carry.
    pub fn form_token(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.hash("form"))
    }

    /// Compares in constant time.
    pub fn allows_form(&self, token: &str) -> bool {
        self.form_token().as_bytes().ct_eq(token.as_bytes()).into()
    }

    fn hash(&self, purpose: &str) -> [u8; 32] {
        Sha256::new().chain_update(purpose).chain_update(self.0).finalize().into()
    }
}

#[derive(Debug, Clone)]
struct Session {
    account: Address,
    began: Instant,
}

/// The sessions, by the hash of their ids.
#[derive(Debug, Default)]
pub struct Sessions {
    open: HashMap<[u8; 32], Session>,
}

impl Sessions {
    /// Opens a session. When there are too many the oldest is closed.
    pub fn open(&mut self, account: Address, now: Instant) -> Id {
        self.open.retain(|_, session| now.saturating_duration_since(session.began) < SESSION_FOR);
        if self.open.len() >= MAX_SESSIONS {
            let oldest = self.open.iter().min_by_key(|(_, session)| session.began).map(|(hash, _)| *hash);
            oldest.and_then(|hash| self.open.remove(&hash));
        }
        let id = Id::random();
        self.open.insert(id.hash("session"), Session { account, began: now });
        id
    }

    /// Whose session it is, while it holds.
    pub fn account(&self, id: &Id, now: Instant) -> Option<Address> {
        let session = self.open.get(&id.hash("session"))?;
        (now.saturating_duration_since(session.began) < SESSION_FOR).then(|| session.account.clone())
    }

    pub fn close(&mut self, id: &Id) {
        self.open.remove(&id.hash("session"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn ann() -> Address {
        Address::parse("ann@example.org").unwrap()
    }

    #[test]
    fn a_session_ends_after_its_time_or_at_logout() {
        let (mut sessions, start) = (Sessions::default(), Instant::now());
        let id = sessions.open(ann(), start);
        let held = Id::parse(&id.cookie()).unwrap();
        assert_eq!(sessions.account(&held, start + SESSION_FOR - Duration::from_secs(1)), Some(ann()));
        assert_eq!(sessions.account(&held, start + SESSION_FOR), None);
        sessions.close(&held);
        assert_eq!(sessions.account(&held, start), None);
    }

    #[test]
    fn the_number_of_sessions_is_bounded_and_the_oldest_goes_first() {
        let (mut sessions, start) = (Sessions::default(), Instant::now());
        let first = sessions.open(ann(), start);
        let second = sessions.open(ann(), start + Duration::from_secs(1));
        for at in 2..=MAX_SESSIONS as u64 {
            sessions.open(ann(), start + Duration::from_secs(at));
        }
        let now = start + Duration::from_secs(2000);
        assert!(sessions.account(&first, now).is_none() && sessions.account(&second, now).is_some());
    }

    #[test]
    fn a_form_token_belongs_to_one_session() {
        let (one, other) = (Id::random(), Id::random());
        assert!(one.allows_form(&one.form_token()));
        assert!(!one.allows_form(&other.form_token()) && !one.allows_form(""));
        assert!(Id::parse("nonsense").is_none() && Id::parse("").is_none());
    }
}
