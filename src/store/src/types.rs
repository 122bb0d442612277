//! The numbers and rows that sessions work with.

use crate::flags::{Flags, Keywords};
use crate::folders::Folder;
use serde::{Deserialize, Serialize};

/// A message's unique identifier within its folder and UIDVALIDITY (RFC 3501 §2.3.1.1). Never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Uid(pub u32);

/// RFC 3501 §2.3.1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UidValidity(pub u32);

/// A modification sequence (RFC 7162 §3.1); account-wide, 63 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ModSeq(pub u64);

/// A folder's number in the index; never given to another folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FolderId(pub(crate) i64);

impl ModSeq {
    pub(crate) fn sql(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    pub(crate) fn from_sql(value: i64) -> Self {
        Self(u64::try_from(value).unwrap_or(0))
    }
}

impl Uid {
    /// A UID read from the index; a value out of range becomes the largest, which is never handed out.
    pub(crate) fn from_sql(value: i64) -> Self {
        Self(u32::try_from(value).unwrap_or(u32::MAX))
    }
}

/// What a session keeps of each message of its folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub uid: Uid,
    pub flags: Flags,
    pub keywords: Keywords,
    pub modseq: ModSeq,
}

/// A folder as a session sees it when selecting it.
#[derive(Debug, Clone)]
pub struct Selected {
    pub folder: Folder,
    pub uid_next: Uid,
    pub highest: ModSeq,
    /// Messages from this UID on are \Recent for this session (RFC 3501 §2.3.2).
    pub recent_from: Uid,
    /// Every message, by ascending UID.
    pub rows: Vec<Row>,
}

/// What happened in a folder since a modification sequence.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    pub highest: ModSeq,
    /// New and changed messages, by ascending UID.
    pub rows: Vec<Row>,
    /// Removed messages.
    pub removed: Vec<Uid>,
}
