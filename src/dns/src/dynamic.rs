//! Names whose addresses change, such as a home's: whoever has a name's token may lead it elsewhere.
//!
//! They lie in `dns/dynamic.json`. Of a token only its SHA-256 is kept; it has some 158 bits, so that no slow hash is
//! needed, and it is compared in constant time.

use crate::{DnsError, state};
use base::{Paths, Secret};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use subtle::ConstantTimeEq;
use wire::dns::{CustomRecord, DynamicName, DynamicOutcome};

/// Such addresses are not to be kept for long.
const TTL: u32 = 60;
const MAX_NAMES: usize = 200;
/// How many changes a name may have, and how many wrong tokens all together, in ten minutes. A router changes its address
/// a few times a day; each change signs the zone anew.
const CHANGES: usize = 10;
const FAILURES: usize = 60;
const WINDOW: u64 = 600;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    #[serde(flatten)]
    pub shown: DynamicName,
    /// SHA-256 of the token, hexadecimal.
    token: String,
}

fn file(paths: &Paths) -> std::path::PathBuf {
    paths.dns().join("dynamic.json")
}

pub fn load(paths: &Paths) -> Result<Vec<Kept>, DnsError> {
    state::read(&file(paths))
}

pub fn save(paths: &Paths, kept: &[Kept]) -> Result<(), DnsError> {
    state::write(&file(paths), &kept)
}

fn hash(token: &Secret) -> String {
    hex::encode(Sha256::digest(token.expose().as_bytes()))
}

/// The names with one more, or with a new token for one that is there.
pub fn added(mut kept: Vec<Kept>, name: &str) -> Result<(Vec<Kept>, Secret), String> {
    let token = Secret::in_groups(4, 8);
    let count = kept.len();
    match kept.iter_mut().find(|one| one.shown.name == name) {
        Some(known) => known.token = hash(&token),
        None if count >= MAX_NAMES => return Err(format!("there are {MAX_NAMES} such names already")),
        None => {
            let shown = DynamicName { name: name.to_owned(), ipv4: None, ipv6: None, changed: None };
            kept.push(Kept { shown, token: hash(&token) });
        }
    }
    Ok((kept, token))
}

/// The records that follow.
pub fn records(kept: &[Kept]) -> Vec<CustomRecord> {
    let record = |name: &str, kind: &str, value: String| CustomRecord {
        name: name.to_owned(),
        kind: kind.to_owned(),
        value,
        ttl: TTL,
        replace: false,
    };
    let all = kept.iter().flat_map(|Kept { shown, .. }| {
        let v4 = shown.ipv4.map(|address| record(&shown.name, "A", address.to_string()));
        let v6 = shown.ipv6.map(|address| record(&shown.name, "AAAA", address.to_string()));
        v4.into_iter().chain(v6)
    });
    all.collect()
}

/// Who asked lately. In memory: a restart forgives.
#[derive(Debug, Default)]
pub struct Throttle {
    changes: HashMap<String, VecDeque<u64>>,
    failures: VecDeque<u64>,
}

fn is_full(times: &mut VecDeque<u64>, most: usize, now: u64) -> bool {
    times.retain(|time| now.saturating_sub(*time) < WINDOW && *time <= now);
    times.len() >= most
}

impl Throttle {
    /// What is to become of a request; a change is made in `kept`.
    pub fn decide(
        &mut self,
        kept: &mut [Kept],
        name: &str,
        token: &Secret,
        address: IpAddr,
        now: u64,
    ) -> DynamicOutcome {
        let given = hash(token);
        // A name that is not there takes as long as one that is.
        let known = kept.iter_mut().find(|one| one.shown.name == name);
        let nobody = hash(&Secret::new(""));
        let wanted = known.as_ref().map_or(nobody.as_str(), |one| one.token.as_str());
        let matches: bool = given.as_bytes().ct_eq(wanted.as_bytes()).into();
        let Some(known) = known.filter(|_| matches) else {
            // Whoever guesses is slowed, and does not keep others out.
            if is_full(&mut self.failures, FAILURES, now) {
                return DynamicOutcome::Abuse;
            }
            self.failures.push_back(now);
            return DynamicOutcome::BadAuth;
        };
        let same = match address {
            IpAddr::V4(v4) => known.shown.ipv4 == Some(v4),
            IpAddr::V6(v6) => known.shown.ipv6 == Some(v6),
        };
        if same {
            return DynamicOutcome::NoChg;
        }
        let changes = self.changes.entry(name.to_owned()).or_default();
        if is_full(changes, CHANGES, now) {
            return DynamicOutcome::Abuse;
        }
        changes.push_back(now);
        match address {
            IpAddr::V4(v4) => known.shown.ipv4 = Some(v4),
            IpAddr::V6(v6) => known.shown.ipv6 = Some(v6),
        }
        known.shown.changed = Some(now);
        DynamicOutcome::Good
    }
}

/// Whether a name can sensibly lead to an address.
pub fn is_host(address: IpAddr) -> bool {
    !address.is_loopback() && !address.is_multicast() && !address.is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_248_000;

    #[test]
    fn a_token_moves_its_own_name_and_no_other() {
        let (kept, token) = added(Vec::new(), "home.example.org").unwrap();
        let (mut kept, other) = added(kept, "lab.example.org").unwrap();
        let mut throttle = Throttle::default();
        let address: IpAddr = "198.51.100.7".parse().unwrap();
        let mut ask = |name: &str, token: &Secret| throttle.decide(&mut kept, name, token, address, NOW);
        assert_eq!(ask("home.example.org", &token), DynamicOutcome::Good);
        assert_eq!(ask("home.example.org", &token), DynamicOutcome::NoChg);
        assert_eq!(ask("home.example.org", &other), DynamicOutcome::BadAuth);
        assert_eq!(ask("away.example.org", &token), DynamicOutcome::BadAuth);
        assert_eq!(ask("away.example.org", &Secret::new("")), DynamicOutcome::BadAuth);
        let records = records(&kept);
        assert_eq!(records.len(), 1);
        assert_eq!((records[0].value.as_str(), records[0].ttl), ("198.51.100.7", 60));
        assert!(!serde_json::to_string(&kept).unwrap().contains(token.expose()));
    }

    #[test]
    fn a_new_token_ends_the_old_one_and_keeps_the_address() {
        let (mut kept, old) = added(Vec::new(), "home.example.org").unwrap();
        let address: IpAddr = "2001:db8::7".parse().unwrap();
        let mut throttle = Throttle::default();
        throttle.decide(&mut kept, "home.example.org", &old, address, NOW);
        let (mut kept, new) = added(kept, "home.example.org").unwrap();
        assert_eq!(kept.len(), 1);
        assert_eq!(throttle.decide(&mut kept, "home.example.org", &old, address, NOW), DynamicOutcome::BadAuth);
        assert_eq!(throttle.decide(&mut kept, "home.example.org", &new, address, NOW), DynamicOutcome::NoChg);
    }

    #[test]
    fn who_asks_too_often_waits_ten_minutes() {
        let (mut kept, token) = added(Vec::new(), "home.example.org").unwrap();
        let mut throttle = Throttle::default();
        let mut ask = |token: &Secret, last: u8, now| {
            throttle.decide(&mut kept, "home.example.org", token, IpAddr::from([192, 0, 2, last]), now)
        };
        for last in 0..10 {
            assert_eq!(ask(&token, last, NOW), DynamicOutcome::Good);
        }
        assert_eq!(ask(&token, 99, NOW + 1), DynamicOutcome::Abuse);
        assert_eq!(ask(&token, 99, NOW + WINDOW), DynamicOutcome::Good);
        let wrong = Secret::new("guess");
        for _ in 0..60 {
            assert_eq!(ask(&wrong, 1, NOW + WINDOW), DynamicOutcome::BadAuth);
        }
        assert_eq!(ask(&wrong, 1, NOW + WINDOW), DynamicOutcome::Abuse);
        assert_eq!(ask(&token, 1, NOW + WINDOW), DynamicOutcome::Good, "others' guesses lock nobody out");
        assert_eq!(ask(&wrong, 1, NOW + 3 * WINDOW), DynamicOutcome::BadAuth);
    }
}
