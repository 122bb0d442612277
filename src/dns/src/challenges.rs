//! TXT records by which a certificate authority sees that the box holds a name (RFC 8555 §8.4). They come from the certs
//! role, which removes them when the authority has looked; what it forgot goes by itself.

use crate::DnsError;
use base::{Domain, Paths, durable};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::PathBuf;
use wire::dns::{Challenge, Need, Record};
use wire::{Kind, Refusal};

/// How long they stand at most. An authority looks within minutes.
const STAND_FOR: u64 = 3_600;
/// One certificate has a hundred names; a wildcard shares its record with the name above it.
const MAX_RECORDS: usize = 200;
/// An answer that a resolver keeps is a wrong one a minute later.
const TTL: u32 = 10;
const LABEL: &str = "_acme-challenge.";

#[derive(Default, Serialize, Deserialize)]
struct Kept {
    until: u64,
    challenges: Vec<Challenge>,
}

fn file(paths: &Paths) -> PathBuf {
    paths.dns().join("challenges.json")
}

/// Whether a name is one that only validations use, and the value a digest in base64url: nothing else gets into a zone.
fn is_challenge(challenge: &Challenge) -> bool {
    let below = challenge.name.strip_prefix(LABEL).is_some_and(|name| Domain::parse(name).is_ok());
    let digest = |value: &String| {
        value.len() == 43 && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    below && challenge.values.iter().all(digest)
}

/// Takes these in place of those before.
pub fn set(paths: &Paths, challenges: &[Challenge], now: u64) -> Result<(), Refusal> {
    let count: usize = challenges.iter().map(|challenge| challenge.values.len()).sum();
    if count > MAX_RECORDS || !challenges.iter().all(is_challenge) {
        return Err(Refusal::new(Kind::Invalid, "these are not the records of a validation"));
    }
    let kept = Kept { until: now + STAND_FOR, challenges: challenges.to_vec() };
    let text = serde_json::to_vec(&kept).map_err(Refusal::internal)?;
    durable::write(&file(paths), &text, 0o600).map_err(Refusal::internal)
}

/// The records that are to stand now, in these zones.
pub fn records(paths: &Paths, zones: &[Domain], now: u64) -> Result<Vec<Record>, DnsError> {
    let file = file(paths);
    let kept = match std::fs::read(&file) {
        Ok(text) => serde_json::from_slice::<Kept>(&text).unwrap_or_default(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(DnsError::file(&file, error)),
    };
    if now >= kept.until {
        return Ok(Vec::new());
    }
    let record = |name: &str, value: &String, zone: &Domain| Record {
        zone: zone.clone(),
        name: name.to_owned(),
        ttl: TTL,
        kind: "TXT".to_owned(),
        value: value.clone(),
        need: Need::BoxOnly,
        reason: "A certificate authority looks here whether the box holds the name (RFC 8555 §8.4).".to_owned(),
    };
    let mut all = Vec::new();
    for challenge in &kept.challenges {
        let Some(name) = challenge.name.strip_prefix(LABEL).and_then(|name| Domain::parse(name).ok()) else { continue };
        let closest = zones.iter().filter(|zone| name.is_within(zone)).max_by_key(|zone| zone.as_str().len());
        let Some(zone) = closest else { continue };
        all.extend(challenge.values.iter().map(|value| record(&challenge.name, value, zone)));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_248_000;

    fn challenge(name: &str, values: &[&str]) -> Challenge {
        Challenge { name: name.into(), values: values.iter().map(|value| (*value).to_owned()).collect() }
    }

    fn set_up() -> (tempfile::TempDir, Paths, Vec<Domain>) {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        std::fs::create_dir_all(paths.dns()).unwrap();
        let zones = ["example.org", "sub.example.org", "second.example"].map(|zone| Domain::parse(zone).unwrap());
        (dir, paths, zones.into())
    }

    #[test]
    fn they_stand_in_the_closest_zone_until_the_next_or_for_an_hour() {
        let (_dir, paths, zones) = set_up();
        let (one, two) = ("a".repeat(43), "b".repeat(43));
        let asked = [
            challenge("_acme-challenge.example.org", &[&one, &two]),
            challenge("_acme-challenge.mta-sts.sub.example.org", &[&one]),
            challenge("_acme-challenge.elsewhere.example", &[&one]),
        ];
        set(&paths, &asked, NOW).unwrap();
        let found = records(&paths, &zones, NOW + 3_599).unwrap();
        let places: Vec<_> = found.iter().map(|record| (record.zone.as_str(), record.name.as_str())).collect();
        let base = ("example.org", "_acme-challenge.example.org");
        assert_eq!(places, [base, base, ("sub.example.org", "_acme-challenge.mta-sts.sub.example.org")]);
        assert!(records(&paths, &zones, NOW + 3_600).unwrap().is_empty());
        set(&paths, &[], NOW).unwrap();
        assert!(records(&paths, &zones, NOW).unwrap().is_empty());
    }

    #[test]
    fn nothing_else_gets_into_a_zone_by_this_door() {
        let (_dir, paths, zones) = set_up();
        let good = "a".repeat(43);
        for wrong in [
            challenge("example.org", &[&good]),
            challenge("_acme-challenge.exam ple.org", &[&good]),
            challenge("_acme-challenge.example.org", &["v=spf1 +all"]),
            challenge("_acme-challenge.example.org", &[&format!("{}\"", "a".repeat(42))]),
        ] {
            assert!(set(&paths, std::slice::from_ref(&wrong), NOW).is_err(), "{wrong:?}");
        }
        let many: Vec<Challenge> =
            (0..201).map(|n| challenge(&format!("_acme-challenge.n{n}.example.org"), &[&good])).collect();
        assert!(set(&paths, &many, NOW).is_err());
        assert!(records(&paths, &zones, NOW).unwrap().is_empty());
    }
}
