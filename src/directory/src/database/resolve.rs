//! Where an address leads, and who may send as it.
//!
//! The order is what owners of other mail servers expect: an account, a list, an alias of exactly that name, the same
//! address of the domain that the domain is an alias of, a required name, the domain's catch-all.

use super::{Database, Outcome, REQUIRED, now};
use crate::limits::MAX_ALIAS_DEPTH;
use base::{Address, Domain};
use rusqlite::{OptionalExtension, params};
use std::collections::BTreeSet;
use wire::Refusal;
use wire::directory::{AliasName, BackupMx, Forwarding, Resolution, Writers};

/// What an address turned out to be, before anything it leads to is looked at.
enum Named {
    Account,
    List,
    /// The alias with its key in the tables.
    Alias(AliasName),
    /// The same address of another domain.
    Same(Address),
    Required,
    Nothing,
}

/// What an alias leads to, other aliases followed.
#[derive(Default)]
struct Led {
    accounts: BTreeSet<Address>,
    outside: BTreeSet<Address>,
}

impl Database {
    /// Where mail for an address goes.
    pub fn resolve(&self, address: &Address) -> Outcome<Resolution> {
        self.lead(&address.account(), 0)
    }

    /// Whether an account may send as an address.
    pub fn may_send(&self, account: &Address, sender: &Address) -> Outcome<bool> {
        let (account, sender) = (account.account(), sender.account());
        Ok(account == sender || self.senders(&sender, 0)?.contains(&account))
    }

    fn lead(&self, wanted: &Address, depth: usize) -> Outcome<Resolution> {
        Ok(match self.named(wanted)? {
            Named::Account => Resolution::Accounts(vec![wanted.clone()]),
            Named::List => Resolution::List(wanted.clone()),
            Named::Alias(name) => self.follow(&name, wanted, depth)?,
            Named::Same(other) if depth < MAX_ALIAS_DEPTH => self.lead(&other, depth + 1)?,
            Named::Required => Resolution::Accounts(vec![self.owner.clone()]),
            Named::Same(_) => Resolution::Unknown,
            Named::Nothing if self.domains()?.contains(wanted.domain()) => Resolution::Unknown,
            Named::Nothing => match self.backup_mx(wanted.domain())? {
                Some(primary) => Resolution::BackupFor(BackupMx { domain: wanted.domain().clone(), primary }),
                None => Resolution::Elsewhere,
            },
        })
    }

    fn named(&self, wanted: &Address) -> Outcome<Named> {
        if self.hash(wanted)?.is_some() {
            return Ok(Named::Account);
        }
        if self.is_list(wanted)? {
            return Ok(Named::List);
        }
        let exact = AliasName::Address(wanted.clone());
        if self.is_alias(&exact)? {
            return Ok(Named::Alias(exact));
        }
        if let Some(to) = self.domain_alias(wanted.domain())? {
            let other = Address::new(wanted.local(), to).map_err(Refusal::internal)?;
            if !matches!(self.named_once(&other)?, Named::Nothing) {
                return Ok(Named::Same(other));
            }
        }
        if REQUIRED.contains(&wanted.local()) && self.domains()?.contains(wanted.domain()) {
            return Ok(Named::Required);
        }
        let catch_all = AliasName::CatchAll(wanted.domain().clone());
        Ok(if self.is_alias(&catch_all)? { Named::Alias(catch_all) } else { Named::Nothing })
    }

    /// The same for the domain behind a domain alias, which is none itself.
    fn named_once(&self, wanted: &Address) -> Outcome<Named> {
        match self.domain_alias(wanted.domain())? {
            None => self.named(wanted),
            Some(_) => Ok(Named::Nothing),
        }
    }

    fn follow(&self, name: &AliasName, asked: &Address, depth: usize) -> Outcome<Resolution> {
        let mut led = Led::default();
        self.gather(name, depth, &mut led)?;
        let writers = self.writers(name)?;
        let accounts: Vec<Address> = led.accounts.into_iter().collect();
        if led.outside.is_empty() && writers == Writers::Everyone {
            return Ok(if accounts.is_empty() { Resolution::Unknown } else { Resolution::Accounts(accounts) });
        }
        let outside = led.outside.into_iter().collect();
        Ok(Resolution::Alias(Forwarding { alias: asked.clone(), accounts, outside, writers }))
    }

    /// Collects what an alias leads to. The alias that is written to decides who may write; those behind it only lead on.
    fn gather(&self, name: &AliasName, depth: usize, led: &mut Led) -> Outcome<()> {
        led.accounts.extend(self.local_targets(name)?);
        for target in self.other_targets(name)? {
            if depth > MAX_ALIAS_DEPTH {
                tracing::warn!("the alias {name} lies behind too many others; {target} gets nothing from there");
                continue;
            }
            match self.lead(&target.account(), depth + 1)? {
                Resolution::Accounts(accounts) => led.accounts.extend(accounts),
                Resolution::Alias(further) => {
                    led.accounts.extend(further.accounts);
                    led.outside.extend(further.outside);
                }
                Resolution::Elsewhere | Resolution::BackupFor(_) => {
                    led.outside.insert(target);
                }
                Resolution::Unknown | Resolution::List(_) => {
                    tracing::warn!("the alias {name} leads to {target}, which gets no mail here");
                }
            }
        }
        Ok(())
    }

    fn senders(&self, sender: &Address, depth: usize) -> Outcome<BTreeSet<Address>> {
        Ok(match self.named(sender)? {
            Named::Account => BTreeSet::from([sender.clone()]),
            Named::Alias(name) => match self.own_senders(&name)? {
                Some(senders) => senders.into_iter().collect(),
                None => {
                    let mut led = Led::default();
                    self.gather(&name, depth, &mut led)?;
                    led.accounts
                }
            },
            Named::Same(other) if depth < MAX_ALIAS_DEPTH => self.senders(&other, depth + 1)?,
            Named::Required => BTreeSet::from([self.owner.clone()]),
            Named::List | Named::Same(_) | Named::Nothing => BTreeSet::new(),
        })
    }

    /// Whether what an address leads to comes by an alias at some point.
    pub(super) fn reaches(&self, from: &Address, goal: &AliasName, depth: usize) -> Outcome<bool> {
        if depth > MAX_ALIAS_DEPTH {
            return Ok(true);
        }
        match self.named(&from.account())? {
            Named::Alias(name) if name == *goal => Ok(true),
            Named::Alias(name) => {
                for target in self.other_targets(&name)? {
                    if self.reaches(&target, goal, depth + 1)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Named::Same(other) => self.reaches(&other, goal, depth + 1),
            _ => Ok(false),
        }
    }

    /// Whether there is an alias of that name whose time is not over.
    fn is_alias(&self, name: &AliasName) -> Outcome<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM alias WHERE address = ?1
                   UNION ALL SELECT 1 FROM alias_elsewhere WHERE address = ?1)
                   AND NOT EXISTS (SELECT 1 FROM alias_rule WHERE address = ?1 AND until <= ?2)";
        let mut query = self.connection.prepare_cached(sql).map_err(Refusal::internal)?;
        query.query_row(params![name.to_string(), now()], |row| row.get(0)).map_err(Refusal::internal)
    }

    pub(super) fn domain_alias(&self, domain: &Domain) -> Outcome<Option<Domain>> {
        let sql = "SELECT target FROM domain_alias WHERE domain = ?1";
        let mut query = self.connection.prepare_cached(sql).map_err(Refusal::internal)?;
        let found = query.query_row([domain.as_str()], |row| row.get::<_, String>(0)).optional();
        found.map_err(Refusal::internal)?.map(|name| Domain::parse(&name).map_err(Refusal::internal)).transpose()
    }
}
