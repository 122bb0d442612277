//! Every bound of this room, with where its number comes from.
//!
//! All of them are for one box of some fifty people with as little as 480 MB of memory.

use std::time::Duration;

// --- What a peer may send -------------------------------------------------------------------------------------------

/// Longest command line with its CRLF. RFC 5321 §4.5.3.1.4 says 512; extensions (SIZE, BODY, AUTH with an initial
/// response) add to it, and a PLAIN response with three fields of 255 octets is 1,024 in base64.
pub const COMMAND_LINE: usize = 2_048;
/// Parameters behind one MAIL or RCPT. All that exist are a dozen.
pub const PARAMETERS: usize = 20;
/// Longest line of a message. RFC 5321 §4.5.3.1.6 says 1,000; scripts and shops send HTML in one line, and refusing
/// those would lose invoices. Postfix cuts at 2,048, Exim and Gmail take far more; this bounds the readers after us.
pub const TEXT_LINE: usize = 64 << 10;
/// Largest message, in octets. What Gmail takes in is 50 MB.
pub const MESSAGE: usize = 50 << 20;
/// Largest header block. Postfix's `header_size_limit` cuts at 100 KiB; long lists of recipients go a little beyond.
pub const HEADER: usize = 256 << 10;
/// How deep the parts of a message lie in each other before it is no longer taken apart. Real mail stays below ten.
pub const MIME_DEPTH: usize = 50;
/// The furthest into the future that mail can be handed in for (RFC 4865): it lies in the queue as long, and a month of a
/// family's mail is little.
pub const FUTURE_RELEASE: Duration = Duration::from_secs(30 * 86_400);
/// Recipients per message. RFC 5321 §4.5.3.1.8 asks for at least 100.
pub const RECIPIENTS: usize = 100;
/// `Received` fields after which a message is taken to go in circles. RFC 5321 §6.3 says at least 100 are usually
/// meant as a loop; Postfix's `hopcount_limit` is 50, and no real path comes near it.
pub const HOPS: usize = 50;
/// Octets of messages held in memory by all sessions together: two of the largest and then some.
pub const MEMORY: usize = 112 << 20;
/// And by all deliveries of messages beyond [`QUEUE_ROW`]: one of the largest and then some. A budget of their own, since
/// a server may hold on to a delivery for minutes, and mail must come in meanwhile. Smaller ones are bounded by the
/// number of deliveries, 16 MB in all, so that they never wait behind large ones.
pub const DELIVERY_MEMORY: usize = 64 << 20;

// --- How long a peer may take (RFC 5321 §4.5.3.2) --------------------------------------------------------------------

/// Between commands, as a server: "at least 5 minutes" (§4.5.3.2.7).
pub const COMMAND_WITHIN: Duration = Duration::from_secs(300);
/// Between two pieces of a message, either way (§4.5.3.2.5).
pub const DATA_BLOCK_WITHIN: Duration = Duration::from_secs(180);
/// A whole message. 50 MiB in this time is 30 kB/s; slower is more likely an attack than a modem.
pub const MESSAGE_WITHIN: Duration = Duration::from_secs(1_800);
/// A whole connection, whatever it does.
pub const CONNECTION_WITHIN: Duration = Duration::from_secs(7_200);
/// Writing replies to a peer that reads.
pub const WRITE_WITHIN: Duration = Duration::from_secs(60);
/// A TLS handshake, either way. Four round trips and a slow processor.
pub const HANDSHAKE_WITHIN: Duration = Duration::from_secs(30);
/// How long a connection that is being closed is read on, so that the last reply is not lost to a reset.
pub const LINGER: Duration = Duration::from_secs(5);

// --- How much a peer may ask -----------------------------------------------------------------------------------------

/// Connections on one port at once. Each costs some 100 KB with TLS.
pub const CONNECTIONS: usize = 200;
/// Of these, from one address: a /32 of IPv4 or a /64 of IPv6. Large senders open about 20.
pub const CONNECTIONS_PER_NETWORK: usize = 25;
/// And from its neighbourhood: a /24 or a /48. Large senders have several servers side by side.
pub const CONNECTIONS_PER_SITE: usize = 60;
/// Connections that such a neighbourhood may open in a minute. Two a second is more than any sender of mail for a few
/// people needs; who guesses addresses or passwords opens hundreds.
pub const CONNECTIONS_PER_MINUTE: u32 = 120;
/// Neighbourhoods whose connections are counted; a hundred octets each.
pub const NETWORKS_REMEMBERED: usize = 20_000;
/// Commands in one connection. A full transaction of 100 recipients takes 104.
pub const COMMANDS: usize = 10_000;
/// Commands in a row that bring no mail on the way (NOOP, RSET, VRFY, HELP, EHLO). Postfix's junk limit is 100.
pub const IDLE_COMMANDS: usize = 100;
/// Wrong commands before the connection is closed. Postfix's `smtpd_hard_error_limit` is 20.
pub const ERRORS: usize = 10;
/// Unknown recipients before the connection is closed: guessing names is how addresses are harvested.
pub const UNKNOWN_RECIPIENTS: usize = 10;
/// How much longer each further unknown recipient's answer takes, and the most that it does.
pub const UNKNOWN_RECIPIENT_PAUSE: Duration = Duration::from_millis(250);
pub const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// Failed logins before the connection is closed, and the wait after each. The directory slows them too.
pub const FAILED_LOGINS: usize = 3;
pub const FAILED_LOGIN_PAUSE: Duration = Duration::from_secs(1);
/// How long the greeting on port 25 waits for a client that speaks before its turn (RFC 5321 §4.3.1). Such programs
/// send in the same flight as the end of the TCP handshake, so a moment is enough to see them.
pub const EARLY_TALKER_WAIT: Duration = Duration::from_millis(20);

// --- What is held against strangers ----------------------------------------------------------------------------------

/// All look-ups about a client together. They begin when it connects, and most are there before it has said hello.
pub const GUEST_WITHIN: Duration = Duration::from_secs(3);
/// Names of one address that are followed back.
pub const NAMES_OF_ADDRESS: usize = 5;
/// What being on a weak list adds to the score; 5 is junk.
pub const WEAK_LIST_SCORE: f32 = 2.0;
/// The score from which mail of a network that has never sent before is asked to come again: short of junk, and above
/// what a small server without DKIM gets.
pub const GREY_SCORE: f32 = 3.0;
/// What greylisting waits for. Servers try again after five to thirty minutes (RFC 5321 §4.5.4.1); programs that send
/// once and never again do not.
pub const GREY_WAIT: Duration = Duration::from_secs(300);
/// When a first try is forgotten.
pub const GREY_FORGOTTEN: Duration = Duration::from_secs(86_400);
/// How long a network is known after its last mail: a monthly newsletter comes back within it.
pub const NETWORK_KNOWN: Duration = Duration::from_secs(35 * 86_400);
/// How long it is remembered whom our users have written to.
pub const CORRESPONDENT_KEPT: Duration = Duration::from_secs(2 * 365 * 86_400);
/// What is remembered at most of each; some 100 octets each on disk.
pub const CORRESPONDENTS: i64 = 200_000;
pub const NETWORKS_KNOWN: i64 = 100_000;
pub const GREY_ENTRIES: i64 = 50_000;
/// How long a question to `known.db` waits for another that writes.
pub const KNOWN_WITHIN: Duration = Duration::from_secs(2);
/// How often what is old is forgotten.
pub const KNOWN_PURGE_EVERY: Duration = Duration::from_secs(3_600);

// --- What an account may send ----------------------------------------------------------------------------------------

/// Messages per account, in an hour and in a day. A person writes fewer; a stolen password sends thousands.
pub const MESSAGES_PER_HOUR: u32 = 300;
pub const MESSAGES_PER_DAY: u32 = 1_500;
/// Recipients per account that it has never written to before. An invitation to a wedding has fewer; a spammer's list
/// has hardly any others.
pub const NEW_RECIPIENTS_PER_HOUR: u32 = 200;
pub const NEW_RECIPIENTS_PER_DAY: u32 = 500;
pub const HOUR: Duration = Duration::from_secs(3_600);
pub const DAY: Duration = Duration::from_secs(86_400);
/// Recipients per account and day. Gmail's own limit for a person's account is 2,000.
pub const RECIPIENTS_PER_DAY: u32 = 2_000;

// --- The queue -------------------------------------------------------------------------------------------------------

/// Messages that wait. What is known of each in memory is some 300 octets.
pub const QUEUE_MESSAGES: usize = 200_000;
/// Largest message that is kept in the database itself: one sync for both. Larger ones are files, since SQLite would
/// write them twice.
pub const QUEUE_ROW: usize = 64 << 10;
/// Changes of the queue that share a transaction at most.
pub const QUEUE_GROUP: usize = 200;
/// After this long the sender of a message that still waits is told. What Sendmail's `Timeout.queuewarn` has.
pub const DELAY_NOTICE: Duration = Duration::from_secs(4 * 3_600);
/// Octets that wait.
pub const QUEUE_BYTES: u64 = 4 << 30;
/// Free space below which nothing more is taken: mailboxes share the disk.
pub const FREE_DISK: u64 = 200 << 20;
/// What the control door tells of the queue at most.
pub const QUEUE_SHOWN: usize = 1_000;
/// First wait after a failed try; it doubles from there (RFC 5321 §4.5.4.1 asks for 30 minutes in general, and allows
/// two early tries within the first hour; greylisting peers want five to fifteen minutes).
pub const RETRY_FIRST: Duration = Duration::from_secs(5 * 60);
pub const RETRY_LONGEST: Duration = Duration::from_secs(4 * 3_600);
/// RFC 5321 §4.5.4.1: "the give-up time generally needs to be at least 4-5 days".
pub const GIVE_UP: Duration = Duration::from_secs(5 * 86_400);
/// How far a wait is spread, in percent, so that a peer that was down is not met by everything at once.
pub const JITTER_PERCENT: u64 = 10;
/// Deliveries at once, in all.
pub const DELIVERIES: usize = 50;
/// A delivery that takes longer makes room for another, while there are no more slow ones than so many: servers that
/// never speak hold a connection for minutes, and mail for others must not wait for them. Each costs some 100 KB.
pub const SLOW_AFTER: Duration = Duration::from_secs(15);
pub const SLOW_DELIVERIES: usize = 200;
/// Deliveries at once to one destination: at first, and after many successes. Postfix begins with 5 and goes up to 20;
/// small senders are liked better when they are gentle.
pub const DELIVERIES_TO_A_PLACE_FIRST: f32 = 2.0;
pub const DELIVERIES_TO_A_PLACE: f32 = 10.0;
/// Deliveries at once into this box's own mailboxes.
pub const DELIVERIES_TO_MAILBOXES: f32 = 10.0;

// --- The history -----------------------------------------------------------------------------------------------------

/// How long it is kept. Complaints about lost mail come within weeks; some providers' reports after a month.
pub const HISTORY_KEPT: Duration = Duration::from_secs(90 * 86_400);
/// Messages that it holds, the latest. With their steps a kilobyte or so each.
pub const HISTORY_MESSAGES: i64 = 300_000;
/// Events that may wait for its writer; further ones are not kept.
pub const HISTORY_EVENTS_WAITING: usize = 10_000;
pub const HISTORY_PURGE_EVERY: Duration = Duration::from_secs(3_600);
/// What one question is answered with at most.
pub const HISTORY_SHOWN: usize = 100;

// --- Delivering (RFC 5321 §4.5.3.2) ----------------------------------------------------------------------------------

/// To open a TCP connection. RFC 1123 leaves it open; Postfix's `smtp_connect_timeout` is 30 seconds.
pub const CONNECT_WITHIN: Duration = Duration::from_secs(30);
/// The greeting (§4.5.3.2.1), MAIL (§4.5.3.2.2) and RCPT (§4.5.3.2.3).
pub const REPLY_WITHIN: Duration = Duration::from_secs(300);
/// After the final dot (§4.5.3.2.6).
pub const FINAL_REPLY_WITHIN: Duration = Duration::from_secs(600);
/// The mailbox is on this machine; it answers for one message per account at a time.
pub const LMTP_REPLY_WITHIN: Duration = Duration::from_secs(120);
/// Longest reply line (RFC 5321 §4.5.3.1.5 says 512) and lines in one reply.
pub const REPLY_LINE: usize = 2_048;
pub const REPLY_LINES: usize = 100;
/// Mail exchangers and addresses tried in one go. RFC 5321 §5.1: at least two.
pub const EXCHANGERS: usize = 5;
pub const ADDRESSES: usize = 8;
/// A look-up in the DNS, through the box's own resolver, which has its own patience.
pub const LOOKUP_WITHIN: Duration = Duration::from_secs(20);
/// Characters of a reply that are kept in words, for the queue, the history and reports. A hundred lines of two kilobytes
/// each may come; what a server has to say fits into three lines.
pub const REPLY_KEPT: usize = 1_000;
/// How much of the original's header a report returns.
pub const RETURNED_HEADER: usize = 64 << 10;
/// The largest message that a report returns whole, where its sender asked for that (RFC 3461 §4.3 leaves it to us).
pub const RETURNED_MESSAGE: usize = 1 << 20;
/// How long the second address of a host waits for the first. RFC 8305 §5 says 250 ms for people who watch; mail can
/// wait, and other people's servers need not be asked twice for it.
pub const CONNECT_STAGGER: Duration = Duration::from_secs(2);

// --- Connections used again ------------------------------------------------------------------------------------------

/// How long a conversation waits for the next message. Postfix's `smtp_connection_cache_time_limit` is 2 seconds;
/// servers mind those that hold on for longer than some ten.
pub const CONNECTION_IDLE: Duration = Duration::from_secs(5);
/// Messages in one conversation. Exim's `connection_max_messages` is 500; many servers close after 100.
pub const MESSAGES_PER_CONNECTION: usize = 100;
/// How long a conversation may be used at all: by then its place and its promises are looked up again. Postfix's
/// `smtp_connection_reuse_time_limit`.
pub const CONNECTION_REUSED_FOR: Duration = Duration::from_secs(300);
/// Conversations that wait, in all. Each holds some 50 KB.
pub const IDLE_CONNECTIONS: usize = 50;

// --- What is remembered of servers -----------------------------------------------------------------------------------

/// How long an address rests after a failure, first and at most; it doubles in between. Postfix's
/// `minimal_backoff_time` is 5 minutes for a whole destination; one address is tried again sooner.
pub const HOST_REST: Duration = Duration::from_secs(60);
pub const HOST_REST_LONGEST: Duration = Duration::from_secs(30 * 60);
/// Hosts and addresses of which something is remembered; some 200 octets each.
pub const HOSTS_REMEMBERED: usize = 10_000;
/// For how long a host that spoke TLS is expected to, and how long mail waits when it suddenly does not.
pub const TLS_REMEMBERED: Duration = Duration::from_secs(7 * 86_400);
pub const TLS_DOUBT: Duration = Duration::from_secs(86_400);
/// How often the name of the own IPv6 address is looked at.
pub const IPV6_LOOK: Duration = Duration::from_secs(3_600);
/// How long after the start the first look is. At set-up the box's zone is not served yet, and a resolver that is asked for
/// it then remembers for a minute that nobody answered: just when the certificate's names are looked up.
pub const IPV6_FIRST_LOOK: Duration = Duration::from_secs(180);
/// How long the relays are remembered before the directory is asked again.
pub const RELAYS_FRESH: Duration = Duration::from_secs(30);

/// Trying a relay, from its address to the goodbye: an owner waits for it.
pub const RELAY_TRIED_WITHIN: Duration = Duration::from_secs(45);

// --- MTA-STS (RFC 8461) and reports on TLS (RFC 8460) ----------------------------------------------------------------

/// The largest policy: §3.3 suggests "64 kilobytes".
pub const STS_POLICY: usize = 64 << 10;
/// A whole fetch. §3.3 suggests a minute; a message waits for it, and half of that is ample.
pub const STS_FETCH_WITHIN: Duration = Duration::from_secs(30);
/// A fetch that failed is not repeated within this (§3.3: "five minutes or longer per version ID").
pub const STS_FETCH_AGAIN: Duration = Duration::from_secs(600);
/// A policy in use is fetched anew after this, so that it never lapses (§10.2).
pub const STS_REFRESH: Duration = Duration::from_secs(86_400);
/// Domains whose policy is held in memory; the others' are read from the disk.
pub const STS_DOMAINS: usize = 10_000;
/// Different results that one day's reports may have. A small box talks to some hundreds of domains.
pub const TLS_RESULTS: u64 = 50_000;
/// Days for which results that nobody fetched are kept; reports may be a day late (RFC 8460 §4.1).
pub const TLS_RESULT_DAYS: i64 = 7;

// --- Forwarding ------------------------------------------------------------------------------------------------------

/// How long a bounce to a forwarded message finds its way back. libsrs2's default; retries end after five days, and slow
/// servers take a week or two.
pub const SRS_DAYS: u64 = 21;

// --- Mailing lists ---------------------------------------------------------------------------------------------------

/// Largest post. Each member gets a copy, so this times the members is what the queue takes; Mailman's default is 40 KB,
/// people send photographs.
pub const LIST_MESSAGE: usize = 10 << 20;
/// Posts that wait for moderators, and as many that are on their way out.
pub const LIST_POSTS: usize = 100;
/// Octets of what is kept about a post: 500 members of 254 octets at most, and a few short fields.
pub const LIST_POST_LINE: u64 = 256 << 10;
/// Days within which somebody who wants in has to say so again.
pub const LIST_CONFIRM_DAYS: u64 = 7;
/// How long a post waits after the directory, the filter or the queue could not take it.
pub const LIST_RETRY: Duration = Duration::from_secs(60);
/// After how many copies it is written down how far a post has got: as many at most go out twice after a sudden end.
pub const LIST_NOTED_EVERY: usize = 10;

// --- Backup for other servers ----------------------------------------------------------------------------------------

/// How long a question to a primary server may take in all. The sender waits for it, five minutes by RFC 5321
/// §4.5.3.2.3; a server that is there answers in a moment.
pub const CALLOUT_WITHIN: Duration = Duration::from_secs(20);
/// Addresses of a primary server that are tried.
pub const CALLOUT_SERVERS: usize = 3;
/// How long an answer counts without asking again; Postfix refreshes bad ones after three hours, and people are added.
pub const CALLOUT_FRESH: Duration = Duration::from_secs(600);
/// How long a recipient that was named once is taken while the primary is away; Postfix's
/// `address_verify_positive_expire_time` is 31 days.
pub const CALLOUT_KEPT: Duration = Duration::from_secs(31 * 86_400);
/// Recipients remembered, some 60 octets each.
pub const CALLOUT_ADDRESSES: usize = 10_000;
/// How long after midnight (UTC) reports are sent, and how often the clock is looked at. RFC 8460 §4.1 asks for a day's
/// reports after its end, and not by everybody at midnight.
pub const TLS_REPORTS_AFTER: u64 = 3 * 3_600;
pub const TLS_REPORTS_LOOK: Duration = Duration::from_secs(10);
/// Places that one domain's report is sent to.
pub const TLS_REPORT_TARGETS: usize = 4;
/// A report by HTTPS, from the connection to the answer's first line.
pub const TLS_REPORT_POSTED_WITHIN: Duration = Duration::from_secs(30);
