//! The bounds of the store, each with its reason.

/// UIDs reserved by one synced commit. One sync per hundred deliveries is not felt; a restart skips no more than this.
pub const UID_BLOCK: u32 = 100;
/// Modification sequences reserved by one synced commit; they are 63 bits wide, so skipping costs nothing.
pub const MODSEQ_BLOCK: u64 = 1000;
/// UIDs skipped after a restore: more than any account receives between a snapshot and its restore, and still
/// thousands of restores within 32 bits.
pub const UID_SKIP_AFTER_RESTORE: u32 = 1 << 20;
/// Modification sequences skipped after a restore.
pub const MODSEQ_SKIP_AFTER_RESTORE: u64 = 1 << 32;
/// Longest folder name in octets as stored on disk: a file name has 255, and some room is left for tools' suffixes.
pub const FOLDER_NAME: usize = 200;
/// Levels of folders below each other. Dovecot's bound is 16.
pub const FOLDER_DEPTH: usize = 16;
/// Folders of one account; a LIST of so many stays quick.
pub const FOLDERS: usize = 10_000;
/// Longest keyword, in octets; the ones in use ($Forwarded, $MDNSent, $label1) are short.
pub const KEYWORD: usize = 64;
/// Keywords of one message.
pub const KEYWORDS: usize = 64;
/// Parts of a message nested in each other; beyond, a part is served as an opaque leaf. Mail nests three or four deep;
/// the cached form nests three JSON levels for each, and serde_json reads 128.
pub const MIME_DEPTH: usize = 30;
/// Parts of one message; beyond, the rest belongs to the last part. Dovecot's bound is 10,000.
pub const MIME_PARTS: usize = 2000;
/// Longest header value that the envelope or structure keeps, in octets; the rest is cut there (never in the message).
pub const HEADER_VALUE: usize = 64 << 10;
/// Addresses kept of one header field in the envelope.
pub const ADDRESSES: usize = 5000;
/// Header fields looked at in one header.
pub const HEADER_FIELDS: usize = 5000;
/// Removed messages remembered for sessions that have not heard of them, kept over restarts.
pub const EXPUNGED_KEPT: u32 = 10_000;
/// A file in `tmp/` older than this was left by a delivery that died (Maildir's own rule: 36 hours).
pub const TMP_KEPT_SECONDS: u64 = 36 * 3600;
/// Message ids kept of one References field: its first and the last of the rest. Threads are seldom deeper.
pub const REFERENCES: usize = 100;
/// How long removed mail is kept back, in seconds: 30 days, as long as an owner may be away.
pub const KEPT_SECONDS: u64 = 30 * 24 * 3600;
/// Octets of removed mail that are kept of one account; beyond, the oldest go earlier. Otherwise filling and emptying a
/// mailbox would fill the disk whatever the quota.
pub const KEPT_OCTETS: u64 = 5 << 30;
/// An image that nobody has looked at for as long is dropped, in seconds.
pub const IMAGE_KEPT_SECONDS: u64 = 600;
/// Messages looked up by one hold of the reader.
pub const READ_AT_ONCE: usize = 500;
/// Longest name of an annotation or of who has rights, in octets.
pub const ANNOTATION_NAME: usize = 300;
/// Largest annotation, in octets (RFC 5464 calls them small).
pub const ANNOTATION: usize = 64 << 10;
/// Annotations of one account, over all its folders.
pub const ANNOTATIONS: usize = 10_000;
/// Entries of one folder's access control list.
pub const ACL_ENTRIES: usize = 200;
/// Messages put into the full-text index in one step; what arrives meanwhile waits for no longer than that.
pub const INDEXED_AT_ONCE: usize = 200;
