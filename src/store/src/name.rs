//! Folder names: UTF-8 here, modified UTF-7 (RFC 3501 §5.1.3) on the wire and on disk. Levels are separated by a slash;
//! in Maildir++ directory names by a dot, where a dot within a level is encoded.

use crate::limits;
use std::fmt;

pub mod utf7;

/// Between the levels of a name on the wire.
pub const SEPARATOR: char = '/';

/// Why a folder name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("“{name}” cannot be a folder's name: {why}")]
pub struct FolderNameError {
    name: String,
    why: &'static str,
}

/// A folder's full name. `INBOX` is spelled so whatever case it came in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FolderName(String);

impl FolderName {
    pub fn inbox() -> Self {
        Self("INBOX".to_owned())
    }

    /// Reads a name in UTF-8.
    pub fn parse(text: &str) -> Result<Self, FolderNameError> {
        let refuse = |why| FolderNameError { name: text.chars().filter(|c| !c.is_control()).take(80).collect(), why };
        let parts = || text.split(SEPARATOR);
        if text.is_empty() || parts().any(str::is_empty) {
            return Err(refuse("it, or a part between its slashes, is empty"));
        }
        if text.chars().any(char::is_control) {
            return Err(refuse("control characters may not stand in it"));
        }
        if parts().count() > limits::FOLDER_DEPTH {
            return Err(refuse("it has too many levels"));
        }
        if directory_of(text).len() > limits::FOLDER_NAME {
            return Err(refuse("it is too long"));
        }
        Ok(Self(fold_inbox(text)))
    }

    /// Reads a name as it came over the wire: modified UTF-7, or plain UTF-8 as some clients send it.
    pub fn from_wire(bytes: &[u8]) -> Result<Self, FolderNameError> {
        let refuse = |why| FolderNameError { name: String::from_utf8_lossy(bytes).chars().take(80).collect(), why };
        let text = std::str::from_utf8(bytes).map_err(|_| refuse("it is neither UTF-7 nor UTF-8"))?;
        match utf7::decode(text) {
            Some(decoded) => Self::parse(&decoded),
            None => Self::parse(text),
        }
    }

    /// In modified UTF-7.
    pub fn to_wire(&self) -> String {
        utf7::encode(&self.0)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_inbox(&self) -> bool {
        self.0 == "INBOX"
    }

    /// The folder one level up.
    pub fn parent(&self) -> Option<FolderName> {
        self.0.rsplit_once(SEPARATOR).map(|(parent, _)| Self(parent.to_owned()))
    }

    pub fn is_below(&self, other: &FolderName) -> bool {
        self.0.strip_prefix(&other.0).is_some_and(|rest| rest.starts_with(SEPARATOR))
    }

    /// `self`, which is below `from`, as it will be called when `from` is called `to`.
    pub(crate) fn moved(&self, from: &FolderName, to: &FolderName) -> Result<FolderName, FolderNameError> {
        let rest = self.0.strip_prefix(&from.0).unwrap_or_default();
        Self::parse(&format!("{}{rest}", to.0))
    }

    /// The directory below `Maildir/`: empty for INBOX.
    pub(crate) fn directory(&self) -> String {
        if self.is_inbox() { String::new() } else { directory_of(&self.0) }
    }

    /// The name of a directory found below `Maildir/`, if a folder can be called so.
    pub(crate) fn of_directory(directory: &str) -> Option<FolderName> {
        let levels: Option<Vec<String>> = directory.strip_prefix('.')?.split('.').map(utf7::decode_level).collect();
        let levels = levels.filter(|levels| !levels.iter().any(|level| level.contains(SEPARATOR)))?;
        let name = FolderName::parse(&levels.join("/")).ok()?;
        // One directory for each name: what would be a second one is not shown.
        (!name.is_inbox() && name.directory() == directory).then_some(name)
    }

    pub(crate) fn from_index(text: String) -> FolderName {
        FolderName(text)
    }
}

fn directory_of(text: &str) -> String {
    text.split(SEPARATOR).fold(String::new(), |dir, level| dir + "." + &utf7::encode_level(level))
}

/// RFC 3501 §5.1: INBOX in any case is INBOX, also as the first level of another name.
fn fold_inbox(text: &str) -> String {
    match text.get(..5) {
        Some(head) if head.eq_ignore_ascii_case("INBOX") && matches!(text.as_bytes().get(5), None | Some(b'/')) => {
            format!("INBOX{}", &text[5..])
        }
        _ => text.to_owned(),
    }
}

impl fmt::Display for FolderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_name_leads_out_of_the_maildir() {
        for bad in ["", "/", "a//b", "/a", "a/", "../", "a\0b", &"x".repeat(300)] {
            assert!(FolderName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn inbox_is_one_folder_whatever_its_case() {
        assert!(FolderName::parse("inBox").unwrap().is_inbox());
        assert_eq!(FolderName::parse("inbox/Work").unwrap().as_str(), "INBOX/Work");
        assert_eq!(FolderName::parse("Inboxes").unwrap().as_str(), "Inboxes");
    }

    #[test]
    fn a_dot_within_a_name_is_no_level_on_disk() {
        let name = FolderName::parse("Work/v1.2/ü.x").unwrap();
        assert_eq!(name.directory(), ".Work.v1&AC4-2.&APwALg-x");
        assert_eq!(FolderName::parse("..").unwrap().directory(), ".&AC4ALg-");
        assert_eq!(FolderName::of_directory(".a.&AC8-"), None);
    }

    proptest! {
        #[test]
        fn any_name_is_refused_or_found_again_by_its_directory(text in ".{0,60}") {
            if let Ok(name) = FolderName::parse(&text) && !name.is_inbox() {
                prop_assert_eq!(FolderName::of_directory(&name.directory()), Some(name.clone()));
                prop_assert!(!name.directory().contains('/'));
            }
        }

        #[test]
        fn any_bytes_from_the_wire_are_taken_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = FolderName::from_wire(&bytes);
        }
    }
}
