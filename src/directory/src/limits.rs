//! Every bound of this room.

use std::num::NonZeroU32;
use std::time::Duration;

/// Shortest password a person may choose. NIST SP 800-63B asks for eight at least; mail is worth a few more.
pub const MIN_PASSWORD: usize = 10;
/// Longest password: enough for any phrase, short enough that hashing it is no attack.
pub const MAX_PASSWORD: usize = 256;
/// Passwords checked at once. Each takes 19 MiB for some 30 ms, and a small box has 480 MB in all.
pub const HASHES_AT_ONCE: usize = 2;
/// Login attempts that may wait for their turn; more are told to come back.
pub const HASHES_WAITING: usize = 64;

/// Groups and characters of an app password: 28 characters, 138 bits. That is beyond all guessing, so that what is kept
/// of it gives nothing away.
pub const APP_PASSWORD_GROUPS: usize = 7;
pub const APP_PASSWORD_GROUP: usize = 4;
/// App passwords of one account. A person has a handful of devices; each SCRAM login is compared with every one.
pub const MAX_APP_PASSWORDS: u64 = 50;
/// Longest name of an app password, in characters: one line of a list.
pub const MAX_APP_PASSWORD_NAME: usize = 64;
/// PBKDF2 rounds of SCRAM: the least that RFC 7677 §4 allows. More would slow down guessing of weak passwords, and
/// these are random. It never changes, since what is kept was made with it.
pub const SCRAM_ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).unwrap();
/// Octets of a SCRAM salt; the usual length.
pub const SCRAM_SALT: usize = 16;
/// Longest SCRAM AuthMessage: a name, two nonces and channel binding data, all bounded by the protocol room.
pub const MAX_AUTH_MESSAGE: usize = 8 << 10;

/// Seconds that a code of the second factor is shown (RFC 6238 §5.2).
pub const CODE_SECONDS: u64 = 30;
/// Steps that a phone's clock may be off, each way (RFC 6238 §5.2: one at most is recommended).
pub const CODE_SKEW: u16 = 1;

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
/// How long a refused login is kept waiting for its answer, so that guessing is slow from its first try.
pub const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// The same for an address that is trusted and fails again and again: it is never turned away, so this is its brake.
pub const PAUSE_WHEN_TRUSTED: Duration = Duration::from_secs(5);
/// Networks and accounts remembered; the oldest make room.
pub const MAX_REMEMBERED: usize = 20_000;

/// Addresses an alias may lead to; as many as one message may have recipients. More people are a list.
pub const MAX_ALIAS_TARGETS: usize = 100;
/// How many aliases may lead from one to the next. People nest a team in a department; deeper is a mistake.
pub const MAX_ALIAS_DEPTH: usize = 5;
/// Senders and writers named for one alias.
pub const MAX_ALIAS_PEOPLE: usize = 100;
/// Members of one list. Each gets a copy of its own, with its own way out, and the queue holds 10,000.
pub const MAX_LIST_MEMBERS: u64 = 500;
/// Moderators of one list; each gets every letter about it.
pub const MAX_LIST_MODERATORS: usize = 10;
/// Octets of a list's name before the @: `+unsubscribe-` and 16 more have to fit into 64 (RFC 5321 §4.5.3.1.1).
pub const MAX_LIST_LOCAL: usize = 34;
/// Longest name of a list, in characters: it goes into a header line.
pub const MAX_LIST_NAME: usize = 64;
/// Days on which mail to a list's member came back before the member is suspended. Mailman's default score is 5 too.
pub const BOUNCE_DAYS: u32 = 5;
/// A member whose mail has not come back for so long starts afresh; Mailman's default is 7 days, and a list may be quiet.
pub const BOUNCES_FORGOTTEN: Duration = Duration::from_secs(30 * 24 * 3600);
/// Domains that this box may be backup for: a favour to a few friends.
pub const MAX_BACKUP_DOMAINS: u64 = 100;
/// Lines of the audit log that are kept.
pub const MAX_AUDIT_LINES: u32 = 10_000;
/// How long a removed account can be brought back; as long as its mail is kept.
pub const REMOVED_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often removed accounts are looked through for those whose time is over.
pub const PURGE_EVERY: Duration = Duration::from_secs(24 * 3600);
/// Smallest quota: less than one large message would lock an account up.
pub const MIN_QUOTA: u64 = 1 << 20;
/// Largest quota: what SQLite's integers hold, some 9 exabytes.
pub const MAX_QUOTA: u64 = i64::MAX as u64;

/// Rules for relays. One for each provider and domain of a small box is far below it.
pub const MAX_RELAYS: usize = 100;
/// Octets of a relay's login and of its password (RFC 4616 §2 allows 255 for each).
pub const MAX_RELAY_LOGIN: usize = 255;
/// The longest undo window in seconds. Whoever wants longer hands the mail in for later (RFC 4865).
pub const MAX_UNDO_SECONDS: u32 = 600;
