//! DKIM keys: for each domain one RSA-2048 and one Ed25519 key (RFC 8301, RFC 8463), made once.
//!
//! They lie in `dkim/<domain>/rsa.der` and `ed25519.der` (PKCS #8), readable by this role alone.

use crate::FilterError;
use crate::limits::MAX_DOMAINS;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use base::{Domain, durable};
use base64::prelude::{BASE64_STANDARD, Engine};
use mail_auth::arc::ArcSealer;
use mail_auth::crypto::{Ed25519Key, RsaKey, Sha256};
use mail_auth::dkim::DkimSigner;
use mail_auth::headers::HeaderWriter;
use mail_auth::signer::Ready;
use mail_auth::{ArcOutput, AuthenticatedMessage, AuthenticationResults};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use wire::filter::DkimKey;

/// The selectors, one for each algorithm.
const RSA_SELECTOR: &str = "ms1";
const ED25519_SELECTOR: &str = "ms1e";

/// The header fields that are signed, each also once more than it occurs where adding one would mislead a reader
/// (RFC 6376 §5.4.1 and §8.15).
const SIGNED: [&str; 20] = [
    "From",
    "From",
    "To",
    "To",
    "Cc",
    "Cc",
    "Subject",
    "Subject",
    "Date",
    "Date",
    "Message-ID",
    "Reply-To",
    "Sender",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    // Both, or one click is not believed (RFC 8058 §4).
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
];

/// The header fields that an ARC set covers (RFC 8617 §4.1.2). Not List-Unsubscribe: a list's seal is made once, and that
/// field is another one for each member.
const SEALED: [&str; 15] = [
    "From",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "Reply-To",
    "Sender",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "List-Id",
    "List-Post",
];

/// Beside these, signatures that are there already (§4.1.2). Where there are none, that must not be sealed: a list adds its
/// own afterwards.
const SEALED_SIGNATURE: &str = "DKIM-Signature";

/// A domain's two keys, ready to sign, and their public halves as the zone publishes them.
struct Pair {
    rsa: DkimSigner<RsaKey<Sha256>, Ready>,
    rsa_public: Vec<u8>,
    /// RSA alone: validators of ARC need not know any other algorithm (RFC 8617 §4.1).
    arc: ArcSealer<RsaKey<Sha256>, Ready>,
    /// The same for a message that bears no DKIM signature.
    arc_unsigned: ArcSealer<RsaKey<Sha256>, Ready>,
    ed25519: DkimSigner<Ed25519Key, Ready>,
    ed25519_public: Vec<u8>,
}

/// Every domain's keys, read when first needed.
pub struct Keys {
    folder: PathBuf,
    loaded: Mutex<HashMap<Domain, Arc<Pair>>>,
}

impl Keys {
    pub fn open(folder: PathBuf) -> Result<Self, FilterError> {
        durable::create_dir_all(&folder, 0o700).map_err(|error| FilterError::File(folder.clone(), error))?;
        Ok(Self { folder, loaded: Mutex::default() })
    }

    /// Makes the keys of a domain if it has none; says whether it had none.
    pub fn ensure(&self, domain: &Domain) -> Result<bool, FilterError> {
        let folder = self.folder.join(domain.as_str());
        if folder.exists() {
            return Ok(false);
        }
        let existing =
            std::fs::read_dir(&self.folder).map_err(|error| FilterError::File(self.folder.clone(), error))?;
        if existing.count() >= MAX_DOMAINS {
            let why = std::io::Error::other(format!("there are {MAX_DOMAINS} domains already"));
            return Err(FilterError::File(folder, why));
        }
        // Both keys appear at once: a folder that is there is whole.
        let fresh = self.folder.join(format!(".{domain}.new"));
        let file = |error| FilterError::File(fresh.clone(), error);
        let unmade = |why: &dyn std::fmt::Display| FilterError::Key(fresh.clone(), why.to_string());
        if fresh.exists() {
            std::fs::remove_dir_all(&fresh).map_err(file)?;
        }
        durable::create_dir_all(&fresh, 0o700).map_err(file)?;
        let rsa = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).map_err(|error| unmade(&error))?;
        let rsa = rsa.as_der().map_err(|error| unmade(&error))?;
        let ed25519 = Ed25519Key::generate_pkcs8().map_err(|error| unmade(&error))?;
        durable::write(&fresh.join("rsa.der"), rsa.as_ref(), 0o600).map_err(file)?;
        durable::write(&fresh.join("ed25519.der"), &ed25519, 0o600).map_err(file)?;
        durable::rename(&fresh, &folder).map_err(file)?;
        tracing::info!("made the DKIM keys of {domain}");
        Ok(true)
    }

    /// The public halves as the zone publishes them (RFC 6376 §3.6.1); nothing for a domain without keys.
    pub fn public(&self, domain: &Domain) -> Result<Vec<DkimKey>, FilterError> {
        if !self.folder.join(domain.as_str()).exists() {
            return Ok(Vec::new());
        }
        let pair = self.pair(domain)?;
        let key = |selector: &str, kind: &str, public: &[u8]| DkimKey {
            domain: domain.clone(),
            selector: selector.to_owned(),
            txt: format!("v=DKIM1; k={kind}; p={}", BASE64_STANDARD.encode(public)),
        };
        let rsa = key(RSA_SELECTOR, "rsa", &pair.rsa_public);
        Ok(vec![rsa, key(ED25519_SELECTOR, "ed25519", &pair.ed25519_public)])
    }

    /// Both signatures over a message, as header fields.
    pub fn sign(&self, domain: &Domain, message: &[u8]) -> Result<String, FilterError> {
        let pair = self.pair(domain)?;
        let failed = |error: mail_auth::Error| FilterError::Key(self.folder.join(domain.as_str()), error.to_string());
        let rsa = pair.rsa.sign(message).map_err(failed)?;
        let ed25519 = pair.ed25519.sign(message).map_err(failed)?;
        Ok(format!("{}{}", rsa.to_header(), ed25519.to_header()))
    }

    /// The next set of an ARC chain, as header fields.
    pub fn seal(
        &self,
        domain: &Domain,
        message: &AuthenticatedMessage<'_>,
        results: &AuthenticationResults<'_>,
        chain: &ArcOutput<'_>,
    ) -> Result<String, FilterError> {
        let pair = self.pair(domain)?;
        let is_signed =
            message.headers().iter().any(|(name, _)| name.trim_ascii().eq_ignore_ascii_case(b"DKIM-Signature"));
        let sealer = if is_signed { &pair.arc } else { &pair.arc_unsigned };
        let set = sealer.seal(message, results, chain);
        let failed = |error: mail_auth::Error| FilterError::Key(self.folder.join(domain.as_str()), error.to_string());
        set.map(|set| set.to_header()).map_err(failed)
    }

    fn pair(&self, domain: &Domain) -> Result<Arc<Pair>, FilterError> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pair) = loaded.get(domain) {
            return Ok(Arc::clone(pair));
        }
        let pair = Arc::new(load(&self.folder.join(domain.as_str()), domain)?);
        loaded.insert(domain.clone(), Arc::clone(&pair));
        Ok(pair)
    }
}

fn load(folder: &Path, domain: &Domain) -> Result<Pair, FilterError> {
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read(&path).map_err(|error| FilterError::File(path, error))
    };
    let bad = |why: &dyn std::fmt::Display| FilterError::Key(folder.to_owned(), why.to_string());
    let der = read("rsa.der")?;
    let public = aws_lc_rs::rsa::KeyPair::from_pkcs8(&der).map_err(|error| bad(&error))?;
    let public = aws_lc_rs::signature::KeyPair::public_key(&public).as_der().map_err(|error| bad(&error))?;
    let rsa_public = public.as_ref().to_vec();
    let key = |der: Vec<u8>| {
        RsaKey::<Sha256>::from_key_der(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der))).map_err(|error| bad(&error))
    };
    let (rsa, arc, arc_unsigned) = (key(der.clone())?, key(der.clone())?, key(der)?);
    let ed25519 = Ed25519Key::from_pkcs8_der(&read("ed25519.der")?).map_err(|error| bad(&error))?;
    let ed25519_public = ed25519.public_key();
    let domain = domain.as_str();
    let rsa = DkimSigner::from_key(rsa).domain(domain).selector(RSA_SELECTOR).headers(SIGNED);
    let ed25519 = DkimSigner::from_key(ed25519).domain(domain).selector(ED25519_SELECTOR).headers(SIGNED);
    let arc = ArcSealer::from_key(arc).domain(domain).selector(RSA_SELECTOR);
    let arc = arc.headers(SEALED.into_iter().chain([SEALED_SIGNATURE]));
    let arc_unsigned = ArcSealer::from_key(arc_unsigned).domain(domain).selector(RSA_SELECTOR).headers(SEALED);
    Ok(Pair { rsa, rsa_public, arc, arc_unsigned, ed25519, ed25519_public })
}
