//! Looking at certificates: a handshake takes whatever is served, and judging it is a step of its own, so that a wrong
//! certificate can be described and not only refused.

use crate::ChecksError;
use base::tls::SYSTEM_ROOTS;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// The TLS client of the checks. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
    judge: Option<Arc<WebPkiServerVerifier>>,
}

impl Tls {
    /// Trusts what the system trusts; where that is nothing, no certificate can be judged.
    pub fn new() -> Result<Self, ChecksError> {
        Self::trusting(Path::new(SYSTEM_ROOTS))
    }

    fn trusting(roots_file: &Path) -> Result<Self, ChecksError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| ChecksError::Tls(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TakesAny(Arc::clone(&provider))))
            .with_no_client_auth();
        let mut roots = RootCertStore::empty();
        if let Ok(certificates) = CertificateDer::pem_file_iter(roots_file) {
            roots.add_parsable_certificates(certificates.flatten());
        }
        let judge = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), judge })
    }

    /// Shakes hands and takes any certificate.
    pub async fn connect<S>(&self, name: &str, stream: S) -> std::io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(name.to_owned()).map_err(std::io::Error::other)?;
        self.connector.connect(name, stream).await
    }

    /// Whether a stranger's mail server or browser would accept the chain for the name; else why not.
    pub fn judge(&self, chain: &[CertificateDer<'_>], name: &str, now: u64) -> Result<(), String> {
        let Some(judge) = &self.judge else {
            return Err(format!("this machine has no list of authorities in {SYSTEM_ROOTS}"));
        };
        let (end, rest) = chain.split_first().ok_or("no certificate was sent")?;
        let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now));
        judge.verify_server_cert(end, rest, &name, &[], now).map(drop).map_err(|error| error.to_string())
    }
}

/// The chain that a server sent.
pub fn chain<S>(stream: &TlsStream<S>) -> Vec<CertificateDer<'static>> {
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    certificates.iter().map(|certificate| certificate.clone().into_owned()).collect()
}

/// What the checks need to know of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    pub issuer: String,
    pub self_signed: bool,
    /// The DNS names it is for, lower case.
    pub names: Vec<String>,
    /// Seconds since 1970.
    pub expires: i64,
    /// SHA-256 of the public key, hexadecimal (TLSA 3 1 1).
    pub key_hash: String,
    pub fingerprint: String,
}

impl Certificate {
    pub fn read(der: &[u8]) -> Result<Self, String> {
        let (_, certificate) =
            x509_parser::parse_x509_certificate(der).map_err(|error| format!("it cannot be read ({error})"))?;
        let names = match certificate.subject_alternative_name() {
            Ok(Some(extension)) => dns_names(extension.value),
            _ => Vec::new(),
        };
        Ok(Self {
            issuer: certificate.issuer().to_string(),
            self_signed: certificate.issuer() == certificate.subject(),
            names,
            expires: certificate.validity().not_after.timestamp(),
            key_hash: hex::encode(Sha256::digest(certificate.tbs_certificate.subject_pki.raw)),
            fingerprint: hex::encode(Sha256::digest(der)),
        })
    }

    /// Whether it is for the name; a wildcard stands for one label (RFC 6125 §6.4.3).
    pub fn covers(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let parent = name.split_once('.').map(|(_, parent)| parent);
        self.names.iter().any(|own| *own == name || (parent.is_some() && own.strip_prefix("*.") == parent))
    }
}

fn dns_names(extension: &x509_parser::extensions::SubjectAlternativeName<'_>) -> Vec<String> {
    let name = |general: &x509_parser::extensions::GeneralName<'_>| match general {
        x509_parser::extensions::GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    extension.general_names.iter().filter_map(name).collect()
}

/// Accepts every certificate but still verifies that the server has its key.
#[derive(Debug)]
struct TakesAny(Arc<CryptoProvider>);

impl ServerCertVerifier for TakesAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn self_signed(names: &[&str]) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        rcgen::generate_simple_self_signed(names).unwrap().cert.der().clone()
    }

    #[test]
    fn a_certificate_says_its_names_and_whether_it_signed_itself() {
        let certificate = Certificate::read(&self_signed(&["Box.example.org", "*.example.net"])).unwrap();
        assert!(certificate.self_signed);
        assert!(certificate.covers("box.example.org") && certificate.covers("mta-sts.example.net"));
        assert!(!certificate.covers("a.b.example.net") && !certificate.covers("example.net"));
        assert!(Certificate::read(b"not a certificate").is_err());
    }

    #[test]
    fn a_self_signed_certificate_is_not_what_strangers_accept() {
        let dir = tempfile::tempdir().unwrap();
        let roots = dir.path().join("roots.pem");
        let root = rcgen::generate_simple_self_signed(vec!["root.example".into()]).unwrap();
        std::fs::write(&roots, root.cert.pem()).unwrap();
        let tls = Tls::trusting(&roots).unwrap();
        let now = base::time::now_unix();
        assert!(tls.judge(&[self_signed(&["box.example.org"])], "box.example.org", now).is_err());
        assert!(tls.judge(&[], "box.example.org", now).is_err());
    }
}
