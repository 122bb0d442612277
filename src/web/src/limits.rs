//! The bounds of the panel.

use std::time::Duration;

/// Largest request body: the login form, whose fields are short.
pub const MAX_BODY: usize = 16 << 10;
/// Longest name and password that are passed on to the directory.
pub const MAX_FIELD: usize = 1024;
/// How long a login holds: a working day.
pub const SESSION_FOR: Duration = Duration::from_secs(12 * 3600);
/// How long a login form may lie open before it has to be loaded again.
pub const FORM_FOR: Duration = Duration::from_secs(3600);
/// Sessions kept at once; a box has a handful of administrators with a handful of browsers.
pub const MAX_SESSIONS: usize = 1000;
/// Login attempts from one network in one window. The directory slows guessing down by itself; this keeps a flood from
/// reaching it.
pub const ATTEMPTS: u32 = 10;
pub const ATTEMPTS_WINDOW: Duration = Duration::from_secs(300);
/// Networks remembered for that.
pub const MAX_NETWORKS: usize = 10_000;
/// Longest handling of one request; the directory may take its time over a wrong password.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Results older than this are marked on the page: the timer runs every ten minutes.
pub const RESULTS_FRESH_FOR: u64 = 30 * 60;
/// Seconds until an open status page loads itself again where no script keeps it up to date.
pub const REFRESH_SECONDS: u64 = 300;
/// Most that is read of the results: some hundred checks with a page of text each.
pub const MAX_RESULTS: u64 = 8 << 20;
/// A run that found nothing for so long was killed: each probe ends sooner.
pub const RUN_QUIET: Duration = Duration::from_secs(30);
/// How long a run that was asked for may take to begin: root collects facts first.
pub const ASKED_FOR: Duration = Duration::from_secs(60);
/// How long after one run was asked for another may be.
pub const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(20);
/// Status pages that are told of changes at once. Each costs a few system calls a second.
pub const MAX_STREAMS: usize = 32;
/// How long one stream lives; the browser then comes again by itself.
pub const STREAM_FOR: Duration = Duration::from_secs(15 * 60);
/// When a browser comes again.
pub const COME_AGAIN_AFTER: Duration = Duration::from_secs(3);
/// Something is sent so often at least: nginx gives up after a minute of silence.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How often a stream looks for news, and how often it tells of time that has passed.
pub const LOOK_EVERY: Duration = Duration::from_millis(300);
pub const AGES_EVERY: Duration = Duration::from_secs(20);

/// How long the addresses of peers are remembered. A stranger then costs no questions to the resolver.
pub const ADDRESSES_FOR: Duration = Duration::from_secs(30);
/// And where some could not be found out.
pub const TROUBLE_FOR: Duration = Duration::from_secs(5);
/// Longest wait for them all.
pub const ADDRESSES_WITHIN: Duration = Duration::from_secs(2);
/// Looks at one peer's ports over one family in one window. Its timer asks a few times an hour; an owner who mends
/// something there asks a few times a minute.
pub const LOOKS: u32 = 10;
pub const LOOKS_WINDOW: Duration = Duration::from_secs(60);
/// Looks under way at once: each has nine sockets open.
pub const LOOKS_AT_ONCE: usize = 4;
/// Longest wait for a connection to a peer's port. Two lost packets are made up for by then (RFC 6298 §2: one second, then two).
pub const KNOCK_WITHIN: Duration = Duration::from_secs(3);
/// Longest wait for the greeting of port 25. With the connection and the addresses before it, it fits into the nine seconds that
/// a check may take.
pub const GREETED_WITHIN: Duration = Duration::from_secs(3);
/// Most that is read of a greeting (RFC 5321 §4.5.3.1.5).
pub const MAX_GREETING: u64 = 512;
