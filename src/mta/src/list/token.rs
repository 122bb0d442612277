//! Words in a list's addresses that only this box can make: who holds one may do what it stands for.
//!
//! A token is an HMAC-SHA256 over its purpose and what it is about, cut to 80 bits and written in base32, so that nothing
//! has to be kept to know it again. Case does not count: servers on the way may change it.

use crate::secret_file;
use aws_lc_rs::hmac;
use std::io;
use std::path::Path;

const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// Digits of a token: 80 bits, beyond all guessing by mail.
const LENGTH: usize = 16;

#[derive(Debug)]
pub struct Tokens {
    key: hmac::Key,
}

impl Tokens {
    /// Opens the key, or makes one on first use. It lies readable for the MTA alone.
    pub fn open(file: &Path) -> io::Result<Self> {
        let secret = secret_file::open(file)?;
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, &secret) })
    }

    /// The token for a purpose and what it is about.
    pub fn make(&self, purpose: &str, about: &[&str]) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        for part in std::iter::once(&purpose).chain(about) {
            // The length stands before each part, so that no two lists of parts read the same.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let tag = context.sign();
        tag.as_ref().iter().take(LENGTH).map(|byte| char::from(DIGITS[usize::from(byte % 32)])).collect()
    }

    /// Whether a token is the right one, in time that does not tell how much of it is.
    pub fn fits(&self, given: &str, purpose: &str, about: &[&str]) -> bool {
        let (given, right) = (given.to_ascii_lowercase(), self.make(purpose, about));
        given.len() == right.len() && given.bytes().zip(right.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_one_thing_and_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys/lists");
        let token = Tokens::open(&file).unwrap().make("leave", &["club@example.org", "joe@example.net"]);
        assert!(token.len() == LENGTH && token.bytes().all(|byte| DIGITS.contains(&byte)), "{token}");
        let again = Tokens::open(&file).unwrap();
        assert!(again.fits(&token.to_ascii_uppercase(), "leave", &["club@example.org", "joe@example.net"]));
        assert!(!again.fits(&token, "bounces", &["club@example.org", "joe@example.net"]));
        assert!(!again.fits(&token, "leave", &["club@example.or", "gjoe@example.net"]));
        assert!(!again.fits("", "leave", &["club@example.org", "joe@example.net"]));
    }
}
