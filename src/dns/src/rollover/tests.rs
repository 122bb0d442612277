//! Years of keys on a turned clock, with resolvers that may hold whatever was served as long as its TTL allows.

use super::*;
use proptest::prelude::*;

const NOW: u64 = 1_795_248_000;
const HOUR: u64 = 3_600;
const TIMING: Timing = Timing { keys_ttl: HOUR, zone_ttl: DAY, spread: DAY };
const DS_TTL: u64 = 2 * DAY;

/// What was served from a moment on.
#[derive(Clone)]
struct Version {
    from: u64,
    set: BTreeSet<String>,
    set_signers: BTreeSet<String>,
    zone_signers: BTreeSet<String>,
}

/// The world around a keyset.
struct World {
    now: u64,
    keys: Keyset,
    served: Vec<Version>,
    parents: Vec<(u64, BTreeSet<String>)>,
    made: u32,
    rolled: Vec<u64>,
    told: Option<String>,
    used: BTreeSet<String>,
}

fn names(keys: &[&Key]) -> BTreeSet<String> {
    keys.iter().map(|key| key.file.clone()).collect()
}

impl World {
    fn new(keys: Keyset) -> Self {
        let ds = names(&keys.set_signers());
        let mut world = Self {
            now: NOW,
            keys,
            served: Vec::new(),
            parents: vec![(0, ds)],
            made: 0,
            rolled: Vec::new(),
            told: None,
            used: BTreeSet::new(),
        };
        world.serve();
        world
    }

    fn serve(&mut self) {
        let all: Vec<&Key> = self.keys.keys.iter().collect();
        let version = Version {
            from: self.now,
            set: names(&all),
            set_signers: names(&self.keys.set_signers()),
            zone_signers: names(&self.keys.zone_signers()),
        };
        self.used.extend(version.zone_signers.iter().cloned());
        self.served.push(version);
        self.keys.confirm(self.now);
    }

    fn make(&mut self, kind: Kind) {
        self.made += 1;
        self.keys.publish(format!("{kind:?}{}", self.made), kind, self.now);
    }

    /// One look, as the role has them: steps, and what follows from them is served.
    fn look(&mut self) {
        let ds = self.parents.last().unwrap().1.clone();
        let parent = Parent { everywhere: ds.clone(), anywhere: ds, ttl: DS_TTL };
        let parent = self.keys.needs_parent().then_some(parent);
        for event in self.keys.pass(self.now, parent.as_ref(), &TIMING) {
            match event {
                Event::Make(kind) => self.make(kind),
                Event::TellDs(file) => self.told = Some(file),
                Event::Rolled(_) => self.rolled.push(self.now),
                Event::Dropped(file) => assert!(!self.keys.keys.iter().any(|key| key.file == file)),
            }
        }
        self.serve();
        self.judge();
    }

    fn parent_takes(&mut self, ds: &[&str]) {
        self.parents.push((self.now, ds.iter().map(|name| (*name).to_owned()).collect()));
    }

    /// Every mix of what caches may hold now validates.
    fn judge(&self) {
        let sets = self.held(TIMING.keys_ttl);
        let zones = self.held(TIMING.zone_ttl);
        let ended = |index: usize| self.parents.get(index + 1).map_or(u64::MAX, |next| next.0);
        let ds = self.parents.iter().enumerate();
        let ds: Vec<_> =
            ds.filter(|(index, _)| ended(*index).saturating_add(DS_TTL) > self.now).map(|(_, it)| &it.1).collect();
        for set in &sets {
            for ds in &ds {
                let vouched = set.set_signers.intersection(ds).count() > 0;
                assert!(vouched, "day {}: the set of {:?} with the DS of {ds:?}", self.day(), set.set);
            }
            for zone in &zones {
                let known = zone.zone_signers.intersection(&set.set).count() > 0;
                assert!(known, "day {}: signed by {:?}, known are {:?}", self.day(), zone.zone_signers, set.set);
            }
        }
    }

    /// The versions that a cache may still have.
    fn held(&self, ttl: u64) -> Vec<&Version> {
        let ended = |index: usize| self.served.get(index + 1).map_or(u64::MAX, |next| next.from);
        let all = self.served.iter().enumerate();
        all.filter(|(index, _)| ended(*index).saturating_add(ttl) > self.now).map(|(_, it)| it).collect()
    }

    fn day(&self) -> u64 {
        (self.now - NOW) / DAY
    }
}

fn fresh() -> World {
    World::new(Keyset::begin("ksk".into(), "zsk".into(), NOW))
}

#[test]
fn over_a_year_zone_keys_roll_by_themselves_and_no_answer_is_ever_bogus() {
    let mut world = fresh();
    while world.day() < 366 {
        world.look();
        world.now += 6 * HOUR;
    }
    assert_eq!(world.used.len(), 5, "{:?}", world.used);
    assert_eq!(names(&world.keys.set_signers()), BTreeSet::from(["ksk".to_owned()]));
}

#[test]
fn a_zone_with_one_key_gets_its_second_and_is_never_bogus() {
    let mut world = World::new(Keyset::adopt("old".into(), NOW - 400 * DAY));
    assert!(world.keys.may_start().is_err());
    while world.day() < 10 {
        world.look();
        world.now += 6 * HOUR;
    }
    assert_eq!(names(&world.keys.zone_signers()), BTreeSet::from(["Zsk1".to_owned()]));
    assert_eq!(world.keys.wanted().unwrap().file, "old");
    assert!(world.keys.may_start().is_ok());
}

#[test]
fn a_rollover_waits_for_the_parent_however_long_it_takes() {
    let mut world = fresh();
    world.look();
    world.make(Kind::Ksk);
    world.serve();
    let mut seen_ready = None;
    while world.day() < 100 {
        world.look();
        if let Some(told) = world.told.take() {
            seen_ready = Some(world.day());
            assert_eq!(world.keys.wanted().unwrap().file, told);
        }
        // The owner takes a month, and forgets to remove the old DS for another week.
        match (world.day(), (world.now - NOW) % DAY) {
            (40, 0) => world.parent_takes(&["ksk", "Ksk1"]),
            (47, 0) => world.parent_takes(&["Ksk1"]),
            _ => {}
        }
        world.now += 6 * HOUR;
    }
    assert_eq!(seen_ready, Some(1));
    assert_eq!((world.rolled[0] - NOW) / DAY, 43, "the DS is cached for two days, and a day is for the servers");
    assert_eq!(names(&world.keys.set_signers()), BTreeSet::from(["Ksk1".to_owned()]));
}

#[test]
fn a_rollover_that_was_called_off_leaves_the_old_key_and_later_no_other() {
    let mut world = fresh();
    world.look();
    world.make(Kind::Ksk);
    world.serve();
    while world.day() < 5 {
        world.look();
        world.now += 6 * HOUR;
    }
    assert_eq!(world.keys.wanted().unwrap().file, "Ksk1");
    assert!(world.keys.cancel(None).is_err(), "the parent may have it already");
    let with = |name: &str| Parent { anywhere: [name.to_owned()].into(), everywhere: [name.to_owned()].into(), ttl: 0 };
    assert!(world.keys.clone().cancel(Some(&with("Ksk1"))).is_err());
    world.keys.cancel(Some(&with("ksk"))).unwrap();
    world.serve();
    assert_eq!(world.keys.wanted().unwrap().file, "ksk");
    assert!(world.keys.may_start().is_err());
    // A parent that follows CDS took it all the same: both stay.
    world.parent_takes(&["Ksk1"]);
    while world.day() < 30 {
        world.look();
        world.now += 6 * HOUR;
    }
    assert_eq!(world.keys.set_signers().len(), 2);
    world.parent_takes(&["ksk"]);
    while world.day() < 60 {
        world.look();
        world.now += 6 * HOUR;
    }
    assert_eq!(names(&world.keys.set_signers()), BTreeSet::from(["ksk".to_owned()]));
}

#[test]
fn nothing_moves_while_the_name_server_does_not_serve_what_was_decided() {
    let mut keys = Keyset::begin("ksk".into(), "zsk".into(), NOW);
    assert_eq!(keys.pass(NOW + 1_000 * DAY, None, &TIMING), []);
    keys.confirm(NOW);
    assert_eq!(keys.pass(NOW + 1_000 * DAY, None, &TIMING), [Event::Make(Kind::Zsk)]);
    keys.publish("next".into(), Kind::Zsk, NOW + 1_000 * DAY);
    assert_eq!(keys.pass(NOW + 2_000 * DAY, None, &TIMING), []);
    assert_eq!(keys.zone_signers()[0].file, "zsk");
}

proptest! {
    /// Power cuts of hours or months, a parent that takes what CDS says or what it likes to keep beside it, rollovers
    /// begun and called off at any time: never bogus.
    #[test]
    fn whatever_happens_no_cache_ever_holds_a_bogus_mix(
        steps in proptest::collection::vec((1_u64..2_000, 0_u8..8), 1..120), one_key: bool,
    ) {
        let mut world = if one_key { World::new(Keyset::adopt("old".into(), NOW - DAY)) } else { fresh() };
        for (hours, what) in steps {
            let wanted = world.keys.wanted().unwrap().file.clone();
            let now = world.parents.last().unwrap().1.clone();
            match what {
                0 if world.keys.may_start().is_ok() => {
                    world.make(Kind::Ksk);
                    world.serve();
                }
                1 => {
                    let parent = Parent { everywhere: now.clone(), anywhere: now, ttl: DS_TTL };
                    if world.keys.cancel(Some(&parent)).is_ok() {
                        world.serve();
                    }
                }
                2 => world.parent_takes(&[&wanted]),
                3 => {
                    let mut both: BTreeSet<String> = now.into_iter().collect();
                    both.insert(wanted);
                    // What the parent keeps of keys that are gone does no harm.
                    let both: Vec<&str> = both.iter().map(String::as_str).collect();
                    world.parent_takes(&both);
                }
                _ => {}
            }
            world.look();
            // The machine may be off for long; caches only forget meanwhile.
            world.now += if what == 7 { hours * HOUR } else { hours % 30 * HOUR };
            world.judge();
            world.look();
        }
    }
}
