//! What others report about our mail, and what we report to others about theirs (RFC 7489 §7.2, RFC 8460).
//!
//! Invariants:
//! - A report is kept once, whoever sends it how often.
//! - Nothing that strangers send makes the database grow without bound.
//! - A report of ours is marked before it is sent and again after: a crash repeats one at most.
//! - Nobody gets a report at an address that the reported domain, or that address's own domain, did not name.

mod database;
mod notes;
mod sending;

pub use notes::{Asked, asked};
pub use sending::Sender;

use base::Domain;
use database::Database;
use notes::Notes;
use reports::{Report, ReportError};
use rusqlite::Result;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use wire::filter::{Action, Evidence, ReportDetail, TakenReport};

/// Seconds of a day; days are counted from 1970-01-01, UTC.
const DAY: u64 = 86_400;

/// Why a report was not taken.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error("the report is about {0}, which is not a domain of this box")]
    Foreign(String),
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
}

/// The reports of this box.
pub struct Reports {
    database: Mutex<Database>,
    notes: Mutex<Notes>,
}

impl Reports {
    pub fn open(file: &Path) -> Result<Self> {
        Ok(Self { database: Mutex::new(Database::open(file)?), notes: Mutex::default() })
    }

    fn database(&self) -> MutexGuard<'_, Database> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the report that a message brings; one that is kept already is given again.
    pub fn take(
        &self,
        message: &[u8],
        own: &[Domain],
        authenticated: bool,
        now: u64,
    ) -> Result<TakenReport, TakeError> {
        let report = reports::read(message)?;
        let about = match &report {
            Report::Dmarc(report) => report.policy_published.domain.clone(),
            Report::Tls(report) => {
                let domains = report.policies.iter().map(|it| it.policy.policy_domain.as_str());
                let ours = domains.clone().find(|name| Domain::parse(name).is_ok_and(|it| own.contains(&it)));
                ours.or_else(|| domains.clone().next()).unwrap_or_default().to_owned()
            }
        };
        let domain = Domain::parse(about.trim()).ok().filter(|domain| own.contains(domain));
        let domain = domain.ok_or_else(|| TakeError::Foreign(about.chars().take(100).collect()))?;
        Ok(self.database().take(&report, &domain, authenticated, now)?)
    }

    /// Notes how a stranger's message came out, where its domain asks to be told.
    pub fn note(&self, asked: &Asked, action: &Action, now: u64) {
        self.notes().add(now / DAY, asked, action);
    }

    /// Writes the notes down.
    pub fn flush(&self) -> Result<()> {
        let notes = std::mem::take(&mut *self.notes());
        if notes.is_empty() { Ok(()) } else { self.database().note(notes) }
    }

    pub fn evidence(&self, domain: &Domain, own: &[IpAddr], since: u64) -> Result<Evidence> {
        self.database().evidence(domain, own, since)
    }

    pub fn list(&self) -> Result<Vec<TakenReport>> {
        self.database().list()
    }

    pub fn show(&self, id: u64) -> Result<Option<ReportDetail>> {
        self.database().show(id)
    }

    /// A consistent copy into `file`, which must not exist.
    pub fn copy_to(&self, file: &Path) -> Result<()> {
        self.flush()?;
        self.database().copy_to(file)
    }
}

fn cut(text: &str) -> String {
    text.chars().filter(|it| !it.is_control()).take(200).collect::<String>().trim().to_owned()
}

/// A number as SQLite keeps it; none here is below zero.
fn number(value: i64) -> u64 {
    value.unsigned_abs()
}

#[cfg(test)]
mod tests;
