//! The dns role over a hundred days, with a directory, a filter and an MTA at their doors.

use super::*;
use base::Address;
use std::sync::Mutex as Sync;
use wire::dns::{DmarcChange, DmarcPolicy};
use wire::filter::Evidence;
use wire::mta;

const NOW: u64 = 1_795_248_000;
const DAY: u64 = 86_400;

struct World {
    evidence: Sync<Evidence>,
    letters: Sync<Vec<String>>,
    /// The pairs of DKIM keys, and which signs.
    pairs: Sync<Vec<u32>>,
    signing: Sync<u32>,
}

impl World {
    fn new() -> Self {
        Self { evidence: Sync::default(), letters: Sync::default(), pairs: Sync::new(vec![1]), signing: Sync::new(1) }
    }

    fn dkim_keys(&self) -> Vec<filter::DkimKey> {
        let signing = *self.signing.lock().unwrap();
        let key = |generation: u32, ending: &str, kind: &str| filter::DkimKey {
            domain: domain(),
            generation,
            signing: generation == signing,
            selector: format!("ms{generation}{ending}"),
            txt: format!("v=DKIM1; k={kind}; p={generation}"),
        };
        let pairs = self.pairs.lock().unwrap();
        pairs.iter().flat_map(|one| [key(*one, "", "rsa"), key(*one, "e", "ed25519")]).collect()
    }
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
            filter::Request::DkimKeys(ask) => ask.answer(self.0.dkim_keys()),
            filter::Request::MakeDkimKeys(ask) => {
                self.0.pairs.lock().unwrap().push(ask.generation);
                ask.answer(())
            }
            filter::Request::UseDkimKeys(ask) => {
                *self.0.signing.lock().unwrap() = ask.generation;
                ask.answer(())
            }
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

/// A resolver that answers every question with SERVFAIL.
async fn broken_resolver() -> std::net::SocketAddr {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut question = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut question).await {
            question[2] |= 0x80;
            question[3] = 2;
            socket.send_to(&question[..length], from).await.unwrap();
        }
    });
    address
}

/// A name server that has one zone, in a version that can be set; 0 refuses.
async fn server_with(serial: Arc<std::sync::atomic::AtomicU32>) -> std::net::SocketAddr {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut question = [0; 4096];
        while let Ok((_, from)) = socket.recv_from(&mut question).await {
            let serial = serial.load(std::sync::atomic::Ordering::SeqCst);
            let name = question[12..].iter().position(|octet| *octet == 0).unwrap();
            let mut reply = question[..12 + name + 5].to_vec();
            let (flags, answers) = if serial == 0 { ([0x80, 5], 0) } else { ([0x84, 0], 1) };
            reply[2..4].copy_from_slice(&flags);
            reply[4..12].copy_from_slice(&[0, 1, 0, answers, 0, 0, 0, 0]);
            if serial > 0 {
                reply.extend([0xC0, 12, 0, 6, 0, 1, 0, 0, 0, 60, 0, 22, 0, 0]);
                reply.extend([serial, 1, 1, 1, 1].map(u32::to_be_bytes).concat());
            }
            socket.send_to(&reply, from).await.unwrap();
        }
    });
    address
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
    let world = Arc::new(World::new());
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
    let mut config = BoxConfig::new(owner, Domain::parse("box.example.org").unwrap(), mode);
    let resolver = Some(broken_resolver().await);
    config.demo = Some(base::config::DemoOptions { base_port: 9, resolver, remote_smtp_port: 25, retry_seconds: None });
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

async fn zone_text(dns: &Dns) -> String {
    dns.publish(false).await.unwrap();
    std::fs::read_to_string(dns.paths.zones().join("example.org.zone")).unwrap()
}

fn custom_record(name: &str, kind: &str, value: &str) -> wire::dns::CustomChange {
    let (name, kind, value) = (name.to_owned(), kind.to_owned(), value.to_owned());
    wire::dns::CustomChange::Add(wire::dns::CustomRecord { name, kind, value, ttl: 300, replace: false })
}

#[tokio::test]
async fn what_the_owner_adds_and_what_a_token_moves_stand_in_the_zone() {
    let (_dir, dns, _) = running(DnsMode::Box).await;
    dns.change_custom(custom_record("shop.example.org", "A", "198.51.100.9")).await.unwrap();
    let refused = dns.change_custom(custom_record("example.org", "MX", "5 other.example.")).await.unwrap_err();
    assert!(refused.message.contains("cannot be replaced"), "{refused}");
    let token = dns.add_dynamic("Home.example.org.").await.unwrap();
    let ask = |token: &base::Secret, address: &str| wire::dns::SetDynamicAddress {
        name: "home.example.org".into(),
        token: token.clone(),
        address: address.parse().unwrap(),
    };
    use wire::dns::DynamicOutcome::{BadAuth, Good, NoChg};
    assert_eq!(dns.set_dynamic(&ask(&token, "198.51.100.7")).await.unwrap(), Good);
    assert_eq!(dns.set_dynamic(&ask(&token, "198.51.100.7")).await.unwrap(), NoChg);
    assert_eq!(dns.set_dynamic(&ask(&base::Secret::new("x"), "198.51.100.8")).await.unwrap(), BadAuth);
    assert!(dns.set_dynamic(&ask(&token, "127.0.0.1")).await.is_err(), "nobody is led to themselves");
    let zone = zone_text(&dns).await;
    assert!(zone.contains("shop.example.org. 300 IN A 198.51.100.9\n"), "{zone}");
    assert!(zone.contains("home.example.org. 60 IN A 198.51.100.7\n"), "{zone}");
    for taken in ["shop.example.org", "box.example.org", "elsewhere.example"] {
        assert!(dns.add_dynamic(taken).await.is_err(), "{taken}");
    }
    let both = dns.change_custom(custom_record("home.example.org", "A", "198.51.100.9")).await.unwrap_err();
    assert_eq!(both.kind, Kind::Conflict);
    dns.remove_dynamic("home.example.org").await.unwrap();
    assert!(!zone_text(&dns).await.contains("home.example.org."));
    let (_dir, external, _) = running(DnsMode::External).await;
    let elsewhere = external.change_custom(custom_record("shop.example.org", "A", "198.51.100.9")).await.unwrap_err();
    assert!(elsewhere.message.contains("kept elsewhere"));
}

#[tokio::test]
async fn a_secondary_gets_a_key_that_only_the_name_server_can_read() {
    use std::os::unix::fs::PermissionsExt;
    let (_dir, dns, _) = running(DnsMode::Box).await;
    let server = Domain::parse("ns.other.example").unwrap();
    let key = dns.add_secondary(&server, &["192.0.2.53".parse().unwrap()]).await.unwrap();
    assert!(zone_text(&dns).await.contains("example.org. 3600 IN NS ns.other.example.\n"));
    let file = dns.paths.nsd().join("secondaries.conf");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(key.secret.expose()) && text.contains("provide-xfr: 192.0.2.53"), "{text}");
    for (path, mode) in [(file, 0o640), (dns.paths.dns().join("secondaries.json"), 0o600)] {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, mode);
    }
    let again = dns.add_secondary(&server, &["192.0.2.54".parse().unwrap()]).await.unwrap();
    assert_eq!(again.secret.expose(), key.secret.expose(), "the key stays");
    dns.remove_secondary(&server).await.unwrap();
    assert!(!zone_text(&dns).await.contains("ns.other.example"));
    assert!(dns.remove_secondary(&server).await.is_err());
}

#[tokio::test]
async fn no_key_is_rolled_while_the_name_server_does_not_serve_the_zone() {
    let (_dir, dns, _) = running(DnsMode::Box).await;
    zone_text(&dns).await;
    let refused = dns.rollover(&domain(), wire::dns::RolloverStep::Start).await.unwrap_err();
    assert!(refused.message.contains("not served yet"), "{refused}");
    let keys = dns.zone_keys(&domain()).await.unwrap();
    assert_eq!(keys.keys.iter().map(|key| key.kind.as_str()).collect::<Vec<_>>(), ["ksk", "zsk"]);
    let digests: Vec<u8> = dns.ds(&domain()).await.unwrap().iter().map(|ds| ds.digest_type).collect();
    assert_eq!(digests, [2, 4]);
}

#[tokio::test]
async fn where_the_dns_is_kept_elsewhere_the_owner_is_told_the_next_dkim_keys_once_and_nothing_signs_by_them_unseen() {
    let (_dir, dns, world) = running(DnsMode::External).await;
    for day in 0..200 {
        dns.pass_time(NOW + day * DAY).await.unwrap();
    }
    let letters = world.letters.lock().unwrap().clone();
    let told: Vec<_> = letters.iter().filter(|letter| letter.contains("ms2._domainkey.example.org")).collect();
    assert_eq!(told.len(), 1, "{letters:?}");
    assert!(told[0].contains("ms2e._domainkey.example.org") && told[0].contains("v=DKIM1; k=rsa; p=2"));
    let stage = dns.dkim_stages(None).await.unwrap().pop().unwrap();
    assert_eq!(
        (stage.signing, stage.next, stage.by_hand),
        (vec!["ms1".into(), "ms1e".into()], vec!["ms2".into(), "ms2e".into()], true)
    );
    assert_eq!(*world.signing.lock().unwrap(), 1);
    assert_eq!(dns.rotate_dkim(&domain()).await.unwrap_err().kind, Kind::Conflict);
}

#[tokio::test]
async fn a_name_server_that_did_not_take_a_publication_is_told_again_and_one_that_is_away_is_not() {
    use crate::world::{Served, World};
    let (_dir, dns, _world) = running(DnsMode::Box).await;
    dns.publish(false).await.unwrap();
    let told = dns.paths.zones().join("published");
    let zones = [domain()];
    let published = publish::state(&dns.paths, &domain()).unwrap().serial;
    let serial = Arc::new(std::sync::atomic::AtomicU32::default());
    let server = World::with_server(server_with(Arc::clone(&serial)).await);
    for (version, expected) in [(published, Served::AsPublished), (published - 1, Served::Behind), (0, Served::Behind)]
    {
        serial.store(version, std::sync::atomic::Ordering::SeqCst);
        std::fs::remove_file(&told).unwrap();
        assert_eq!(dns.tell_again_of(&zones, &server).await.unwrap(), expected, "{version}");
        assert_eq!(told.exists(), expected == Served::Behind, "{version}");
        std::fs::write(&told, "").unwrap();
    }
    std::fs::remove_file(&told).unwrap();
    let nobody = World::with_server("127.0.0.1:9".parse().unwrap());
    assert_eq!(dns.tell_again_of(&zones, &nobody).await.unwrap(), Served::Away);
    assert!(!told.exists());
}
