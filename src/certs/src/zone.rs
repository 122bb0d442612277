//! What the name servers of a zone say, each asked by itself: whether a validation's record is served, and the TLSA records.

use crate::CertsError;
use crate::limits::{LEAST_TTL, LOOK_AGAIN, SERVED_WITHIN};
use crate::roll::Published;
use base::{BoxConfig, Endpoints, HostFacts, Paths};
use hickory_resolver::TokioResolver;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// The name servers of a zone that is delegated to this box, its own among them.
pub struct Servers {
    zone: String,
    asked: Vec<(SocketAddr, TokioResolver)>,
}

fn unasked(name: &str, error: &NetError) -> String {
    format!("{name} cannot be looked up: {error}")
}

impl Servers {
    /// Finds them in public DNS; an error says why the zone is not this box's there.
    pub async fn of(paths: &Paths, config: &BoxConfig, zone: &str) -> Result<Self, String> {
        let endpoints = Endpoints::of(config);
        let host = HostFacts::load(paths).map_err(|error| error.to_string())?;
        let resolver = base::names::resolver(endpoints.resolver).map_err(|error| error.to_string())?;
        let answer = resolver.lookup(format!("{zone}."), RecordType::NS).await;
        let answer = answer.map_err(|error| unasked(zone, &error))?;
        let mut addresses: Vec<IpAddr> = Vec::new();
        for record in answer.answers() {
            let RData::NS(server) = &record.data else { continue };
            // One that has no address is not asked by the authority either.
            if let Ok(found) = resolver.lookup_ip(server.0.clone()).await {
                addresses.extend(found.iter());
            }
        }
        addresses.sort();
        addresses.dedup();
        if !host.addresses().any(|own| addresses.contains(&own)) {
            return Err(format!("{zone} is not delegated to this box in public DNS"));
        }
        let mut asked = Vec::new();
        for address in addresses {
            let server = inside(address, &host, endpoints.dns.port);
            asked.push((server, base::names::resolver(server).map_err(|error| error.to_string())?));
        }
        Ok(Self { zone: zone.to_owned(), asked })
    }

    /// Waits until every server has these TXT records; those that cannot be reached at all are told.
    pub async fn wait_for(&self, records: &BTreeMap<String, Vec<String>>) -> Result<(), String> {
        let begun = Instant::now();
        for (name, values) in records {
            for (server, _) in &self.asked {
                while !has_all(&txt(*server, name).await, values) {
                    if begun.elapsed() > SERVED_WITHIN {
                        return Err(format!("the name server {server} of {} does not serve {name} yet", self.zone));
                    }
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            }
        }
        Ok(())
    }

    /// The TLSA records that every server has at a name.
    pub async fn tlsa(&self, name: &str) -> Result<Published, String> {
        let (mut pins, mut ttl) = (None::<Vec<String>>, LEAST_TTL);
        for (_, resolver) in &self.asked {
            let found = tlsa(resolver, name).await?;
            ttl = found.iter().map(|(_, ttl)| *ttl).fold(ttl, u64::max);
            let here: Vec<String> = found.into_iter().map(|(pin, _)| pin).collect();
            pins = Some(match pins {
                Some(pins) => pins.into_iter().filter(|pin| here.contains(pin)).collect(),
                None => here,
            });
        }
        Ok(Published { pins: pins.filter(|pins| !pins.is_empty()), ttl })
    }
}

/// The TLSA records of a name as the box's resolver sees them, where the zone is served elsewhere.
pub async fn tlsa_in_public(config: &BoxConfig, name: &str) -> Result<Published, CertsError> {
    let resolver = base::names::resolver(Endpoints::of(config).resolver)
        .map_err(|error| CertsError::Resolver(error.to_string()))?;
    let found = tlsa(&resolver, name).await.map_err(CertsError::Resolver)?;
    let ttl = found.iter().map(|(_, ttl)| *ttl).fold(LEAST_TTL, u64::max);
    let pins: Vec<String> = found.into_iter().map(|(pin, _)| pin).collect();
    Ok(Published { pins: Some(pins).filter(|pins| !pins.is_empty()), ttl })
}

/// Where a name server is asked from here: the box's own under the address that it binds, which behind NAT is another.
fn inside(address: IpAddr, host: &HostFacts, port: u16) -> SocketAddr {
    if !host.addresses().any(|own| own == address) {
        return SocketAddr::new(address, 53);
    }
    let same_kind = host.bind.iter().find(|bound| bound.is_ipv4() == address.is_ipv4());
    SocketAddr::new(same_kind.copied().unwrap_or(address), port)
}

/// A resolver of its own each time: nothing comes from a cache.
async fn txt(server: SocketAddr, name: &str) -> Vec<String> {
    let Ok(resolver) = base::names::resolver(server) else { return Vec::new() };
    let Ok(answer) = resolver.lookup(format!("{name}."), RecordType::TXT).await else { return Vec::new() };
    let text = |record: &Record| match &record.data {
        RData::TXT(txt) => Some(txt.txt_data.iter().map(|part| String::from_utf8_lossy(part)).collect::<String>()),
        _ => None,
    };
    answer.answers().iter().filter_map(text).collect()
}

fn has_all(found: &[String], wanted: &[String]) -> bool {
    wanted.iter().all(|value| found.contains(value))
}

/// The digests (of usage 3, selector 1, matching 1) with their TTL.
async fn tlsa(resolver: &TokioResolver, name: &str) -> Result<Vec<(String, u64)>, String> {
    let answer = match resolver.lookup(format!("{name}."), RecordType::TLSA).await {
        Ok(answer) => answer,
        Err(error) if error.is_no_records_found() => return Ok(Vec::new()),
        Err(error) => return Err(unasked(name, &error)),
    };
    let pin = |record: &Record| match &record.data {
        RData::TLSA(tlsa) => Some((hex::encode(&tlsa.cert_data), u64::from(record.ttl))),
        _ => None,
    };
    Ok(answer.answers().iter().filter_map(pin).collect())
}
