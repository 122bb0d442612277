//! Reading certificates and keys.

use crate::CertsError;
use base::Paths;
use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What is asked of a certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Certificate {
    pub names: Vec<String>,
    /// Seconds since 1970.
    pub not_before: u64,
    pub not_after: u64,
    pub self_signed: bool,
    /// Who issued it, for people.
    pub issuer: String,
    /// SHA-256 of the public key (TLSA 3 1 1, RFC 6698 §2.1), in hexadecimal.
    pub spki: String,
}

impl Certificate {
    /// Reads the first certificate of a chain in PEM.
    pub fn first_of(chain: &str) -> Result<Self, String> {
        let der = CertificateDer::from_pem_slice(chain.as_bytes()).map_err(|error| error.to_string())?;
        Self::of(&der)
    }

    pub fn of(der: &[u8]) -> Result<Self, String> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        let alternative = certificate.subject_alternative_name().map_err(|error| error.to_string())?;
        let names = alternative.map(|extension| &extension.value.general_names).into_iter().flatten();
        let names = names.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_ascii_lowercase()),
            _ => None,
        });
        let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
        Ok(Self {
            names: names.collect(),
            not_before: seconds(certificate.validity().not_before),
            not_after: seconds(certificate.validity().not_after),
            self_signed: certificate.issuer() == certificate.subject(),
            issuer: issuer(&certificate),
            spki: hex::encode(Sha256::digest(certificate.tbs_certificate.subject_pki.raw)),
        })
    }

    /// Whether it is good for a name: by itself or by a wildcard for one label (RFC 9525 §6.3).
    pub fn covers(&self, name: &str) -> bool {
        let above = name.split_once('.').map(|(_, above)| format!("*.{above}"));
        self.names.iter().any(|own| own == name || Some(own) == above.as_ref())
    }
}

/// “Authority, certificate”, as far as they are told.
fn issuer(certificate: &X509Certificate<'_>) -> String {
    let issuer = certificate.issuer();
    let organisation = issuer.iter_organization().next().and_then(|name| name.as_str().ok());
    let common = issuer.iter_common_name().next().and_then(|name| name.as_str().ok());
    let parts: Vec<&str> = [organisation, common].into_iter().flatten().collect();
    if parts.is_empty() { issuer.to_string() } else { parts.join(", ") }
}

/// SHA-256 of a key's public part, in hexadecimal.
pub fn spki(key: &KeyPair) -> String {
    hex::encode(Sha256::digest(key.subject_public_key_info()))
}

/// The certificate that is served, if there is one.
pub fn served(paths: &Paths) -> Result<Option<Certificate>, CertsError> {
    let path = paths.tls().join("chain.pem");
    match std::fs::read_to_string(&path) {
        Ok(chain) => Certificate::first_of(&chain).map(Some).map_err(|why| CertsError::Unreadable(path, why)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CertsError::file(&path, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_one_label_and_not_the_name_above() {
        let names = vec!["*.example.org".to_owned(), "box.example.com".to_owned()];
        let certificate = Certificate { names, ..Certificate::default() };
        for name in ["mta-sts.example.org", "www.example.org", "box.example.com"] {
            assert!(certificate.covers(name), "{name}");
        }
        for name in ["example.org", "a.b.example.org", "example.com"] {
            assert!(!certificate.covers(name), "{name}");
        }
    }
}
