//! Where recipients lead to. The directory's answers are kept for a moment, since mail for one recipient comes in bursts;
//! who is added or removed is known a moment later.

use crate::limits;
use base::Address;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use wire::WireError;
use wire::directory::{Resolution, Resolve};

pub struct Recipients {
    directory: wire::Client,
    known: Mutex<HashMap<Address, (Vec<Address>, Instant)>>,
}

impl Recipients {
    pub fn new(directory: wire::Client) -> Self {
        Self { directory, known: Mutex::default() }
    }

    pub async fn resolve(&self, address: &Address) -> Result<Resolution, WireError> {
        if let Some(accounts) = self.recall(address) {
            return Ok(Resolution::Accounts(accounts));
        }
        let found = match self.directory.ask(&Resolve { address: address.clone() }).await? {
            // Who may write to it and what goes to other servers was the MTA's part; only it speaks LMTP to us.
            Resolution::Alias(found) if !found.accounts.is_empty() => Resolution::Accounts(found.accounts),
            found => found,
        };
        if let Resolution::Accounts(accounts) = &found {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= limits::RECIPIENTS_KEPT {
                known.clear();
            }
            known.insert(address.clone(), (accounts.clone(), Instant::now()));
        }
        Ok(found)
    }

    fn recall(&self, address: &Address) -> Option<Vec<Address>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (accounts, asked) = known.get(address)?;
        (asked.elapsed() < limits::RECIPIENT_KEPT).then(|| accounts.clone())
    }
}
