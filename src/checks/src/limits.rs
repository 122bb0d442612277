//! The bounds of the checks.

use std::time::Duration;

/// Longest time for one probe whose text names none. Slow name servers need some seconds; all probes run at once, so nobody
/// waits longer at `mailstead status`.
pub const PROBE_WITHIN: Duration = Duration::from_secs(9);
/// How long a role may take to answer at its door: less than its probe, which then says that it does not.
pub const ROLE_WITHIN: Duration = Duration::from_secs(7);
/// Questions to others that one probe has under way at once.
pub const AT_ONCE: usize = 16;
/// Longest wait for a connection to be made, on the box or to a stranger.
pub const CONNECT_WITHIN: Duration = Duration::from_secs(4);
/// Longest wait for one line or page. Our own port 25 may greet late on purpose.
pub const READ_WITHIN: Duration = Duration::from_secs(5);
/// Longest line that is read from a server (RFC 5321 §4.5.3.1.5 has 512; some are chatty).
pub const MAX_LINE: usize = 2048;
/// Most lines of one SMTP reply.
pub const MAX_REPLY_LINES: usize = 64;
/// Longest page that is fetched: the policy of MTA-STS (RFC 8461 §3.2 lets senders stop at 64 KiB).
pub const MAX_PAGE: u64 = 64 << 10;
/// Most name servers of a parent zone that are asked before giving up.
pub const MAX_PARENT_SERVERS: usize = 4;
/// Longest text of what was seen. A page stays readable.
pub const MAX_SEEN: usize = 1500;
/// Longest remedy: room for dozens of records to paste.
pub const MAX_REMEDY: usize = 20_000;
/// How long changes of state are remembered: a year and the weeks in which it is looked back at.
pub const HISTORY_DAYS: u64 = 400;
/// And how many of them at most: with some five a day, more than a year.
pub const MAX_CHANGES: usize = 2000;
/// The change mail is sent at the first run after this hour, local time.
pub const MAIL_HOUR: i8 = 7;
/// Longest time for one of root's commands (`nft`, `sshd -T`, `apt-get -s`).
pub const COMMAND_SECONDS: u32 = 20;

/// How long a check has to be in its state until others are told of it: two runs of the timer, and a little.
pub const STEADY_FOR: Duration = Duration::from_secs(15 * 60);
/// A check whose state changed so often within so long flaps: there and back twice, more than mending something takes.
pub const FLAPS_FROM: usize = 4;
pub const FLAPS_WITHIN: Duration = Duration::from_secs(24 * 3600);
/// How long after its time the change mail waits for what is not at rest yet. Four times as long as coming to rest takes.
pub const MAIL_WAITS: u64 = 3600;
/// How long a web address may take to hear of news.
pub const PUSHED_WITHIN: Duration = Duration::from_secs(20);
/// How long an MTA-STS policy may take. Senders are told to give up after a minute (RFC 8461 §3.3); the page is not.
pub const FETCHED_WITHIN: Duration = Duration::from_secs(8);
/// Longest MTA-STS policy that senders are advised to take (RFC 8461 §3.3).
pub const MAX_POLICY: usize = 64 << 10;
/// How long a peer may take to say what it sees. It waits for three seconds at ports that do not answer, and the probe for nine.
pub const SEEN_WITHIN: Duration = Duration::from_secs(8);
