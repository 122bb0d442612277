//! What the owner adds to the zones: checked by type, and never in the way of the box's own records unless it says so.
//! The rules are pure; the records lie in `dns/custom.json`.
//!
//! Invariants:
//! - A record that is kept was parsed, as one line of a zone file, by what signs the zone.
//! - What the box's mail depends on (name servers, its own addresses, the domain's MX, DKIM, DMARC and TLSA) cannot be replaced.
//! - A CNAME stands alone (RFC 1034 §3.6.2), and nothing stands below a name that is led elsewhere.

use crate::records::ZoneFacts;
use crate::{DnsError, state, zonefile};
use base::Paths;
use bytes::Bytes;
use domain::base::name::FlattenInto;
use domain::base::zonefile_fmt::{DisplayKind, ZonefileFmt};
use domain::base::{Name, Record as Rr, Rtype};
use domain::rdata::ZoneRecordData;
use domain::zonefile::inplace::{Entry, Zonefile};
use wire::dns::{CustomChange, CustomRecord, Need, Record};

pub type Custom = CustomRecord;

/// Far more than a person keeps by hand; the zone stays quick to sign.
const MAX_RECORDS: usize = 1_000;
/// A TXT of some DKIM keys; longer ones do not fit an answer.
const MAX_VALUE: usize = 4_096;
/// Key rollovers wait for the longest TTL.
pub const MAX_TTL: u32 = 86_400;
const MIN_TTL: u32 = 60;
const KINDS: [&str; 12] = ["A", "AAAA", "CAA", "CNAME", "DS", "MX", "NAPTR", "NS", "SRV", "SSHFP", "TLSA", "TXT"];
/// Names below a mail domain whose addresses the owner may lead elsewhere.
const FREE: [&str; 3] = ["www", "autoconfig", "autodiscover"];

pub fn load(paths: &Paths) -> Result<Vec<Custom>, DnsError> {
    state::read(&paths.dns().join("custom.json"))
}

pub fn save(paths: &Paths, records: &[Custom]) -> Result<(), DnsError> {
    state::write(&paths.dns().join("custom.json"), &records)
}

/// The owner's records after a change; or a sentence that says why not.
pub fn changed(kept: &[Custom], change: CustomChange, facts: &ZoneFacts) -> Result<Vec<Custom>, String> {
    match change {
        CustomChange::Add(record) => added(kept.to_vec(), record, facts),
        CustomChange::Set(records) => {
            let Some(first) = records.first() else { return Err("there is nothing to set".to_owned()) };
            let (name, kind) = (lower(&first.name), first.kind.to_ascii_uppercase());
            let mut all = kept.to_vec();
            all.retain(|one| !(one.name == name && one.kind == kind));
            records.into_iter().try_fold(all, |all, record| added(all, record, facts))
        }
        CustomChange::Remove { name, kind, value } => {
            let (name, kind) = (lower(&name), kind.map(|kind| kind.to_ascii_uppercase()));
            let goes = |one: &Custom| {
                one.name == name
                    && kind.as_ref().is_none_or(|kind| one.kind == *kind)
                    && value.as_ref().is_none_or(|value| lookup::compare::same(&one.kind, &one.value, value))
            };
            let rest: Vec<Custom> = kept.iter().filter(|one| !goes(one)).cloned().collect();
            match rest.len() == kept.len() {
                true => Err(format!("you added no such record at {name}; see: mailstead dns list")),
                false => Ok(rest),
            }
        }
    }
}

fn added(mut kept: Vec<Custom>, record: Custom, facts: &ZoneFacts) -> Result<Vec<Custom>, String> {
    let record = checked(record)?;
    if kept.len() >= MAX_RECORDS {
        return Err(format!("there are {MAX_RECORDS} added records already; remove some first: mailstead dns remove"));
    }
    let same = |one: &&Custom| one.name == record.name && one.kind == record.kind;
    if kept.iter().filter(same).any(|one| lookup::compare::same(&record.kind, &one.value, &record.value)) {
        return Err(format!("{} {} {} is there already", record.name, record.kind, record.value));
    }
    allowed(&record, &kept, facts)?;
    // One TTL for all records of a name and kind (RFC 2181 §5.2).
    for one in kept.iter_mut().filter(|one| one.name == record.name && one.kind == record.kind) {
        one.ttl = record.ttl;
    }
    kept.push(record);
    kept.sort();
    Ok(kept)
}

fn lower(name: &str) -> String {
    name.trim().trim_end_matches('.').to_ascii_lowercase()
}

/// The record as it is kept, if it is one.
fn checked(record: Custom) -> Result<Custom, String> {
    let (name, kind) = (lower(&record.name), record.kind.to_ascii_uppercase());
    if !KINDS.contains(&kind.as_str()) {
        return Err(format!("{kind} records cannot be added; these can: {}", KINDS.join(", ")));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.*".contains(&byte);
    if name.is_empty() || name.len() > 253 || !name.bytes().all(plain) {
        return Err(format!(
            "“{name}” is not a name that a record can have; write it in full, such as shop.example.org"
        ));
    }
    if !(MIN_TTL..=MAX_TTL).contains(&record.ttl) {
        return Err(format!("a TTL is from {MIN_TTL} to {MAX_TTL} seconds"));
    }
    let text = record.value.trim();
    if text.is_empty() || text.len() > MAX_VALUE || text.chars().any(char::is_control) {
        return Err(format!("a value is one line of at most {MAX_VALUE} characters"));
    }
    // What would continue a line or begin a comment belongs in TXT alone, where it is quoted.
    if !matches!(kind.as_str(), "TXT" | "CAA" | "NAPTR") && text.contains(['(', ')', ';', '"', '\\', '$', '@']) {
        return Err(format!("“{text}” is not a value of a {kind} record"));
    }
    let value = if kind == "TXT" { unquoted(text) } else { text.to_owned() };
    let record = Custom { name, kind, value, ..record };
    let value = parsed(&record)?;
    Ok(Custom { value, ..record })
}

/// A TXT value may be pasted with its quotes.
fn unquoted(text: &str) -> String {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    inner.filter(|inner| !inner.contains('"')).unwrap_or(text).to_owned()
}

/// The value in the one form of zone files; or what is wrong with it.
fn parsed(record: &Custom) -> Result<String, String> {
    let wrong = || format!("“{}” is not a value of a {} record{}", record.value, record.kind, example(&record.kind));
    let line = zonefile::written(&record.name, record.ttl, &record.kind, &record.value) + "\n";
    let mut file = Zonefile::from(line.as_str());
    let Ok(Some(Entry::Record(first))) = file.next_entry() else { return Err(wrong()) };
    let parsed: Rr<Name<Bytes>, ZoneRecordData<Bytes, Name<Bytes>>> = first.flatten_into();
    let alone = matches!(file.next_entry(), Ok(None));
    let unknown = matches!(parsed.data(), ZoneRecordData::Unknown(_));
    if !alone || unknown || parsed.rtype().to_string() != record.kind || parsed.rtype() == Rtype::ANY {
        return Err(wrong());
    }
    match record.kind.as_str() {
        "TXT" => Ok(record.value.clone()),
        _ => Ok(parsed.data().display_zonefile(DisplayKind::Simple).to_string()),
    }
}

fn example(kind: &str) -> &'static str {
    match kind {
        "A" => "; such as 192.0.2.1",
        "AAAA" => "; such as 2001:db8::1",
        "MX" => "; such as “10 mail.example.org.”",
        "CNAME" | "NS" => "; such as “host.example.net.”",
        "SRV" => "; such as “0 1 443 host.example.net.”",
        "CAA" => "; such as “0 issue \"ca.example\"”",
        _ => "",
    }
}

/// Whether a record may stand beside, or in place of, what is there.
fn allowed(record: &Custom, kept: &[Custom], facts: &ZoneFacts) -> Result<(), String> {
    let name = &record.name;
    let Some(zone) = facts.zone_of(name) else {
        let zones: Vec<String> = facts.zones().iter().map(ToString::to_string).collect();
        return Err(format!("{name} lies in no zone of this box; it has: {}", zones.join(", ")));
    };
    if name == zone.as_str() && matches!(record.kind.as_str(), "CNAME" | "NS" | "DS") {
        return Err(format!("{name} is a zone of this box, so it can have no {} record of yours", record.kind));
    }
    let generated = facts.generated();
    let ours: Vec<&Record> = generated.iter().filter(|one| stands_against(record, one)).collect();
    if let Some(own) = ours.iter().find(|own| !replaceable(record, own, facts)) {
        return Err(format!(
            "{} {} is the box's own record and cannot be replaced, since mail depends on it: {}",
            own.name, own.kind, own.reason
        ));
    }
    if let (Some(own), false) = (ours.first(), record.replace) {
        return Err(format!(
            "{name} has a {} record of the box's own already ({}); with --replace yours stands in its place",
            own.kind, own.value
        ));
    }
    beside(record, kept, &generated)
}

/// What the owner added before, and names above and below.
fn beside(record: &Custom, kept: &[Custom], generated: &[Record]) -> Result<(), String> {
    let name = &record.name;
    let mut theirs = kept.iter().filter(|one| one.name == *name);
    if theirs.clone().any(|one| (one.kind == "CNAME") != (record.kind == "CNAME")) {
        return Err(format!(
            "{name} cannot have a CNAME and other records; remove one first: mailstead dns remove {name}"
        ));
    }
    if record.kind == "CNAME" && theirs.any(|one| one.kind == "CNAME") {
        return Err(format!("{name} has a CNAME already; use: mailstead dns set"));
    }
    let below = |name: &str, above: &str| name.ends_with(&format!(".{above}"));
    let ours = generated.iter().map(|one| one.name.as_str());
    let mut all = ours.chain(kept.iter().map(|one| one.name.as_str()));
    if record.kind == "NS" && all.any(|one| below(one, name)) {
        return Err(format!("there are records below {name}, so it cannot be led to other name servers"));
    }
    let led = kept.iter().find(|one| one.kind == "NS" && below(name, &one.name));
    if let Some(led) = led {
        return Err(format!("{} is led to other name servers, which alone answer for {name}", led.name));
    }
    let is_led = |one: &Custom| one.name == *name && one.kind == "NS";
    match record.kind.as_str() {
        "NS" if kept.iter().any(|one| one.name == *name && !matches!(one.kind.as_str(), "NS" | "DS")) => {
            Err(format!("{name} has other records, so it cannot be led to other name servers"))
        }
        "NS" => Ok(()),
        "DS" if !kept.iter().any(is_led) => Err(format!("{name} has no NS records, so a DS record says nothing there")),
        "DS" => Ok(()),
        _ if kept.iter().any(is_led) => Err(format!("{name} is led to other name servers, which alone answer for it")),
        _ => Ok(()),
    }
}

fn is_spf(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    lower == "v=spf1" || lower.starts_with("v=spf1 ")
}

/// Whether both cannot be there, unless one replaces the other. CAA and plain texts stand side by side.
fn stands_against(record: &Custom, own: &Record) -> bool {
    own.name == record.name && (record.kind == "NS" || record.kind != "CAA" && supersedes(record, own))
}

/// Whether a record that replaces takes the place of the box's own.
fn supersedes(record: &Custom, own: &Record) -> bool {
    own.name == record.name
        && match record.kind.as_str() {
            "CNAME" => true,
            "TXT" if own.kind == "TXT" => {
                let service = own.name.starts_with('_') || own.name.contains("._");
                service || (is_spf(&record.value) && is_spf(&own.value))
            }
            kind => own.kind == kind,
        }
}

/// What an owner may have otherwise without harm to mail.
fn replaceable(record: &Custom, own: &Record, facts: &ZoneFacts) -> bool {
    let host = facts.hostname.as_str();
    if own.name == host || own.name.ends_with(&format!(".{host}")) && own.need == Need::BoxOnly {
        return false;
    }
    let apex = own.name == own.zone.as_str();
    let below = own.name.strip_suffix(&format!(".{}", own.zone)).unwrap_or_default();
    match own.kind.as_str() {
        _ if FREE.contains(&below) => true,
        _ if record.kind == "CNAME" => false,
        "A" | "AAAA" => apex,
        "SRV" | "CAA" => true,
        // An owner may send through others as well; the status check sees to it that the box may.
        "TXT" => apex || below == "default._bimi",
        _ => false,
    }
}

/// The box's own records with the owner's: beside them, or in their place.
pub fn merged(generated: Vec<Record>, custom: &[Custom], facts: &ZoneFacts) -> Vec<Record> {
    let replaced = |own: &Record| {
        custom.iter().any(|record| record.replace && supersedes(record, own) && replaceable(record, own, facts))
    };
    let mut all: Vec<Record> = generated.into_iter().filter(|own| !replaced(own)).collect();
    for record in custom {
        // Names of a domain that has gone wait for its return, and what has come to stand against one wins.
        let Some(zone) = facts.zone_of(&record.name) else { continue };
        if all.iter().any(|own| stands_against(record, own) && own.reason != REASON) {
            continue;
        }
        let set = all.iter().find(|own| own.name == record.name && own.kind == record.kind);
        let ttl = set.map_or(record.ttl, |own| own.ttl);
        all.push(Record {
            zone,
            name: record.name.clone(),
            ttl,
            kind: record.kind.clone(),
            value: record.value.clone(),
            need: Need::Optional,
            reason: REASON.to_owned(),
        });
    }
    all
}

const REASON: &str = "You added it.";

#[cfg(test)]
mod tests;
