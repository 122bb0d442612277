//! A year of keys on a turned clock, with resolvers that cache as long as they may.

use super::*;
use crate::limits::DAY;
use rcgen::CertificateParams;

const START: u64 = 1_795_248_000;
const HOUR: u64 = 3_600;
const TTL: u64 = HOUR;

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn chain(key: &KeyPair) -> String {
    CertificateParams::new(vec!["box.example.org".to_owned()]).unwrap().self_signed(key).unwrap().pem()
}

/// The zone on one name server: every set of pins that it ever served, and since when.
type History = Vec<(u64, Vec<String>)>;

struct Sim {
    paths: Paths,
    _dir: tempfile::TempDir,
    now: u64,
    dice: Dice,
    primary: History,
    /// Takes what the primary has with a delay of some hours.
    secondary: History,
    transfer_at: Option<u64>,
    /// How many in ten publications, orders and looks fail.
    clumsy: u64,
    orders: u32,
}

impl Sim {
    fn new(clumsy: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        std::fs::create_dir_all(paths.tls()).unwrap();
        let key = KeyPair::generate().unwrap();
        Pair { chain: chain(&key), key: key.serialize_pem() }.serve(&paths).unwrap();
        let mut sim = Self {
            paths,
            _dir: dir,
            now: START,
            dice: Dice(7),
            primary: History::new(),
            secondary: History::new(),
            transfer_at: None,
            clumsy,
            orders: 0,
        };
        sim.sign();
        sim.secondary = sim.primary.clone();
        sim
    }

    /// What the dns role publishes.
    fn wanted(&self) -> Vec<String> {
        let served = inspect::served(&self.paths).unwrap().unwrap().spki;
        let others = [self.paths.next_spki(), self.paths.previous_spki()];
        std::iter::once(served).chain(others.iter().filter_map(|file| pin(file).unwrap())).collect()
    }

    fn sign(&mut self) {
        let wanted = self.wanted();
        if self.primary.last().map(|(_, set)| set) != Some(&wanted) {
            self.primary.push((self.now, wanted));
            self.transfer_at = Some(self.now + self.dice.roll(4) * HOUR);
        }
    }

    fn fails(&mut self) -> bool {
        self.dice.roll(10) < self.clumsy
    }

    /// Whether every resolver, whomever it asked and whenever in the last TTL, expects the key that is served.
    fn is_expected(&self) -> Result<(), String> {
        let served = inspect::spki(&Pair::served(&self.paths).unwrap().key_pair().unwrap());
        for history in [&self.primary, &self.secondary] {
            for (number, (from, set)) in history.iter().enumerate() {
                let until = history.get(number + 1).map_or(u64::MAX, |(next, _)| *next);
                if until.saturating_add(TTL) > self.now && *from <= self.now && !set.contains(&served) {
                    return Err(format!("at {} a resolver expects {set:?} and meets {served}", self.now - START));
                }
            }
        }
        Ok(())
    }

    async fn hour(&mut self, wished: bool) {
        self.now += HOUR;
        if self.transfer_at.is_some_and(|at| at <= self.now) {
            self.transfer_at = None;
            let newest = self.primary.last().unwrap().1.clone();
            self.secondary.push((self.now, newest));
        }
        if (self.now / HOUR).is_multiple_of(24) {
            self.sign();
        }
        let (paths, now) = (self.paths.clone(), self.now);
        // What fails is tried again in an hour.
        let _ = advance(&paths, self, wished, now).await;
        self.is_expected().unwrap();
    }
}

impl World for Sim {
    async fn publish(&mut self) -> Result<(), CertsError> {
        if self.fails() {
            return Err(CertsError::Refused("the dns role is away".to_owned()));
        }
        self.sign();
        Ok(())
    }

    async fn published(&mut self) -> Result<Published, String> {
        if self.fails() {
            return Err("no answer".to_owned());
        }
        let now = |history: &History| history.last().unwrap().1.clone();
        let secondary = now(&self.secondary);
        let pins = now(&self.primary).into_iter().filter(|pin| secondary.contains(pin)).collect();
        Ok(Published { pins: Some(pins), ttl: TTL })
    }

    async fn order(&mut self, key: &KeyPair) -> Result<String, CertsError> {
        if self.fails() {
            return Err(CertsError::Refused("the authority is away".to_owned()));
        }
        self.orders += 1;
        Ok(chain(key))
    }
}

#[tokio::test]
async fn in_a_year_and_more_no_resolver_ever_meets_a_key_that_it_does_not_expect() {
    for clumsy in [0, 5] {
        let mut sim = Sim::new(clumsy);
        let mut keys = std::collections::BTreeSet::new();
        for hour in 0..24 * 800 {
            // Twice the owner wants a new key, once in the midst of another change.
            sim.hour(matches!(hour, 1000 | 1002)).await;
            // Certificates are renewed with the key that is there.
            if hour % (24 * 60) == 0 {
                let pair = Pair::served(&sim.paths).unwrap();
                Pair { chain: chain(&pair.key_pair().unwrap()), ..pair }.serve(&sim.paths).unwrap();
            }
            keys.insert(inspect::served(&sim.paths).unwrap().unwrap().spki);
        }
        assert_eq!((keys.len(), sim.orders), (4, 3), "one by wish, and one after each year");
        assert_eq!(sim.primary.last().unwrap().1.len(), 1, "nothing of old keys stays");
        assert_eq!(Roll::load(&sim.paths, 0).unwrap().stage, Stage::Steady);
    }
}

#[tokio::test]
async fn the_switch_waits_for_the_slowest_name_server() {
    let mut sim = Sim::new(0);
    sim.hour(true).await;
    sim.transfer_at = Some(START + 30 * HOUR);
    let first = inspect::served(&sim.paths).unwrap().unwrap().spki;
    let mut switched = None;
    for hour in 2..40 {
        sim.hour(false).await;
        let served = inspect::served(&sim.paths).unwrap().unwrap().spki;
        switched = switched.or((served != first).then_some(hour));
    }
    assert_eq!(switched, Some(32), "two TTLs after the secondary had it");
}

#[tokio::test]
async fn a_power_cut_at_any_point_of_the_switch_leaves_a_pair_that_is_expected() {
    for cut in 0..6 {
        let mut sim = Sim::new(0);
        let mut roll = Roll::load(&sim.paths, START).unwrap();
        stage(&sim.paths, &mut roll, None, START).unwrap();
        sim.sign();
        sim.secondary = sim.primary.clone();
        sim.now = START + 10 * HOUR;
        let key = std::fs::read_to_string(next_key_file(&sim.paths)).unwrap();
        let next = KeyPair::from_pem(&key).unwrap();
        let new = Pair { chain: chain(&next), key };
        let old = inspect::served(&sim.paths).unwrap().unwrap().spki;
        // The writes of `switch`, as far as they came.
        let writes: [&dyn Fn(); 5] = [
            &|| pair::write(&sim.paths.previous_spki(), &old, 0o644).unwrap(),
            &|| pair::write(&sim.paths.tls_pair(), &format!("{}{}", new.chain, new.key), 0o640).unwrap(),
            &|| pair::write(&sim.paths.tls().join("key.pem"), &new.key, 0o640).unwrap(),
            &|| pair::write(&sim.paths.tls().join("chain.pem"), &new.chain, 0o644).unwrap(),
            &|| Roll { stage: Stage::Retiring { since: sim.now }, ..roll.clone() }.save(&sim.paths).unwrap(),
        ];
        writes.iter().take(cut).for_each(|write| write());
        sim.sign();
        sim.is_expected().unwrap();
        settle(&sim.paths, sim.now).unwrap();
        sim.sign();
        sim.is_expected().unwrap();
        assert!(base::tls::server(&sim.paths, base::tls::Tickets::No).is_ok());
        let served = Pair::served(&sim.paths).unwrap();
        assert_eq!(std::fs::read_to_string(sim.paths.tls().join("chain.pem")).unwrap(), served.chain);
        assert_eq!(std::fs::read_to_string(sim.paths.tls().join("key.pem")).unwrap(), served.key);
        assert_eq!(served.chain == new.chain, cut >= 2, "cut {cut}");
        assert_eq!(sim.paths.next_spki().exists(), cut < 2, "cut {cut}");
    }
}

#[tokio::test]
async fn an_imported_certificate_comes_into_service_when_its_record_is_known_and_is_not_rolled() {
    let mut sim = Sim::new(0);
    let key = KeyPair::generate().unwrap();
    let own = Pair { chain: chain(&key), key: key.serialize_pem() };
    let mut roll = Roll::load(&sim.paths, START).unwrap();
    stage(&sim.paths, &mut roll, Some(&own), START).unwrap();
    sim.sign();
    for _ in 0..24 * 400 {
        sim.hour(false).await;
    }
    assert!(Pair::served(&sim.paths).unwrap() == own, "the owner's own, after a year as well");
    assert!(Roll::load(&sim.paths, 0).unwrap().imported && sim.orders == 0);
    assert!(sim.now - Roll::load(&sim.paths, 0).unwrap().key_since > 365 * DAY);
}
