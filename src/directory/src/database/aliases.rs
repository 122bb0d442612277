//! Aliases as the owner sets them.

use super::{Database, Outcome, REQUIRED, plain, seconds};
use crate::limits::{MAX_ALIAS_PEOPLE, MAX_ALIAS_TARGETS};
use base::{Address, Domain};
use rusqlite::{OptionalExtension, Transaction, params};
use std::collections::BTreeSet;
use wire::directory::{Alias, AliasName, AliasRules, DomainAlias, Resolution, Writers};
use wire::{Kind, Refusal};

/// The targets of an alias, told apart.
#[derive(Default)]
struct Targets {
    accounts: BTreeSet<Address>,
    others: BTreeSet<Address>,
}

fn invalid(words: String) -> Refusal {
    Refusal::new(Kind::Invalid, words)
}

impl Database {
    /// Every alias, the required ones and those whose time is over included.
    pub fn aliases(&self) -> Outcome<Vec<Alias>> {
        let mut aliases = Vec::new();
        for name in self.alias_names()? {
            let rules = self.rules(&name)?;
            let ended = rules.until.is_some_and(|until| until <= base::time::now_unix());
            aliases.push(Alias { targets: self.targets(&name)?, address: name, required: false, rules, ended });
        }
        for domain in self.domains()? {
            if self.domain_alias(&domain)?.is_some() {
                continue;
            }
            for local in REQUIRED {
                let address = Address::new(local, domain.clone()).map_err(Refusal::internal)?;
                let name = AliasName::Address(address.clone());
                let taken = aliases.iter().any(|alias| alias.address == name && !alias.ended);
                if !taken && self.hash(&address)?.is_none() && !self.is_list(&address)? {
                    let (targets, rules) = (vec![self.owner.clone()], AliasRules::default());
                    aliases.push(Alias { address: name, targets, required: true, rules, ended: false });
                }
            }
        }
        aliases.sort_by_key(|alias| alias.address.to_string());
        Ok(aliases)
    }

    /// Adds an alias, or replaces where it leads and what holds for it.
    pub fn add_alias(&mut self, name: &AliasName, targets: &[Address], rules: &AliasRules) -> Outcome<()> {
        let name = self.free_name(name)?;
        let targets = self.sorted(&name, targets)?;
        self.check_rules(&name, rules)?;
        let key = name.to_string();
        self.change(&format!("alias {key} set"), |transaction| {
            forget(transaction, &key)?;
            let mut local = transaction.prepare("INSERT INTO alias (address, target) VALUES (?1, ?2)")?;
            for account in &targets.accounts {
                local.execute([&key, &account.to_string()])?;
            }
            let mut other = transaction.prepare("INSERT INTO alias_elsewhere (address, target) VALUES (?1, ?2)")?;
            for target in &targets.others {
                other.execute([&key, &target.to_string()])?;
            }
            write_rules(transaction, &key, rules)
        })
    }

    pub fn remove_alias(&mut self, name: &AliasName) -> Outcome<()> {
        let name = account_form(name);
        if self.targets(&name)?.is_empty() {
            return Err(Refusal::new(Kind::NotFound, self.no_alias(&name)?));
        }
        if let AliasName::Address(address) = &name {
            let sql = "SELECT address FROM alias_elsewhere WHERE target = ?1 LIMIT 1";
            let leading: Option<String> = self
                .connection
                .query_row(sql, [address.to_string()], |row| row.get(0))
                .optional()
                .map_err(Refusal::internal)?;
            if let Some(other) = leading {
                let words =
                    format!("the alias {other} leads to {name}; change that one first: mailstead alias add {other} …");
                return Err(Refusal::new(Kind::Conflict, words));
            }
        }
        self.change(&format!("alias {name} removed"), |transaction| forget(transaction, &name.to_string()))
    }

    fn no_alias(&self, name: &AliasName) -> Outcome<String> {
        Ok(match name {
            AliasName::Address(address)
                if REQUIRED.contains(&address.local()) && self.domains()?.contains(address.domain()) =>
            {
                format!("{address} is required by the mail standards and always leads to {}", self.owner)
            }
            name => format!("there is no alias {name}; see: mailstead alias list"),
        })
    }

    pub fn add_domain_alias(&mut self, from: &Domain, to: &Domain) -> Outcome<()> {
        if from == to || !from.is_dotted() {
            return Err(invalid(format!("{from} cannot be an alias of {to}")));
        }
        if !self.domains()?.contains(to) {
            let words = format!("no account or alias is in {to}; see: mailstead user list");
            return Err(Refusal::new(Kind::NotFound, words));
        }
        if let Some(further) = self.domain_alias(to)? {
            return Err(Refusal::new(Kind::Conflict, format!("{to} is itself an alias of {further}; use {further}")));
        }
        if let Some(other) = self.domain_aliases()?.into_iter().find(|other| other.to == *from) {
            let words = format!("{} is an alias of {from}; first: mailstead alias remove @{}", other.from, other.from);
            return Err(Refusal::new(Kind::Conflict, words));
        }
        self.change(&format!("domain {from} made an alias of {to}"), |transaction| {
            let sql = "INSERT OR REPLACE INTO domain_alias (domain, target) VALUES (?1, ?2)";
            transaction.execute(sql, [from.as_str(), to.as_str()]).map(drop)
        })
    }

    pub fn remove_domain_alias(&mut self, from: &Domain) -> Outcome<()> {
        if self.domain_alias(from)?.is_none() {
            let words = format!("the domain {from} is no alias of another; see: mailstead alias list");
            return Err(Refusal::new(Kind::NotFound, words));
        }
        self.change(&format!("domain alias {from} removed"), |transaction| {
            transaction.execute("DELETE FROM domain_alias WHERE domain = ?1", [from.as_str()]).map(drop)
        })
    }

    pub fn domain_aliases(&self) -> Outcome<Vec<DomainAlias>> {
        let sql = "SELECT domain, target FROM domain_alias ORDER BY domain";
        let mut query = self.connection.prepare_cached(sql).map_err(Refusal::internal)?;
        let rows = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
        rows.map_err(Refusal::internal)?
            .map(|row| {
                let (from, to) = row.map_err(Refusal::internal)?;
                let domain = |name: &str| Domain::parse(name).map_err(Refusal::internal);
                Ok(DomainAlias { from: domain(&from)?, to: domain(&to)? })
            })
            .collect()
    }

    /// All targets of an alias, whether its time is over or not.
    pub(super) fn targets(&self, name: &AliasName) -> Outcome<Vec<Address>> {
        let mut targets = self.local_targets(name)?;
        targets.extend(self.other_targets(name)?);
        Ok(targets)
    }

    pub(super) fn local_targets(&self, name: &AliasName) -> Outcome<Vec<Address>> {
        self.addresses("SELECT target FROM alias WHERE address = ?1 ORDER BY target", params![name.to_string()])
    }

    pub(super) fn other_targets(&self, name: &AliasName) -> Outcome<Vec<Address>> {
        let sql = "SELECT target FROM alias_elsewhere WHERE address = ?1 ORDER BY target";
        self.addresses(sql, params![name.to_string()])
    }

    pub(super) fn alias_names(&self) -> Outcome<Vec<AliasName>> {
        let sql = "SELECT address FROM alias UNION SELECT address FROM alias_elsewhere";
        self.names(sql, params![])
    }

    pub(super) fn names(&self, sql: &str, with: &[&dyn rusqlite::ToSql]) -> Outcome<Vec<AliasName>> {
        let mut query = self.connection.prepare_cached(sql).map_err(Refusal::internal)?;
        let rows = query.query_map(with, |row| row.get::<_, String>(0)).map_err(Refusal::internal)?;
        rows.map(|row| row.map_err(Refusal::internal)?.parse().map_err(Refusal::internal)).collect()
    }

    pub(super) fn writers(&self, name: &AliasName) -> Outcome<Writers> {
        let sql = "SELECT writers FROM alias_rule WHERE address = ?1";
        let kind: Option<String> = self
            .connection
            .query_row(sql, [name.to_string()], |row| row.get(0))
            .optional()
            .map_err(Refusal::internal)?;
        Ok(match kind.as_deref() {
            Some("inside") => Writers::Inside,
            Some("listed") => {
                let sql = "SELECT writer FROM alias_writer WHERE address = ?1 ORDER BY writer";
                Writers::Listed(self.addresses(sql, params![name.to_string()])?)
            }
            _ => Writers::Everyone,
        })
    }

    /// The accounts named as its senders, if any were named. One whose account is gone is none any more.
    pub(super) fn own_senders(&self, name: &AliasName) -> Outcome<Option<Vec<Address>>> {
        let sql = "SELECT own_senders FROM alias_rule WHERE address = ?1";
        let own: Option<bool> = self
            .connection
            .query_row(sql, [name.to_string()], |row| row.get(0))
            .optional()
            .map_err(Refusal::internal)?;
        if own != Some(true) {
            return Ok(None);
        }
        let sql = "SELECT account FROM alias_sender WHERE address = ?1 ORDER BY account";
        self.addresses(sql, params![name.to_string()]).map(Some)
    }

    fn rules(&self, name: &AliasName) -> Outcome<AliasRules> {
        let sql = "SELECT until FROM alias_rule WHERE address = ?1";
        let until: Option<Option<i64>> = self
            .connection
            .query_row(sql, [name.to_string()], |row| row.get(0))
            .optional()
            .map_err(Refusal::internal)?;
        let (senders, writers) = (self.own_senders(name)?, self.writers(name)?);
        Ok(AliasRules { until: until.flatten().map(seconds), senders, writers })
    }

    /// The name in the form of the tables, when nothing else bears it.
    fn free_name(&self, name: &AliasName) -> Outcome<AliasName> {
        let address = match name {
            AliasName::CatchAll(domain) if domain.is_dotted() => return Ok(name.clone()),
            AliasName::CatchAll(domain) => return Err(invalid(format!("@{domain}: the domain has no dot"))),
            AliasName::Address(address) => plain(address)?,
        };
        if self.hash(&address)?.is_some() {
            return Err(Refusal::new(Kind::Conflict, format!("{address} is an account")));
        }
        if self.is_list(&address)? {
            return Err(Refusal::new(Kind::Conflict, format!("{address} is a mailing list")));
        }
        Ok(AliasName::Address(address))
    }

    /// Tells accounts from other targets, and refuses those that would get nothing or lead back.
    fn sorted(&self, name: &AliasName, targets: &[Address]) -> Outcome<Targets> {
        let mut sorted = Targets::default();
        let domains = self.domains()?;
        for target in targets {
            let account = target.account();
            if self.hash(&account)?.is_some() {
                sorted.accounts.insert(account);
                continue;
            }
            let ours = domains.contains(target.domain()) || target.domain() == name.domain();
            let leads_back = AliasName::Address(account.clone()) == *name || self.reaches(&account, name, 0)?;
            if ours && leads_back {
                let words = format!("{account} leads back to {name}, or through too many other aliases");
                return Err(Refusal::new(Kind::Conflict, words));
            }
            match self.resolve(&account)? {
                _ if !ours => sorted.others.insert(target.clone()),
                Resolution::Accounts(_) | Resolution::Alias(_) => sorted.others.insert(account),
                Resolution::List(_) => {
                    return Err(invalid(format!("{account} is a mailing list; an alias cannot lead to one")));
                }
                _ => {
                    let words =
                        format!("{account} is neither an account nor an alias of this box; see: mailstead user list");
                    return Err(Refusal::new(Kind::NotFound, words));
                }
            };
        }
        match sorted.accounts.len() + sorted.others.len() {
            1..=MAX_ALIAS_TARGETS => Ok(sorted),
            _ => Err(invalid(format!("an alias leads to between one and {MAX_ALIAS_TARGETS} addresses"))),
        }
    }

    fn check_rules(&self, name: &AliasName, rules: &AliasRules) -> Outcome<()> {
        if rules.until.is_some_and(|until| until <= base::time::now_unix()) {
            return Err(invalid(format!("the end of {name} is in the past")));
        }
        for sender in rules.senders.iter().flatten() {
            self.existing(sender)?;
        }
        let people = |list: &[Address]| (1..=MAX_ALIAS_PEOPLE).contains(&list.len());
        let senders = rules.senders.as_deref().is_none_or(people);
        let writers = !matches!(&rules.writers, Writers::Listed(list) if !people(list));
        match senders && writers {
            true => Ok(()),
            false => Err(invalid(format!("between one and {MAX_ALIAS_PEOPLE} senders and writers can be named"))),
        }
    }
}

fn account_form(name: &AliasName) -> AliasName {
    match name {
        AliasName::Address(address) => AliasName::Address(address.account()),
        name => name.clone(),
    }
}

fn forget(transaction: &Transaction, key: &str) -> rusqlite::Result<()> {
    for table in ["alias", "alias_elsewhere", "alias_rule", "alias_sender", "alias_writer"] {
        transaction.execute(&format!("DELETE FROM {table} WHERE address = ?1"), [key])?;
    }
    Ok(())
}

fn write_rules(transaction: &Transaction, key: &str, rules: &AliasRules) -> rusqlite::Result<()> {
    if *rules == AliasRules::default() {
        return Ok(());
    }
    let (kind, listed): (_, &[Address]) = match &rules.writers {
        Writers::Everyone => ("everyone", &[]),
        Writers::Inside => ("inside", &[]),
        Writers::Listed(list) => ("listed", list),
    };
    let until = rules.until.map(|until| i64::try_from(until).unwrap_or(i64::MAX));
    let sql = "INSERT INTO alias_rule (address, until, own_senders, writers) VALUES (?1, ?2, ?3, ?4)";
    transaction.execute(sql, params![key, until, rules.senders.is_some(), kind])?;
    for writer in listed {
        let sql = "INSERT OR IGNORE INTO alias_writer (address, writer) VALUES (?1, ?2)";
        transaction.execute(sql, [key, &writer.account().to_string()])?;
    }
    for sender in rules.senders.iter().flatten() {
        let sql = "INSERT OR IGNORE INTO alias_sender (address, account) VALUES (?1, ?2)";
        transaction.execute(sql, [key, &sender.account().to_string()])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::now;
    use super::*;

    #[test]
    fn a_disposable_alias_is_unknown_when_its_time_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("box.db");
        let ann = Address::parse("ann@example.org").unwrap();
        let shop: AliasName = "shop@example.org".parse().unwrap();
        let mut database = Database::open(&file, ann.clone()).unwrap();
        database.add_account(&ann, "hash", true).unwrap();
        let rules = AliasRules { until: Some(base::time::now_unix() + 60), ..AliasRules::default() };
        database.add_alias(&shop, std::slice::from_ref(&ann), &rules).unwrap();
        let found = |database: &Database| database.resolve(&Address::parse("Shop+x@example.org").unwrap()).unwrap();
        assert_eq!(found(&database), Resolution::Accounts(vec![ann.clone()]));
        assert!(database.may_send(&ann, &Address::parse("shop@example.org").unwrap()).unwrap());
        let sql = "UPDATE alias_rule SET until = ?1";
        rusqlite::Connection::open(&file).unwrap().execute(sql, [now()]).unwrap();
        assert_eq!(found(&database), Resolution::Unknown);
        assert!(!database.may_send(&ann, &Address::parse("shop@example.org").unwrap()).unwrap());
        assert!(database.aliases().unwrap().iter().any(|alias| alias.address == shop && alias.ended));
    }
}
