//! Zones on the disk, on a turned clock, judged by ldns and by unbound.

mod validator;

use super::*;
use crate::records::tests::facts;
use crate::rollover::Phase;
use std::collections::VecDeque;
use std::process::Command;
use validator::Validator;

const NOW: u64 = 1_795_248_000;
const HOUR: u64 = 3_600;
/// What the simulated parent gives its DS set.
const DS_TTL: u64 = 2 * DAY;

fn published() -> (tempfile::TempDir, Paths) {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths::under(dir.path());
    for folder in [paths.dns(), paths.zones()] {
        std::fs::create_dir_all(folder).unwrap();
    }
    (dir, paths)
}

fn zone() -> Domain {
    Domain::parse("example.org").unwrap()
}

fn run(paths: &Paths, facts: &ZoneFacts, now: u64, dry_run: bool) -> usize {
    publish(paths, facts, &Looks::new(), now, dry_run).unwrap().zones.len()
}

/// What ldns makes of a zone at a time, from a trust anchor.
fn verified(file: &Path, anchor: Option<&Path>, now: u64) -> Result<(), String> {
    let stamp: String = base::time::readable(now).chars().filter(char::is_ascii_digit).collect();
    let mut command = Command::new("ldns-verify-zone");
    command.args(["-V", "1", "-t", &stamp]);
    if let Some(anchor) = anchor {
        command.arg("-k").arg(anchor);
    }
    let output = command.arg(file).output().expect("ldnsutils is installed");
    let words = [output.stderr, output.stdout].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    if output.status.success() { Ok(()) } else { Err(words) }
}

#[test]
fn a_zone_is_written_once_and_again_only_when_it_changes_or_its_signatures_are_due() {
    let (_dir, paths) = published();
    let mut facts = facts();
    assert_eq!(run(&paths, &facts, NOW, true), 2);
    assert!(!paths.zones().join("published").exists());
    assert_eq!(run(&paths, &facts, NOW, false), 2);
    assert_eq!(run(&paths, &facts, NOW + DAY, false), 0);
    assert_eq!(run(&paths, &facts, NOW + 8 * DAY, false), 2);
    facts.dkim.clear();
    assert_eq!(run(&paths, &facts, NOW + 8 * DAY, false), 1);
}

#[test]
fn a_zone_file_that_was_changed_by_hand_is_written_again_and_never_signed_as_it_is() {
    let (_dir, paths) = published();
    let facts = facts();
    run(&paths, &facts, NOW, false);
    let file = zone_file(&paths, &zone());
    let edited = std::fs::read_to_string(&file).unwrap().replace(" MX ", " TXT ");
    std::fs::write(&file, &edited).unwrap();
    let late = NOW + 30 * DAY;
    assert!(!renew(&paths, &facts.hostname, late).unwrap().contains(&zone()));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), edited);
    assert_eq!(run(&paths, &facts, late, false), 1, "the other zone was renewed");
    assert_ne!(std::fs::read_to_string(&file).unwrap(), edited);
    assert_eq!(run(&paths, &facts, late + HOUR, false), 0);
}

#[test]
fn an_independent_verifier_agrees_with_the_signatures_and_the_denials_are_as_they_should() {
    let (_dir, paths) = published();
    let mut facts = facts();
    facts.domains.push(Domain::parse("sub.example.org").unwrap());
    run(&paths, &facts, NOW, false);
    for zone in facts.zones() {
        let file = zone_file(&paths, &zone);
        verified(&file, None, NOW).unwrap();
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.contains(" IN NSEC3PARAM 1 0 0 -") && !text.contains(" IN NSEC "), "RFC 9276\n{text}");
    }
    let outer = std::fs::read_to_string(zone_file(&paths, &zone())).unwrap();
    assert!(outer.lines().any(|line| line.starts_with("sub.example.org. ") && line.contains(" IN DS ")), "{outer}");
}

#[test]
fn the_ds_is_the_one_that_an_independent_tool_computes() {
    let (_dir, paths) = published();
    run(&paths, &facts(), NOW, false);
    let state = state(&paths, &zone()).unwrap();
    for (option, ds) in
        ["-2", "-4"].into_iter().zip(keys::ds(&paths.dns(), &zone(), state.keys.wanted().unwrap()).unwrap())
    {
        let output = Command::new("ldns-key2ds").args(["-n", option]).arg(zone_file(&paths, &zone())).output();
        let theirs = String::from_utf8_lossy(&output.expect("ldnsutils is installed").stdout).to_lowercase();
        let wanted = keys::ds_value(&ds).to_lowercase();
        assert!(theirs.split_whitespace().collect::<Vec<_>>().join(" ").contains(&wanted), "{theirs}: {wanted}");
    }
}

#[test]
fn the_serial_never_goes_back_even_if_the_clock_does() {
    assert_eq!(sign::next_serial(0, 1_795_248_000), 1_795_248_000);
    assert_eq!(sign::next_serial(1_795_248_000, 1_000), 1_795_248_001);
}

#[test]
fn a_box_with_one_key_from_before_keeps_it_for_the_registrar() {
    let (_dir, paths) = published();
    let made = keys::create(&paths.dns(), &zone(), Kind::Ksk).unwrap();
    for ending in ["private", "public"] {
        let name = |stem: &str| paths.dns().join(format!("{stem}.{ending}"));
        std::fs::rename(name(&made), name("example.org")).unwrap();
    }
    let old = format!("{{\"content\":\"x\",\"serial\":5,\"signed\":{}}}", NOW - DAY);
    std::fs::write(paths.dns().join("example.org.json"), old).unwrap();
    run(&paths, &facts(), NOW, false);
    let state = state(&paths, &zone()).unwrap();
    assert_eq!(state.keys.wanted().unwrap().file, "example.org");
    assert_eq!(state.keys.keys.len(), 2, "the second key is published");
    verified(&zone_file(&paths, &zone()), None, NOW).unwrap();
}

#[test]
fn after_months_without_power_nothing_that_has_ended_is_served_even_before_anybody_can_be_asked() {
    let (_dir, paths) = published();
    let facts = facts();
    run(&paths, &facts, NOW, false);
    let file = zone_file(&paths, &zone());
    let later = NOW + 100 * DAY;
    assert!(verified(&file, None, later).is_err(), "the judge can tell");
    assert_eq!(renew(&paths, &facts.hostname, NOW + DAY).unwrap(), []);
    assert_eq!(renew(&paths, &facts.hostname, later).unwrap().len(), 2);
    verified(&file, None, later).unwrap();
    assert_eq!(run(&paths, &facts, later, false), 0, "and it is the same zone");
}

#[test]
fn a_run_that_was_cut_short_is_made_good_by_the_next() {
    let (_dir, paths) = published();
    let facts = facts();
    run(&paths, &facts, NOW, false);
    // Killed between the state and the zone: the hash of the content is not there yet.
    let mut cut = state(&paths, &zone()).unwrap();
    cut.content.clear();
    cut.serial += 1;
    keep(&paths, &zone(), &cut).unwrap();
    assert_eq!(run(&paths, &facts, NOW + 1, false), 1);
    assert!(state(&paths, &zone()).unwrap().serial > cut.serial);
    verified(&zone_file(&paths, &zone()), None, NOW + 1).unwrap();
}

/// The lines of a zone with the set of keys of another version: what a resolver has whose caches ran out at different
/// times.
fn mixed(keys_of: &str, rest_of: &str) -> String {
    let is_set = |line: &&str| {
        let mut words = line.split_whitespace().skip(3);
        let (kind, covered) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        kind == "DNSKEY" || kind == "RRSIG" && covered == "DNSKEY"
    };
    let rest = rest_of.lines().filter(|line| !is_set(line));
    rest.chain(keys_of.lines().filter(is_set)).map(|line| format!("{line}\n")).collect()
}

/// The box's certificate and its key, moved on by the certs role's own rules, in the zone that is published here.
struct Tls<'a> {
    paths: &'a Paths,
    facts: &'a mut ZoneFacts,
    look: Look,
    now: u64,
}

impl certs::roll::World for Tls<'_> {
    async fn publish(&mut self) -> Result<(), certs::CertsError> {
        self.facts.tls_keys = crate::service::tls_keys(self.paths);
        let served = Some(state(self.paths, &zone()).unwrap().serial);
        let look = Look { served, ..self.look.clone() };
        publish(self.paths, self.facts, &[(zone(), look)].into(), self.now, false).unwrap();
        Ok(())
    }

    async fn published(&mut self) -> Result<certs::roll::Published, String> {
        let text = std::fs::read_to_string(zone_file(self.paths, &zone())).unwrap();
        Ok(certs::roll::Published { pins: Some(pins(&text)), ttl: u64::from(crate::records::TTL) })
    }

    async fn order(&mut self, key: &rcgen::KeyPair) -> Result<String, certs::CertsError> {
        let params = rcgen::CertificateParams::new(vec!["box.example.org".to_owned()]).unwrap();
        Ok(params.self_signed(key).unwrap().pem())
    }
}

/// The keys that a zone's TLSA records name for port 25.
fn pins(zone: &str) -> Vec<String> {
    let lines =
        zone.lines().filter(|line| line.starts_with("_25._tcp.box.example.org. ") && line.contains(" TLSA 3 1 1 "));
    lines.filter_map(|line| Some(line.split_whitespace().last()?.to_ascii_lowercase())).collect()
}

/// A year with two rollovers of the key signing key, one of which a slow owner ends, with a change of the certificate's key,
/// and with the box off for weeks; looks come every six hours. Whenever the zone changed, ldns judges what is served and
/// every mix of it with what may be cached, from the parent's DS as it is and as it may be cached, and unbound asks for it.
/// At every look, the certificate in service is among the TLSA records of every version that may be cached.
#[tokio::test]
async fn over_a_year_a_validator_finds_no_answer_bogus_and_no_tlsa_record_that_does_not_match() {
    let (dir, paths) = published();
    let mut facts = ZoneFacts { domains: vec![zone()], ..facts() };
    let owner = base::Address::parse("ann@example.org").unwrap();
    certs::initial(&paths, &base::BoxConfig::new(owner, facts.hostname.clone(), base::DnsMode::Box)).unwrap();
    let file = zone_file(&paths, &zone());
    let ds_of = |state: &State| {
        let [sha256, _] = keys::ds(&paths.dns(), &zone(), state.keys.wanted().unwrap()).unwrap();
        (state.keys.wanted().unwrap().file.clone(), format!("example.org. 3600 IN DS {}\n", keys::ds_value(&sha256)))
    };
    let mut parents: Vec<(u64, (String, String))> = Vec::new();
    let mut versions: VecDeque<(u64, String)> = VecDeque::new();
    let mut asking = None::<Validator>;
    let (mut now, mut asked, mut zone_keys, mut rolled) = (NOW, 0, std::collections::BTreeSet::new(), 0);
    let mut tls_keys = std::collections::BTreeSet::new();
    while now < NOW + 366 * DAY {
        facts.tls_keys = crate::service::tls_keys(&paths);
        let before = state(&paths, &zone()).unwrap();
        let parent = parents.last().map(|(_, (name, _))| Parent {
            everywhere: [name.clone()].into(),
            anywhere: [name.clone()].into(),
            ttl: DS_TTL,
        });
        let look = Look { served: Some(before.serial), parent };
        let done = publish(&paths, &facts, &[(zone(), look.clone())].into(), now, false).unwrap();
        rolled += done.events.iter().filter(|(_, event)| matches!(event, Event::Rolled(_))).count();
        let mut state = state(&paths, &zone()).unwrap();
        let day = (now - NOW) / DAY;
        if parents.is_empty() {
            parents.push((0, ds_of(&state)));
        }
        if matches!(day, 30 | 200) && state.keys.may_start().is_ok() && (now - NOW).is_multiple_of(DAY) {
            let new = keys::create(&paths.dns(), &zone(), Kind::Ksk).unwrap();
            state.keys.publish(new, Kind::Ksk, now);
            keep(&paths, &zone(), &state).unwrap();
        }
        // The owner goes to the registrar a week after the first letter, and two days after the second.
        let goes = matches!(day, 38 | 204) && (now - NOW).is_multiple_of(DAY);
        if goes && state.keys.ksk(Phase::Ready).is_some() {
            parents.push((now, ds_of(&state)));
        }
        zone_keys.extend(state.keys.zone_signers().iter().map(|key| key.file.clone()));
        // A new key for the certificate while the zone's keys are changed as well.
        let wished = day == 202 && (now - NOW).is_multiple_of(DAY);
        let mut tls = Tls { paths: &paths, facts: &mut facts, look, now };
        certs::roll::advance(&paths, &mut tls, wished, now).await.unwrap();
        let served = std::fs::read_to_string(&file).unwrap();
        if versions.back().is_none_or(|(_, text)| *text != served) {
            versions.push_back((now, served.clone()));
            asked += judge(dir.path(), &mut versions, &parents, now);
            let asking = asking.get_or_insert_with(|| Validator::new(dir.path(), &served));
            for ds in known(&parents, now) {
                asking.judge(&served, ds, now).unwrap_or_else(|why| panic!("day {day}: {why}"));
            }
        }
        let in_service = certs::served(&paths).unwrap().unwrap().spki;
        for (_, text) in held(&versions, u64::from(crate::records::TTL), now) {
            assert!(pins(text).contains(&in_service), "day {day}: {in_service} is served, {:?} expected", pins(text));
        }
        tls_keys.insert(in_service);
        // Three weeks in the dark, in the middle of things.
        let dark = day == 91 || day == 206;
        let changing = certs::roll::Roll::load(&paths, now).unwrap().stage != certs::roll::Stage::Steady;
        now += if dark {
            21 * DAY
        } else if changing {
            HOUR / 2
        } else {
            6 * HOUR - (now - NOW) % (6 * HOUR)
        };
        renew(&paths, &facts.hostname, now).unwrap();
        if dark {
            // Every cache has run out, and the first answers are from what was renewed at the start.
            let text = std::fs::read_to_string(&file).unwrap();
            versions = [(now, text.clone())].into();
            asked += judge(dir.path(), &mut versions, &parents, now);
            let asking = asking.as_ref().unwrap();
            asking.judge(&text, known(&parents, now).last().unwrap(), now).unwrap();
            assert!(
                asking.judge(&text, known(&parents, now).last().unwrap(), now + 22 * DAY).is_err(),
                "the judge can tell"
            );
        }
    }
    assert_eq!((rolled, tls_keys.len()), (2, 2));
    assert!(zone_keys.len() >= 4, "{zone_keys:?}");
    assert!(asked > 50, "{asked}");
}

/// The parent's DS as it is, and as it may be cached.
fn known(parents: &[(u64, (String, String))], now: u64) -> Vec<&str> {
    let ended = |index: usize| parents.get(index + 1).map_or(u64::MAX, |(next, _)| *next);
    let all = parents.iter().enumerate().filter(|(index, _)| ended(*index).saturating_add(DS_TTL) > now);
    all.map(|(_, (_, (_, ds)))| ds.as_str()).collect()
}

/// The versions that may be cached for a time after the next was served.
fn held(versions: &VecDeque<(u64, String)>, ttl: u64, now: u64) -> impl Iterator<Item = &(u64, String)> {
    let ended = move |index: usize| versions.get(index + 1).map_or(u64::MAX, |(next, _)| *next);
    versions
        .iter()
        .enumerate()
        .filter(move |(index, _)| ended(*index).saturating_add(ttl) > now)
        .map(|(_, version)| version)
}

/// Judges every mix that a cache may hold; gives how many there were. A version may be cached for the longest TTL after
/// the next was served.
fn judge(dir: &Path, versions: &mut VecDeque<(u64, String)>, parents: &[(u64, (String, String))], now: u64) -> usize {
    while versions.get(1).is_some_and(|(next, _)| next + u64::from(custom::MAX_TTL) <= now) {
        versions.pop_front();
    }
    let (anchor, mix) = (dir.join("anchor"), dir.join("mix.zone"));
    let mut count = 0;
    for ds in known(parents, now) {
        std::fs::write(&anchor, ds).unwrap();
        for (_, keys_of) in held(versions, u64::from(sign::KEY_TTL), now) {
            for (_, rest_of) in versions.iter() {
                std::fs::write(&mix, mixed(keys_of, rest_of)).unwrap();
                verified(&mix, Some(&anchor), now).unwrap_or_else(|why| {
                    panic!("day {}: {why}", (now - NOW) / DAY);
                });
                count += 1;
            }
        }
    }
    count
}
