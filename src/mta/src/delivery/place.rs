//! One exchanger of a destination: its addresses, and what it must show before it is given mail.
//!
//! DANE goes first (RFC 8461 §2), then MTA-STS, then what the message itself asks for, then whatever there is. What is
//! decided here is never softened later: a place whose demand is not [`Demand::Nothing`] gets no plain text.

use super::dane::{self, Tlsa};
use super::names::{Answer, LookupError, Names};
use super::remote::Remote;
use super::results::{Failure, FailureKind, PolicyKind, TlsResult};
use super::sts::fetch::FetchError;
use super::sts::policy::{Mode, Policy};
use super::tls::Demand;
use super::{Outcome, Trouble};
use base::Domain;
use std::net::IpAddr;
use std::sync::Arc;

/// Whose demand it is, for the words in results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Dane,
    Sts,
    /// The message's own (RFC 8689).
    Message,
    Nobody,
}

impl Source {
    pub fn words(self) -> &'static str {
        match self {
            Self::Dane => "its DNS (DANE)",
            Self::Sts => "its policy (MTA-STS)",
            Self::Message => "the message (REQUIRETLS)",
            Self::Nobody => "nobody",
        }
    }
}

/// A server to talk to.
#[derive(Debug, Clone)]
pub struct Place {
    pub host: Domain,
    /// Those that may be used, in the DNS's order.
    pub addresses: Vec<IpAddr>,
    pub demand: Demand,
    pub source: Source,
    pub report: Report,
}

/// What the reports on TLS say of the policy.
#[derive(Debug, Clone)]
pub struct Report {
    pub domain: Domain,
    pub kind: PolicyKind,
    pub lines: Vec<String>,
    pub patterns: Vec<String>,
    /// Whether the policy is there to be tried out (MTA-STS testing): the certificate and the name are only reported.
    pub testing: bool,
    /// Whether the policy names the exchanger.
    pub named: bool,
}

impl Report {
    pub fn new(domain: &Domain, policy: Option<&Policy>) -> Self {
        Self {
            domain: domain.clone(),
            kind: if policy.is_some() { PolicyKind::Sts } else { PolicyKind::None },
            lines: policy.map(Policy::lines).unwrap_or_default(),
            patterns: policy.map(|policy| policy.mx.clone()).unwrap_or_default(),
            testing: policy.is_some_and(|policy| policy.mode == Mode::Testing),
            named: true,
        }
    }

    fn dane(domain: &Domain, records: &[Tlsa]) -> Self {
        let hex = |data: &[u8]| data.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let line = |r: &Tlsa| format!("{} {} {} {}", r.usage, r.selector, r.matching, hex(&r.data));
        let lines = records.iter().map(line).collect();
        Self { kind: PolicyKind::Tlsa, lines, ..Self::new(domain, None) }
    }

    pub fn result(&self, failure: Option<Failure>) -> TlsResult {
        TlsResult {
            domain: self.domain.clone(),
            policy: self.kind,
            lines: self.lines.clone(),
            patterns: self.patterns.clone(),
            failure,
        }
    }
}

impl<N: Names> Remote<N> {
    /// What `host` must show to be given mail for `domain`, or why it may not be used.
    pub(super) async fn place(
        &self,
        domain: &Domain,
        host: &Domain,
        secure: bool,
        policy: Option<&Arc<Policy>>,
        require_tls: bool,
    ) -> Result<Place, Outcome> {
        let answer = match self.names.address_answer(host).await {
            Ok(answer) => answer,
            Err(LookupError::NoSuchName) => Answer::insecure(Vec::new()),
            Err(error) => return Err(passing("4.4.3", format!("{host}: {error}"))),
        };
        let addresses = self.usable(host, &answer.records).map_err(|outcome| *outcome)?;
        let place = |demand, source, report| Place { host: host.clone(), addresses, demand, source, report };
        let records = if secure { self.tlsa(domain, host, &answer).await? } else { None };
        let enforced = policy.filter(|policy| policy.mode == Mode::Enforce);
        let mut report = Report::new(domain, policy.map(Arc::as_ref));
        report.named = policy.is_none_or(|policy| policy.names(host));
        if let Some((records, base)) = records {
            report = Report::dane(domain, &records);
            let usable = dane::usable(&records);
            if !usable.is_empty() {
                let mut names = vec![domain.clone(), host.clone(), base];
                names.dedup();
                return Ok(place(Demand::Dane { records: usable, names }, Source::Dane, report));
            }
            self.note(&report, FailureKind::TlsaInvalid, Some(host), None, "no TLSA record is usable");
            if enforced.is_none() && !require_tls {
                return Ok(place(Demand::Encryption, Source::Dane, report));
            }
        }
        if let Some(policy) = enforced {
            if !policy.names(host) {
                let words = format!("the MTA-STS policy of {domain} does not name its exchanger {host}");
                self.note(&report, FailureKind::ValidationFailure, Some(host), None, &words);
                return Err(passing("4.7.5", words));
            }
            return Ok(place(Demand::Trusted, Source::Sts, report));
        }
        Ok(match require_tls {
            true => place(Demand::Trusted, Source::Message, report),
            false => place(Demand::Nothing, Source::Nobody, report),
        })
    }

    /// The secure TLSA records of a host and the name that they belong to (RFC 7672 §2.2.2): where an alias leads
    /// first, then the name itself.
    async fn tlsa(
        &self,
        domain: &Domain,
        host: &Domain,
        addresses: &Answer<IpAddr>,
    ) -> Result<Option<(Vec<Tlsa>, Domain)>, Outcome> {
        let bogus = |error: LookupError| {
            let words = format!("whether {host} promises TLS (DANE) cannot be told: {error}");
            self.note(&Report::dane(domain, &[]), FailureKind::DnssecInvalid, Some(host), None, &words);
            passing("4.7.5", words)
        };
        let mut bases = Vec::new();
        if addresses.secure {
            bases.extend(addresses.canonical.iter().chain([host]));
        } else if addresses.canonical.is_some() && self.names.alias(host).await.map_err(bogus)?.secure {
            bases.push(host);
        }
        for base in bases {
            // A name that ends in an insecure zone has insecure answers, and they are as good as none. Trouble is not:
            // an attacker who can break the look-up must not gain by it (RFC 7672 §2.1.2).
            let answer = self.names.tlsa(base, self.port).await.map_err(bogus)?;
            if answer.secure && !answer.records.is_empty() {
                return Ok(Some((answer.records, base.clone())));
            }
        }
        Ok(None)
    }

    fn usable(&self, host: &Domain, found: &[IpAddr]) -> Result<Vec<IpAddr>, Box<Outcome>> {
        if found.is_empty() {
            // A missing address is more often a mistake that gets mended than meant: try for the full time.
            return Err(passing("4.4.4", format!("{host} has no address in the DNS")).into());
        }
        let usable: Vec<_> = found.iter().copied().filter(|address| self.may_connect(*address)).collect();
        if usable.is_empty() {
            let words = format!("{host} has only addresses that lead back to this box or nowhere");
            return Err(Outcome::Failed(Trouble::new("5.4.4", words)).into());
        }
        let family = |address: &IpAddr| self.ipv6.is_open() || address.is_ipv4() || address.is_loopback();
        let reachable: Vec<_> = usable.into_iter().filter(family).collect();
        if reachable.is_empty() {
            let words =
                format!("{host} has only IPv6 addresses, and this box has none with a name that leads back to it");
            return Err(passing("4.4.4", words).into());
        }
        Ok(reachable)
    }

    fn may_connect(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let nowhere = address.is_unspecified() || address.is_multicast();
        !nowhere && (self.loopback || !address.is_loopback()) && !self.own_addresses.contains(&address)
    }

    /// Notes what went wrong for the domain's report.
    pub(super) fn note(
        &self,
        report: &Report,
        kind: FailureKind,
        host: Option<&Domain>,
        address: Option<IpAddr>,
        reason: &str,
    ) {
        let failure = Failure { kind, host: host.cloned(), address, reason: reason.to_owned() };
        self.results.note(report.result(Some(failure)), self.clock.now());
    }

    /// Notes that the domain's policy could not be had.
    pub(super) fn note_fetch(&self, domain: &Domain, error: &FetchError) {
        let kind = match error {
            FetchError::Certificate(_) => FailureKind::StsWebpkiInvalid,
            FetchError::Policy(_) => FailureKind::StsPolicyInvalid,
            _ => FailureKind::StsPolicyFetchError,
        };
        let report = Report { kind: PolicyKind::Sts, ..Report::new(domain, None) };
        self.note(&report, kind, None, None, &error.to_string());
    }
}

fn passing(status: &str, words: String) -> Outcome {
    Outcome::Deferred(Trouble::new(status, words).of_place())
}
