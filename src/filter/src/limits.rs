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
