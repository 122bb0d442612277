//! From a domain to the servers that take its mail (RFC 5321 §5.1, RFC 7505). The rules are pure.

use super::names::{LookupError, Mx, Names};
use super::{Outcome, Trouble};
use crate::limits;
use base::Domain;
use std::collections::BTreeMap;

/// The order in which mail exchangers are tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    Hosts(Vec<Domain>),
    /// The domain takes no mail at all (RFC 7505).
    NullMx,
    /// We are the best exchanger ourselves, yet the domain is not one of ours.
    Ourselves,
    /// Its MX records name nothing that could be a host.
    Unusable,
}

/// Orders the exchangers of a domain; `random` decides among equals.
pub fn order(domain: &Domain, own: &Domain, records: &[Mx], mut random: impl FnMut() -> u64) -> Route {
    match records {
        [] => return Route::Hosts(vec![domain.clone()]),
        [only] if only.exchange.is_empty() => return Route::NullMx,
        _ => {}
    }
    // RFC 5321 §5.1: when we are listed, only those that are strictly better than us may be tried.
    let ourselves = records.iter().filter(|mx| mx.exchange == own.as_str()).map(|mx| mx.preference).min();
    let mut by_preference: BTreeMap<u16, Vec<(u64, Domain)>> = BTreeMap::new();
    for mx in records.iter().filter(|mx| ourselves.is_none_or(|own| mx.preference < own)) {
        if let Ok(host) = Domain::parse(&mx.exchange) {
            by_preference.entry(mx.preference).or_default().push((random(), host));
        }
    }
    let mut hosts = Vec::new();
    for (_, mut equals) in by_preference {
        equals.sort();
        hosts.extend(equals.into_iter().map(|(_, host)| host));
    }
    hosts.dedup();
    hosts.truncate(limits::EXCHANGERS);
    match (hosts.is_empty(), ourselves) {
        (false, _) => Route::Hosts(hosts),
        (true, Some(_)) => Route::Ourselves,
        (true, None) => Route::Unusable,
    }
}

/// The exchangers of a domain, in the order in which they are tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchangers {
    pub hosts: Vec<Domain>,
    /// Whether DNSSEC vouches for them.
    pub secure: bool,
}

/// Looks up where a domain's mail goes, or says why it goes nowhere.
pub async fn find(names: &impl Names, domain: &Domain, own: &Domain) -> Result<Exchangers, Outcome> {
    let answer = match names.mx_answer(domain).await {
        Ok(answer) => answer,
        Err(error @ LookupError::NoSuchName) => {
            return Err(Outcome::Failed(Trouble::new("5.1.2", format!("{domain}: {error}"))));
        }
        Err(error) => {
            return Err(Outcome::Deferred(Trouble::new("4.4.3", format!("{domain}: {error}")).of_place()));
        }
    };
    match order(domain, own, &answer.records, rand::random) {
        Route::Hosts(hosts) => Ok(Exchangers { hosts, secure: answer.secure }),
        Route::NullMx => {
            let words = format!("{domain} says in its DNS that it takes no mail (null MX)");
            Err(Outcome::Failed(Trouble::new("5.1.10", words)))
        }
        Route::Ourselves => {
            let words = format!("the DNS sends mail for {domain} to this box, which does not serve that domain");
            Err(Outcome::Failed(Trouble::new("5.4.6", words)))
        }
        Route::Unusable => {
            let words = format!("the MX records of {domain} name no usable host");
            Err(Outcome::Failed(Trouble::new("5.4.4", words)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(name: &str) -> Domain {
        Domain::parse(name).unwrap()
    }

    fn route(records: &[(u16, &str)], random: &[u64]) -> Route {
        let records: Vec<_> =
            records.iter().map(|(preference, name)| Mx { preference: *preference, exchange: (*name).into() }).collect();
        let mut random = random.iter().copied().cycle();
        order(&domain("example.net"), &domain("box.example.org"), &records, || random.next().unwrap_or(0))
    }

    fn names(hosts: &[&str]) -> Route {
        Route::Hosts(hosts.iter().map(|host| domain(host)).collect())
    }

    #[test]
    fn lower_preference_comes_first_and_chance_decides_among_equals() {
        let records = [(20, "c.net"), (10, "a.net"), (10, "b.net")];
        assert_eq!(route(&records, &[1, 2, 3]), names(&["a.net", "b.net", "c.net"]));
        assert_eq!(route(&records, &[3, 2, 1]), names(&["b.net", "a.net", "c.net"]));
    }

    #[test]
    fn a_domain_without_mx_is_its_own_exchanger() {
        assert_eq!(route(&[], &[0]), names(&["example.net"]));
    }

    #[test]
    fn a_null_mx_takes_no_mail() {
        assert_eq!(route(&[(0, "")], &[0]), Route::NullMx);
        assert_eq!(route(&[(0, ""), (10, "a.net")], &[0]), names(&["a.net"]));
    }

    #[test]
    fn mail_never_goes_to_ourselves_or_to_those_behind_us() {
        let records = [(10, "a.net"), (20, "box.example.org"), (20, "b.net"), (30, "c.net")];
        assert_eq!(route(&records, &[0]), names(&["a.net"]));
        assert_eq!(route(&[(10, "box.example.org"), (20, "c.net")], &[0]), Route::Ourselves);
    }

    #[test]
    fn an_address_in_place_of_a_name_is_not_used() {
        assert_eq!(route(&[(10, "192.0.2.1")], &[0]), Route::Unusable);
    }
}
