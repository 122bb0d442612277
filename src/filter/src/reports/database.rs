//! The reports and notes on disk: `filter/reports.db`.

use super::notes::{Asking, Notes};
use super::{DAY, cut, number};
use crate::limits;
use base::Domain;
use reports::Report;
use reports::dmarc::{Aggregate, Record};
use reports::tls::TlsReport;
use rusqlite::{Connection, OptionalExtension, Result, Row, Transaction, params};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use wire::filter::{Evidence, OtherSource, ReportDetail, ReportKind, ReportSource, TakenReport, TlsFailure};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS report (
        id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, organisation TEXT NOT NULL, name TEXT NOT NULL,
        domain TEXT NOT NULL, begin INTEGER NOT NULL, until INTEGER NOT NULL, good INTEGER NOT NULL,
        bad INTEGER NOT NULL, authenticated INTEGER NOT NULL, taken INTEGER NOT NULL,
        UNIQUE (kind, organisation, name, domain)) STRICT;
    CREATE INDEX IF NOT EXISTS report_domain ON report (domain, begin);
    CREATE TABLE IF NOT EXISTS source (
        report INTEGER NOT NULL REFERENCES report (id) ON DELETE CASCADE, address TEXT NOT NULL, dkim INTEGER NOT NULL,
        spf INTEGER NOT NULL, messages INTEGER NOT NULL, PRIMARY KEY (report, address, dkim, spf)) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS failure (
        report INTEGER NOT NULL REFERENCES report (id) ON DELETE CASCADE, kind TEXT NOT NULL, host TEXT NOT NULL,
        sessions INTEGER NOT NULL, PRIMARY KEY (report, kind, host)) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS asking (
        day INTEGER NOT NULL, domain TEXT NOT NULL, record TEXT NOT NULL, PRIMARY KEY (day, domain)) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS noted (
        day INTEGER NOT NULL, domain TEXT NOT NULL, record TEXT NOT NULL, messages INTEGER NOT NULL,
        PRIMARY KEY (day, domain, record)) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS sent (
        day INTEGER NOT NULL, domain TEXT NOT NULL, address TEXT NOT NULL, state TEXT NOT NULL,
        PRIMARY KEY (day, domain, address)) STRICT, WITHOUT ROWID;";

/// How far a report of ours to one address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It was begun, and whether it went out is not known.
    Begun,
    /// It was begun again; there is no third time.
    BegunAgain,
    Done,
}

impl Sent {
    fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::BegunAgain => "begun again",
            Self::Done => "done",
        }
    }
}

pub struct Database(Connection);

impl Database {
    pub fn open(file: &Path) -> Result<Self> {
        let connection = Connection::open(file)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self(connection))
    }

    pub fn copy_to(&self, file: &Path) -> Result<()> {
        self.0.backup("main", file, None::<fn(rusqlite::backup::Progress)>)
    }

    // --- Others' reports ---------------------------------------------------------------------------------------------

    pub fn take(&mut self, report: &Report, domain: &Domain, authenticated: bool, now: u64) -> Result<TakenReport> {
        let (taken, name) = summary(report, domain, authenticated);
        let transaction = self.0.transaction()?;
        let kind = kind(taken.kind);
        let known =
            "SELECT id, authenticated FROM report WHERE kind = ?1 AND organisation = ?2 AND name = ?3 AND domain = ?4";
        let key = params![kind, taken.organisation, name, domain.as_str()];
        let known = transaction.query_row(known, key, |row| Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?)));
        match known.optional()? {
            // A stranger who was first with a name does not keep the true one out.
            Some((id, false)) if authenticated => {
                transaction.execute("DELETE FROM report WHERE id = ?1", [id])?;
            }
            Some((id, _)) => {
                let sql = format!("{SELECT} WHERE id = ?1");
                return transaction.query_row(&sql, [id], read)?.ok_or(rusqlite::Error::QueryReturnedNoRows);
            }
            None => {}
        }
        let insert =
            "INSERT INTO report (kind, organisation, name, domain, begin, until, good, bad, authenticated, taken)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        transaction.execute(
            insert,
            params![
                kind,
                taken.organisation,
                name,
                domain.as_str(),
                whole(taken.begin),
                whole(taken.end),
                whole(taken.good),
                whole(taken.bad),
                authenticated,
                whole(now)
            ],
        )?;
        let id = transaction.last_insert_rowid();
        match report {
            Report::Dmarc(report) => keep_sources(&transaction, id, report)?,
            Report::Tls(report) => keep_failures(&transaction, id, report, domain)?,
        }
        transaction.execute(
            "DELETE FROM report WHERE taken < ?1 OR id <= ?2",
            [whole(now.saturating_sub(limits::REPORT_DAYS * DAY)), id - whole(limits::REPORTS)],
        )?;
        transaction.commit()?;
        Ok(TakenReport { id: number(id), ..taken })
    }

    pub fn list(&self) -> Result<Vec<TakenReport>> {
        let mut query = self.0.prepare(&format!("{SELECT} ORDER BY id DESC LIMIT ?1"))?;
        let rows = query.query_map([whole(limits::REPORTS_TOLD)], read)?;
        rows.filter_map(Result::transpose).collect()
    }

    pub fn show(&self, id: u64) -> Result<Option<ReportDetail>> {
        let id = whole(id);
        let report = self.0.query_row(&format!("{SELECT} WHERE id = ?1"), [id], read).optional()?.flatten();
        let Some(report) = report else { return Ok(None) };
        let mut query =
            self.0.prepare("SELECT kind, host, sessions FROM failure WHERE report = ?1 ORDER BY sessions DESC")?;
        let failure =
            |row: &Row<'_>| Ok(TlsFailure { kind: row.get(0)?, host: row.get(1)?, sessions: number(row.get(2)?) });
        let failures = query.query_map([id], failure)?.collect::<Result<_>>()?;
        let condition = "report = ?1";
        Ok(Some(ReportDetail { report, sources: self.sources(condition, &[&id])?, failures }))
    }

    fn sources(&self, condition: &str, values: &[&dyn rusqlite::ToSql]) -> Result<Vec<ReportSource>> {
        let sql = format!(
            "SELECT address, dkim, spf, sum(messages) FROM source WHERE {condition} GROUP BY address, dkim, spf
             ORDER BY 4 DESC"
        );
        let mut query = self.0.prepare(&sql)?;
        let mut rows = query.query(values)?;
        let mut sources = Vec::new();
        while let Some(row) = rows.next()? {
            let Ok(address) = row.get::<_, String>(0)?.parse() else { continue };
            let (dkim, spf) = (row.get(1)?, row.get(2)?);
            sources.push(ReportSource { address, dkim, spf, messages: number(row.get(3)?) });
        }
        Ok(sources)
    }

    /// What authenticated reports say of a domain's mail since a time.
    pub fn evidence(&self, domain: &Domain, own: &[IpAddr], since: u64) -> Result<Evidence> {
        let which = "kind = 'dmarc' AND authenticated AND domain = ?1 AND begin >= ?2";
        let since = whole(since);
        let count =
            format!("SELECT count(DISTINCT begin / 86400), count(DISTINCT organisation) FROM report WHERE {which}");
        let count = self.0.query_row(&count, params![domain.as_str(), since], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let condition = format!("report IN (SELECT id FROM report WHERE {which})");
        let sources = self.sources(&condition, &[&domain.as_str(), &since])?;
        Ok(weigh(&sources, own, (number(count.0), number(count.1))))
    }

    // --- Notes and our reports ---------------------------------------------------------------------------------------

    pub fn note(&mut self, notes: Notes) -> Result<()> {
        let transaction = self.0.transaction()?;
        for ((day, domain), asking) in notes.into_days() {
            let day = whole(day);
            let count = |sql: &str, domain: Option<&str>| -> Result<usize> {
                let found: i64 = match domain {
                    Some(domain) => transaction.query_row(sql, params![day, domain], |row| row.get(0))?,
                    None => transaction.query_row(sql, [day], |row| row.get(0))?,
                };
                Ok(usize::try_from(found).unwrap_or(usize::MAX))
            };
            let update = "UPDATE asking SET record = ?3 WHERE day = ?1 AND domain = ?2";
            let policy = text(&asking.policy)?;
            if transaction.execute(update, params![day, domain, policy])? == 0 {
                if count("SELECT count(*) FROM asking WHERE day = ?1", None)? >= limits::NOTED_DOMAINS {
                    continue;
                }
                transaction.execute("INSERT INTO asking VALUES (?1, ?2, ?3)", params![day, domain, policy])?;
            }
            let mut rows = count("SELECT count(*) FROM noted WHERE day = ?1 AND domain = ?2", Some(&domain))?;
            for (record, messages) in asking.rows {
                let again = "UPDATE noted SET messages = messages + ?4 WHERE day = ?1 AND domain = ?2 AND record = ?3";
                let messages = whole(messages);
                if transaction.execute(again, params![day, domain, record, messages])? > 0 {
                    continue;
                }
                let record = if rows < limits::NOTED_ROWS { record } else { text(&super::notes::together(&domain))? };
                let insert = "INSERT INTO noted VALUES (?1, ?2, ?3, ?4) ON CONFLICT (day, domain, record)
                    DO UPDATE SET messages = messages + excluded.messages";
                transaction.execute(insert, params![day, domain, record, messages])?;
                rows += 1;
            }
        }
        transaction.commit()
    }

    /// The days and domains that something is noted of, before a day.
    pub fn due(&self, before: u64) -> Result<Vec<(u64, String)>> {
        let mut query = self.0.prepare("SELECT day, domain FROM asking WHERE day < ?1 ORDER BY day, domain")?;
        query.query_map([whole(before)], |row| Ok((number(row.get(0)?), row.get(1)?)))?.collect()
    }

    /// What a domain asks for, and what was noted of it.
    pub fn noted(&self, day: u64, domain: &str) -> Result<Option<(Asking, Vec<Record>)>> {
        let key = params![whole(day), domain];
        let policy = "SELECT record FROM asking WHERE day = ?1 AND domain = ?2";
        let policy: Option<String> = self.0.query_row(policy, key, |row| row.get(0)).optional()?;
        let Some(policy) = policy.and_then(|text| serde_json::from_str(&text).ok()) else { return Ok(None) };
        let mut query = self.0.prepare("SELECT record, messages FROM noted WHERE day = ?1 AND domain = ?2")?;
        let mut rows = query.query(key)?;
        let mut records = Vec::new();
        while let Some(row) = rows.next()? {
            let Ok(mut record) = serde_json::from_str::<Record>(&row.get::<_, String>(0)?) else { continue };
            record.row.count = number(row.get(1)?);
            records.push(record);
        }
        Ok(Some((policy, records)))
    }

    pub fn sent(&self, day: u64, domain: &str, address: &str) -> Result<Option<Sent>> {
        let sql = "SELECT state FROM sent WHERE day = ?1 AND domain = ?2 AND address = ?3";
        let state = self.0.query_row(sql, params![whole(day), domain, address], |row| row.get::<_, String>(0));
        let all = [Sent::Begun, Sent::BegunAgain, Sent::Done];
        Ok(state.optional()?.and_then(|state| all.into_iter().find(|it| it.as_str() == state)))
    }

    /// Marks how far a report is; `None`: it was certainly not sent. On the disk when this returns.
    pub fn mark(&self, day: u64, domain: &str, address: &str, state: Option<Sent>) -> Result<()> {
        let key = (whole(day), domain, address);
        match state {
            Some(state) => {
                let sql = "INSERT OR REPLACE INTO sent VALUES (?1, ?2, ?3, ?4)";
                self.0.execute(sql, params![key.0, key.1, key.2, state.as_str()]).map(drop)
            }
            None => {
                let sql = "DELETE FROM sent WHERE day = ?1 AND domain = ?2 AND address = ?3";
                self.0.execute(sql, params![key.0, key.1, key.2]).map(drop)
            }
        }
    }

    /// Forgets what was noted of a domain on a day: its report is sent.
    pub fn forget(&mut self, day: u64, domain: &str) -> Result<()> {
        let transaction = self.0.transaction()?;
        for table in ["asking", "noted"] {
            let sql = format!("DELETE FROM {table} WHERE day = ?1 AND domain = ?2");
            transaction.execute(&sql, params![whole(day), domain])?;
        }
        transaction.commit()
    }

    /// Forgets what is too old to be reported.
    pub fn forget_before(&self, day: u64) -> Result<()> {
        for table in ["asking", "noted", "sent"] {
            self.0.execute(&format!("DELETE FROM {table} WHERE day < ?1"), [whole(day)])?;
        }
        Ok(())
    }
}

const SELECT: &str = "SELECT id, kind, organisation, domain, begin, until, good, bad, authenticated FROM report";

fn read(row: &Row<'_>) -> Result<Option<TakenReport>> {
    let kind = if row.get::<_, String>(1)? == "tls" { ReportKind::Tls } else { ReportKind::Dmarc };
    let Ok(domain) = Domain::parse(&row.get::<_, String>(3)?) else { return Ok(None) };
    Ok(Some(TakenReport {
        id: number(row.get(0)?),
        kind,
        organisation: row.get(2)?,
        domain,
        begin: number(row.get(4)?),
        end: number(row.get(5)?),
        good: number(row.get(6)?),
        bad: number(row.get(7)?),
        authenticated: row.get(8)?,
    }))
}

fn kind(kind: ReportKind) -> &'static str {
    match kind {
        ReportKind::Dmarc => "dmarc",
        ReportKind::Tls => "tls",
    }
}

/// SQLite's numbers have a sign. Counts in reports are strangers' words, and sums of them must not run over.
fn whole(value: u64) -> i64 {
    i64::try_from(value.min(1 << 40)).unwrap_or(i64::MAX)
}

fn text(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// A report in one line, and its name.
fn summary(report: &Report, domain: &Domain, authenticated: bool) -> (TakenReport, String) {
    let empty = |kind, organisation: &str| TakenReport {
        id: 0,
        kind,
        organisation: cut(organisation),
        domain: domain.clone(),
        begin: 0,
        end: 0,
        good: 0,
        bad: 0,
        authenticated,
    };
    match report {
        Report::Dmarc(report) => {
            let mut taken = empty(ReportKind::Dmarc, &report.report_metadata.org_name);
            let range = report.report_metadata.date_range;
            (taken.begin, taken.end) = (range.begin, range.end);
            for record in &report.records {
                let sum = if record.is_aligned() { &mut taken.good } else { &mut taken.bad };
                *sum = sum.saturating_add(record.row.count);
            }
            (taken, cut(&report.report_metadata.report_id))
        }
        Report::Tls(report) => {
            let mut taken = empty(ReportKind::Tls, &report.organization_name);
            taken.begin = base::time::from_rfc3339(&report.date_range.start_datetime).unwrap_or_default();
            taken.end = base::time::from_rfc3339(&report.date_range.end_datetime).unwrap_or_default();
            for policy in of_domain(report, domain) {
                taken.good = taken.good.saturating_add(policy.summary.total_successful_session_count);
                taken.bad = taken.bad.saturating_add(policy.summary.total_failure_session_count);
            }
            (taken, cut(&report.report_id))
        }
    }
}

fn of_domain<'a>(report: &'a TlsReport, domain: &'a Domain) -> impl Iterator<Item = &'a reports::tls::PolicyResult> {
    report.policies.iter().filter(move |it| Domain::parse(&it.policy.policy_domain).is_ok_and(|it| it == *domain))
}

fn keep_sources(transaction: &Transaction<'_>, id: i64, report: &Aggregate) -> Result<()> {
    let mut rows: BTreeMap<(IpAddr, bool, bool), u64> = BTreeMap::new();
    let pass = |result: &str| result.trim().eq_ignore_ascii_case("pass");
    for record in &report.records {
        let Ok(address) = record.row.source_ip.trim().parse() else { continue };
        let how = &record.row.policy_evaluated;
        let key = (address, pass(&how.dkim), pass(&how.spf));
        if rows.len() < limits::REPORT_ROWS || rows.contains_key(&key) {
            let sum = rows.entry(key).or_default();
            *sum = sum.saturating_add(record.row.count);
        }
    }
    let mut insert = transaction.prepare("INSERT INTO source VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for ((address, dkim, spf), messages) in rows {
        insert.execute(params![id, address.to_string(), dkim, spf, whole(messages)])?;
    }
    Ok(())
}

fn keep_failures(transaction: &Transaction<'_>, id: i64, report: &TlsReport, domain: &Domain) -> Result<()> {
    let mut rows: BTreeMap<(String, String), u64> = BTreeMap::new();
    for failure in of_domain(report, domain).flat_map(|policy| &policy.failures) {
        let host = failure.receiving_mx_hostname.as_deref().unwrap_or_default();
        let key = (cut(&failure.result_type), cut(host));
        if rows.len() < limits::REPORT_ROWS || rows.contains_key(&key) {
            let sum = rows.entry(key).or_default();
            *sum = sum.saturating_add(failure.failed_session_count);
        }
    }
    let mut insert = transaction.prepare("INSERT INTO failure VALUES (?1, ?2, ?3, ?4)")?;
    for ((kind, host), sessions) in rows {
        insert.execute(params![id, kind, host, whole(sessions)])?;
    }
    Ok(())
}

/// An address from which mail passed SPF for the domain is one that its zone names, such as a relay's: what comes from
/// there is the domain's own mail, like the box's.
fn weigh(sources: &[ReportSource], own: &[IpAddr], (days, organisations): (u64, u64)) -> Evidence {
    let named: BTreeSet<IpAddr> = sources.iter().filter(|it| it.spf).map(|it| it.address).collect();
    let mut evidence = Evidence { days, organisations, ..Evidence::default() };
    let mut others: BTreeMap<IpAddr, u64> = BTreeMap::new();
    for source in sources {
        let aligned = source.dkim || source.spf;
        let sum = match own.contains(&source.address) || named.contains(&source.address) {
            true if aligned => &mut evidence.own_aligned,
            true => &mut evidence.own_unaligned,
            // Mail that was passed on with its signature whole.
            false if aligned => continue,
            false => others.entry(source.address).or_default(),
        };
        *sum = sum.saturating_add(source.messages);
    }
    evidence.others = others.into_iter().map(|(address, messages)| OtherSource { address, messages }).collect();
    evidence.others.sort_by_key(|it| std::cmp::Reverse(it.messages));
    evidence.others.truncate(limits::SOURCES_TOLD);
    evidence
}
