//! Every bound of this room.

use std::time::Duration;

/// Time for all DNS queries about one message. RFC 7208 §4.6.4 allows SPF twenty seconds; a sender waits longer.
pub const DNS_WITHIN: Duration = Duration::from_secs(20);
/// Text of a message that is looked at for words; spam says what it wants sooner.
pub const MAX_TEXT: usize = 256 << 10;
/// Words of one message that count.
pub const MAX_TOKENS: usize = 4_000;
/// MIME parts looked at.
pub const MAX_PARTS: usize = 100;
/// Domains whose keys are kept; a box serves a family or a firm.
pub const MAX_DOMAINS: usize = 1_000;
/// Octets of our findings in an ARC set. A message has a handful of signatures; more say nothing more.
pub const MAX_RESULTS: usize = 4_000;
/// Messages larger than this are not learned from.
pub const MAX_LEARNED: usize = 4 << 20;

// --- Reports (RFC 7489, RFC 8460) ------------------------------------------------------------------------------------

/// Reports of others that are kept, and for how many days: a year back and some more. Google, Microsoft and a hundred
/// others a day for ten domains are 365,000 in a year; a family's box gets some ten a day.
pub const REPORTS: u64 = 100_000;
pub const REPORT_DAYS: u64 = 400;
/// Rows that are kept of one report: different sources, or kinds of failures.
pub const REPORT_ROWS: usize = 2_000;
/// Reports that are told at once, and sources of mail in evidence: what an owner reads.
pub const REPORTS_TOLD: u64 = 1_000;
pub const SOURCES_TOLD: usize = 20;
/// Domains that a day's mail is noted of, and different rows of each; beyond, rows are counted together.
pub const NOTED_DOMAINS: usize = 1_000;
pub const NOTED_ROWS: usize = 1_000;
/// DKIM results in one row: RFC 7489 appendix C has no bound, and more than a few signatures say nothing more.
pub const NOTED_SIGNATURES: usize = 5;
/// Notes are written together, this often. A crash loses that much of a report.
pub const NOTES_WRITTEN_EVERY: Duration = Duration::from_secs(15);
/// How often it is looked whether reports are to be sent, and how long after midnight (UTC) they are at the earliest:
/// at midnight all the world sends them.
pub const REPORTS_SENT_EVERY: Duration = Duration::from_secs(1_800);
pub const REPORTS_SENT_AFTER: u64 = 2 * 3_600;
/// Days that reports are sent late for.
pub const REPORTS_SENT_DAYS: u64 = 7;
/// Addresses of one domain that get reports: RFC 7489 §6.2 asks for two at least.
pub const REPORT_ADDRESSES: usize = 4;
/// The largest report that is sent where a domain names no limit: what mail servers usually take.
pub const REPORT_SIZE: usize = 10 << 20;
