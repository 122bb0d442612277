//! How TLS went with each domain, counted by day, for the reports that RFC 8460 asks senders to send.
//!
//! The counts lie in `queue/tls-results.db`. They are reports' material and nobody's mail: written in the background,
//! many at once, and a crash may lose the last second of them.

use crate::limits;
use base::Domain;
use rusqlite::{Connection, params};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Seconds of a day; days are counted from 1970-01-01, UTC.
const DAY: u64 = 86_400;
/// How many results wait for the writer before further ones are dropped.
const WAITING: usize = 10_000;

/// What a domain promised (RFC 8460 §4.4, policy-type).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PolicyKind {
    Tlsa,
    Sts,
    None,
}

impl PolicyKind {
    /// The name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tlsa => "tlsa",
            Self::Sts => "sts",
            Self::None => "no-policy-found",
        }
    }

    fn read(text: &str) -> Self {
        match text {
            "tlsa" => Self::Tlsa,
            "sts" => Self::Sts,
            _ => Self::None,
        }
    }
}

/// What went wrong (RFC 8460 §4.3, result-type).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    StarttlsNotSupported,
    CertificateHostMismatch,
    CertificateExpired,
    CertificateNotTrusted,
    ValidationFailure,
    TlsaInvalid,
    DnssecInvalid,
    StsPolicyFetchError,
    StsPolicyInvalid,
    StsWebpkiInvalid,
}

impl FailureKind {
    const ALL: [Self; 10] = [
        Self::StarttlsNotSupported,
        Self::CertificateHostMismatch,
        Self::CertificateExpired,
        Self::CertificateNotTrusted,
        Self::ValidationFailure,
        Self::TlsaInvalid,
        Self::DnssecInvalid,
        Self::StsPolicyFetchError,
        Self::StsPolicyInvalid,
        Self::StsWebpkiInvalid,
    ];

    /// The name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StarttlsNotSupported => "starttls-not-supported",
            Self::CertificateHostMismatch => "certificate-host-mismatch",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateNotTrusted => "certificate-not-trusted",
            Self::ValidationFailure => "validation-failure",
            Self::TlsaInvalid => "tlsa-invalid",
            Self::DnssecInvalid => "dnssec-invalid",
            Self::StsPolicyFetchError => "sts-policy-fetch-error",
            Self::StsPolicyInvalid => "sts-policy-invalid",
            Self::StsWebpkiInvalid => "sts-webpki-invalid",
        }
    }

    /// What a handshake's error means.
    pub fn of_handshake(error: &std::io::Error) -> Self {
        use rustls::CertificateError as Bad;
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let Some(rustls::Error::InvalidCertificate(why)) = inner else { return Self::ValidationFailure };
        match why {
            Bad::Expired | Bad::ExpiredContext { .. } => Self::CertificateExpired,
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => Self::CertificateHostMismatch,
            Bad::UnknownIssuer | Bad::BadSignature | Bad::Revoked => Self::CertificateNotTrusted,
            _ => Self::ValidationFailure,
        }
    }
}

/// What went wrong in one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub kind: FailureKind,
    /// The server; `None` when the trouble came before there was one.
    pub host: Option<Domain>,
    pub address: Option<IpAddr>,
    /// In words, for the report's failure-reason-code.
    pub reason: String,
}

/// One session, or one that did not come to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsResult {
    /// The recipients' domain.
    pub domain: Domain,
    pub policy: PolicyKind,
    /// The policy's lines, or the TLSA records as in a zone file (policy-string).
    pub lines: Vec<String>,
    /// The exchangers that the policy names (mx-host); empty but for MTA-STS.
    pub patterns: Vec<String>,
    /// `None` is a success.
    pub failure: Option<Failure>,
}

/// A [`TlsResult`] and how often it was met on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    pub result: TlsResult,
    pub sessions: u64,
}

enum Order {
    /// With the time, in seconds since 1970.
    Note(Box<TlsResult>, u64),
    Take(u64, oneshot::Sender<rusqlite::Result<Vec<Counted>>>),
}

/// The counts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TlsResults {
    orders: mpsc::SyncSender<Order>,
}

impl TlsResults {
    /// Opens the file. One that cannot be used leaves delivery as it is: only reports go without.
    pub fn open(folder: &Path) -> Self {
        let (orders, inbox) = mpsc::sync_channel(WAITING);
        let file = folder.join("tls-results.db");
        let keeper = std::thread::Builder::new().name("tls-results".to_owned()).spawn(move || keep(file, &inbox));
        if let Err(error) = keeper {
            tracing::error!("results of TLS are not counted: {error}");
        }
        Self { orders }
    }

    /// Counts a session. Never waits.
    pub fn note(&self, result: TlsResult, now: u64) {
        // Dropped when the disk is slower than the mail: a report that counts too few is better than mail that waits.
        let _ = self.orders.try_send(Order::Note(Box::new(result), now));
    }

    /// Gives the results of a day (counted from 1970-01-01, UTC) and removes them.
    pub async fn take_day(&self, day: u64) -> Result<Vec<Counted>, String> {
        let gone = || "the results of TLS are not kept".to_owned();
        let (reply, answer) = oneshot::channel();
        let orders = self.orders.clone();
        let sent = tokio::task::spawn_blocking(move || orders.send(Order::Take(day, reply)).is_ok()).await;
        if !sent.unwrap_or(false) {
            return Err(gone());
        }
        answer.await.map_err(|_| gone())?.map_err(|error| error.to_string())
    }
}

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS result (
        day INTEGER NOT NULL, domain TEXT NOT NULL, policy TEXT NOT NULL, lines TEXT NOT NULL, patterns TEXT NOT NULL,
        kind TEXT NOT NULL, host TEXT NOT NULL, address TEXT NOT NULL, reason TEXT NOT NULL, sessions INTEGER NOT NULL,
        PRIMARY KEY (day, domain, policy, lines, patterns, kind, host, address, reason)) STRICT, WITHOUT ROWID;";

fn open(file: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(file)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

/// The thread that writes. It ends when nobody can send any more.
fn keep(file: PathBuf, inbox: &mpsc::Receiver<Order>) {
    let mut connection = match open(&file) {
        Ok(connection) => connection,
        Err(error) => return tracing::error!("{}: {error}; results of TLS are not counted", file.display()),
    };
    while let Ok(first) = inbox.recv() {
        let mut notes = Vec::new();
        let mut next = Some(first);
        while let Some(order) = next {
            match order {
                Order::Note(result, now) => notes.push((result, now)),
                Order::Take(day, reply) => {
                    report(write(&mut connection, std::mem::take(&mut notes)));
                    let _ = reply.send(take(&mut connection, day));
                }
            }
            next = inbox.try_recv().ok();
        }
        if !notes.is_empty() {
            report(write(&mut connection, notes));
            // What comes in the meantime goes into one transaction.
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

fn report(written: rusqlite::Result<()>) {
    if let Err(error) = written {
        tracing::warn!("results of TLS are lost: {error}");
    }
}

fn write(connection: &mut Connection, notes: Vec<(Box<TlsResult>, u64)>) -> rusqlite::Result<()> {
    let Some(today) = notes.iter().map(|(_, now)| (now / DAY) as i64).max() else { return Ok(()) };
    let transaction = connection.transaction()?;
    transaction.execute("DELETE FROM result WHERE day < ?1", [today - limits::TLS_RESULT_DAYS])?;
    let count = "SELECT count(*) FROM result WHERE day = ?1";
    let mut full = transaction.query_row(count, [today], |row| row.get::<_, i64>(0))? as u64;
    for (result, now) in notes {
        let (lines, patterns) = (result.lines.join("\n"), result.patterns.join("\n"));
        let failure = result.failure.as_ref();
        let kind = failure.map_or("", |failure| failure.kind.as_str());
        let host = failure.and_then(|failure| failure.host.as_ref()).map(ToString::to_string).unwrap_or_default();
        let address =
            failure.and_then(|failure| failure.address).map(|address| address.to_string()).unwrap_or_default();
        let reason: String = failure.map(|failure| failure.reason.chars().take(200).collect()).unwrap_or_default();
        let day = (now / DAY) as i64;
        let values =
            params![day, result.domain.as_str(), result.policy.as_str(), lines, patterns, kind, host, address, reason];
        let key =
            "day = ?1 AND domain = ?2 AND policy = ?3 AND lines = ?4 AND patterns = ?5 AND kind = ?6 AND host = ?7
                   AND address = ?8 AND reason = ?9";
        let update = format!("UPDATE result SET sessions = sessions + 1 WHERE {key}");
        if transaction.prepare_cached(&update)?.execute(values)? == 0 && full < limits::TLS_RESULTS {
            let insert = "INSERT INTO result VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 1)";
            transaction.prepare_cached(insert)?.execute(values)?;
            full += 1;
        }
    }
    transaction.commit()
}

fn take(connection: &mut Connection, day: u64) -> rusqlite::Result<Vec<Counted>> {
    let day = i64::try_from(day).unwrap_or(i64::MAX);
    let transaction = connection.transaction()?;
    let mut found = Vec::new();
    {
        let mut select = transaction.prepare("SELECT * FROM result WHERE day = ?1")?;
        let mut rows = select.query([day])?;
        while let Some(row) = rows.next()? {
            found.extend(read(row)?);
        }
    }
    transaction.execute("DELETE FROM result WHERE day = ?1", [day])?;
    transaction.commit()?;
    Ok(found)
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Counted>> {
    let text = |column: &str| row.get::<_, String>(column);
    let several = |text: String| text.lines().map(str::to_owned).collect::<Vec<String>>();
    let Ok(domain) = Domain::parse(&text("domain")?) else { return Ok(None) };
    let (kind, host, address, reason) = (text("kind")?, text("host")?, text("address")?, text("reason")?);
    let kind = FailureKind::ALL.into_iter().find(|known| known.as_str() == kind);
    let failure =
        kind.map(|kind| Failure { kind, host: Domain::parse(&host).ok(), address: address.parse().ok(), reason });
    let policy = PolicyKind::read(&text("policy")?);
    let result =
        TlsResult { domain, policy, lines: several(text("lines")?), patterns: several(text("patterns")?), failure };
    Ok(Some(Counted { result, sessions: row.get::<_, i64>("sessions")?.unsigned_abs() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_days_results_are_counted_and_given_once() {
        let dir = tempfile::tempdir().unwrap();
        let results = TlsResults::open(dir.path());
        let good = TlsResult {
            domain: Domain::parse("example.net").unwrap(),
            policy: PolicyKind::Sts,
            lines: vec!["version: STSv1".into(), "mode: enforce".into()],
            patterns: vec!["*.example.net".into()],
            failure: None,
        };
        let failure = Failure {
            kind: FailureKind::CertificateExpired,
            host: Domain::parse("mx.example.net").ok(),
            address: Some("192.0.2.1".parse().unwrap()),
            reason: "expired yesterday".into(),
        };
        let bad = TlsResult { failure: Some(failure), ..good.clone() };
        for _ in 0..3 {
            results.note(good.clone(), 20_000 * DAY + 5);
        }
        results.note(bad.clone(), 20_000 * DAY + 6);
        results.note(bad.clone(), 20_001 * DAY);
        let mut day = results.take_day(20_000).await.unwrap();
        day.sort_by_key(|counted| counted.sessions);
        assert_eq!(day, [Counted { result: bad, sessions: 1 }, Counted { result: good, sessions: 3 }]);
        assert_eq!(results.take_day(20_000).await.unwrap(), []);
        drop(results);
        let again = TlsResults::open(dir.path());
        assert_eq!(again.take_day(20_001).await.unwrap().len(), 1);
    }
}
