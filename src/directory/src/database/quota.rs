//! Quotas: one default, one for each domain, one for each account, as far as the owner set them.

use super::{Database, Outcome};
use crate::limits::{MAX_QUOTA, MIN_QUOTA};
use base::{Address, Domain};
use rusqlite::{OptionalExtension, params};
use wire::directory::{AccountQuota, Quota, QuotaScope};
use wire::{Kind, Refusal};

/// A rule's key in the table.
pub(super) fn key(scope: &QuotaScope) -> (&'static str, String) {
    match scope {
        QuotaScope::Default => ("default", String::new()),
        QuotaScope::Domain(domain) => ("domain", domain.to_string()),
        QuotaScope::Account(account) => ("account", account.account().to_string()),
    }
}

impl Database {
    /// Sets a rule, or takes it away.
    pub fn set_quota(&mut self, scope: &QuotaScope, bytes: Option<u64>) -> Outcome<()> {
        let (kind, name) = key(scope);
        let shown = if name.is_empty() { kind } else { &name };
        let Some(bytes) = bytes else {
            if self.quota(scope)?.is_none() {
                return Err(Refusal::new(
                    Kind::NotFound,
                    format!("there is no quota for {shown}; see: mailstead quota list"),
                ));
            }
            return self.change(&format!("quota of {shown} removed"), |transaction| {
                transaction.execute("DELETE FROM quota WHERE kind = ?1 AND name = ?2", params![kind, name]).map(drop)
            });
        };
        if bytes < MIN_QUOTA {
            let words = format!("a quota is at least {MIN_QUOTA} bytes (1M)");
            return Err(Refusal::new(Kind::Invalid, words));
        }
        if bytes > MAX_QUOTA {
            return Err(Refusal::new(Kind::Invalid, format!("a quota is at most {MAX_QUOTA} bytes")));
        }
        self.scope_exists(scope)?;
        self.change(&format!("quota of {shown} set to {bytes} bytes"), |transaction| {
            let sql = "INSERT OR REPLACE INTO quota (kind, name, bytes) VALUES (?1, ?2, ?3)";
            transaction.execute(sql, params![kind, name, bytes.cast_signed()]).map(drop)
        })
    }

    /// The default first, then domains, then accounts.
    pub fn quotas(&self) -> Outcome<Vec<Quota>> {
        let sql = "SELECT kind, name, bytes FROM quota ORDER BY kind = 'account', kind = 'domain', name";
        let mut query = self.connection.prepare_cached(sql).map_err(Refusal::internal)?;
        let rows = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get(2)?)));
        rows.map_err(Refusal::internal)?
            .map(|row| {
                let (kind, name, bytes): (String, String, i64) = row.map_err(Refusal::internal)?;
                let scope = match kind.as_str() {
                    "default" => QuotaScope::Default,
                    "domain" => QuotaScope::Domain(Domain::parse(&name).map_err(Refusal::internal)?),
                    _ => QuotaScope::Account(Address::parse(&name).map_err(Refusal::internal)?),
                };
                Ok(Quota { scope, bytes: bytes.unsigned_abs() })
            })
            .collect()
    }

    /// The bounds that hold for an account.
    pub fn quota_of(&self, account: &Address) -> Outcome<AccountQuota> {
        let own = self.quota(&QuotaScope::Account(account.clone()))?;
        let account_bytes = match own {
            Some(bytes) => Some(bytes),
            None => self.quota(&QuotaScope::Default)?,
        };
        let domain_bytes = self.quota(&QuotaScope::Domain(account.domain().clone()))?;
        Ok(AccountQuota { account_bytes, domain_bytes })
    }

    fn quota(&self, scope: &QuotaScope) -> Outcome<Option<u64>> {
        let (kind, name) = key(scope);
        let sql = "SELECT bytes FROM quota WHERE kind = ?1 AND name = ?2";
        let mut query = self.connection.prepare_cached(sql).map_err(Refusal::internal)?;
        let found: Option<i64> =
            query.query_row([kind, &name], |row| row.get(0)).optional().map_err(Refusal::internal)?;
        Ok(found.map(i64::unsigned_abs))
    }

    /// A rule for nobody is a slip of the pen.
    fn scope_exists(&self, scope: &QuotaScope) -> Outcome<()> {
        match scope {
            QuotaScope::Default => Ok(()),
            QuotaScope::Account(account) => self.existing(account).map(drop),
            QuotaScope::Domain(domain) if self.domains()?.contains(domain) => Ok(()),
            QuotaScope::Domain(domain) => {
                let words = format!("no account or alias is in {domain}; see: mailstead user list");
                Err(Refusal::new(Kind::NotFound, words))
            }
        }
    }
}
