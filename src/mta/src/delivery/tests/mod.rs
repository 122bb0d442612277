//! Delivery against real TLS peers, with certificates of an authority made for the test.

mod dane;
mod judge;
mod mailboxes;
mod peer;
mod relay;
mod reuse;
mod sts;

use super::client::{To, Transaction};
use super::dane::Tlsa;
use super::names::{Answer, LookupError, Mx, Names};
use super::relay::Relays;
use super::remote::{Remote, Setup};
use super::tls::Outbound;
use super::{Outcome, Scope};
use crate::proto::delivery_status::ReportWish;
use crate::queue::clock::Clock;
use crate::queue::entry::Needs;
use base::{Address, Domain};
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

/// An authority and the certificates that it signs.
struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A server's certificate with its authority's behind it, and its key.
struct Chain {
    der: Vec<Vec<u8>>,
    key: Vec<u8>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "Test authority");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    fn sign(&self, name: &str) -> Chain {
        self.sign_until(name, 2099)
    }

    fn sign_until(&self, name: &str, year: i32) -> Chain {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Chain { der: vec![certificate.der().to_vec(), self.certificate.der().to_vec()], key: key.serialize_der() }
    }
}

/// The SHA-256 of a certificate's key, as most TLSA records have it.
fn key_digest(certificate: &[u8]) -> Vec<u8> {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let (_, parsed) = X509Certificate::from_der(certificate).unwrap();
    Sha256::digest(parsed.tbs_certificate.subject_pki.raw).to_vec()
}

fn tlsa(usage: u8, certificate: &[u8]) -> Tlsa {
    Tlsa { usage, selector: 1, matching: 1, data: key_digest(certificate) }
}

/// A DNS that tests write. Every domain's exchanger is `mx.<domain>` on 127.0.0.1, unless the table says otherwise.
#[derive(Default)]
struct Table {
    mx: HashMap<String, Vec<&'static str>>,
    addresses: HashMap<String, Vec<IpAddr>>,
    /// Whether everything is signed.
    secure: bool,
    tlsa: Mutex<HashMap<String, Result<Vec<Tlsa>, LookupError>>>,
    txt: Mutex<HashMap<String, String>>,
    asked: Mutex<usize>,
}

impl Table {
    fn answer<T>(&self, records: Vec<T>) -> Answer<T> {
        Answer { records, secure: self.secure, canonical: None }
    }
}

impl Names for Table {
    async fn mx(&self, domain: &Domain) -> Result<Vec<Mx>, LookupError> {
        *self.asked.lock().unwrap() += 1;
        let own = format!("mx.{domain}");
        let hosts = self.mx.get(domain.as_str()).cloned().unwrap_or_else(|| vec![own.as_str()].leak().to_vec());
        let records = hosts.iter().enumerate().map(|(at, host)| Mx { preference: at as u16, exchange: (*host).into() });
        Ok(records.collect())
    }

    async fn addresses(&self, host: &Domain) -> Result<Vec<IpAddr>, LookupError> {
        Ok(self.addresses.get(host.as_str()).cloned().unwrap_or_else(|| vec![IpAddr::from([127, 0, 0, 1])]))
    }

    async fn mx_answer(&self, domain: &Domain) -> Result<Answer<Mx>, LookupError> {
        Ok(self.answer(self.mx(domain).await?))
    }

    async fn address_answer(&self, host: &Domain) -> Result<Answer<IpAddr>, LookupError> {
        Ok(self.answer(self.addresses(host).await?))
    }

    async fn tlsa(&self, host: &Domain, _: u16) -> Result<Answer<Tlsa>, LookupError> {
        let found = self.tlsa.lock().unwrap().get(host.as_str()).cloned();
        Ok(self.answer(found.unwrap_or(Ok(Vec::new()))?))
    }

    async fn txt(&self, name: &str) -> Result<Vec<String>, LookupError> {
        Ok(self.txt.lock().unwrap().get(name).cloned().into_iter().collect())
    }
}

/// A sender of mail with everything that it remembers.
struct Sender {
    remote: Remote<Table>,
    clock: Clock,
    dir: tempfile::TempDir,
}

struct Made<'a> {
    names: Table,
    port: u16,
    https: u16,
    trusts: Option<&'a Authority>,
    relays: Vec<wire::directory::Relay>,
}

impl Sender {
    fn new(made: Made<'_>) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        if let Some(authority) = made.trusts {
            roots.add(authority.certificate.der().clone()).unwrap();
        }
        let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::default());
        let remote = Remote::new(Setup {
            names: Arc::new(made.names),
            tls: Outbound::with_roots(roots),
            own: domain("box.example.org"),
            own_addresses: Vec::new(),
            loopback: true,
            port: made.port,
            relays: Relays::fixed(made.relays),
            folder: dir.path(),
            https: made.https,
            rest: Duration::from_secs(60),
            clock: clock.clone(),
        });
        Self { remote, clock, dir }
    }

    /// Sends to one recipient.
    async fn send(&self, to: &str) -> Outcome {
        self.send_needing(to, Needs::default()).await
    }

    async fn send_needing(&self, to: &str, needs: Needs) -> Outcome {
        let (ann, to) = (Address::parse("ann@example.org").unwrap(), Address::parse(to).unwrap());
        let recipients = [To::new(to.clone())];
        let wish = ReportWish::default();
        let it = Transaction {
            sender: Some(&ann),
            recipients: &recipients,
            pieces: [b"Subject: hello\r\n\r\n", b"secret text\r\n"],
            eight_bit: false,
            needs,
            wish: &wish,
        };
        let mut outcomes = self.remote.deliver(to.domain(), &it).await;
        assert_eq!(outcomes.len(), 1);
        outcomes.remove(0).1
    }
}

/// What a failed or deferred outcome is called.
fn status(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Delivered(_) => "2.0.0",
        Outcome::Deferred(trouble) | Outcome::Failed(trouble) => &trouble.status,
    }
}

fn security(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Delivered(delivery) => delivery.security.as_deref().unwrap_or_default(),
        other => panic!("{}", other.words()),
    }
}

fn is_of_place(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Deferred(trouble) if trouble.scope == Scope::Place)
}
