//! Domains that this box takes mail for while their own server is away.

use super::{Database, Outcome, count};
use crate::limits::MAX_BACKUP_DOMAINS;
use base::Domain;
use rusqlite::OptionalExtension;
use wire::directory::BackupMx;
use wire::{Kind, Refusal};

impl Database {
    /// The server that a domain's mail goes to, if this box is the domain's backup.
    pub(super) fn backup_mx(&self, domain: &Domain) -> Outcome<Option<Domain>> {
        let mut query = self
            .connection
            .prepare_cached("SELECT host FROM backup_mx WHERE domain = ?1")
            .map_err(Refusal::internal)?;
        let found = query.query_row([domain.as_str()], |row| row.get::<_, String>(0)).optional();
        found.map_err(Refusal::internal)?.map(|host| Domain::parse(&host).map_err(Refusal::internal)).transpose()
    }

    pub fn add_backup_mx(&mut self, domain: &Domain, primary: &Domain) -> Outcome<()> {
        if self.domains()?.contains(domain) {
            let words = format!("{domain} is a domain of this box; backup is for other servers' domains");
            return Err(Refusal::new(Kind::Conflict, words));
        }
        if !domain.is_dotted() || !primary.is_dotted() {
            return Err(Refusal::new(Kind::Invalid, "a domain and the name of its server have a dot"));
        }
        let known = count(&self.connection, "SELECT count(*) FROM backup_mx", [])?;
        if known >= MAX_BACKUP_DOMAINS && self.backup_mx(domain)?.is_none() {
            let words = format!("this box is the backup of {MAX_BACKUP_DOMAINS} domains already");
            return Err(Refusal::new(Kind::Conflict, words));
        }
        self.change(&format!("backup for {domain}, whose server is {primary}"), |transaction| {
            let sql = "INSERT OR REPLACE INTO backup_mx (domain, host) VALUES (?1, ?2)";
            transaction.execute(sql, [domain.as_str(), primary.as_str()]).map(drop)
        })
    }

    pub fn remove_backup_mx(&mut self, domain: &Domain) -> Outcome<()> {
        if self.backup_mx(domain)?.is_none() {
            let words = format!("this box is no backup for {domain}; see: mailstead backup-mx list");
            return Err(Refusal::new(Kind::NotFound, words));
        }
        self.change(&format!("no backup for {domain} any more"), |transaction| {
            transaction.execute("DELETE FROM backup_mx WHERE domain = ?1", [domain.as_str()]).map(drop)
        })
    }

    pub fn backup_mxs(&self) -> Outcome<Vec<BackupMx>> {
        let sql = "SELECT domain, host FROM backup_mx ORDER BY domain";
        let mut query = self.connection.prepare_cached(sql).map_err(Refusal::internal)?;
        let rows = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
        rows.map_err(Refusal::internal)?
            .map(|row| {
                let (domain, host) = row.map_err(Refusal::internal)?;
                let name = |text: &str| Domain::parse(text).map_err(Refusal::internal);
                Ok(BackupMx { domain: name(&domain)?, primary: name(&host)? })
            })
            .collect()
    }
}
