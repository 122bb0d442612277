//! The dns role over a hundred days, with a directory, a filter and an MTA at their doors.

use super::*;
use base::Address;
use std::sync::Mutex as Sync;
use wire::dns::{DmarcChange, DmarcPolicy};
use wire::filter::Evidence;
use wire::mta;

const NOW: u64 = 1_795_248_000;
const DAY: u64 = 86_400;

#[derive(Default)]
struct World {
    evidence: Sync<Evidence>,
    letters: Sync<Vec<String>>,
}

struct Directory;
struct Filter(Arc<World>);
struct Mta(Arc<World>);

fn no(what: impl std::fmt::Debug) -> Result<Answer, Refusal> {
    Err(Refusal::new(Kind::Invalid, format!("{what:?}")))
}

impl Serve for Directory {
    type Request = directory::Request;
    async fn answer(&self, _: Role, request: Self::Request, _: Vec<u8>) -> Result<Answer, Refusal> {
        match request {
            directory::Request::Domains(ask) => ask.answer(vec![domain()]),
            directory::Request::Relays(ask) => ask.answer(Vec::new()),
            other => no(other),
        }
    }
}

impl Serve for Filter {
    type Request = filter::Request;
    async fn answer(&self, _: Role, request: Self::Request, _: Vec<u8>) -> Result<Answer, Refusal> {
        match request {
            filter::Request::EnsureKeys(ask) => ask.answer(Vec::new()),
            filter::Request::DkimKeys(ask) => ask.answer(Vec::new()),
            filter::Request::DmarcEvidence(ask) => {
                assert_eq!(ask.own, ["192.0.2.25".parse::<std::net::IpAddr>().unwrap()]);
                ask.answer(self.0.evidence.lock().unwrap().clone())
            }
            other => no(other),
        }
    }
}

impl Serve for Mta {
    type Request = mta::Request;
    async fn answer(&self, _: Role, request: Self::Request, body: Vec<u8>) -> Result<Answer, Refusal> {
        match request {
            mta::Request::Send(ask) => {
                assert_eq!(ask.from.to_string(), "postmaster@example.org");
                self.0.letters.lock().unwrap().push(String::from_utf8(body).unwrap());
                ask.answer(())
            }
            other => no(other),
        }
    }
}

fn domain() -> Domain {
    Domain::parse("example.org").unwrap()
}

async fn running(mode: DnsMode) -> (tempfile::TempDir, Dns, Arc<World>) {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths::under(dir.path());
    for folder in [paths.dns(), paths.zones(), paths.host_facts().parent().unwrap().to_owned()] {
        std::fs::create_dir_all(folder).unwrap();
    }
    let host = HostFacts { ipv4: Some("192.0.2.25".parse().unwrap()), ..HostFacts::default() };
    std::fs::write(paths.host_facts(), serde_json::to_vec(&host).unwrap()).unwrap();
    let world = Arc::new(World::default());
    let (at, filter, mta) = (paths.clone(), Arc::new(Filter(Arc::clone(&world))), Arc::new(Mta(Arc::clone(&world))));
    tokio::spawn(async move {
        tokio::join!(wire::serve(&at, Arc::new(Directory)), wire::serve(&at, filter), wire::serve(&at, mta))
    });
    for role in [Role::Directory, Role::Filter, Role::Mta] {
        while tokio::net::UnixStream::connect(paths.socket(role, role.name())).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let owner = Address::parse("ann@example.org").unwrap();
    let config = BoxConfig::new(owner, Domain::parse("box.example.org").unwrap(), mode);
    (dir, Dns::new(paths, config), world)
}

async fn policy(dns: &Dns) -> String {
    let records = dns.facts().await.unwrap().records();
    records.into_iter().find(|it| it.name == "_dmarc.example.org").unwrap().value
}

#[tokio::test]
async fn over_a_hundred_days_the_zone_becomes_strict_when_reports_are_good_and_each_step_is_told_before() {
    let (_dir, dns, world) = running(DnsMode::Box).await;
    let good = Evidence { days: 12, organisations: 3, own_aligned: 400, ..Evidence::default() };
    let mut days = Vec::new();
    for day in 0..100 {
        // Nobody reports in the first month.
        if day == 30 {
            *world.evidence.lock().unwrap() = good.clone();
        }
        let before = (policy(&dns).await, world.letters.lock().unwrap().len());
        dns.pass_time(NOW + day * DAY).await.unwrap();
        let after = (policy(&dns).await, world.letters.lock().unwrap().len());
        if before != after {
            days.push((day, after.1, after.0));
        }
    }
    let told: Vec<_> =
        days.iter().map(|(day, letters, value)| (*day, *letters, value.split("; ").nth(1).unwrap())).collect();
    assert_eq!(told, [(30, 1, "p=none"), (37, 1, "p=quarantine"), (58, 2, "p=quarantine"), (65, 2, "p=reject")]);
    let letter = world.letters.lock().unwrap()[0].clone();
    assert!(letter.contains("dns dmarc hold example.org") && letter.contains("400 of 400"), "{letter}");
    // Back at once on the owner's word, and it stays there.
    let set = SetDmarc { domain: domain(), change: DmarcChange::Set(DmarcPolicy::None) };
    assert!(dns.set_dmarc(&set).await.unwrap().hold);
    dns.pass_time(NOW + 1_000 * DAY).await.unwrap();
    assert_eq!(policy(&dns).await, "v=DMARC1; p=none; rua=mailto:mailstead-reports@example.org");
    let foreign = SetDmarc { domain: Domain::parse("other.example").unwrap(), ..set };
    assert_eq!(dns.set_dmarc(&foreign).await.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test]
async fn where_the_dns_is_kept_elsewhere_the_owner_is_told_the_record_and_says_when_it_is_there() {
    let (_dir, dns, world) = running(DnsMode::External).await;
    *world.evidence.lock().unwrap() = Evidence { days: 12, own_aligned: 400, ..Evidence::default() };
    for day in 0..60 {
        dns.pass_time(NOW + day * DAY).await.unwrap();
    }
    let letters = world.letters.lock().unwrap().clone();
    assert_eq!(letters.len(), 1);
    assert!(letters[0].contains("v=DMARC1; p=quarantine; rua=") && policy(&dns).await.contains("p=none"));
    let set = SetDmarc { domain: domain(), change: DmarcChange::Set(DmarcPolicy::Quarantine) };
    assert!(!dns.set_dmarc(&set).await.unwrap().hold);
    assert!(policy(&dns).await.contains("p=quarantine"));
}
