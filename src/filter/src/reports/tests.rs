//! Reports taken and sent, with the time given.

use super::*;
use crate::limits;
use base::{Paths, Role};
use std::sync::Arc;
use wire::{Answer, Client, Kind, Refusal, Serve, mta};

const NOW: u64 = 1_795_248_000;
const TODAY: u64 = NOW / DAY;

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

/// A report of `count` messages each: from 192.0.2.25 aligned by both, from 198.51.100.9 by nothing.
fn aggregate(about: &str, id: &str, begin: u64) -> Vec<u8> {
    let row = |address: &str, count: u32, result: &str| {
        format!(
            "<record><row><source_ip>{address}</source_ip><count>{count}</count><policy_evaluated>\
             <disposition>none</disposition><dkim>{result}</dkim><spf>{result}</spf></policy_evaluated></row>\
             <identifiers><header_from>{about}</header_from></identifiers></record>"
        )
    };
    let xml = format!(
        "<feedback><report_metadata><org_name>peer.example</org_name><report_id>{id}</report_id><date_range>\
         <begin>{begin}</begin><end>{}</end></date_range></report_metadata><policy_published><domain>{about}</domain>\
         <p>none</p></policy_published>{}{}{}</feedback>",
        begin + DAY - 1,
        row("192.0.2.25", 12, "pass"),
        row("192.0.2.25", 1, "fail"),
        row("198.51.100.9", 3, "fail"),
    );
    format!("Subject: report\r\nContent-Type: text/xml\r\n\r\n{xml}\r\n").into_bytes()
}

fn opened() -> (tempfile::TempDir, Arc<Reports>) {
    let dir = tempfile::tempdir().unwrap();
    let reports = Reports::open(&dir.path().join("reports.db")).unwrap();
    (dir, Arc::new(reports))
}

#[test]
fn a_report_is_kept_once_and_only_about_our_own_domains() {
    let (_dir, reports) = opened();
    let own = [domain("example.org")];
    let taken = reports.take(&aggregate("example.org", "1", NOW), &own, true, NOW).unwrap();
    assert_eq!((taken.organisation.as_str(), taken.good, taken.bad), ("peer.example", 12, 4));
    assert_eq!(reports.take(&aggregate("example.org", "1", NOW), &own, true, NOW).unwrap(), taken);
    assert!(matches!(
        reports.take(&aggregate("elsewhere.example", "2", NOW), &own, true, NOW),
        Err(TakeError::Foreign(_))
    ));
    assert!(matches!(reports.take(b"Subject: hi\r\n\r\nhello", &own, true, NOW), Err(TakeError::Report(_))));
    assert_eq!(reports.list().unwrap(), std::slice::from_ref(&taken));
    assert_eq!(reports.show(taken.id).unwrap().unwrap().sources.len(), 3);
    // After more than a year it is gone.
    let later = NOW + (limits::REPORT_DAYS + 1) * DAY;
    let next = reports.take(&aggregate("example.org", "3", later), &own, true, later).unwrap();
    assert_eq!(reports.list().unwrap(), [next]);
}

#[test]
fn a_forged_report_neither_counts_nor_keeps_the_true_one_out() {
    let (_dir, reports) = opened();
    let own = [domain("example.org")];
    let box_ = ["192.0.2.25".parse().unwrap()];
    reports.take(&aggregate("example.org", "1", NOW), &own, false, NOW).unwrap();
    assert_eq!(reports.evidence(&own[0], &box_, NOW).unwrap(), Evidence::default());
    assert!(reports.take(&aggregate("example.org", "1", NOW), &own, true, NOW).unwrap().authenticated);
    reports.take(&aggregate("example.org", "2", NOW + DAY), &own, true, NOW).unwrap();
    let evidence = reports.evidence(&own[0], &box_, NOW).unwrap();
    assert_eq!((evidence.days, evidence.organisations), (2, 1));
    assert_eq!((evidence.own_aligned, evidence.own_unaligned), (24, 2));
    assert_eq!(evidence.others[0].messages, 6);
    // What the zone's SPF record names is ours as well: a relay.
    assert_eq!(reports.evidence(&own[0], &[], NOW + 1).unwrap().own_aligned, 12);
}

#[test]
fn tls_reports_are_told_with_what_failed() {
    let (_dir, reports) = opened();
    let json = r#"{"organization-name":"Peer","date-range":{"start-datetime":"2026-11-20T00:00:00Z","end-datetime":"2026-11-20T23:59:59Z"},"report-id":"7","policies":[{"policy":{"policy-type":"sts","policy-domain":"example.org"},"summary":{"total-successful-session-count":9,"total-failure-session-count":2},"failure-details":[{"result-type":"certificate-expired","receiving-mx-hostname":"box.example.org","failed-session-count":2}]}]}"#;
    let message = format!("Content-Type: application/tlsrpt+json\r\n\r\n{json}");
    let taken = reports.take(message.as_bytes(), &[domain("example.org")], true, NOW).unwrap();
    assert_eq!((taken.kind, taken.good, taken.bad), (wire::filter::ReportKind::Tls, 9, 2));
    let detail = reports.show(taken.id).unwrap().unwrap();
    assert_eq!((detail.failures[0].kind.as_str(), detail.failures[0].sessions), ("certificate-expired", 2));
    assert_eq!(reports.evidence(&domain("example.org"), &[], 0).unwrap(), Evidence::default());
}

/// Has xmllint judge a report by what RFC 7489 appendix C says of its form.
fn assert_valid(report: &reports::dmarc::Aggregate) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("report.xml");
    std::fs::write(&file, report.to_xml().unwrap()).unwrap();
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/../reports/tests/dmarc.xsd");
    let judged = std::process::Command::new("xmllint").args(["--noout", "--schema", schema]).arg(&file).output();
    let judged = judged.expect("libxml2-utils is installed");
    let words = String::from_utf8_lossy(&judged.stderr).into_owned();
    assert!(judged.status.success(), "{words}\n{}", report.to_xml().unwrap());
}

/// An MTA that takes or refuses what is sent.
#[derive(Default)]
struct Mta {
    sent: Mutex<Vec<(String, Vec<u8>)>>,
    full: std::sync::atomic::AtomicBool,
}

struct Door(Arc<Mta>);

impl Serve for Door {
    type Request = mta::Request;
    async fn answer(&self, _: Role, request: Self::Request, body: Vec<u8>) -> std::result::Result<Answer, Refusal> {
        match request {
            mta::Request::Send(_) if self.0.full.load(std::sync::atomic::Ordering::Relaxed) => {
                Err(Refusal::new(Kind::Busy, "the queue is full"))
            }
            mta::Request::Send(ask) => {
                self.0.sent.lock().unwrap().push((format!("{} {}", ask.from, ask.to), body));
                ask.answer(())
            }
            other => Err(Refusal::new(Kind::Invalid, format!("{other:?}"))),
        }
    }
}

async fn sender(dir: &Path, reports: &Arc<Reports>) -> (Sender, Arc<Mta>) {
    let paths = Paths::under(dir.join("box"));
    let mta = Arc::new(Mta::default());
    let (door, at) = (Arc::new(Door(Arc::clone(&mta))), paths.clone());
    tokio::spawn(async move { wire::serve(&at, door).await });
    let socket = paths.socket(Role::Mta, "mta");
    while tokio::net::UnixStream::connect(&socket).await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // Nobody answers there: what needs a question is not allowed.
    let (resolver, options) = base::names::config("127.0.0.1:9".parse().unwrap());
    let sender = Sender {
        client: Client::new(paths.clone()),
        paths,
        reports: Arc::clone(reports),
        authenticator: Arc::new(mail_auth::MessageAuthenticator::new(resolver, options).unwrap()),
        hostname: domain("box.example.org"),
        home: domain("example.org"),
    };
    (sender, mta)
}

#[tokio::test]
async fn a_domain_that_asks_gets_one_report_for_each_day_whatever_happens_in_between() {
    let (dir, reports) = opened();
    let (sender, mta) = sender(dir.path(), &reports).await;
    let to = [("rua@peer.example", 0), ("small@peer.example", 100)];
    for client in ["192.0.2.1", "192.0.2.1", "192.0.2.2"] {
        let refused = Action::Refuse { code: 550, enhanced: "5.7.1".into(), text: "no".into() };
        reports.note(&Asked::example("peer.example", &to, client, client == "192.0.2.2"), &refused, NOW - DAY);
    }
    // Not today's, and nothing while the MTA does not take it.
    reports.note(&Asked::example("peer.example", &to, "192.0.2.3", true), &Action::Accept, NOW);
    mta.full.store(true, std::sync::atomic::Ordering::Relaxed);
    let morning = TODAY * DAY + limits::REPORTS_SENT_AFTER;
    for _ in 0..4 {
        sender.send_due(morning).await.unwrap();
    }
    assert!(mta.sent.lock().unwrap().is_empty());
    mta.full.store(false, std::sync::atomic::Ordering::Relaxed);
    for _ in 0..3 {
        sender.send_due(morning).await.unwrap();
    }
    let sent = std::mem::take(&mut *mta.sent.lock().unwrap());
    assert_eq!(sent.len(), 1, "the other address takes no more than 100 octets");
    assert_eq!(sent[0].0, "postmaster@example.org rua@peer.example");
    let Report::Dmarc(report) = reports::read(&sent[0].1).unwrap() else { panic!("not a DMARC report") };
    assert_valid(&report);
    let rows: Vec<_> =
        report.records.iter().map(|it| (it.row.count, it.row.policy_evaluated.disposition.as_str())).collect();
    assert_eq!(rows.len(), 2);
    assert!(rows.contains(&(2, "reject")) && rows.contains(&(1, "none")), "{rows:?}");
    sender.send_due(morning + DAY).await.unwrap();
    assert_eq!(mta.sent.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_report_that_was_cut_short_is_sent_once_more_and_never_a_third_time() {
    let (dir, reports) = opened();
    let (sender, mta) = sender(dir.path(), &reports).await;
    let asked = Asked::example("peer.example", &[("rua@peer.example", 0)], "192.0.2.1", true);
    for (day, (state, times)) in [(database::Sent::Begun, 1), (database::Sent::BegunAgain, 0)].into_iter().enumerate() {
        let day = TODAY - 1 - day as u64;
        reports.note(&asked, &Action::Accept, day * DAY);
        reports.database().mark(day, "peer.example", "rua@peer.example", Some(state)).unwrap();
        sender.send_due(NOW + DAY).await.unwrap();
        assert_eq!(std::mem::take(&mut *mta.sent.lock().unwrap()).len(), times);
    }
}

#[tokio::test]
async fn nobody_is_sent_a_report_who_did_not_agree_to_it() {
    let (dir, reports) = opened();
    let (sender, mta) = sender(dir.path(), &reports).await;
    let asked = Asked::example("peer.example", &[("victim@elsewhere.example", 0)], "192.0.2.1", true);
    reports.note(&asked, &Action::Accept, NOW - DAY);
    sender.send_due(NOW + DAY / 2).await.unwrap();
    assert!(mta.sent.lock().unwrap().is_empty());
}

#[test]
fn a_flood_of_sources_is_counted_together() {
    let (_dir, reports) = opened();
    for number in 0..limits::NOTED_ROWS + 50 {
        let client = format!("10.0.{}.{}", number / 256, number % 256);
        reports.note(&Asked::example("peer.example", &[("rua@peer.example", 0)], &client, true), &Action::Accept, NOW);
    }
    reports.flush().unwrap();
    let (_, records) = reports.database().noted(TODAY, "peer.example").unwrap().unwrap();
    assert!(records.len() <= limits::NOTED_ROWS + 1, "{}", records.len());
    assert!(records.iter().any(|it| it.row.source_ip == "0.0.0.0"));
    assert_valid(&reports::dmarc::Aggregate {
        version: Some("1.0".into()),
        report_metadata: reports::dmarc::Metadata::default(),
        policy_published: Asked::example("peer.example", &[], "192.0.2.1", true).published().clone(),
        records: records.clone(),
    });
    assert_eq!(records.iter().map(|it| it.row.count).sum::<u64>(), (limits::NOTED_ROWS + 50) as u64);
}
