//! The key, and a certificate of the box's own until one is issued. A demo is its own authority.

use crate::CertsError;
use crate::names::wanted;
use crate::pair::{self, write};
use base::{BoxConfig, Paths, durable};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd};

/// The name of a demo's own authority.
pub const DEMO_AUTHORITY: &str = "Mailstead demo authority";

/// Makes the key and a first certificate where there is none. Safe to repeat.
pub fn initial(paths: &Paths, config: &BoxConfig) -> Result<(), CertsError> {
    durable::create_dir_all(&paths.tls(), 0o755).map_err(|error| CertsError::file(&paths.tls(), error))?;
    pair::settle(paths)?;
    if paths.tls_pair().exists() {
        return Ok(());
    }
    let key = key(paths)?;
    let chain = paths.tls().join("chain.pem");
    let pem = match config.demo {
        Some(_) => by_own_authority(paths, config, &key)?,
        None => params(vec![config.hostname.to_string()], "Mailstead")?.self_signed(&key)?.pem(),
    };
    write(&chain, &pem, 0o644)?;
    pair::settle(paths)
}

/// The box's TLS key, ECDSA P-256: short handshakes, understood by all.
pub fn key(paths: &Paths) -> Result<KeyPair, CertsError> {
    let path = paths.tls().join("key.pem");
    match std::fs::read_to_string(&path) {
        Ok(pem) => Ok(KeyPair::from_pem(&pem)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = KeyPair::generate()?;
            write(&path, &key.serialize_pem(), 0o640)?;
            Ok(key)
        }
        Err(error) => Err(CertsError::file(&path, error)),
    }
}

/// A demo's certificate, and its authority in `ca.pem` for clients to trust.
fn by_own_authority(paths: &Paths, config: &BoxConfig, key: &KeyPair) -> Result<String, CertsError> {
    let authority_key = KeyPair::generate()?;
    let mut authority = params(vec![], DEMO_AUTHORITY)?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);
    let mut names = wanted(config, std::slice::from_ref(config.email.domain()));
    names.extend(["localhost".to_owned(), "127.0.0.1".to_owned()]);
    let mut leaf = params(names, "Mailstead demo")?;
    leaf.use_authority_key_identifier_extension = true;
    let leaf = leaf.signed_by(key, &issuer)?;
    write(&paths.tls().join("ca.pem"), &authority_pem, 0o644)?;
    Ok(leaf.pem() + &authority_pem)
}

fn params(names: Vec<String>, common_name: &str) -> Result<CertificateParams, CertsError> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    // It is replaced within minutes, or warned of daily; an end date would only add a second fault.
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2036, 1, 1);
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Address, DnsMode, Domain};

    fn set_up(demo: bool) -> (tempfile::TempDir, Paths, BoxConfig) {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        let owner = Address::parse("ann@example.org").unwrap();
        let mut config = BoxConfig::new(owner, Domain::parse("box.example.org").unwrap(), DnsMode::Box);
        config.demo = demo.then_some(base::config::DemoOptions {
            base_port: 1,
            resolver: None,
            remote_smtp_port: 25,
            retry_seconds: None,
        });
        (dir, paths, config)
    }

    #[test]
    fn the_key_stays_and_the_first_certificate_serves() {
        let (_dir, paths, config) = set_up(false);
        initial(&paths, &config).unwrap();
        let key = std::fs::read(paths.tls().join("key.pem")).unwrap();
        for lost in [paths.tls().join("chain.pem"), paths.tls_pair()] {
            std::fs::remove_file(lost).unwrap();
            initial(&paths, &config).unwrap();
            assert_eq!(std::fs::read(paths.tls().join("key.pem")).unwrap(), key);
        }
        assert!(base::tls::server(&paths, base::tls::Tickets::No).is_ok());
        let names = ["box.example.org".to_owned()];
        assert!(crate::due(&paths, &names, base::time::now_unix()).unwrap().unwrap().contains("nobody trusts"));
        // As an earlier release left it.
        std::fs::remove_file(paths.tls_pair()).unwrap();
        initial(&paths, &config).unwrap();
        let pair = crate::pair::Pair::served(&paths).unwrap();
        assert_eq!(std::fs::read_to_string(paths.tls().join("chain.pem")).unwrap(), pair.chain);
    }

    #[test]
    fn a_demo_is_trusted_by_those_who_trust_its_authority() {
        let (_dir, paths, config) = set_up(true);
        initial(&paths, &config).unwrap();
        let output = std::process::Command::new("openssl")
            .args(["verify", "-verify_hostname", "box.example.org", "-CAfile"])
            .args([paths.tls().join("ca.pem"), paths.tls().join("chain.pem")])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
