//! The numbers and rows that sessions work with.

use crate::flags::{Flags, Keywords};
use crate::folders::Folder;
use crate::image::Image;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

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

/// A message's number in the index, which it keeps when it is moved; never given to another message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub i64);

/// What is kept in memory of each message of a folder in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub uid: Uid,
    pub flags: Flags,
    pub keywords: Keywords,
    pub modseq: ModSeq,
    pub id: MessageId,
    /// Octets; no message is as large as this can tell.
    pub size: u32,
    /// The internal date, in seconds since 1970, up to the year 2106.
    pub received: u32,
    /// When it came into its folder (RFC 8514), in the same way.
    pub saved: u32,
}

/// A folder as a session sees it when selecting it.
#[derive(Debug, Clone)]
pub struct Selected {
    pub folder: Folder,
    pub uid_next: Uid,
    /// Messages from this UID on are \Recent for this session (RFC 3501 §2.3.2).
    pub recent_from: Uid,
    pub image: Arc<Image>,
}

/// How much a folder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub messages: u64,
    pub unseen: u64,
    pub deleted: u64,
    /// Octets of all messages.
    pub bytes: u64,
    /// Octets of those that are flagged \Deleted (RFC 9208 §5.1, DELETED-STORAGE).
    pub deleted_bytes: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, row: &Row) {
        let size = u64::from(row.size);
        self.messages += 1;
        self.bytes += size;
        self.unseen += u64::from(!row.flags.contains(Flags::SEEN));
        if row.flags.contains(Flags::DELETED) {
            self.deleted += 1;
            self.deleted_bytes += size;
        }
    }

    pub(crate) fn subtract(&mut self, row: &Row) {
        let mut one = Counts::default();
        one.add(row);
        self.messages = self.messages.saturating_sub(one.messages);
        self.bytes = self.bytes.saturating_sub(one.bytes);
        self.unseen = self.unseen.saturating_sub(one.unseen);
        self.deleted = self.deleted.saturating_sub(one.deleted);
        self.deleted_bytes = self.deleted_bytes.saturating_sub(one.deleted_bytes);
    }
}
