//! The system flags and keywords of a message (RFC 3501 §2.3.2) and their letters in Maildir file names.

use crate::limits;
use std::fmt;
use std::ops::BitOr;
use std::sync::Arc;

/// The permanent system flags.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(u8);

/// Flag, its Maildir letter, its IMAP name; in the order of the letters, as file names want them.
const TABLE: [(Flags, char, &str); 5] = [
    (Flags::DRAFT, 'D', "\\Draft"),
    (Flags::FLAGGED, 'F', "\\Flagged"),
    (Flags::ANSWERED, 'R', "\\Answered"),
    (Flags::SEEN, 'S', "\\Seen"),
    (Flags::DELETED, 'T', "\\Deleted"),
];

impl Flags {
    pub const NONE: Flags = Flags(0);
    pub const SEEN: Flags = Flags(1);
    pub const ANSWERED: Flags = Flags(2);
    pub const FLAGGED: Flags = Flags(4);
    pub const DELETED: Flags = Flags(8);
    pub const DRAFT: Flags = Flags(16);

    pub fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn without(self, other: Flags) -> Flags {
        Flags(self.0 & !other.0)
    }

    /// The flag of an IMAP name, whatever its case.
    pub fn named(name: &str) -> Option<Flags> {
        TABLE.iter().find(|(_, _, known)| known.eq_ignore_ascii_case(name)).map(|(flag, _, _)| *flag)
    }

    /// The IMAP names of the flags that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        TABLE.iter().filter(move |(flag, _, _)| self.contains(*flag)).map(|(_, _, name)| *name)
    }

    /// The letters for a file name, sorted.
    pub(crate) fn letters(self) -> String {
        TABLE.iter().filter(|(flag, _, _)| self.contains(*flag)).map(|(_, letter, _)| *letter).collect()
    }

    /// Reads the letters of a file name; unknown ones are passed over.
    pub(crate) fn from_letters(letters: &str) -> Flags {
        TABLE
            .iter()
            .filter(|(_, letter, _)| letters.contains(*letter))
            .fold(Flags::NONE, |flags, (flag, _, _)| flags | *flag)
    }

    pub(crate) fn sql(self) -> i64 {
        i64::from(self.0)
    }

    pub(crate) fn from_sql(value: i64) -> Flags {
        Flags(u8::try_from(value & 31).unwrap_or(0))
    }
}

impl BitOr for Flags {
    type Output = Flags;
    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({})", self.letters())
    }
}

/// A message's keywords: no duplicates whatever the case, sorted, each an atom of at most [`limits::KEYWORD`] octets.
/// Cheap to clone: sessions share them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Keywords(Option<Arc<str>>);

impl Keywords {
    /// Those of `names` that may be keywords, up to [`limits::KEYWORDS`].
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut kept: Vec<&str> = Vec::new();
        for name in names {
            let fresh = !kept.iter().any(|other| other.eq_ignore_ascii_case(name));
            if is_keyword(name) && fresh && kept.len() < limits::KEYWORDS {
                kept.push(name);
            }
        }
        kept.sort_unstable();
        Self::from_sql(&kept.join(" "))
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.sql().split(' ').filter(|name| !name.is_empty())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub fn contains(&self, name: &str) -> bool {
        self.iter().any(|own| own.eq_ignore_ascii_case(name))
    }

    pub(crate) fn with(&self, other: &Keywords) -> Keywords {
        Keywords::new(self.iter().chain(other.iter()))
    }

    pub(crate) fn without(&self, other: &Keywords) -> Keywords {
        Keywords::new(self.iter().filter(|name| !other.contains(name)))
    }

    pub(crate) fn sql(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    pub(crate) fn from_sql(text: &str) -> Keywords {
        Keywords((!text.is_empty()).then(|| text.into()))
    }
}

/// Whether a name may be a keyword: an atom (RFC 3501 §9, flag-keyword) of bounded length.
pub(crate) fn is_keyword(name: &str) -> bool {
    let plain = |byte: u8| (0x21..0x7f).contains(&byte) && !b"(){%*\"\\]".contains(&byte);
    !name.is_empty() && name.len() <= limits::KEYWORD && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_survive_the_way_through_a_file_name() {
        for bits in 0..32 {
            let flags = Flags(bits);
            assert_eq!(Flags::from_letters(&flags.letters()), flags);
        }
        assert_eq!((Flags::SEEN | Flags::DRAFT | Flags::DELETED).letters(), "DST");
    }

    #[test]
    fn keywords_have_no_duplicates_and_nothing_that_could_break_a_reply() {
        let keywords = Keywords::new(["$Junk", "$junk", "a b", "x)", "", "Work"]);
        assert_eq!(keywords.iter().collect::<Vec<_>>(), ["$Junk", "Work"]);
        assert!(keywords.contains("WORK"));
    }
}
