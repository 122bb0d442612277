//! The names that the certificate is to cover, and what stands against each.

use crate::CertsError;
use crate::limits::{LOOKED_UP_AT_ONCE, MAX_NAMES};
use base::sites::{self, with_www};
use base::{BoxConfig, DnsMode, Domain, Endpoints, HostFacts, Paths};
use hickory_resolver::TokioResolver;
use std::net::IpAddr;
use wire::{Client, directory};

/// Below each mail domain: what RFC 8461 and mail programs look for.
const PREFIXES: [&str; 3] = ["mta-sts", "autoconfig", "autodiscover"];

/// A name that there should be a certificate for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// May be a wildcard.
    pub name: String,
    /// The zone of it that the box serves, if it does: control can be shown by a record there.
    pub zone: Option<Domain>,
    /// Whether it leads to this box in public DNS: control can be shown by a file.
    pub leads_here: bool,
}

impl Name {
    /// Where the TXT record of a validation stands (RFC 8555 §8.4).
    pub fn challenge(&self) -> String {
        format!("_acme-challenge.{}", self.name.trim_start_matches("*."))
    }
}

/// Every name that there should be a certificate for: the hostname first, the sites of the web last.
pub fn wanted(config: &BoxConfig, domains: &[Domain]) -> Vec<String> {
    let below = |domain: &Domain| PREFIXES.map(|prefix| format!("{prefix}.{domain}"));
    let mut names = vec![config.hostname.to_string()];
    names.extend(domains.iter().flat_map(below));
    let on_the_web = domains.iter().flat_map(with_www).chain(sites::names(&config.sites));
    names.extend(on_the_web.map(|name| name.to_string()));
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// The names that lead to this box, and the others. Asks the box's resolver.
pub struct Looked {
    pub domains: Vec<Domain>,
    pub names: Vec<Name>,
    pub elsewhere: Vec<String>,
}

/// Looks every name up.
pub async fn look(paths: &Paths, config: &BoxConfig) -> Result<Looked, CertsError> {
    let domains = Client::new(paths.clone()).ask(&directory::Domains {}).await?;
    let host = HostFacts::load(paths).map_err(|error| CertsError::file(&paths.host_facts(), error))?;
    let own: Vec<_> = host.addresses().collect();
    let resolver = base::names::resolver(Endpoints::of(config).resolver)
        .map_err(|error| CertsError::Resolver(error.to_string()))?;
    let zones = zones(config, &domains);
    let (mut names, mut elsewhere) = (Vec::new(), Vec::new());
    let all = wanted(config, &domains);
    for (name, leads_here) in all.iter().zip(lead_here(&resolver, &all, &own).await) {
        if leads_here {
            names.push(Name { zone: zone_of(name, &zones), name: name.clone(), leads_here });
        } else {
            elsewhere.push(name.clone());
        }
    }
    let names = fold(names, MAX_NAMES);
    Ok(Looked { domains, names, elsewhere })
}

/// Which of the names have an address of this box, in their order. Some are looked up at once: each may take seconds to fail.
async fn lead_here(resolver: &TokioResolver, names: &[String], own: &[IpAddr]) -> Vec<bool> {
    let mut found = Vec::with_capacity(names.len());
    for some in names.chunks(LOOKED_UP_AT_ONCE) {
        let looking: Vec<_> = some
            .iter()
            .map(|name| {
                let (resolver, own, name) = (resolver.clone(), own.to_vec(), format!("{name}."));
                tokio::spawn(async move {
                    let addresses = resolver.lookup_ip(name).await;
                    addresses.is_ok_and(|addresses| addresses.iter().any(|address| own.contains(&address)))
                })
            })
            .collect();
        for one in looking {
            found.push(one.await.unwrap_or(false));
        }
    }
    found
}

/// The names that lead to this box in public DNS.
pub async fn reachable(paths: &Paths, config: &BoxConfig) -> Result<Vec<String>, CertsError> {
    let looked = look(paths, config).await?;
    Ok(looked.names.into_iter().map(|name| name.name).collect())
}

/// The zones that the box serves. The hostname has one of its own only when it lies in no other.
fn zones(config: &BoxConfig, domains: &[Domain]) -> Vec<Domain> {
    let mut zones = domains.to_vec();
    if !domains.iter().any(|zone| config.hostname.is_within(zone)) {
        zones.push(config.hostname.clone());
    }
    zones.retain(|_| config.dns == DnsMode::Box);
    zones
}

/// The closest zone that holds a name.
fn zone_of(name: &str, zones: &[Domain]) -> Option<Domain> {
    let name = Domain::parse(name).ok()?;
    zones.iter().filter(|zone| name.is_within(zone)).max_by_key(|zone| zone.as_str().len()).cloned()
}

/// Makes the names fit one certificate: what lies below a zone of the box's becomes a wildcard, zone by zone, until they
/// do. Wildcards are used only then, since one of them says less to those who read certificates, and can be had by a
/// record alone.
fn fold(mut names: Vec<Name>, most: usize) -> Vec<Name> {
    let mut zones: Vec<Domain> = names.iter().filter_map(|name| name.zone.clone()).collect();
    zones.sort();
    zones.dedup();
    for zone in zones {
        if names.len() <= most {
            break;
        }
        let is_below =
            |name: &Name| name.name.strip_suffix(zone.as_str()).is_some_and(|rest| rest.matches('.').count() == 1);
        // The hostname stays as it is: it comes first, and everything hangs on it.
        let (first, rest) = names.split_at(1.min(names.len()));
        if rest.iter().filter(|name| is_below(name)).count() < 2 {
            continue;
        }
        let mut folded = first.to_vec();
        folded.extend(rest.iter().filter(|name| !is_below(name)).cloned());
        folded.push(Name { name: format!("*.{zone}"), zone: Some(zone), leads_here: false });
        names = folded;
    }
    names.truncate(most);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(text: &str) -> Domain {
        Domain::parse(text).unwrap()
    }

    fn config() -> BoxConfig {
        BoxConfig::new(base::Address::parse("a@example.org").unwrap(), domain("box.example.org"), DnsMode::Box)
    }

    #[test]
    fn the_hostname_comes_first_and_every_name_once() {
        let mut config = config();
        let site = base::sites::Site::Redirect("https://example.org".into());
        config.sites.insert(domain("www.example.org"), site.clone());
        config.sites.insert(domain("shop.example.org"), site);
        let names = wanted(&config, &[domain("example.org")]);
        assert_eq!(names[..3], ["box.example.org", "mta-sts.example.org", "autoconfig.example.org"]);
        for name in ["example.org", "www.example.org", "shop.example.org", "www.shop.example.org"] {
            assert_eq!(names.iter().filter(|found| *found == name).count(), 1, "{name}");
        }
    }

    #[test]
    fn many_domains_become_wildcards_as_far_as_it_takes() {
        let domains: Vec<Domain> = (10..40).map(|number| domain(&format!("d{number}.example"))).collect();
        let config = config();
        let zones = zones(&config, &domains);
        let all = wanted(&config, &domains);
        let as_names = |names: &[String]| -> Vec<Name> {
            names
                .iter()
                .map(|name| Name { zone: zone_of(name, &zones), name: name.clone(), leads_here: true })
                .collect()
        };
        let folded = fold(as_names(&all), 100);
        assert!(all.len() > 100 && folded.len() <= 100 && folded[0].name == "box.example.org");
        let names: Vec<String> = folded.iter().map(|name| name.name.clone()).collect();
        let covering = crate::Certificate { names, ..crate::Certificate::default() };
        assert!(all.iter().all(|name| covering.covers(name)));
        assert!(folded.iter().any(|name| name.name == "mta-sts.d39.example"), "only as far as it takes");
        let wildcard = folded.iter().find(|name| name.name.starts_with("*.")).unwrap();
        assert_eq!(wildcard.challenge(), format!("_acme-challenge.{}", &wildcard.name[2..]));
    }
}
