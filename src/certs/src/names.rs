//! The names that the certificate is to cover.

use crate::CertsError;
use base::{BoxConfig, Domain, Endpoints, HostFacts, Paths};
use wire::{Client, directory};

/// Below each mail domain: what RFC 8461 and mail programs look for.
const PREFIXES: [&str; 3] = ["mta-sts", "autoconfig", "autodiscover"];
/// Let's Encrypt takes a hundred names in one certificate.
const MAX_NAMES: usize = 100;

/// Every name that there should be a certificate for: the hostname first.
pub fn wanted(hostname: &Domain, domains: &[Domain]) -> Vec<String> {
    let below = domains.iter().flat_map(|domain| PREFIXES.map(|prefix| format!("{prefix}.{domain}")));
    std::iter::once(hostname.to_string()).chain(below).take(MAX_NAMES).collect()
}

/// Those of them that lead to this box in public DNS.
pub async fn reachable(paths: &Paths, config: &BoxConfig) -> Result<Vec<String>, CertsError> {
    let domains = Client::new(paths.clone()).ask(&directory::Domains {}).await?;
    let host = HostFacts::load(paths).map_err(|error| CertsError::file(&paths.host_facts(), error))?;
    let own: Vec<_> = host.addresses().collect();
    let resolver = base::names::resolver(Endpoints::of(config).resolver)
        .map_err(|error| CertsError::Resolver(error.to_string()))?;
    let mut names = Vec::new();
    for name in wanted(&config.hostname, &domains) {
        let leads_here = match resolver.lookup_ip(format!("{name}.")).await {
            Ok(found) => found.iter().any(|address| own.contains(&address)),
            Err(_) => false,
        };
        if leads_here {
            names.push(name);
        } else {
            tracing::info!("{name} does not lead to this box yet and is left out");
        }
    }
    Ok(names)
}
