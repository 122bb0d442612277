//! Whether a mailbox has room. Where limits come from is somebody else's business: see [`Limits`].

use base::Address;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use store::Account;

/// Said at RCPT: the owner may make room, so the sender tries again.
pub const FULL_FOR_NOW: &str = "452 4.2.2 the mailbox is full";
/// Said of a message that does not fit.
pub const FULL: &str = "552 5.2.2 the mailbox has no room for this message";

/// How much an account may keep.
pub trait Limits: Send + Sync + 'static {
    /// In octets; `None` where there is no limit. A limit that cannot be found out just now is none: mail is not lost
    /// over it.
    fn of<'a>(&'a self, account: &'a Address) -> Pin<Box<dyn Future<Output = Option<u64>> + Send + 'a>>;
}

/// No account has a limit.
pub struct Unlimited;

impl Limits for Unlimited {
    fn of<'a>(&'a self, _: &'a Address) -> Pin<Box<dyn Future<Output = Option<u64>> + Send + 'a>> {
        Box::pin(std::future::ready(None))
    }
}

/// Whether so many octets more fit into an account. With none, whether it is not full already.
pub async fn has_room(limits: &dyn Limits, address: &Address, account: &Arc<Account>, octets: u64) -> bool {
    let Some(most) = limits.of(address).await else { return true };
    match crate::blocking::on(account, Account::usage).await {
        Ok((_, used)) => fits(used, octets, most),
        Err(why) => {
            tracing::error!("how much {address} keeps cannot be told: {why}");
            true
        }
    }
}

fn fits(used: u64, octets: u64, most: u64) -> bool {
    if octets == 0 { used < most } else { used.saturating_add(octets) <= most }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_is_full_when_nothing_more_fits() {
        assert!(fits(99, 0, 100) && !fits(100, 0, 100));
        assert!(fits(90, 10, 100) && !fits(90, 11, 100) && !fits(u64::MAX, 1, 100));
    }
}
