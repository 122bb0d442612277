//! TLS towards other people's servers. What is demanded of a certificate depends on what its destination promises:
//! nothing (opportunistic, RFC 7435), the roots that the machine trusts (MTA-STS, relays, REQUIRETLS), or TLSA records
//! (DANE). Signatures of the handshake are always checked, and no session is ever resumed, so each is verified anew.

use super::dane::{self, Matched, Tlsa};
use crate::limits;
use base::Domain;
use base::tls::SYSTEM_ROOTS;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_rustls::client::TlsStream;

/// What a server must show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Demand {
    /// Nothing; TLS is used where it is offered.
    Nothing,
    /// TLS, with any certificate.
    Encryption,
    /// A certificate for the name, from an authority that this machine trusts.
    Trusted,
    /// What these usable TLSA records say; the names count for DANE-TA.
    Dane { records: Vec<Tlsa>, names: Vec<Domain> },
}

/// How a certificate was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Not at all.
    None,
    Trusted,
    Dane(Matched),
}

/// Makes client configurations. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Outbound {
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    /// `None` where the machine has no roots: then nothing is trusted.
    known: Option<Arc<WebPkiServerVerifier>>,
}

impl Outbound {
    /// Trusts what the machine trusts, and the certificates in `more` (PEM).
    pub fn new(more: Option<&Path>) -> Self {
        let mut roots = RootCertStore::empty();
        for file in [Some(Path::new(SYSTEM_ROOTS)), more].into_iter().flatten() {
            match CertificateDer::pem_file_iter(file) {
                Ok(found) => _ = roots.add_parsable_certificates(found.filter_map(Result::ok)),
                Err(error) => tracing::warn!("the roots in {} cannot be read: {error}", file.display()),
            }
        }
        Self::with_roots(roots)
    }

    /// Trusts these roots alone.
    pub fn with_roots(roots: RootCertStore) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let roots = Arc::new(roots);
        let known = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        Self { known: known.build().ok(), provider, roots }
    }

    /// A configuration for fetching pages.
    pub fn web(&self) -> Result<ClientConfig, rustls::Error> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
        Ok(builder.with_root_certificates(Arc::clone(&self.roots)).with_no_client_auth())
    }

    /// A handshake on a connection to `host`.
    pub async fn handshake<S>(&self, host: &Domain, demand: &Demand, stream: S) -> io::Result<Secured<S>>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let name = server_name(host).ok_or_else(|| io::Error::other("its name is none that TLS knows"))?;
        let proof = Arc::new(Mutex::new(Proof::None));
        let verifier = Verifier { outbound: self.clone(), demand: demand.clone(), proof: Arc::clone(&proof) };
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.resumption = rustls::client::Resumption::disabled();
        let handshake = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream);
        let stream = tokio::time::timeout(limits::HANDSHAKE_WITHIN, handshake)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let version = stream.get_ref().1.protocol_version().and_then(|version| version.as_str());
        let version =
            version.map_or_else(|| "TLS".to_owned(), |version| version.replace("TLSv", "TLS ").replace('_', "."));
        let proof = *proof.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Secured { stream, version, proof })
    }
}

/// A connection after its handshake.
pub struct Secured<S> {
    pub stream: TlsStream<S>,
    /// `TLS 1.3`.
    pub version: String,
    pub proof: Proof,
}

/// The name that a server is asked to prove.
pub fn server_name(host: &Domain) -> Option<ServerName<'static>> {
    ServerName::try_from(host.as_str().to_owned()).ok()
}

#[derive(Debug)]
struct Verifier {
    outbound: Outbound,
    demand: Demand,
    proof: Arc<Mutex<Proof>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let trusted = || match &self.outbound.known {
            Some(known) => known.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
            None => Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        };
        let proof = match &self.demand {
            Demand::Nothing | Demand::Encryption => trusted().map_or(Proof::None, |_| Proof::Trusted),
            Demand::Trusted => trusted().map(|_| Proof::Trusted)?,
            Demand::Dane { records, names } => {
                let names: Vec<_> = names.iter().filter_map(self::server_name).collect();
                let provider = &self.outbound.provider;
                Proof::Dane(dane::verify(records, &names, end_entity, intermediates, now, provider)?)
            }
        };
        *self.proof.lock().unwrap_or_else(PoisonError::into_inner) = proof;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.outbound.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.outbound.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.outbound.provider.signature_verification_algorithms.supported_schemes()
    }
}
