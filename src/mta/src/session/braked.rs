//! The bounds on what an account may send, and the letters about a brake.

use super::{Session, replies};
use crate::house::House;
use crate::policy::sending::{self, May};
use crate::proto::Reply;
use base::{Address, time};
use std::sync::Arc;
use wire::mta::{Brake, Send};

impl Session {
    /// Counts a message that is about to come, or refuses what goes beyond the account's bounds.
    pub(super) async fn braked(&mut self) -> Option<Reply> {
        let (account, envelope) = (self.account.as_ref()?, self.envelope.as_ref()?);
        let known = self.house.known.as_ref()?;
        let recipients: Vec<Address> = envelope.recipients.iter().map(|to| to.address.clone()).collect();
        match known.may_send(account, &recipients, self.house.tuning.messages_per_hour, self.house.now()) {
            Ok(May::Send) => None,
            Ok(May::Not { brake, fresh }) => {
                if fresh {
                    tracing::warn!("{account} is braked: {}", brake.why);
                }
                tokio::spawn(tell(Arc::clone(&self.house), account.clone(), brake.clone()));
                Some(replies::BRAKED.with(&[&sending::words(&brake)]))
            }
            // A store that fails holds nobody's mail up.
            Err(error) => {
                tracing::warn!("how much {account} has sent is not known: {error}");
                None
            }
        }
    }
}

/// Writes to the account and to the owner of the box, once for each brake.
async fn tell(house: Arc<House>, account: Address, brake: Brake) {
    let Some(known) = &house.known else { return };
    if !known.tell_once(&account).unwrap_or(false) {
        return;
    }
    let mut told = vec![account.clone()];
    if house.owner.account() != account {
        told.push(house.owner.clone());
    }
    for to in told {
        if let Err(error) = letter(&house, &account, &brake, to.clone()).await {
            tracing::error!("{to} cannot be told that {account} is braked: {error}");
            let _ = known.was_not_told(&account);
            return;
        }
    }
}

async fn letter(house: &Arc<House>, account: &Address, brake: &Brake, to: Address) -> Result<(), wire::Refusal> {
    let from = Address::new("postmaster", house.home.clone()).map_err(wire::Refusal::internal)?;
    let body = format!(
        "From: Mailstead <{from}>\r\nTo: <{to}>\r\nDate: {}\r\nSubject: {account} is kept from sending mail\r\n\
         Auto-Submitted: auto-generated\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
         {account} has sent {}.\r\n\r\n\
         Nobody writes that much by hand, so the account sends nothing more until {}.\r\n\
         Mail to it still arrives, and mail that its programs hold back is not lost.\r\n\r\n\
         If it was not you, somebody has the password: change it at once, and look at what was sent:\r\n\r\n\
         \x20   mailstead user password {account}\r\n\
         \x20   mailstead trace {account}\r\n\r\n\
         If all is well, the owner of this server lets the account send again at once with:\r\n\r\n\
         \x20   mailstead sending lift {account}\r\n",
        time::rfc5322(time::now_unix()),
        brake.why,
        time::readable(brake.until),
    );
    house.send(&Send { from, to }, body.as_bytes()).await
}
