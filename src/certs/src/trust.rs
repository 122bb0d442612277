//! Whether a chain is from an authority that others trust.

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::{CertificateError, Error, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Whether a chain (PEM) leads to none of the authorities in a file. Any other fault of it, or a file without authorities,
/// says nothing about who issued it.
pub fn is_of_nobody(chain: &str, name: &str, roots: &Path, now: u64) -> bool {
    let mut store = RootCertStore::empty();
    let Ok(known) = CertificateDer::pem_file_iter(roots) else { return false };
    store.add_parsable_certificates(known.flatten());
    let provider = Arc::new(aws_lc_rs::default_provider());
    let judge = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider).build();
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes()).flatten().collect();
    let (Ok(judge), Some((end, rest)), Ok(name)) = (judge, chain.split_first(), ServerName::try_from(name)) else {
        return false;
    };
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
    let verdict = judge.verify_server_cert(end, rest, &name, &[], now);
    matches!(verdict, Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

    const NOW: u64 = 1_795_248_000;
    const NAME: &str = "box.example.org";

    /// An authority and what it issued, both in PEM.
    fn made(authority: &str) -> (String, String) {
        let authority_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name.push(DnType::CommonName, authority);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&authority_key).unwrap().pem();
        let mut leaf = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        (leaf.not_before, leaf.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2027, 1, 1));
        let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &Issuer::new(params, authority_key)).unwrap().pem();
        (root, leaf)
    }

    #[test]
    fn only_an_unknown_authority_counts() {
        let dir = tempfile::tempdir().unwrap();
        let roots = dir.path().join("roots.crt");
        let ((known, good), (stranger, foreign)) = (made("Known"), made("Stranger"));
        assert!(!is_of_nobody(&foreign, NAME, &roots, NOW), "without a list nobody can tell");
        std::fs::write(&roots, known).unwrap();
        assert!(!is_of_nobody(&good, NAME, &roots, NOW));
        assert!(is_of_nobody(&foreign, NAME, &roots, NOW));
        assert!(is_of_nobody(&format!("{foreign}{stranger}"), NAME, &roots, NOW), "whatever it brings along");
        assert!(!is_of_nobody(&good, NAME, &roots, NOW + 400 * 86_400), "its end is another matter");
    }
}
