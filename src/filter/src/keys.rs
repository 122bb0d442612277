//! DKIM keys: for each domain pairs of an RSA-2048 and an Ed25519 key (RFC 8301, RFC 8463), one pair of which signs.
//!
//! The first pair lies in `dkim/<domain>/rsa.der` and `ed25519.der` (PKCS #8), later ones in `dkim/<domain>/<generation>/`,
//! readable by this role alone. `dkim/<domain>/signing` holds the generation that signs; without it that is the first. When
//! one follows another is the dns role's to say.

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

/// The pair that a domain begins with.
const FIRST: u32 = 1;

/// The selectors of a pair, one for each algorithm: `ms1` and `ms1e`.
fn selectors(generation: u32) -> (String, String) {
    (format!("ms{generation}"), format!("ms{generation}e"))
}

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
        make(&self.folder.join(format!(".{domain}.new")), &folder)?;
        tracing::info!("made the DKIM keys of {domain}");
        Ok(true)
    }

    /// Where a pair lies.
    fn place(&self, domain: &Domain, generation: u32) -> PathBuf {
        let folder = self.folder.join(domain.as_str());
        if generation == FIRST { folder } else { folder.join(generation.to_string()) }
    }

    /// Makes one more pair, which signs nothing yet; nothing when it is there.
    pub fn make_next(&self, domain: &Domain, generation: u32) -> Result<(), FilterError> {
        self.ensure(domain)?;
        let place = self.place(domain, generation);
        if has_pair(&place) {
            return Ok(());
        }
        make(&self.folder.join(format!(".{domain}.new")), &place)?;
        tracing::info!("made the DKIM keys {generation} of {domain}");
        Ok(())
    }

    /// Signs by that pair from now on.
    pub fn sign_by(&self, domain: &Domain, generation: u32) -> Result<(), FilterError> {
        // A pair that cannot be read must not become the one that signs.
        load(&self.place(domain, generation), domain, generation)?;
        let file = self.folder.join(domain.as_str()).join("signing");
        let text = format!("{generation}\n");
        durable::write(&file, text.as_bytes(), 0o600).map_err(|error| FilterError::File(file, error))?;
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).remove(domain);
        Ok(())
    }

    /// Removes a pair; false when it is the one that signs.
    pub fn remove(&self, domain: &Domain, generation: u32) -> Result<bool, FilterError> {
        if self.signing(domain)? == generation {
            return Ok(false);
        }
        let place = self.place(domain, generation);
        for name in ["rsa.der", "ed25519.der"] {
            let file = place.join(name);
            if file.exists() {
                durable::remove(&file).map_err(|error| FilterError::File(file, error))?;
            }
        }
        if generation != FIRST && place.exists() {
            std::fs::remove_dir(&place).map_err(|error| FilterError::File(place, error))?;
        }
        Ok(true)
    }

    /// The pair that signs.
    fn signing(&self, domain: &Domain) -> Result<u32, FilterError> {
        let file = self.folder.join(domain.as_str()).join("signing");
        match std::fs::read_to_string(&file) {
            Ok(text) => text.trim().parse().map_err(|_| FilterError::Key(file, "it holds no number".to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(FIRST),
            Err(error) => Err(FilterError::File(file, error)),
        }
    }

    /// The pairs that are there.
    fn generations(&self, domain: &Domain) -> Result<Vec<u32>, FilterError> {
        let folder = self.folder.join(domain.as_str());
        let entries = std::fs::read_dir(&folder).map_err(|error| FilterError::File(folder.clone(), error))?;
        let later = entries.filter_map(Result::ok).filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let mut all: Vec<u32> = later.chain([FIRST]).collect();
        all.retain(|generation| has_pair(&self.place(domain, *generation)));
        all.sort_unstable();
        Ok(all)
    }

    /// The public halves as the zone publishes them (RFC 6376 §3.6.1); nothing for a domain without keys.
    pub fn public(&self, domain: &Domain) -> Result<Vec<DkimKey>, FilterError> {
        if !self.folder.join(domain.as_str()).exists() {
            return Ok(Vec::new());
        }
        let signing = self.signing(domain)?;
        let mut all = Vec::new();
        for generation in self.generations(domain)? {
            let pair = match generation == signing {
                true => self.pair(domain)?,
                false => Arc::new(load(&self.place(domain, generation), domain, generation)?),
            };
            let key = |selector: String, kind: &str, public: &[u8]| DkimKey {
                domain: domain.clone(),
                generation,
                signing: generation == signing,
                selector,
                txt: format!("v=DKIM1; k={kind}; p={}", BASE64_STANDARD.encode(public)),
            };
            let (rsa, ed25519) = selectors(generation);
            all.extend([key(rsa, "rsa", &pair.rsa_public), key(ed25519, "ed25519", &pair.ed25519_public)]);
        }
        Ok(all)
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
        let generation = self.signing(domain)?;
        let pair = Arc::new(load(&self.place(domain, generation), domain, generation)?);
        loaded.insert(domain.clone(), Arc::clone(&pair));
        Ok(pair)
    }
}

fn has_pair(place: &Path) -> bool {
    place.join("rsa.der").exists() && place.join("ed25519.der").exists()
}

/// Makes a pair in `fresh` and moves it to `place`: both keys appear at once, and a folder that is there is whole.
fn make(fresh: &Path, place: &Path) -> Result<(), FilterError> {
    let file = |error| FilterError::File(fresh.to_owned(), error);
    let unmade = |why: &dyn std::fmt::Display| FilterError::Key(fresh.to_owned(), why.to_string());
    if fresh.exists() {
        std::fs::remove_dir_all(fresh).map_err(file)?;
    }
    durable::create_dir_all(fresh, 0o700).map_err(file)?;
    let rsa = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).map_err(|error| unmade(&error))?;
    let rsa = rsa.as_der().map_err(|error| unmade(&error))?;
    let ed25519 = Ed25519Key::generate_pkcs8().map_err(|error| unmade(&error))?;
    durable::write(&fresh.join("rsa.der"), rsa.as_ref(), 0o600).map_err(file)?;
    durable::write(&fresh.join("ed25519.der"), &ed25519, 0o600).map_err(file)?;
    durable::rename(fresh, place).map_err(file)
}

fn load(folder: &Path, domain: &Domain, generation: u32) -> Result<Pair, FilterError> {
    let (rsa_selector, ed25519_selector) = selectors(generation);
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
    let rsa = DkimSigner::from_key(rsa).domain(domain).selector(&rsa_selector).headers(SIGNED);
    let ed25519 = DkimSigner::from_key(ed25519).domain(domain).selector(&ed25519_selector).headers(SIGNED);
    let arc = ArcSealer::from_key(arc).domain(domain).selector(&rsa_selector);
    let arc = arc.headers(SEALED.into_iter().chain([SEALED_SIGNATURE]));
    let arc_unsigned = ArcSealer::from_key(arc_unsigned).domain(domain).selector(&rsa_selector).headers(SEALED);
    Ok(Pair { rsa, rsa_public, arc, arc_unsigned, ed25519, ed25519_public })
}
