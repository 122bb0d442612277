//! Signing a zone: text in, signed text out. Denial by NSEC3 as RFC 9276 wants it.

use crate::DnsError;
use crate::keys::{self, ZoneKey};
use base::Domain;
use bytes::Bytes;
use domain::base::iana::{Class, Rtype};
use domain::base::name::FlattenInto;
use domain::base::zonefile_fmt::{DisplayKind, ZonefileFmt};
use domain::base::{Name, Record, Serial, Ttl};
use domain::dnssec::sign::denial::nsec3::{GenerateNsec3Config, generate_nsec3s};
use domain::dnssec::sign::records::{DefaultSorter, RecordsIter, Rrset, SortedRecords};
use domain::dnssec::sign::signatures::rrsigs::{GenerateRrsigConfig, sign_rrset, sign_sorted_zone_records};
use domain::rdata::dnssec::Timestamp;
use domain::rdata::{Dnskey, ZoneRecordData};
use domain::zonefile::inplace::{Entry, Zonefile};
use std::fmt::Write;

/// How long a signature is good. Three weeks leave a box that is switched off for two still valid, and its secondaries,
/// which forget the zone after a week (see the SOA), never with a signature that has ended.
pub const VALID_SECONDS: u32 = 21 * 86_400;
/// Signatures with less than this left are made anew.
pub const RENEW_BELOW_SECONDS: u64 = 14 * 86_400;
/// Signatures begin in the past, for resolvers whose clocks are behind.
const INCEPTION_BEFORE_SECONDS: u32 = 3600;
/// The DNSKEY set's TTL.
pub const KEY_TTL: u32 = 3600;

type Data = ZoneRecordData<Bytes, Name<Bytes>>;
type Rr = Record<Name<Bytes>, Data>;

/// The keys that a zone is signed with.
pub struct Signers {
    /// Every key of the set.
    pub all: Vec<ZoneKey>,
    /// Those that sign the set, and CDS and CDNSKEY with it (RFC 7344 §4.1), by their place in `all`.
    pub set: Vec<usize>,
    /// Those that sign everything else.
    pub zone: Vec<usize>,
}

impl Signers {
    fn chosen(&self, places: &[usize]) -> Vec<&ZoneKey> {
        places.iter().filter_map(|place| self.all.get(*place)).collect()
    }
}

/// Signs an unsigned zone (SOA first). `now` is seconds since 1970.
pub fn sign(zone: &Domain, text: &str, signers: &Signers, now: u32) -> Result<String, DnsError> {
    let failed = |why: &dyn std::fmt::Display| DnsError::Signing(zone.clone(), why.to_string());
    let apex = keys::name(zone)?;
    let mut records = SortedRecords::<Name<Bytes>, Data, DefaultSorter>::from(read(zone, &apex, text)?);
    let validity = GenerateRrsigConfig::new(
        Timestamp::from(now.wrapping_sub(INCEPTION_BEFORE_SECONDS)),
        Timestamp::from(now.wrapping_add(VALID_SECONDS)),
    );

    // No salt, no further rounds, no opt-out (RFC 9276 §3.1).
    let config = GenerateNsec3Config::<Bytes, DefaultSorter>::default();
    let unsigned: Vec<Rr> = records.iter().cloned().collect();
    let denial =
        generate_nsec3s(&apex, RecordsIter::new_from_owned(&unsigned), &config).map_err(|error| failed(&error))?;
    let parameters = with_data(denial.nsec3param, ZoneRecordData::Nsec3param);
    let denials = denial.nsec3s.into_iter().map(|record| with_data(record, ZoneRecordData::Nsec3));
    records.extend(denials.chain([parameters]));

    let covered: Vec<Rr> = records.iter().cloned().collect();
    let zone_keys = signers.chosen(&signers.zone);
    let signatures = sign_sorted_zone_records(&apex, RecordsIter::new_from_owned(&covered), &zone_keys, &validity)
        .map_err(|error| failed(&error))?;
    let mut signatures: Vec<Rr> =
        signatures.into_iter().map(|record| with_data(record, ZoneRecordData::Rrsig)).collect();
    let set: Result<Vec<Rr>, String> = signers.all.iter().map(|key| dnskey_record(&apex, key)).collect();
    let set = set.map_err(|why| failed(&why))?;
    let of = |kind| covered.iter().filter(move |record| record.rtype() == kind).cloned().collect::<Vec<Rr>>();
    for family in [set.clone(), of(Rtype::CDS), of(Rtype::CDNSKEY)] {
        if family.is_empty() {
            continue;
        }
        let family = Rrset::new_from_owned(&family).map_err(|error| failed(&format_args!("{error:?}")))?;
        for key in signers.chosen(&signers.set) {
            let signature = sign_rrset(key, &family, validity.inception, validity.expiration);
            signatures.push(with_data(signature.map_err(|error| failed(&error))?, ZoneRecordData::Rrsig));
        }
    }
    records.extend(signatures);
    records.extend(set);
    Ok(write(&records))
}

/// The records of a signed zone without what the signing added, and without its SOA: what was signed, for signing it anew
/// when those who know the records are not there yet.
pub fn stripped(zone: &Domain, signed: &str) -> String {
    const ADDED: [&str; 7] = ["RRSIG", "NSEC", "NSEC3", "NSEC3PARAM", "DNSKEY", "CDS", "CDNSKEY"];
    let apex = format!("{zone}.");
    let kept = signed.lines().filter(|line| {
        let mut words = line.split_whitespace();
        let (owner, kind) = (words.next().unwrap_or_default(), words.nth(2).unwrap_or_default());
        let is_soa = kind == "SOA" && owner == apex;
        !is_soa && !ADDED.contains(&kind)
    });
    kept.map(|line| format!("{line}\n")).collect()
}

fn with_data<D>(record: Record<Name<Bytes>, D>, wrap: impl Fn(D) -> Data) -> Rr {
    let (owner, class, ttl) = (record.owner().clone(), record.class(), record.ttl());
    Record::new(owner, class, ttl, wrap(record.into_data()))
}

fn dnskey_record(apex: &Name<Bytes>, key: &ZoneKey) -> Result<Rr, String> {
    let public = key.dnskey();
    let data =
        Dnskey::new(public.flags(), public.protocol(), public.algorithm(), Bytes::from(public.public_key().clone()))
            .map_err(|error| error.to_string())?;
    Ok(Record::new(apex.clone(), Class::IN, Ttl::from_secs(KEY_TTL), ZoneRecordData::Dnskey(data)))
}

fn read(zone: &Domain, apex: &Name<Bytes>, text: &str) -> Result<Vec<Rr>, DnsError> {
    let failed = |why: &dyn std::fmt::Display| DnsError::Signing(zone.clone(), why.to_string());
    let mut file = Zonefile::from(text);
    file.set_origin(apex.clone());
    let mut records = Vec::new();
    while let Some(entry) = file.next_entry().map_err(|error| failed(&error))? {
        if let Entry::Record(record) = entry {
            records.push(record.flatten_into());
        }
    }
    Ok(records)
}

/// The master file that NSD reads: SOA first.
fn write(records: &SortedRecords<Name<Bytes>, Data, DefaultSorter>) -> String {
    let mut text = String::new();
    let (soa, rest): (Vec<&Rr>, Vec<&Rr>) = records.iter().partition(|record| record.rtype() == Rtype::SOA);
    for record in soa.into_iter().chain(rest) {
        let (owner, ttl, class, kind) = (record.owner(), record.ttl().as_secs(), record.class(), record.rtype());
        // Writing to a string does not fail.
        let _ = writeln!(text, "{owner}. {ttl} {class} {kind} {}", data(record.data()));
    }
    text
}

/// RRSIG times have to be written as dates, or NSD takes the number for a date and refuses the zone.
fn data(data: &Data) -> String {
    let ZoneRecordData::Rrsig(signature) = data else {
        // The plain `Display` writes the root name of a null MX as two dots.
        return data.display_zonefile(DisplayKind::Simple).to_string();
    };
    let signature_text = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, signature.signature());
    format!(
        "{} {} {} {} {} {} {} {}. {signature_text}",
        signature.type_covered(),
        u8::from(signature.algorithm()),
        signature.labels(),
        signature.original_ttl().as_secs(),
        date(signature.expiration()),
        date(signature.inception()),
        signature.key_tag(),
        signature.signer_name(),
    )
}

/// `YYYYMMDDHHMMSS` in UTC (RFC 4034 §3.2).
fn date(stamp: Timestamp) -> String {
    let seconds = i64::from(stamp.into_int());
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    jiff::fmt::strtime::format("%Y%m%d%H%M%S", &time.to_zoned(jiff::tz::TimeZone::UTC)).unwrap_or_default()
}

/// The next serial after `previous`: the time, and always more than before (RFC 1982 arithmetic aside, until 2106).
pub fn next_serial(previous: u32, now: u32) -> u32 {
    let time = Serial::from(now);
    if time > Serial::from(previous) { now } else { previous.wrapping_add(1) }
}
