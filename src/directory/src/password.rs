//! Hashing and checking passwords: argon2id with the parameters that OWASP recommends (19 MiB, two passes).

use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};
use base::Secret;
use wire::{Kind, Refusal};

use crate::limits::{MAX_PASSWORD, MIN_PASSWORD};

/// OWASP Password Storage Cheat Sheet: m = 19 MiB, t = 2, p = 1.
fn hasher() -> Result<Argon2<'static>, Refusal> {
    let params = Params::new(19 * 1024, 2, 1, None).map_err(Refusal::internal)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// Refuses passwords that are too short or too long.
pub fn fits(password: &Secret) -> Result<(), Refusal> {
    let length = password.expose().chars().count();
    if length < MIN_PASSWORD {
        let words = format!("the password has {length} characters; it needs at least {MIN_PASSWORD}");
        return Err(Refusal::new(Kind::Invalid, words));
    }
    if password.expose().len() > MAX_PASSWORD {
        let words = format!("the password is longer than {MAX_PASSWORD} bytes");
        return Err(Refusal::new(Kind::Invalid, words));
    }
    Ok(())
}

/// The PHC string to keep, of a password that fits.
pub fn hash(password: &Secret) -> Result<String, Refusal> {
    fits(password)?;
    let hash = hasher()?.hash_password(password.expose().as_bytes()).map_err(Refusal::internal)?;
    Ok(hash.to_string())
}

/// Whether the password fits the kept hash. Without a hash the same work is done, and the answer is no.
pub fn verify(password: &Secret, kept: Option<&str>) -> bool {
    // The hash of a random string that nobody has; its parameters are those of `hasher`.
    const NOBODY: &str =
        "$argon2id$v=19$m=19456,t=2,p=1$c29tZSBzYWx0IG9mIG91cnM$QWSbGKZ9WVMfCXAqNqf2F4B0jvhEC9yjgJvpCRcdmLM";
    if password.expose().len() > MAX_PASSWORD {
        return false;
    }
    let Ok(parsed) = PasswordHash::new(kept.unwrap_or(NOBODY)) else { return false };
    let Ok(hasher) = hasher() else { return false };
    hasher.verify_password(password.expose().as_bytes(), &parsed).is_ok() && kept.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_password_fits_and_a_wrong_one_does_not() {
        let kept = hash(&Secret::new("correct horse battery")).unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(verify(&Secret::new("correct horse battery"), Some(&kept)));
        assert!(!verify(&Secret::new("correct horse batterx"), Some(&kept)));
        assert!(!verify(&Secret::new("correct horse battery"), None));
    }

    #[test]
    fn an_unknown_account_takes_as_long_as_a_known_one() {
        let kept = hash(&Secret::new("correct horse battery")).unwrap();
        let time = |hash: Option<&str>| {
            let start = std::time::Instant::now();
            verify(&Secret::new("something else"), hash);
            start.elapsed().as_secs_f64()
        };
        let (known, unknown) = (time(Some(&kept)), time(None));
        assert!(unknown > known / 4.0, "an unknown account answered in {unknown} s, a known one in {known} s");
    }

    #[test]
    fn a_short_password_is_refused_with_its_length() {
        assert!(hash(&Secret::new("short")).unwrap_err().message.contains("5 characters"));
    }
}
