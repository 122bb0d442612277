//! The bounds of this room.

use std::time::Duration;

/// Names in one certificate: what Let's Encrypt takes (letsencrypt.org/docs/rate-limits).
pub const MAX_NAMES: usize = 100;
/// Questions to the box's resolver at once.
pub const LOOKED_UP_AT_ONCE: usize = 16;
/// How long the authority may take to validate and to issue. Let's Encrypt takes seconds; it may be busy.
pub const ISSUED_WITHIN: Duration = Duration::from_secs(180);
/// How long one request to the authority may take.
pub const REQUEST_WITHIN: Duration = Duration::from_secs(30);
/// How long the zone's name servers may take until they serve a new record: the box's own reloads within a second or two,
/// secondaries follow when they are told.
pub const SERVED_WITHIN: Duration = Duration::from_secs(45);
pub const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Orders in one run: each takes out a name that fails, or tries another way. Far below what authorities allow.
pub const MAX_ORDERS: usize = 12;
/// How often an order is made again whose nonces the authority did not like, after the library's own two retries of each
/// request. Pebble refuses one nonce in twenty.
pub const MAX_UNREAD: usize = 2;

const HOUR: u64 = 3_600;
pub const DAY: u64 = 24 * HOUR;
pub const WEEK: u64 = 7 * DAY;

/// Let's Encrypt allows five failed validations of a name in an hour. A run makes two (one by each way), and the next is
/// an hour later at the earliest.
pub const FIRST_PAUSE: u64 = HOUR;
pub const LONGEST_PAUSE: u64 = DAY;
/// Let's Encrypt allows five certificates for the same names in a week; the fifth is left for a bad day.
pub const MAX_DUPLICATES: usize = 4;
/// Let's Encrypt allows fifty certificates of a registered domain in a week; others may want some too.
pub const MAX_ISSUED: usize = 30;
/// Let's Encrypt allows three hundred orders in three hours.
pub const MAX_ORDERS_LATELY: usize = 60;
pub const LATELY: u64 = 3 * HOUR;
/// How long an authority that is in trouble, and did not say for how long, is left alone.
pub const TROUBLE_PAUSE: u64 = HOUR;
/// The longest that an authority's word on when to come again is believed.
pub const LONGEST_RETRY_AFTER: u64 = 2 * DAY;
/// What the ledger keeps of names that failed; a box has at most some hundred.
pub const MAX_FAILURES: usize = 500;
/// Longest explanation that is kept, in characters.
pub const MAX_WORDS: usize = 400;

/// The life of a key: once a year a new one is made.
pub const KEY_LIFE: u64 = 365 * DAY;
/// The TTL that is reckoned with where the zone's own is shorter, or cannot be seen.
pub const LEAST_TTL: u64 = HOUR;
/// How long the previous key's TLSA record stays after the switch. Listeners take the new certificate within a minute.
pub const RETIRE_AFTER: u64 = HOUR;

/// An imported certificate and its key: generous for the longest chains.
pub const MAX_IMPORT: u64 = 256 << 10;
