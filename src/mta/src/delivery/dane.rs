//! DANE for SMTP (RFC 7672, RFC 7671): which TLSA records count, and whether a server's certificates are what they
//! promise. Pure but for the cryptography.
//!
//! - DANE-EE(3): the server's own certificate or key. Names and dates are not looked at (RFC 7672 §3.1.1).
//! - DANE-TA(2): an authority in the chain that the server sends. The chain, its dates and the name must be right.
//! - PKIX-TA(0) and PKIX-EE(1) are not used in SMTP (RFC 7672 §3.1.3): such records are as good as none, but that
//!   there are TLSA records at all makes TLS mandatory.

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, RootCertStore};
use sha2::{Digest, Sha256, Sha512};
use std::sync::Arc;
use x509_parser::prelude::{FromDer, X509Certificate};

/// One TLSA record (RFC 6698 §2.1), whatever its numbers mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tlsa {
    pub usage: u8,
    pub selector: u8,
    pub matching: u8,
    pub data: Vec<u8>,
}

const DANE_TA: u8 = 2;
const DANE_EE: u8 = 3;

/// The records by which a certificate may be verified.
pub fn usable(records: &[Tlsa]) -> Vec<Tlsa> {
    records.iter().filter(|record| record.is_usable()).cloned().collect()
}

impl Tlsa {
    /// Whether the numbers are ones that SMTP uses, and the data has the length that they ask for.
    pub fn is_usable(&self) -> bool {
        let length = match self.matching {
            0 => self.is_well_formed(),
            1 => self.data.len() == 32,
            2 => self.data.len() == 64,
            _ => false,
        };
        matches!(self.usage, DANE_TA | DANE_EE) && self.selector <= 1 && length
    }

    /// Whether data that is no digest is a certificate or a key.
    fn is_well_formed(&self) -> bool {
        match self.selector {
            0 => X509Certificate::from_der(&self.data).is_ok_and(|(rest, _)| rest.is_empty()),
            _ => x509_parser::x509::SubjectPublicKeyInfo::from_der(&self.data).is_ok_and(|(rest, _)| rest.is_empty()),
        }
    }

    /// Whether the record speaks of this certificate.
    pub fn matches(&self, certificate: &[u8]) -> bool {
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return false };
        let selected = match self.selector {
            0 => certificate,
            1 => parsed.tbs_certificate.subject_pki.raw,
            _ => return false,
        };
        match self.matching {
            0 => self.data == selected,
            1 => self.data == Sha256::digest(selected).as_slice(),
            2 => self.data == Sha512::digest(selected).as_slice(),
            _ => false,
        }
    }
}

/// Which kind of record spoke for the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matched {
    Server,
    Authority,
}

/// Verifies what a server showed against usable records. `names` are the reference identifiers (RFC 7672 §3.2.2).
pub fn verify(
    records: &[Tlsa],
    names: &[ServerName<'static>],
    server: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
    now: UnixTime,
    provider: &Arc<CryptoProvider>,
) -> Result<Matched, rustls::Error> {
    if records.iter().any(|record| record.usage == DANE_EE && record.matches(server)) {
        return Ok(Matched::Server);
    }
    let mut why = rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
    for anchor in anchors(records, others) {
        let Some(verifier) = under(anchor, provider) else { continue };
        for name in names {
            match verifier.verify_server_cert(server, others, name, &[], now) {
                Ok(_) => return Ok(Matched::Authority),
                Err(error) => why = error,
            }
        }
    }
    Err(why)
}

/// The authorities that the records name, from the server's chain or from the records themselves.
fn anchors(records: &[Tlsa], others: &[CertificateDer<'_>]) -> Vec<CertificateDer<'static>> {
    let authorities = || records.iter().filter(|record| record.usage == DANE_TA);
    let sent = others.iter().filter(|sent| authorities().any(|record| record.matches(sent)));
    let whole = authorities().filter(|record| (record.selector, record.matching) == (0, 0));
    let whole = whole.map(|record| CertificateDer::from(record.data.clone()));
    sent.map(|sent| sent.clone().into_owned()).chain(whole).collect()
}

fn under(anchor: CertificateDer<'static>, provider: &Arc<CryptoProvider>) -> Option<Arc<WebPkiServerVerifier>> {
    let mut store = RootCertStore::empty();
    store.add(anchor).ok()?;
    WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider)).build().ok()
}
