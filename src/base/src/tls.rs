//! Serving TLS with a certificate that may be replaced at any time.
//!
//! The certificate and its key lie together in `tls/pair.pem`, which is replaced in one rename, so nobody ever sees a
//! certificate with another's key. Each handshake serves what is on disk, looked at no more than once in [`RECHECK`]; a
//! pair that does not load keeps the previous one in service and says so in the log.

use crate::paths::Paths;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// The authorities that Debian and Ubuntu trust (ca-certificates).
pub const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
/// How long a certificate that was replaced may still be served. Looking costs one `stat`, and only at handshakes.
pub const RECHECK: Duration = Duration::from_secs(1);

/// Why there is no certificate to serve.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{0} cannot be read: {1}")]
    Unreadable(PathBuf, rustls_pki_types::pem::Error),
    #[error("the certificate and key in {0} cannot be used: {1}")]
    Unusable(PathBuf, rustls::Error),
}

/// Whether session tickets are given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tickets {
    Yes,
    /// Some senders fail on them, so port 25 gives none.
    No,
}

/// A TLS server for one listener, TLS 1.2 and 1.3.
pub fn server(paths: &Paths, tickets: Tickets) -> Result<Arc<ServerConfig>, TlsError> {
    let resolver = Arc::new(Reloading::open(paths)?);
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| TlsError::Unusable(paths.tls(), error))?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
    match tickets {
        Tickets::Yes => {
            if let Ok(ticketer) = aws_lc_rs::Ticketer::new() {
                config.ticketer = ticketer;
            }
        }
        Tickets::No => {
            config.send_tls13_tickets = 0;
            config.session_storage = Arc::new(NoServerSessionStorage {});
        }
    }
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct Reloading {
    files: Files,
    current: Mutex<Current>,
}

/// Where certificate and key are read from: the same file, but in a folder that has them apart.
#[derive(Debug)]
struct Files {
    chain: PathBuf,
    key: PathBuf,
}

#[derive(Debug)]
struct Current {
    certified: Arc<CertifiedKey>,
    stamp: Option<SystemTime>,
    looked: Instant,
}

impl Files {
    fn of(paths: &Paths) -> Self {
        let pair = paths.tls_pair();
        match pair.exists() {
            true => Self { chain: pair.clone(), key: pair },
            false => Self { chain: paths.tls().join("chain.pem"), key: paths.tls().join("key.pem") },
        }
    }
}

impl Reloading {
    fn open(paths: &Paths) -> Result<Self, TlsError> {
        let files = Files::of(paths);
        let stamp = modified(&files.chain);
        let certified = load(&files)?;
        Ok(Self { files, current: Mutex::new(Current { certified, stamp, looked: Instant::now() }) })
    }

    fn serve(&self) -> Arc<CertifiedKey> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked.elapsed() >= RECHECK {
            current.looked = Instant::now();
            let stamp = modified(&self.files.chain);
            if stamp != current.stamp {
                match load(&self.files) {
                    Ok(certified) => {
                        tracing::info!("serving the new certificate");
                        current.certified = certified;
                        current.stamp = stamp;
                    }
                    Err(error) => tracing::error!("keeping the previous certificate: {error}"),
                }
            }
        }
        Arc::clone(&current.certified)
    }
}

impl ResolvesServerCert for Reloading {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.serve())
    }
}

fn modified(path: &std::path::Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

fn load(Files { chain, key }: &Files) -> Result<Arc<CertifiedKey>, TlsError> {
    let unreadable = |path: &PathBuf| {
        let path = path.clone();
        move |error| TlsError::Unreadable(path, error)
    };
    let certificates = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unreadable(chain))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key))?;
    let certified = CertifiedKey::from_der(certificates, private, &aws_lc_rs::default_provider())
        .map_err(|error| TlsError::Unusable(chain.clone(), error))?;
    Ok(Arc::new(certified))
}
