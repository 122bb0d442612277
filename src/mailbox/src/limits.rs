//! The bounds of the mailbox role, each with its reason.

use std::time::Duration;

/// Largest message that a client may APPEND, and that LMTP takes: what the MTA takes, 50 MiB, and room for the
/// headers that are added on the way.
pub const MESSAGE: usize = (50 << 20) + (64 << 10);
/// Longest command without its literals. Clients with large folders send long UID sets; Dovecot takes 64 KiB.
pub const COMMAND_LINE: usize = 64 << 10;
/// Literals of one command other than APPEND's message: names, passwords, search strings.
pub const COMMAND_LITERALS: usize = 64 << 10;
/// Literals of one command in number.
pub const COMMAND_LITERAL_COUNT: usize = 1000;
/// Octets of messages that are being read and written, by APPEND or LMTP, at once over all sessions; who comes later
/// waits. LMTP counts a message three times: as it is read, as a script sees it, and as it is stored.
pub const MESSAGES_IN_MEMORY: usize = 256 << 20;
/// For more of that memory, when a command has some already (APPEND of several messages).
pub const MEMORY_WITHIN: Duration = Duration::from_secs(60);
/// Ranges in one sequence set.
pub const SET_RANGES: usize = 10_000;
/// Nesting of SEARCH keys (parentheses, NOT, OR).
pub const SEARCH_DEPTH: usize = 30;
/// Keys of one SEARCH.
pub const SEARCH_KEYS: usize = 1000;
/// Items of one FETCH.
pub const FETCH_ITEMS: usize = 100;
/// Parts of a section number such as 1.2.3; no message has more levels than the store parses.
pub const SECTION_DEPTH: usize = 40;
/// Patterns of one LIST.
pub const LIST_PATTERNS: usize = 50;
/// Messages of one APPEND (RFC 3502); together they are no larger than the largest message.
pub const APPEND_MESSAGES: usize = 1000;
/// Entries of one GETMETADATA or SETMETADATA.
pub const METADATA_ENTRIES: usize = 100;
/// Longest name of a metadata entry.
pub const METADATA_NAME: usize = 255;
/// Longest value of a metadata entry: signatures and colours, not documents.
pub const METADATA_VALUE: usize = 16 << 10;
/// Metadata entries of one mailbox, and of the server, for one account.
pub const METADATA_COUNT: usize = 200;
/// Messages that one SORT or THREAD looks at; the keys of so many take some hundred MiB at worst for a moment.
pub const SORTED_MESSAGES: usize = 200_000;
/// Octets of one sort key, or of one message's references: far above what people write.
pub const SORT_TEXT: usize = 1000;
/// References of one message that threading follows, the last ones.
pub const REFERENCES: usize = 100;
/// Time between two words that a long search is still under way (RFC 9585 §4 recommends ten seconds or so).
pub const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// Folders that one MULTISEARCH goes through.
pub const SEARCHED_FOLDERS: usize = 5000;
/// Longest LIST pattern: matching is of the order of its length times the name's.
pub const LIST_PATTERN: usize = 1000;

/// Sessions at once on each port: fifty people with a dozen programs of several connections each, and as many again. One
/// that idles takes some 30 KiB.
pub const SESSIONS: usize = 6000;
/// From one address: a family or a firm behind one router.
pub const SESSIONS_PER_ADDRESS: usize = 200;
/// Of one account: Thunderbird opens five, and people have several devices.
pub const SESSIONS_PER_ACCOUNT: usize = 60;
/// LMTP sessions at once: as many as the MTA has SMTP sessions, and some.
pub const LMTP_SESSIONS: usize = 300;

/// For the TLS handshake.
pub const HANDSHAKE_WITHIN: Duration = Duration::from_secs(20);
/// From the greeting to the login.
pub const LOGIN_WITHIN: Duration = Duration::from_secs(60);
/// Without a command. RFC 3501 §5.4 wants at least thirty minutes.
pub const IDLE: Duration = Duration::from_secs(31 * 60);
/// While idling, a line now and then keeps address translators from forgetting the connection.
pub const IDLE_HEARTBEAT: Duration = Duration::from_secs(120);
/// For the rest of a command whose beginning has arrived, literals included: 50 MiB at a slow 200 kbit/s take 35 min.
pub const COMMAND_WITHIN: Duration = Duration::from_secs(40 * 60);
/// For the peer to take what it asked for, per 64 KiB or so.
pub const WRITE_WITHIN: Duration = Duration::from_secs(120);
/// Wrong passwords on one connection, after which it is closed; the directory slows them down besides.
pub const LOGIN_TRIES: u32 = 3;
/// How long the directory's word is believed on whether there are app passwords.
pub const SCRAM_OFFER_KEPT: Duration = Duration::from_secs(60);
/// Malformed commands in a row, after which it is not a mail client that speaks.
pub const BAD_COMMANDS: u32 = 20;

/// LMTP: longest command line (RFC 5321 §4.5.3.1.4 has 512; parameters and long local parts need more).
pub const LMTP_LINE: usize = 4096;
/// LMTP: recipients of one message. The MTA takes 100 and aliases may multiply them.
pub const LMTP_RECIPIENTS: usize = 1000;
/// LMTP: what a message may be larger than its announced SIZE, which is an estimate (RFC 1870 §3), and what is counted
/// for one without.
pub const LMTP_SIZE_SLACK: usize = 64 << 10;
/// LMTP: for how long the directory's answer about a recipient is kept. Long enough for a burst of mail.
pub const RECIPIENT_KEPT: Duration = Duration::from_secs(1);
/// LMTP: answers kept at once.
pub const RECIPIENTS_KEPT: usize = 1000;
/// LMTP: for the next line of a command or of the message.
pub const LMTP_WITHIN: Duration = Duration::from_secs(300);

/// Messages waiting to be learned from; beyond, they are not learned. A reader who sorts a whole folder must not fill
/// the memory.
pub const LEARN_QUEUE: usize = 500;
/// Largest message that is learned from; classifiers look at no more text.
pub const LEARN_MESSAGE: u64 = 512 << 10;

// --- Quotas and housekeeping ------------------------------------------------------------------------------------------

/// For how long the directory's answer about a quota is believed: a new rule holds after a minute.
pub const QUOTA_KEPT: Duration = Duration::from_secs(60);
/// Percent of its quota at which an account is warned.
pub const QUOTA_WARNING: u64 = 90;
/// Percent below which the warning is forgotten, so that the next one is given again.
pub const QUOTA_WARNED_AGAIN_BELOW: u64 = 85;
/// From a change to the look for mail to be indexed: several messages together cost less than one by one.
pub const INDEX_AFTER: Duration = Duration::from_secs(1);
/// Mail that keeps coming is indexed after this time all the same; until then a search looks at it itself.
pub const INDEX_AFTER_ALL: Duration = Duration::from_secs(20);
/// Longest pause while there is more to be indexed, and the pause after a failure.
pub const INDEX_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// Between two looks for memory to give back.
pub const TIDY_EVERY: Duration = Duration::from_secs(60);
/// Removed messages told at once by the control door.
pub const REMOVED_TOLD: usize = 1000;
/// Octets of a message that is small: who has no room for that has none at all.
pub const SMALL_MAIL: u64 = 16 << 10;

// --- POP3 -----------------------------------------------------------------------------------------------------------

/// Longest POP3 line. RFC 2449 §4 has 255 octets; SASL responses and long passwords need more.
pub const POP3_LINE: usize = 4096;
/// POP3: without a command. RFC 1939 §3 wants at least ten minutes.
pub const POP3_IDLE: Duration = Duration::from_secs(10 * 60);

// --- ManageSieve ----------------------------------------------------------------------------------------------------

/// Longest ManageSieve line without its literals. Quoted strings may have 1,024 octets (RFC 5804 §4) and there are two.
pub const MANAGESIEVE_LINE: usize = 8192;
/// A literal larger than a script may be is read and refused up to this size; beyond, the connection ends.
pub const MANAGESIEVE_LITERAL: usize = 8 << 20;
/// A literal before the login: a SASL response.
pub const MANAGESIEVE_LITERAL_BEFORE_LOGIN: usize = 8192;
/// ManageSieve: without a command. RFC 5804 §1.8 wants at least thirty minutes after the login.
pub const MANAGESIEVE_IDLE: Duration = Duration::from_secs(31 * 60);

// --- Sieve ----------------------------------------------------------------------------------------------------------

/// Scripts of one account.
pub const SIEVE_SCRIPTS: usize = 50;
/// Largest script. Dovecot's default is 1 MiB; rules of twenty years fit a quarter of it.
pub const SIEVE_SCRIPT: usize = 256 << 10;
/// Longest string and variable: a vacation text of two pages.
pub const SIEVE_STRING: usize = 16 << 10;
/// Scripts that one script includes, and how deep they do it.
pub const SIEVE_INCLUDES: usize = 20;
pub const SIEVE_NESTING: usize = 5;
/// Steps of one run. A rule takes about four, so that is over a thousand rules.
pub const SIEVE_STEPS: usize = 20_000;
/// Parts of a message that a script is run on. Real messages have a few dozen.
pub const SIEVE_PARTS: usize = 300;
/// How long a delivery waits for its script. Rules take a millisecond; patterns can be written that take hours.
pub const SIEVE_WITHIN: Duration = Duration::from_secs(20);
/// Redirects of one delivery; Dovecot's default is 4.
pub const SIEVE_REDIRECTS: usize = 4;
/// Messages that one delivery may send: redirects, vacation, notifications.
pub const SIEVE_OUTGOING: usize = 8;
/// Redirects of one account in a day. A busy list brings some two hundred messages.
pub const SIEVE_REDIRECTS_PER_DAY: usize = 500;
/// Notifications of one account in a day.
pub const SIEVE_NOTICES_PER_DAY: usize = 200;
/// `Received` fields from which on nothing is redirected or answered. Real paths have fewer than fifteen.
pub const SIEVE_HOPS: usize = 30;
/// Folders that one delivery may make.
pub const SIEVE_CREATES: usize = 10;
/// Copies of one message that a delivery may store.
pub const SIEVE_COPIES: usize = 20;
/// Longest text of a refusal, in octets; RFC 5321 §4.5.3.1.5 has 512 for a reply line.
pub const SIEVE_REASON: usize = 400;
/// Octets of messages that a script makes in one run, beyond twice the message itself.
pub const SIEVE_MADE: usize = 1 << 20;
/// Most messages of an account that the status checks have looked at: some ten seconds for a million were measured.
pub const INSPECTED: u64 = 100_000;
/// How long a sender who got a vacation notice gets no other: by default (RFC 5230 §4.1 suggests 7 days), at least
/// and at most. Seconds.
pub const VACATION_DEFAULT: u64 = 7 * DAY;
pub const VACATION_SHORTEST: u64 = DAY;
pub const VACATION_LONGEST: u64 = 90 * DAY;
/// How long `duplicate` remembers: by default (RFC 7352 §3.3 suggests 7 days) and at most. Seconds.
pub const DUPLICATE_DEFAULT: u64 = 7 * DAY;
pub const DUPLICATE_LONGEST: u64 = 90 * DAY;
/// What an account's scripts remember; beyond, what would be forgotten soonest is forgotten at once.
pub const SIEVE_RECORDS: usize = 20_000;
const DAY: u64 = 86_400;
