//! A string that does not show itself: no `Display`, a blank `Debug`, wiped when dropped.

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// A password or key in transit. Read it with [`Secret::expose`], as late as possible.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A random password a person can type: four groups of five, about 99 bits, no look-alike characters.
    pub fn generate() -> Self {
        Self::in_groups(4, 5)
    }

    /// Random letters and digits in groups with hyphens between them, some 4.95 bits a character.
    pub fn in_groups(groups: usize, of: usize) -> Self {
        let mut rng = rand::rng();
        let mut text = String::with_capacity(groups * (of + 1));
        for position in 0..groups * of {
            if position > 0 && position % of == 0 {
                text.push('-');
            }
            let index = rand::Rng::random_range(&mut rng, 0..Self::ALPHABET.len());
            text.push(char::from(Self::ALPHABET[index]));
        }
        Self(text)
    }

    /// What [`Secret::in_groups`] is made of: nothing that can be mistaken for another.
    pub const ALPHABET: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints_itself() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(…)");
    }

    #[test]
    fn generated_passwords_are_long_and_differ() {
        let (a, b) = (Secret::generate(), Secret::generate());
        assert_eq!(a.expose().len(), 23);
        assert_ne!(a.expose(), b.expose());
    }
}
