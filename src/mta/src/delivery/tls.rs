//! TLS towards other people's servers: opportunistic (RFC 7435). Any certificate is taken, since the alternative is no
//! encryption at all; whether it verified is remembered for the log. Signatures of the handshake are always checked.

use base::Domain;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where Debian and Ubuntu keep the roots that they trust.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Makes client configurations. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Outbound {
    provider: Arc<CryptoProvider>,
    /// `None` where the machine has no roots: then nothing verifies, and nothing depends on it.
    known: Option<Arc<WebPkiServerVerifier>>,
}

impl Default for Outbound {
    fn default() -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let known = verifier(Path::new(SYSTEM_ROOTS), &provider);
        Self { provider, known }
    }
}

fn verifier(roots: &Path, provider: &Arc<CryptoProvider>) -> Option<Arc<WebPkiServerVerifier>> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(CertificateDer::pem_file_iter(roots).ok()?.filter_map(Result::ok));
    WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider)).build().ok()
}

impl Outbound {
    /// A configuration for one connection, and where it will say whether the certificate verified.
    pub fn connection(&self) -> Result<(Arc<ClientConfig>, Arc<AtomicBool>), rustls::Error> {
        let verified = Arc::new(AtomicBool::new(false));
        let lenient = Lenient { outbound: self.clone(), verified: Arc::clone(&verified) };
        let config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(lenient))
            .with_no_client_auth();
        Ok((Arc::new(config), verified))
    }
}

/// The name that a server is asked to prove.
pub fn server_name(host: &Domain) -> Option<ServerName<'static>> {
    ServerName::try_from(host.as_str().to_owned()).ok()
}

#[derive(Debug)]
struct Lenient {
    outbound: Outbound,
    verified: Arc<AtomicBool>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.outbound.known.as_ref().is_some_and(|known| {
            known.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now).is_ok()
        });
        self.verified.store(verified, Ordering::Relaxed);
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
