//! Rights on a mailbox (RFC 4314 §2). Pure.

use std::fmt;

/// A set of rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights(u16);

/// In the order of RFC 4314 §2.1.
const LETTERS: &str = "lrswipkxtea";

impl Rights {
    pub const LOOKUP: Rights = Rights(1);
    pub const READ: Rights = Rights(1 << 1);
    pub const SEEN: Rights = Rights(1 << 2);
    pub const WRITE: Rights = Rights(1 << 3);
    pub const INSERT: Rights = Rights(1 << 4);
    pub const CREATE: Rights = Rights(1 << 6);
    pub const DELETE_MAILBOX: Rights = Rights(1 << 7);
    pub const DELETE_MESSAGES: Rights = Rights(1 << 8);
    pub const EXPUNGE: Rights = Rights(1 << 9);
    pub const ADMINISTER: Rights = Rights(1 << 10);
    /// What an owner has.
    pub const ALL: Rights = Rights((1 << 11) - 1);

    /// Reads letters; `c` and `d` are those of RFC 2086 (RFC 4314 §2.1.1). `Err` is a letter that is no right.
    pub fn parse(letters: &str) -> Result<Rights, char> {
        let mut rights = Rights::default();
        for letter in letters.chars() {
            rights = rights.with(match letter {
                'c' => Rights::CREATE.with(Rights::DELETE_MAILBOX),
                'd' => Rights::DELETE_MESSAGES.with(Rights::EXPUNGE),
                letter => Rights(1 << LETTERS.find(letter).ok_or(letter)?),
            });
        }
        Ok(rights)
    }

    pub fn has(self, all: Rights) -> bool {
        self.0 & all.0 == all.0
    }

    pub fn with(self, other: Rights) -> Rights {
        Rights(self.0 | other.0)
    }

    pub fn without(self, other: Rights) -> Rights {
        Rights(self.0 & !other.0)
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let there = LETTERS.chars().enumerate().filter(|(bit, _)| self.0 & (1 << bit) != 0);
        there.map(|(_, letter)| letter).try_for_each(|letter| write!(f, "{letter}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_read_and_shown() {
        assert_eq!(Rights::ALL.to_string(), LETTERS);
        assert_eq!(Rights::parse("arl").unwrap().to_string(), "lra");
        assert_eq!(Rights::parse("dc").unwrap().to_string(), "kxte");
        assert_eq!(Rights::parse("lz"), Err('z'));
        assert!(Rights::parse("lr").unwrap().has(Rights::LOOKUP) && !Rights::READ.has(Rights::WRITE));
        for letters in ["l", "r", "s", "w", "i", "k", "x", "t", "e", "a"] {
            assert_eq!(Rights::parse(letters).unwrap().to_string(), letters);
        }
    }
}
