//! From facts to signed zone files: only what changed or is due is written, and NSD is told once at the end.
//!
//! NSD runs as another user and is told by the stamp `zones/published`, which its reload unit watches.
//!
//! A zone's keys move on ([`crate::rollover`]) just before it is looked whether the zone is due, and are on the disk,
//! together with the serial, before a zone is that was signed by them.

use crate::records::ZoneFacts;
use crate::rollover::{Event, Keyset, Kind, Parent, Timing};
use crate::sign::Signers;
use crate::{DnsError, custom, keys, secondaries, sign, state, zonefile};
use base::{Domain, Paths, durable};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use wire::dns::Record;

const DAY: u64 = 86_400;
/// Changes when zones are to be signed anew because the way of signing is another.
const METHOD: &str = "nsec3, set and zone keys, cds";

/// What is remembered of a zone that was handed over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// SHA-256 of the unsigned records and of which keys sign them.
    content: String,
    /// SHA-256 of the signed file, so that one that was changed by hand or damaged is written again.
    #[serde(default)]
    file: String,
    pub serial: u32,
    /// Seconds since 1970.
    signed: u64,
    #[serde(default)]
    pub keys: Keyset,
    /// The key whose DS the owner was told of last.
    #[serde(default)]
    pub told: Option<String>,
}

/// What is seen of a zone in the world.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// The serial that the box's name server serves.
    pub served: Option<u32>,
    pub parent: Option<Parent>,
}

pub type Looks = BTreeMap<Domain, Look>;

/// What a publication did.
#[derive(Debug, Default)]
pub struct Published {
    /// The zones that changed.
    pub zones: Vec<Domain>,
    pub events: Vec<(Domain, Event)>,
    /// Whether every zone's name server was seen to serve what was decided.
    pub is_settled: bool,
}

/// Builds and signs what is due. With `dry_run` nothing is written.
pub fn publish(
    paths: &Paths,
    facts: &ZoneFacts,
    looks: &Looks,
    now: u64,
    dry_run: bool,
) -> Result<Published, DnsError> {
    let zones = facts.zones();
    let mut done = Published { is_settled: true, ..Published::default() };
    let mut states = BTreeMap::new();
    let mut facts = facts.clone();
    for zone in &zones {
        let look = looks.get(zone).cloned().unwrap_or_default();
        let (state, events) = advanced(paths, zone, &look, timing(&facts), now, dry_run)?;
        if is_inner(zone, &zones) {
            vouch_for(paths, &mut facts, zone, &state.keys)?;
        }
        done.events.extend(events.into_iter().map(|event| (zone.clone(), event)));
        states.insert(zone.clone(), state);
    }
    let mut records = facts.records();
    records.extend(crate::challenges::records(paths, &zones, now)?);
    for (zone, state) in &mut states {
        if publish_zone(paths, &facts, zone, state, &records, now, dry_run)? {
            done.zones.push(zone.clone());
        }
        done.is_settled &= state.keys.is_confirmed();
    }
    if dry_run {
        return Ok(done);
    }
    for (_, event) in &done.events {
        if let Event::Dropped(file) = event {
            keys::remove(&paths.dns(), file)?;
        }
    }
    let told = secondaries::hand_over(paths)?;
    if !done.zones.is_empty() || told || zone_list_differs(paths, &zones) {
        write(&paths.zones().join("zones.conf"), &zone_list(paths, &zones), 0o644)?;
        tell(paths, now)?;
    }
    Ok(done)
}

/// Has NSD look again.
pub fn tell(paths: &Paths, now: u64) -> Result<(), DnsError> {
    write(&paths.zones().join("published"), &format!("{now}\n"), 0o644)
}

/// Adds what the outer zones say of the keys of those within them.
pub fn vouch(paths: &Paths, facts: &mut ZoneFacts) -> Result<(), DnsError> {
    let zones = facts.zones();
    for zone in zones.iter().filter(|zone| is_inner(zone, &zones)) {
        let state = state(paths, zone)?;
        vouch_for(paths, facts, zone, &state.keys)?;
    }
    Ok(())
}

fn vouch_for(paths: &Paths, facts: &mut ZoneFacts, zone: &Domain, keyset: &Keyset) -> Result<(), DnsError> {
    if let Some(key) = keyset.wanted() {
        let [sha256, _] = keys::ds(&paths.dns(), zone, key)?;
        facts.inner.insert(zone.clone(), vec![keys::ds_value(&sha256)]);
    }
    Ok(())
}

fn is_inner(zone: &Domain, zones: &[Domain]) -> bool {
    zones.iter().any(|other| other != zone && zone.is_within(other))
}

fn timing(facts: &ZoneFacts) -> Timing {
    // A secondary that hears nothing may serve what it has until the zone expires there.
    let elsewhere = if facts.secondaries.is_empty() { 0 } else { zonefile::SOA_EXPIRE };
    Timing { keys_ttl: sign::KEY_TTL.into(), zone_ttl: custom::MAX_TTL.into(), spread: DAY + elsewhere }
}

pub fn state(paths: &Paths, zone: &Domain) -> Result<State, DnsError> {
    state::read(&state_file(paths, zone))
}

pub fn keep(paths: &Paths, zone: &Domain, state: &State) -> Result<(), DnsError> {
    state::write(&state_file(paths, zone), state)
}

fn state_file(paths: &Paths, zone: &Domain) -> PathBuf {
    paths.dns().join(format!("{zone}.json"))
}

/// A zone's state after time has passed for its keys. In a dry run no key is made.
fn advanced(
    paths: &Paths,
    zone: &Domain,
    look: &Look,
    timing: Timing,
    now: u64,
    dry_run: bool,
) -> Result<(State, Vec<Event>), DnsError> {
    let mut state = state(paths, zone)?;
    let dir = paths.dns();
    if state.keys.keys.is_empty() {
        match keys::only_key(&dir, zone) {
            Some(file) => state.keys = Keyset::adopt(file, state.signed),
            None if dry_run => return Ok((state, Vec::new())),
            None => {
                let (ksk, zsk) = (keys::create(&dir, zone, Kind::Ksk)?, keys::create(&dir, zone, Kind::Zsk)?);
                state.keys = Keyset::begin(ksk, zsk, now);
            }
        }
    }
    if look.served == Some(state.serial) {
        state.keys.confirm(now);
    }
    let events = state.keys.pass(now, look.parent.as_ref(), &timing);
    for event in &events {
        tracing::info!("keys of {zone}: {event:?}");
        if let (Event::Make(kind), false) = (event, dry_run) {
            let file = keys::create(&dir, zone, *kind)?;
            state.keys.publish(file, *kind, now);
        }
    }
    Ok((state, events))
}

fn publish_zone(
    paths: &Paths,
    facts: &ZoneFacts,
    zone: &Domain,
    state: &mut State,
    records: &[Record],
    now: u64,
    dry_run: bool,
) -> Result<bool, DnsError> {
    let body = zonefile::body(zone, records);
    let content = fingerprint(&body, &state.keys);
    let is_whole = std::fs::read(zone_file(paths, zone)).is_ok_and(|file| hash(&file) == state.file);
    if content == state.content && !is_due(state, now) && is_whole {
        if !dry_run && *state != self::state(paths, zone)? {
            keep(paths, zone, state)?;
        }
        return Ok(false);
    }
    if !dry_run {
        sign_zone(paths, zone, &facts.hostname, state, &body, now)?;
        // The content's hash comes last, so that an interruption before has the zone written again.
        state.content = content;
        keep(paths, zone, state)?;
    }
    Ok(true)
}

fn hash(octets: &[u8]) -> String {
    hex::encode(Sha256::digest(octets))
}

/// SHA-256 of what the signed zone follows from, but for the time.
fn fingerprint(body: &str, keys: &Keyset) -> String {
    let mut hash = Sha256::new();
    hash.update(METHOD);
    for key in &keys.keys {
        hash.update(format!("\n{} {:?} {:?}", key.file, key.kind, key.phase));
    }
    hash.update("\n");
    hash.update(body);
    hex::encode(hash.finalize())
}

fn is_due(state: &State, now: u64) -> bool {
    let age = now.saturating_sub(state.signed);
    // Signed later than now: the clock was wrong then, or is.
    age + sign::RENEW_BELOW_SECONDS > u64::from(sign::VALID_SECONDS) || state.signed > now
}

/// Signs a zone and writes it. The state is written before: a serial that was written down and not used is harmless, one
/// used and forgotten is not.
fn sign_zone(
    paths: &Paths,
    zone: &Domain,
    hostname: &Domain,
    state: &mut State,
    body: &str,
    now: u64,
) -> Result<(), DnsError> {
    // RRSIG times and serials are 32 bits until 2106 (RFC 4034 §3.1.5).
    let seconds = u32::try_from(now).unwrap_or(u32::MAX);
    state.serial = sign::next_serial(state.serial, seconds);
    state.signed = now;
    state.content.clear();
    let mut unsigned = zonefile::soa(zone, hostname, state.serial) + body;
    if let Some(wanted) = state.keys.wanted() {
        unsigned.push_str(&keys::child_records(&paths.dns(), zone, wanted)?);
    }
    let signed = sign::sign(zone, &unsigned, &signers(&paths.dns(), zone, &state.keys)?, seconds)?;
    keep(paths, zone, state)?;
    write(&zone_file(paths, zone), &signed, 0o644)?;
    state.file = hash(signed.as_bytes());
    tracing::info!("zone {zone} signed, serial {}", state.serial);
    Ok(())
}

fn signers(dir: &Path, zone: &Domain, keyset: &Keyset) -> Result<Signers, DnsError> {
    let all: Result<Vec<_>, _> = keyset.keys.iter().map(|key| keys::load(dir, zone, &key.file, key.kind)).collect();
    let places = |chosen: Vec<&crate::rollover::Key>| {
        let place = |key: &crate::rollover::Key| keyset.keys.iter().position(|one| one.file == key.file);
        chosen.into_iter().filter_map(place).collect()
    };
    Ok(Signers { all: all?, set: places(keyset.set_signers()), zone: places(keyset.zone_signers()) })
}

/// Signs anew what has become due while the machine was off, from the zones as they were served and without asking
/// anybody: so the name server, which starts after this, has no signature that has ended.
pub fn renew(paths: &Paths, hostname: &Domain, now: u64) -> Result<Vec<Domain>, DnsError> {
    let mut renewed = Vec::new();
    for zone in zones_on_disk(paths)? {
        match renew_zone(paths, &zone, hostname, now) {
            Ok(true) => renewed.push(zone),
            Ok(false) => {}
            Err(error) => tracing::error!("the signatures of {zone} wait for the next publication: {error}"),
        }
    }
    if !renewed.is_empty() {
        tell(paths, now)?;
    }
    Ok(renewed)
}

fn renew_zone(paths: &Paths, zone: &Domain, hostname: &Domain, now: u64) -> Result<bool, DnsError> {
    let mut state = state(paths, zone)?;
    if state.keys.keys.is_empty() || !is_due(&state, now) {
        return Ok(false);
    }
    let file = zone_file(paths, zone);
    let text = std::fs::read_to_string(&file).map_err(|error| DnsError::file(&file, error))?;
    if !state.file.is_empty() && state.file != hash(text.as_bytes()) {
        // What is in it is not ours to sign; the next publication writes it anew.
        return Ok(false);
    }
    let content = state.content.clone();
    sign_zone(paths, zone, hostname, &mut state, &sign::stripped(zone, &text), now)?;
    state.content = content;
    keep(paths, zone, &state)?;
    Ok(true)
}

fn zones_on_disk(paths: &Paths) -> Result<Vec<Domain>, DnsError> {
    let dir = paths.zones();
    let entries = std::fs::read_dir(&dir).map_err(|error| DnsError::file(&dir, error))?;
    let names = entries.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned());
    Ok(names.filter_map(|name| Domain::parse(name.strip_suffix(".zone")?).ok()).collect())
}

fn zone_file(paths: &Paths, zone: &Domain) -> PathBuf {
    paths.zones().join(format!("{zone}.zone"))
}

/// The part of NSD's configuration that names the zones.
fn zone_list(paths: &Paths, zones: &[Domain]) -> String {
    let mut text = String::from("# The zones of this box, written by mailstead-dns.\n");
    for zone in zones {
        let file = zone_file(paths, zone);
        text.push_str(&format!("zone:\n  name: \"{zone}\"\n  zonefile: \"{}\"\n", file.display()));
        text.push_str(&format!("  include-pattern: \"{}\"\n", secondaries::PATTERN));
    }
    text
}

fn zone_list_differs(paths: &Paths, zones: &[Domain]) -> bool {
    std::fs::read_to_string(paths.zones().join("zones.conf")).ok().as_deref() != Some(&zone_list(paths, zones))
}

fn write(file: &Path, text: &str, mode: u32) -> Result<(), DnsError> {
    durable::write(file, text.as_bytes(), mode).map_err(|error| DnsError::file(file, error))
}

#[cfg(test)]
mod tests;
