//! Packing a release: artifact, manifest and signature, as `install.sh` checks them. See docs/release.md.

use crate::ProvisionError;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::Ed25519KeyPair;
use base::durable;
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use std::path::{Path, PathBuf};

const HEAD: &str = "mailstead-release 1";

/// Adds one architecture's artifact to `out/version`, signs the manifest anew, and points `out/latest` at it.
pub fn pack(program: &[u8], key_pem: &str, out: &Path, version: &str, arch: &str) -> Result<PathBuf, ProvisionError> {
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if !plain(version) || !plain(arch) || version.starts_with('.') {
        return Err(ProvisionError::Refused(format!("“{version}” or “{arch}” cannot be part of a file name")));
    }
    let key = signing_key(key_pem)?;
    let folder = out.join(version);
    durable::create_dir_all(&folder, 0o755).map_err(|error| ProvisionError::file(&folder, error))?;
    let name = format!("mailstead-{version}-{arch}.tar.gz");
    let artifact = tar_gz(program)?;
    write(&folder.join(&name), &artifact)?;
    let hash: String = digest(&SHA256, &artifact).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let line = format!("artifact {arch} {name} {} {hash}", artifact.len());
    let manifest = manifest(&folder, version, arch, &line)?;
    write(&folder.join("manifest.sig"), key.sign(manifest.as_bytes()).as_ref())?;
    write(&folder.join("manifest"), manifest.as_bytes())?;
    write(&out.join("latest"), format!("{version}\n").as_bytes())?;
    Ok(folder)
}

fn signing_key(pem: &str) -> Result<Ed25519KeyPair, ProvisionError> {
    let bad = || ProvisionError::Refused("the key is not an Ed25519 private key in PEM (PKCS #8)".to_owned());
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| bad())?;
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der()).map_err(|_| bad())
}

/// The manifest with the other architectures' lines kept.
fn manifest(folder: &Path, version: &str, arch: &str, line: &str) -> Result<String, ProvisionError> {
    let path = folder.join("manifest");
    let before = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(ProvisionError::file(&path, error)),
    };
    let own = format!("artifact {arch} ");
    let others = before.lines().filter(|line| line.starts_with("artifact ") && !line.starts_with(&own));
    let mut lines = vec![HEAD.to_owned(), format!("version {version}")];
    lines.extend(others.map(str::to_owned));
    lines.push(line.to_owned());
    Ok(lines.join("\n") + "\n")
}

/// A tar of the single file `mailstead`, compressed by gzip, which every fresh host can unpack.
fn tar_gz(program: &[u8]) -> Result<Vec<u8>, ProvisionError> {
    let failed = |error| ProvisionError::Command("tar".to_owned(), error);
    let mut header = tar::Header::new_gnu();
    header.set_size(program.len() as u64);
    header.set_mode(0o755);
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let mut archive = tar::Builder::new(gzip);
    archive.append_data(&mut header, "mailstead", program).map_err(failed)?;
    archive.into_inner().and_then(flate2::write::GzEncoder::finish).map_err(failed)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), ProvisionError> {
    durable::write(path, bytes, 0o644).map_err(|error| ProvisionError::file(path, error))
}
