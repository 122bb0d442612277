//! Configuration profiles for Apple's mail programs, one for each domain, signed with the box's certificate.
//!
//! They are made ahead, by the role that holds the key anyway, and served by nginx as files: so the panel has no way to have
//! anything signed, and nobody can have this role sign on demand. A profile names no address; the device asks for it.

use crate::pair::{self, Pair};
use crate::{CertsError, cms};
use base::{Domain, Paths, durable};
use sha2::{Digest, Sha256};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Goes up when [`profile`] changes, so that those that are there are made anew.
const FORMAT: u32 = 1;

/// Which profiles are there, and for which certificate: a digest, then the domains.
fn stamp(hostname: &Domain, chain: &str, domains: &[Domain]) -> String {
    let all = format!("{FORMAT}\n{hostname}\n{chain}");
    let domains: String = domains.iter().map(|domain| format!("{domain}\n")).collect();
    format!("{}\n{domains}", hex::encode(Sha256::digest(all.as_bytes())))
}

/// Whether the profiles that are there are signed with the served certificate, for whatever domains.
pub fn are_current(paths: &Paths, hostname: &Domain) -> bool {
    let first = |text: &str| text.lines().next().map(str::to_owned);
    let made = pair::read(&paths.profiles().join("made")).ok().flatten().and_then(|text| first(&text));
    Pair::served(paths).is_ok_and(|pair| made == first(&stamp(hostname, &pair.chain, &[])))
}

fn file(paths: &Paths, domain: &Domain) -> PathBuf {
    paths.profiles().join(format!("{domain}.mobileconfig"))
}

/// Whether every domain has a profile that is signed with the served certificate.
pub fn are_fresh(paths: &Paths, hostname: &Domain, domains: &[Domain]) -> Result<bool, CertsError> {
    let pair = Pair::served(paths)?;
    Ok(pair::read(&paths.profiles().join("made"))?.as_ref() == Some(&stamp(hostname, &pair.chain, domains)))
}

/// Makes the profiles anew where the certificate or the domains changed.
pub fn refresh(paths: &Paths, hostname: &Domain, domains: &[Domain]) -> Result<(), CertsError> {
    if are_fresh(paths, hostname, domains)? {
        return Ok(());
    }
    let folder = paths.profiles();
    make_folder(&folder).map_err(|error| CertsError::file(&folder, error))?;
    let pair = Pair::served(paths)?;
    for domain in domains {
        let xml = profile(hostname, domain);
        // Unsigned ones work as well; the device says that they are.
        let bytes = cms::sign(&pair, xml.as_bytes())?.unwrap_or_else(|| xml.into_bytes());
        let file = file(paths, domain);
        durable::write(&file, &bytes, 0o644).map_err(|error| CertsError::file(&file, error))?;
    }
    remove_others(&folder, domains).map_err(|error| CertsError::file(&folder, error))?;
    pair::write(&folder.join("made"), &stamp(hostname, &pair.chain, domains), 0o644)
}

/// nginx, another user, looks into it, whatever the umask.
fn make_folder(folder: &Path) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    durable::create_dir_all(folder, 0o755)?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))
}

fn remove_others(folder: &Path, domains: &[Domain]) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let of = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".mobileconfig"));
        if of.is_some_and(|of| !domains.iter().any(|domain| domain.as_str() == of)) {
            durable::remove(&path)?;
        }
    }
    Ok(())
}

/// The profile (Apple, “Configuration Profile Reference”). Domains hold nothing that XML minds.
fn profile(hostname: &Domain, domain: &Domain) -> String {
    let identifier: Vec<&str> = domain.as_str().rsplit('.').collect();
    let identifier = format!("{}.mailstead", identifier.join("."));
    let (outer, inner) = (uuid(&identifier), uuid(&format!("{identifier}.mail")));
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>PayloadType</key><string>Configuration</string>
  <key>PayloadVersion</key><integer>1</integer>
  <key>PayloadIdentifier</key><string>{identifier}</string>
  <key>PayloadUUID</key><string>{outer}</string>
  <key>PayloadDisplayName</key><string>Mail of {domain}</string>
  <key>PayloadDescription</key><string>Sets up mail of {domain} on this device.</string>
  <key>PayloadOrganization</key><string>{hostname}</string>
  <key>PayloadRemovalDisallowed</key><false/>
  <key>PayloadContent</key>
  <array>
    <dict>
      <key>PayloadType</key><string>com.apple.mail.managed</string>
      <key>PayloadVersion</key><integer>1</integer>
      <key>PayloadIdentifier</key><string>{identifier}.mail</string>
      <key>PayloadUUID</key><string>{inner}</string>
      <key>PayloadDisplayName</key><string>Mail of {domain}</string>
      <key>EmailAccountDescription</key><string>{domain}</string>
      <key>EmailAccountType</key><string>EmailTypeIMAP</string>
      <key>IncomingMailServerAuthentication</key><string>EmailAuthPassword</string>
      <key>IncomingMailServerHostName</key><string>{hostname}</string>
      <key>IncomingMailServerPortNumber</key><integer>993</integer>
      <key>IncomingMailServerUseSSL</key><true/>
      <key>OutgoingMailServerAuthentication</key><string>EmailAuthPassword</string>
      <key>OutgoingMailServerHostName</key><string>{hostname}</string>
      <key>OutgoingMailServerPortNumber</key><integer>465</integer>
      <key>OutgoingMailServerUseSSL</key><true/>
      <key>OutgoingPasswordSameAsIncomingPassword</key><true/>
    </dict>
  </array>
</dict>
</plist>
"#
    )
}

/// The same for the same domain, so that a newer profile replaces the older on a device (RFC 9562 §5.8: a UUID of one's
/// own making).
fn uuid(of: &str) -> String {
    let mut bytes = [0_u8; 16];
    let hash = Sha256::digest(of.as_bytes());
    bytes.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = hex::encode_upper(bytes);
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default().to_owned();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
        PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, SignatureAlgorithm,
    };
    use std::process::Command;

    fn domain(text: &str) -> Domain {
        Domain::parse(text).unwrap()
    }

    /// A box whose certificate is issued by an authority of the test's; returns the authority's file.
    fn with_key(algorithm: &'static SignatureAlgorithm) -> (tempfile::TempDir, Paths, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        std::fs::create_dir_all(paths.tls()).unwrap();
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(vec![]).unwrap();
        authority.distinguished_name.push(rcgen::DnType::CommonName, "Root of the test");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root = dir.path().join("root.pem");
        std::fs::write(&root, authority.self_signed(&authority_key).unwrap().pem()).unwrap();
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut leaf = CertificateParams::new(vec!["box.example.org".to_owned()]).unwrap();
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        let chain = leaf.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap().pem();
        Pair { chain, key: key.serialize_pem() }.serve(&paths).unwrap();
        (dir, paths, root)
    }

    #[test]
    fn the_signature_is_verified_by_openssl_and_what_is_inside_is_a_property_list() {
        for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_RSA_SHA256] {
            let (dir, paths, root) = with_key(algorithm);
            refresh(&paths, &domain("box.example.org"), &[domain("example.org")]).unwrap();
            let inside = dir.path().join("inside.plist");
            let output = Command::new("openssl")
                .args(["cms", "-verify", "-inform", "DER", "-binary", "-purpose", "any", "-in"])
                .arg(file(&paths, &domain("example.org")))
                .arg("-CAfile")
                .arg(&root)
                .arg("-out")
                .arg(&inside)
                .output()
                .unwrap();
            assert!(output.status.success(), "{algorithm:?}: {}", String::from_utf8_lossy(&output.stderr));
            let text = std::fs::read_to_string(&inside).unwrap();
            assert_eq!(text, profile(&domain("box.example.org"), &domain("example.org")));
            let judged = Command::new("xmllint").args(["--noout", "--nonet"]).arg(&inside).output().unwrap();
            assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stderr));
        }
    }

    #[test]
    fn a_changed_profile_is_not_verified() {
        let (dir, paths, root) = with_key(&PKCS_ECDSA_P256_SHA256);
        refresh(&paths, &domain("box.example.org"), &[domain("example.org")]).unwrap();
        let mut bytes = std::fs::read(file(&paths, &domain("example.org"))).unwrap();
        let at = bytes.windows(15).position(|part| part == b"box.example.org").unwrap();
        bytes[at] = b'f';
        let forged = dir.path().join("forged");
        std::fs::write(&forged, bytes).unwrap();
        let verify = ["cms", "-verify", "-inform", "DER", "-binary", "-purpose", "any", "-out", "/dev/null", "-in"];
        let output = Command::new("openssl").args(verify).arg(&forged).arg("-CAfile").arg(&root).output().unwrap();
        assert!(!output.status.success());
    }

    #[test]
    fn profiles_follow_the_domains_and_the_certificate() {
        let (_dir, paths, _) = with_key(&PKCS_ED25519);
        let (hostname, one, two) = (domain("box.example.org"), domain("one.example"), domain("two.example"));
        let both = [one.clone(), two.clone()];
        refresh(&paths, &hostname, &both).unwrap();
        assert!(are_fresh(&paths, &hostname, &both).unwrap());
        // A kind of key that cannot sign such files: the profile is there all the same.
        assert!(std::fs::read_to_string(file(&paths, &two)).unwrap().contains("<plist"));
        refresh(&paths, &hostname, std::slice::from_ref(&one)).unwrap();
        assert!(file(&paths, &one).exists() && !file(&paths, &two).exists());
        let key = KeyPair::generate().unwrap();
        let chain =
            CertificateParams::new(vec!["box.example.org".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
        Pair { chain, key: key.serialize_pem() }.serve(&paths).unwrap();
        assert!(!are_fresh(&paths, &hostname, &[one]).unwrap());
    }
}
