//! From facts to signed zone files: only what changed or is due is written, and NSD is told once at the end.
//!
//! NSD runs as another user and is told by the stamp `zones/published`, which its reload unit watches.

use crate::records::ZoneFacts;
use crate::{DnsError, keys, sign, zonefile};
use base::{Domain, Paths, durable};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use wire::dns::Record;

/// What is remembered of a zone that was handed over.
#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    /// SHA-256 of the unsigned records.
    content: String,
    /// SHA-256 of the signed file, so that one that was changed by hand or damaged is written again.
    #[serde(default)]
    file: String,
    serial: u32,
    /// Seconds since 1970.
    signed: u64,
}

/// Builds and signs what is due; returns the zones that changed. With `dry_run` nothing is written.
pub fn publish(paths: &Paths, facts: &ZoneFacts, now: u64, dry_run: bool) -> Result<Vec<Domain>, DnsError> {
    let records = facts.records();
    let zones = facts.zones();
    let mut changed = Vec::new();
    for zone in &zones {
        if publish_zone(paths, facts, zone, &records, now, dry_run)? {
            changed.push(zone.clone());
        }
    }
    let list_changed = zone_list_differs(paths, &zones);
    if dry_run || (changed.is_empty() && !list_changed) {
        return Ok(changed);
    }
    write(&paths.zones().join("zones.conf"), &zone_list(paths, &zones), 0o644)?;
    write(&paths.zones().join("published"), &format!("{now}\n"), 0o644)?;
    Ok(changed)
}

fn publish_zone(
    paths: &Paths,
    facts: &ZoneFacts,
    zone: &Domain,
    records: &[Record],
    now: u64,
    dry_run: bool,
) -> Result<bool, DnsError> {
    let body = zonefile::body(zone, records);
    let content = hash(body.as_bytes());
    let state_file = paths.dns().join(format!("{zone}.json"));
    let state = read_state(&state_file)?;
    let target = zone_file(paths, zone);
    let age = now.saturating_sub(state.signed);
    let due = age + sign::RENEW_BELOW_SECONDS > u64::from(sign::VALID_SECONDS);
    let whole = std::fs::read(&target).is_ok_and(|file| hash(&file) == state.file);
    if content == state.content && !due && state.signed <= now && whole {
        return Ok(false);
    }
    if dry_run {
        return Ok(true);
    }
    let key = keys::load_or_create(&paths.dns(), zone)?;
    // RRSIG times and serials are 32 bits until 2106 (RFC 4034 §3.1.5).
    let seconds = u32::try_from(now).unwrap_or(u32::MAX);
    let serial = sign::next_serial(state.serial, seconds);
    let unsigned = zonefile::soa(zone, &facts.hostname, serial) + &body;
    let signed = sign::sign(zone, &unsigned, &key, seconds)?;
    // State first: a serial that was written down and not used is harmless, one used and forgotten is not. The
    // content's hash comes last, so that an interruption in between has the zone written again.
    write_state(&state_file, &State { serial, signed: now, ..State::default() })?;
    write(&target, &signed, 0o644)?;
    write_state(&state_file, &State { content, file: hash(signed.as_bytes()), serial, signed: now })?;
    tracing::info!("zone {zone} signed, serial {serial}");
    Ok(true)
}

fn hash(octets: &[u8]) -> String {
    hex::encode(Sha256::digest(octets))
}

fn zone_file(paths: &Paths, zone: &Domain) -> PathBuf {
    paths.zones().join(format!("{zone}.zone"))
}

/// The part of NSD's configuration that names the zones.
fn zone_list(paths: &Paths, zones: &[Domain]) -> String {
    let mut text = String::from("# The zones of this box, written by mailstead-dns.\n");
    for zone in zones {
        text.push_str(&format!("zone:\n  name: \"{zone}\"\n  zonefile: \"{}\"\n", zone_file(paths, zone).display()));
    }
    text
}

fn zone_list_differs(paths: &Paths, zones: &[Domain]) -> bool {
    std::fs::read_to_string(paths.zones().join("zones.conf")).ok().as_deref() != Some(&zone_list(paths, zones))
}

fn read_state(file: &Path) -> Result<State, DnsError> {
    match std::fs::read(file) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| DnsError::file(file, std::io::Error::other(error))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(State::default()),
        Err(error) => Err(DnsError::file(file, error)),
    }
}

fn write_state(file: &Path, state: &State) -> Result<(), DnsError> {
    let text = serde_json::to_string(state).map_err(|error| DnsError::file(file, std::io::Error::other(error)))?;
    write(file, &text, 0o600)
}

fn write(file: &Path, text: &str, mode: u32) -> Result<(), DnsError> {
    durable::write(file, text.as_bytes(), mode).map_err(|error| DnsError::file(file, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::tests::facts;
    use std::process::Command;

    const NOW: u64 = 1_795_248_000;

    fn published() -> (tempfile::TempDir, Paths) {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        for folder in [paths.dns(), paths.zones()] {
            std::fs::create_dir_all(folder).unwrap();
        }
        (dir, paths)
    }

    #[test]
    fn a_zone_is_written_once_and_again_only_when_it_changes_or_its_signatures_are_due() {
        let (_dir, paths) = published();
        let mut facts = facts();
        assert_eq!(publish(&paths, &facts, NOW, true).unwrap().len(), 2);
        assert!(!paths.zones().join("published").exists());
        assert_eq!(publish(&paths, &facts, NOW, false).unwrap().len(), 2);
        assert!(publish(&paths, &facts, NOW + 86_400, false).unwrap().is_empty());
        assert_eq!(publish(&paths, &facts, NOW + 6 * 86_400, false).unwrap().len(), 2);
        facts.dkim.clear();
        assert_eq!(publish(&paths, &facts, NOW + 6 * 86_400, false).unwrap().len(), 1);
    }

    #[test]
    fn a_zone_file_that_was_changed_by_hand_is_written_again() {
        let (_dir, paths) = published();
        let facts = facts();
        let zone = publish(&paths, &facts, NOW, false).unwrap().remove(0);
        let file = zone_file(&paths, &zone);
        let edited = std::fs::read_to_string(&file).unwrap().replace(" MX ", " TXT ");
        std::fs::write(&file, &edited).unwrap();
        assert_eq!(publish(&paths, &facts, NOW + 60, false).unwrap(), [zone]);
        assert_ne!(std::fs::read_to_string(&file).unwrap(), edited);
        assert!(publish(&paths, &facts, NOW + 120, false).unwrap().is_empty());
    }

    #[test]
    fn an_independent_verifier_agrees_with_the_signatures() {
        let (_dir, paths) = published();
        let now = base::time::now_unix();
        let facts = facts();
        publish(&paths, &facts, now, false).unwrap();
        for zone in facts.zones() {
            let file = zone_file(&paths, &zone);
            let output = Command::new("ldns-verify-zone").arg(&file).output().expect("ldnsutils is installed");
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{words}\n{}", std::fs::read_to_string(file).unwrap());
        }
    }

    #[test]
    fn the_ds_is_the_one_that_an_independent_tool_computes() {
        let (_dir, paths) = published();
        publish(&paths, &facts(), NOW, false).unwrap();
        let zone = Domain::parse("example.org").unwrap();
        let ours = keys::ds(&zone, &keys::load_or_create(&paths.dns(), &zone).unwrap());
        let output = Command::new("ldns-key2ds").args(["-n", "-2", "-f"]).arg(zone_file(&paths, &zone)).output();
        let theirs = String::from_utf8_lossy(&output.expect("ldnsutils is installed").stdout).to_lowercase();
        let wanted = format!("{} 13 2 {}", ours.key_tag, ours.digest.to_lowercase());
        assert!(theirs.split_whitespace().collect::<Vec<_>>().join(" ").contains(&wanted), "{theirs}: {wanted}");
    }

    #[test]
    fn the_serial_never_goes_back_even_if_the_clock_does() {
        assert_eq!(sign::next_serial(0, 1_795_248_000), 1_795_248_000);
        assert_eq!(sign::next_serial(1_795_248_000, 1_000), 1_795_248_001);
    }
}
