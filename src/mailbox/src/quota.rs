//! How much an account and its domain may keep, and the warning before it is too much.
//!
//! The rules are the directory's; they are asked for at most once a minute for each account. While the directory is
//! away the last answer holds, and without one there is no bound: mail is not refused on a guess.

use crate::accounts::Accounts;
use crate::{blocking, limits};
use base::Address;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use store::{Account, Flags, FolderName, Keywords, New, StoreError};
use wire::directory::{AccountQuota, Accounts as ListAccounts, QuotaOf};

pub struct Quotas {
    hostname: String,
    directory: wire::Client,
    accounts: Arc<Accounts>,
    known: Mutex<HashMap<Address, (AccountQuota, Instant)>>,
}

/// What an account and its domain keep, and may keep, in octets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    pub used: u64,
    pub limit: Option<u64>,
    pub domain_used: u64,
    pub domain_limit: Option<u64>,
}

/// Which bound is in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    Account,
    Domain,
}

impl Standing {
    /// Whether so many octets more fit.
    pub fn room_for(&self, octets: u64) -> Result<(), Over> {
        let fits = |used: u64, limit: Option<u64>| limit.is_none_or(|limit| used.saturating_add(octets) <= limit);
        match (fits(self.used, self.limit), fits(self.domain_used, self.domain_limit)) {
            (false, _) => Err(Over::Account),
            (_, false) => Err(Over::Domain),
            _ => Ok(()),
        }
    }

    /// Percent of the account's own bound that is used; `None` without one.
    fn percent(&self) -> Option<u64> {
        self.limit.map(|limit| self.used.saturating_mul(100) / limit.max(1))
    }
}

impl Over {
    /// For whoever sends to `account`.
    pub fn words(self, account: &Address) -> String {
        match self {
            Over::Account => format!("the mailbox {account} is full"),
            Over::Domain => format!("the mailboxes of {} are full", account.domain()),
        }
    }
}

impl Quotas {
    pub fn new(hostname: String, directory: wire::Client, accounts: Arc<Accounts>) -> Self {
        Self { hostname, directory, accounts, known: Mutex::default() }
    }

    async fn rules(&self, address: &Address) -> AccountQuota {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(address).copied();
        if let Some((rules, asked)) = known
            && asked.elapsed() < limits::QUOTA_KEPT
        {
            return rules;
        }
        match self.directory.ask(&QuotaOf { account: address.clone() }).await {
            Ok(rules) => {
                let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                all.insert(address.clone(), (rules, Instant::now()));
                rules
            }
            Err(why) => {
                tracing::warn!("the quota of {address} is not known just now: {why}");
                known.map(|(rules, _)| rules).unwrap_or_default()
            }
        }
    }

    /// How an account stands. The domain is counted only where it has a bound.
    pub async fn standing(&self, address: &Address) -> Result<Standing, StoreError> {
        let rules = self.rules(address).await;
        if rules.account_bytes.is_none() && rules.domain_bytes.is_none() {
            return Ok(Standing::default());
        }
        let used = self.used(address).await?;
        let domain_used = match rules.domain_bytes {
            Some(_) => self.domain_used(address).await?,
            None => 0,
        };
        Ok(Standing { used, limit: rules.account_bytes, domain_used, domain_limit: rules.domain_bytes })
    }

    /// What the account keeps, bound or not.
    pub async fn used(&self, address: &Address) -> Result<u64, StoreError> {
        let account = self.accounts.get(address).await?;
        blocking::on(&account, |account| account.usage().map(|(_, octets)| octets)).await
    }

    async fn domain_used(&self, address: &Address) -> Result<u64, StoreError> {
        let all = self.directory.ask(&ListAccounts {}).await.map_err(|why| StoreError::Io {
            path: self.accounts.path(address),
            source: std::io::Error::other(why.to_string()),
        })?;
        let mut sum = 0;
        for other in all.into_iter().filter(|other| other.address.domain() == address.domain()) {
            sum += self.used(&other.address).await?;
        }
        Ok(sum)
    }

    /// To be called after mail arrived: tells the owner, once, when the mailbox is nearly full.
    pub async fn arrived(&self, address: &Address) {
        let warned = async {
            let standing = self.standing(address).await?;
            let Some(percent) = standing.percent() else { return Ok(()) };
            let account = self.accounts.get(address).await?;
            let (address, hostname) = (address.clone(), self.hostname.clone());
            blocking::on(&account, move |account| warn(account, &address, &hostname, percent, standing)).await
        };
        if let Err(why) = warned.await {
            let why: StoreError = why;
            tracing::error!("{address} was not warned of its nearly full mailbox: {why}");
        }
    }
}

/// The annotation that remembers the warning, so that there is one until there is room again.
const WARNED: &str = "/mailstead/quota-warned";

fn warn(account: &Account, address: &Address, host: &str, percent: u64, standing: Standing) -> Result<(), StoreError> {
    let warned = account.annotations(None)?.contains_key(WARNED);
    if warned && percent < limits::QUOTA_WARNED_AGAIN_BELOW {
        return account.annotate(None, &[(WARNED.to_owned(), None)]);
    }
    if warned || percent < limits::QUOTA_WARNING {
        return Ok(());
    }
    // Remembered first: a warning too few is better than one with every message.
    account.annotate(None, &[(WARNED.to_owned(), Some(percent.to_string().into_bytes()))])?;
    let text = warning(address, host, percent, standing);
    let new = New {
        bytes: text.as_bytes(),
        flags: Flags::NONE,
        keywords: Keywords::default(),
        received: base::time::now_unix(),
    };
    account.deliver(&FolderName::inbox(), &new).map(|_| ())
}

fn warning(address: &Address, host: &str, percent: u64, standing: Standing) -> String {
    let mib = |octets: u64| octets / (1 << 20);
    let now = base::time::now_unix();
    format!(
        "From: Mailstead <postmaster@{domain}>\r\nTo: <{address}>\r\nSubject: Your mailbox is {percent} % full\r\n\
         Date: {date}\r\nMessage-ID: <quota.{now}@{host}>\r\nAuto-Submitted: auto-generated\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
         Your mailbox {address} holds {used} MiB of the {limit} MiB that it may hold.\r\n\r\n\
         When it is full, new mail is refused and its senders are told so. Delete what you\r\n\
         do not need any more (large attachments first), or ask whoever runs this server\r\n\
         for more room: mailstead quota set {address} SIZE\r\n",
        domain = address.domain(),
        date = base::time::rfc5322(now),
        used = mib(standing.used),
        limit = mib(standing.limit.unwrap_or(0)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_of_account_and_domain_holds() {
        let standing = Standing { used: 90, limit: Some(100), domain_used: 150, domain_limit: Some(155) };
        assert_eq!(standing.room_for(5), Ok(()));
        assert_eq!(standing.room_for(6), Err(Over::Domain));
        assert_eq!(standing.room_for(11), Err(Over::Account));
        assert_eq!(Standing::default().room_for(u64::MAX), Ok(()));
    }

    #[test]
    fn one_warning_until_there_is_room_again() {
        let dir = tempfile::tempdir().unwrap();
        let account = Account::open(dir.path()).unwrap();
        let address = Address::parse("ann@example.org").unwrap();
        let at = |percent| {
            let standing = Standing { used: percent, limit: Some(100), ..Standing::default() };
            warn(&account, &address, "box.example.org", percent, standing).unwrap();
            account.status(&FolderName::inbox()).unwrap().counts.messages
        };
        assert_eq!([at(89), at(90), at(95), at(86), at(91), at(50), at(90)], [0, 1, 1, 1, 1, 1, 2]);
    }
}
