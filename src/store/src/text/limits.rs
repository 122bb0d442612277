//! The bounds of the full-text index, each with its reason.

use std::time::Duration;

/// Text indexed of one message, in bytes of UTF-8: a novel. What follows is served and shown, and not searched. So much
/// text of nothing but words never seen before takes two seconds.
pub const TEXT: usize = 1 << 20;
/// Text indexed of one header field; the longest that mean anything are lists of recipients.
pub const HEADER_VALUE: usize = 64 << 10;
/// Header fields indexed of one message, embedded messages included.
pub const HEADER_FIELDS: usize = 2000;
/// Parts looked at in one message. Real mail has dozens.
pub const PARTS: usize = 1000;
/// Nesting of parts and embedded messages.
pub const DEPTH: usize = 30;
/// HTML is this many times longer than its text at most; what is beyond is style sheets and pictures in base64.
pub const HTML_PER_TEXT: usize = 4;

/// Longest word in characters. Longer runs of letters and digits are keys, checksums and encoded data; they are kept in
/// pieces of this length that overlap by half, so that any half of it is found.
pub const WORD: usize = 64;
/// Longest part of a needle's word that is looked up: what the overlap of [`WORD`] guarantees to find.
pub const NEEDLE_WORD: usize = WORD / 2;
/// Words of a needle; the rest is left out. Nobody types more, and a pasted page is not searched for.
pub const NEEDLE_WORDS: usize = 64;
/// Words that a fuzzy needle's word may stand for.
pub const FUZZY_EXPANSION: usize = 64;
/// Words that are compared letter by letter with a fuzzy needle's word.
pub const FUZZY_CANDIDATES: usize = 20_000;
/// Messages that a fuzzy search returns, best first.
pub const FUZZY_FOUND: usize = 10_000;

/// Words that are remembered with their numbers between messages: some 2 MiB. The most common 10,000 words make nine
/// tenths of all text.
pub const REMEMBERED_WORDS: usize = 20_000;
/// Text of one transaction of the background indexer, in bytes, which is held in memory: eight seconds' work if it were all
/// words never seen before, a third of a second for usual mail.
pub const BATCH_TEXT: usize = 4 << 20;
/// Messages of one transaction of the background indexer: a fraction of a second, so that nobody waits long for it.
pub const BATCH_MESSAGES: usize = 200;
/// Pages of 4 KiB that one step of tidying writes for each table.
pub const TIDY_PAGES: i64 = 1000;
/// How long one connection waits for another's transaction.
pub const BUSY: Duration = Duration::from_secs(10);
/// Page cache of one connection in KiB.
pub const CACHE_KIB: i64 = 4096;
