//! One account's mail: a Maildir++ of plain files, an SQLite index beside it, and images of it in memory.
//!
//! Invariants, which every function here keeps, `mailstead fsck` checks ([`Account::fsck`]) and the tests prove:
//!
//! 1. *Bytes first.* A message's file is written in `tmp/`, synced, renamed into `cur/` and the directory synced before
//!    success is reported. What was acknowledged is there after a kill or a power cut.
//! 2. *The Maildir is the truth for bytes and flags, the index for UIDs, keywords, subscriptions, annotations and access
//!    rights.* A folder's first use compares the two: files the index does not know are adopted, entries whose file has
//!    gone are dropped, flags of the file name win. After a clean close the comparison is left out where the
//!    directories' times are those of the close.
//! 3. *A UID is never handed out twice in one UIDVALIDITY.* UIDs are taken from a block whose end is synced in the index
//!    before its first UID is used; an opening begins after the last block. A power cut may skip UIDs, never repeat one.
//! 4. *UIDVALIDITY is unique within an account and only grows*, also over deleted and renamed folders. A folder keeps its
//!    own for life; a rebuilt index gives new ones.
//! 5. *Modification sequences only grow*, by the same blocks as UIDs. Each change of a message, its arrival and its
//!    removal takes one of its own.
//! 6. *Ordinary commits are not synced* (`synchronous=NORMAL`): what a power cut takes from the tail of the log, the next
//!    opening finds again in the Maildir, with a UID from a fresh block. What the Maildir cannot tell (blocks, folders,
//!    subscriptions, keywords, annotations, rights) is committed with `synchronous=FULL`.
//! 7. *One process writes an account*, and within it one thread at a time, which holds [`Account`]'s lock. Writing and
//!    syncing a message's file happens outside of that lock; reading needs no more than a look at an [`Image`] or the
//!    reading connection.
//! 8. *An image shows what was committed.* It is replaced after the commit, under the lock, and only then are watchers
//!    told; who compares two images of a folder sees every change between them.
//! 9. *A name of a message's file never changes but for the flags*, so that a file seen under two names is one message.
//! 10. *Removed mail is moved to `removed/`, not deleted*, until 30 days have passed or it takes too much room.
//!
//! Keywords are kept in the index alone. A message whose file turns up elsewhere than the index has it (a move, a removal
//! or a folder's renaming that was cut short, or another program's) is known by its base name and keeps them. Letters in file names other than `DFRST` are dropped when a flag changes.

mod account;
mod arrivals;
mod error;
mod flags;
mod folders;
mod fsck;
mod fulltext;
mod image;
mod index;
mod kept;
pub mod limits;
mod maildir;
mod messages;
pub mod mime;
mod name;
mod notes;
mod parsed;
mod reconcile;
mod snapshot;
mod strayed;
pub mod text;
mod transfer;
mod types;

pub use account::Account;
pub use error::StoreError;
pub use flags::{Flags, Keywords};
pub use folders::{Folder, SpecialUse, Status};
pub use fsck::Finding;
pub use fulltext::TextHits;
pub use image::{Difference, Image};
pub use kept::{Removed, Which};
pub use messages::{Changed, FlagChange, FlagUpdate, New, Stored};
pub use name::{FolderName, FolderNameError, SEPARATOR, utf7};
pub use parsed::Shown;
pub use snapshot::{SNAPSHOT_NAME, after_restore, snapshot};
pub use transfer::Transferred;
pub use types::{Counts, FolderId, MessageId, ModSeq, Row, Selected, Uid, UidValidity};
