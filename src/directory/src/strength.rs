//! Whether a new password withstands guessing: not one that is on lists of passwords that leaked, and not one that is made
//! of what everybody knows of its owner (NIST SP 800-63B §5.1.1.2).

use base::{Address, Secret};
use wire::{Kind, Refusal};
use zxcvbn::{Score, zxcvbn};

/// Refuses, with what makes it easy to guess. From `Three` on it takes more than 10⁸ guesses, which at the rate that the
/// doors allow is for ever, and with a stolen hash still months.
pub fn check(password: &Secret, owner: &Address) -> Result<(), Refusal> {
    let mut known: Vec<&str> = owner.domain().as_str().split('.').collect();
    known.extend([owner.local(), owner.domain().as_str(), "mailstead"]);
    let found = zxcvbn(password.expose(), &known);
    if found.score() >= Score::Three {
        return Ok(());
    }
    let why = found.feedback().and_then(|feedback| feedback.warning());
    let why = why.map_or_else(|| "it is easily guessed.".to_owned(), |warning| warning.to_string());
    let words = format!("this password is no good: {why} Take several words that have nothing to do with each other");
    Err(Refusal::new(Kind::Invalid, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(password: &str) -> Result<(), Refusal> {
        check(&Secret::new(password), &Address::parse("ann.miller@example.org").unwrap())
    }

    #[test]
    fn leaked_passwords_and_those_made_of_the_owners_name_are_refused() {
        for weak in
            ["password123", "qwertyuiop", "1234567890", "ann.miller1", "example.org", "iloveyou123", "aaaaaaaaaaaa"]
        {
            let refusal = judge(weak).unwrap_err();
            assert!(refusal.message.contains("no good"), "{weak}: {}", refusal.message);
        }
    }

    #[test]
    fn a_phrase_and_a_random_one_are_taken() {
        for good in ["correct horse battery", "a long enough pass phrase", "kitchen-lamp-otter-seven"] {
            assert!(judge(good).is_ok(), "{good}");
        }
        assert!(check(&Secret::generate(), &Address::parse("a@b.example").unwrap()).is_ok());
    }
}
