//! Every bound of this room.

use std::time::Duration;

/// Shortest password a person may choose. NIST SP 800-63B asks for eight at least; mail is worth a few more.
pub const MIN_PASSWORD: usize = 10;
/// Longest password: enough for any phrase, short enough that hashing it is no attack.
pub const MAX_PASSWORD: usize = 256;
/// Passwords checked at once. Each takes 19 MiB for some 30 ms, and a small box has 480 MB in all.
pub const HASHES_AT_ONCE: usize = 2;
/// Login attempts that may wait for their turn; more are told to come back.
pub const HASHES_WAITING: usize = 64;

/// Failures from one network before it has to wait: a person mistypes, a program with an old password repeats.
pub const FAILURES_PER_NETWORK: u32 = 10;
/// Failures for one account, from anywhere, before strangers to it have to wait.
pub const FAILURES_PER_ACCOUNT: u32 = 30;
/// First wait; it doubles with each further failure.
pub const FIRST_WAIT: Duration = Duration::from_secs(10);
/// Longest wait, so that nobody is ever locked out for good.
pub const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);
/// After this long without a failure all is forgotten.
pub const FORGET_AFTER: Duration = Duration::from_secs(60 * 60);
/// How long an address that has logged in to an account is trusted for that account.
pub const REMEMBER_SUCCESS: Duration = Duration::from_secs(30 * 24 * 3600);
/// Networks and accounts remembered; the oldest make room.
pub const MAX_REMEMBERED: usize = 20_000;

/// Accounts an alias may lead to.
pub const MAX_ALIAS_TARGETS: usize = 100;
/// Lines of the audit log that are kept.
pub const MAX_AUDIT_LINES: u32 = 10_000;
