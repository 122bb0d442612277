//! Reading the certificate that is served.

use crate::CertsError;
use base::Paths;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// What is asked of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    pub names: Vec<String>,
    /// Seconds since 1970.
    pub not_before: u64,
    pub not_after: u64,
    pub self_signed: bool,
}

/// The certificate in `tls/chain.pem`, if there is one.
pub fn served(paths: &Paths) -> Result<Option<Certificate>, CertsError> {
    let path = paths.tls().join("chain.pem");
    if !path.exists() {
        return Ok(None);
    }
    let unreadable = |why: &dyn std::fmt::Display| CertsError::Unreadable(path.clone(), why.to_string());
    let der = CertificateDer::from_pem_file(&path).map_err(|error| unreadable(&error))?;
    let (_, certificate) = X509Certificate::from_der(&der).map_err(|error| unreadable(&error))?;
    let alternative = certificate.subject_alternative_name().map_err(|error| unreadable(&error))?;
    let names = alternative.map(|extension| &extension.value.general_names).into_iter().flatten();
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_ascii_lowercase()),
        _ => None,
    });
    let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
    Ok(Some(Certificate {
        names: names.collect(),
        not_before: seconds(certificate.validity().not_before),
        not_after: seconds(certificate.validity().not_after),
        self_signed: certificate.issuer() == certificate.subject(),
    }))
}
