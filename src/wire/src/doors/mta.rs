//! What may be asked of the MTA: to send the box's own mail, what waits in the queue, and what became of messages.

use super::directory::Relay;
use base::Address;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

crate::door! { base::Role::Mta;
    /// Sends mail of the box itself (reports to the owner). The body is the message, with From, To, Date and Subject;
    /// it is signed, and durable when the answer comes.
    Send { from: Address, to: Address } -> (), from [Checks, Backup, Certs, Filter, Dns];
    /// Sends mail of an account that its Sieve script passes on or writes (the body). Durable when the answer comes.
    SendAs { account: Address, to: Vec<Address>, what: Automatic } -> (), from [Mailbox];
    /// Tries a relay: connects, speaks TLS, logs in, and leaves. A refusal says in a sentence what does not work.
    TestRelay { relay: Relay } -> (), from [];
    /// A message with this token is about to come as a stranger's would, and is to be noted and kept by nobody. See
    /// `ROUND_TRIP_FIELD`.
    ExpectRoundTrip { token: String } -> (), from [Checks];
    /// What became of a message that the status checks sent to the box as a stranger would, by its token; `None` when
    /// none came.
    RoundTrip { token: String } -> Option<Came>, from [Checks];
    /// What waits for delivery, oldest first, no more than 1,000 entries.
    Queue {} -> Vec<Waiting>, from [Checks];
    /// What each account has sent in the last day, and which are braked, by address.
    Sending {} -> Vec<AccountSending>, from [Checks];
    /// Lets a braked account send again at once; tells whether it was braked.
    LiftBrake { account: Address } -> bool, from [];
    /// How full the queue is.
    HowFull {} -> QueueSize, from [Checks];
    /// One message of the queue; the answer's body is the message itself.
    QueueShow { id: String } -> Queued, from [];
    /// Does something to messages of the queue; tells their names.
    ChangeQueue { which: Which, change: QueueChange } -> Vec<String>, from [];
    /// The posts to lists that wait for a moderator, the oldest first.
    HeldPosts {} -> Vec<HeldPost>, from [Checks];
    /// Lets a held post out to the list's members, or drops it.
    DecidePost { id: String, approve: bool } -> (), from [];
    /// Ends a list membership by the token in its mails' List-Unsubscribe (RFC 8058); tells who left. Refused as
    /// `NotFound` when the token means nothing, or nothing any more.
    LeaveList { list: Address, token: String } -> Address, from [Web];
    /// What became of the messages in whose sender, recipients, subject, Message-ID, queue name, client or time every
    /// word stands, in any case: the latest first, `limit` at most (100 whatever is asked). Times in seconds since 1970.
    Trace { words: Vec<String>, since: Option<u64>, until: Option<u64>, limit: u32 } -> Vec<Traced>, from [];
    /// How much went to each large provider in the last 90 days, how it was taken, and how much is sensible today.
    Volume {} -> Vec<ProviderVolume>, from [Checks];
    /// Makes consistent copies of the queue's databases beside them. The history is left out: it is large, and no loss.
    TakeSnapshot {} -> (), from [Backup];
}

/// The header field by which a message says that it is a round trip of the box's own checks. One
/// whose token is waited for and that is for the reports' address alone is judged like any mail, noted, and kept by
/// nobody.
pub const ROUND_TRIP_FIELD: &str = "Mailstead-Round-Trip";

/// How a round trip's message came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Came {
    /// From where, as the MTA saw it.
    pub client: IpAddr,
    /// `TLSv1.3 with …`.
    pub tls: Option<String>,
    pub judged: Judged,
}

/// What went to one large provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderVolume {
    pub provider: String,
    /// In order; days without mail are left out.
    pub days: Vec<ProviderDay>,
    /// What it said when it did not take something, in the last week: the most frequent first.
    pub answered: Vec<Answered>,
    pub advice: Advice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderDay {
    /// Its start (UTC), in seconds since 1970.
    pub day: u64,
    pub sent: u64,
    /// Tries that were put off.
    pub put_off: u64,
    pub refused: u64,
}

/// A reply that turned mail away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// 0 where there was no reply.
    pub code: u16,
    /// RFC 3463.
    pub status: String,
    /// As it was said the first time that day.
    pub words: String,
    pub count: u64,
    /// In plain words, where it is known.
    pub means: Option<String>,
    pub remedy: Option<String>,
}

/// How much is sensible.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advice {
    pub sensible_today: u64,
    pub sent_today: u64,
    pub words: String,
}

/// What an account has sent in the last hour and day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountSending {
    pub account: Address,
    pub messages_hour: u64,
    pub messages_day: u64,
    pub recipients_day: u64,
    /// Recipients that it had never written to before.
    pub new_recipients_hour: u64,
    pub new_recipients_day: u64,
    pub brake: Option<Brake>,
}

/// Why and how long an account may send nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brake {
    /// Seconds since 1970.
    pub since: u64,
    pub until: u64,
    /// `more than 300 messages within an hour`.
    pub why: String,
}

/// A post that waits for a moderator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldPost {
    pub id: String,
    pub list: Address,
    /// From the header.
    pub from: String,
    pub subject: String,
    /// Who is shown to have written it.
    pub author: Option<Address>,
    /// Seconds since 1970.
    pub at: u64,
}

/// How a message came into the MTA's hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// From another server, on port 25.
    Inbound,
    /// From one of the box's users.
    Submitted,
    /// The box wrote it: reports, letters to the owner.
    Own,
    /// Passed on by an alias or a script.
    Forwarded,
    /// Passed on by a mailing list.
    List,
}

/// What is known of a message when it comes, or is turned away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// Its name in the queue and in Received.
    pub id: String,
    /// Seconds since 1970.
    pub at: u64,
    pub way: Way,
    pub client: Option<IpAddr>,
    /// The name that the client gave itself.
    pub helo: Option<String>,
    /// `TLSv1.3 with …`.
    pub tls: Option<String>,
    /// Who was logged in, or whose alias, script or list it is.
    pub account: Option<Address>,
    /// `None`: the null sender.
    pub sender: Option<Address>,
    pub recipients: Vec<Address>,
    pub subject: Option<String>,
    pub message_id: Option<String>,
    pub bytes: u64,
    pub judged: Option<Judged>,
}

/// The filter's opinion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// `accept`, `junk`, `refuse`, `defer`.
    pub action: String,
    /// Tenths: 47 is a score of 4.7.
    pub tenths: i32,
    /// `spf-fail +2.0 (the sender's domain says …)`, one for each rule that spoke.
    pub reasons: Vec<String>,
    /// How SPF, DKIM and DMARC came out, as in Authentication-Results.
    pub authentication: Option<String>,
}

/// Something that happened to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Turned away for good while its sender was connected.
    Refused,
    /// Turned away for now while its sender was connected.
    Deferred,
    /// In a mailbox of this box.
    Stored,
    /// Safe in the queue.
    Queued,
    /// Another server has it.
    Sent,
    /// A try failed and another will follow.
    PutOff,
    /// Given up.
    Failed,
    /// Passed on to other addresses.
    Forwarded,
    /// The owner holds it back, or lets it go again.
    Held,
    Released,
    /// The owner took it out of the queue.
    Removed,
    /// Its sender was told of a failure or a delay.
    Reported,
    /// Anything else worth knowing.
    Noted,
}

/// One step of a message's way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Seconds since 1970.
    pub at: u64,
    /// Whose copy it is about; `None`: all of them.
    pub recipient: Option<Address>,
    pub what: What,
    /// A sentence.
    pub words: String,
    /// The other server: `mx.example.net [192.0.2.1]`.
    pub server: Option<String>,
    /// How the connection to it was protected.
    pub security: Option<String>,
    /// The reply's code and its enhanced code (RFC 3463).
    pub code: Option<u16>,
    pub enhanced: Option<String>,
}

impl Step {
    pub fn new(what: What, words: impl Into<String>) -> Self {
        let words = words.into();
        Self { at: 0, recipient: None, what, words, server: None, security: None, code: None, enhanced: None }
    }
}

/// A message with all that happened to it, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traced {
    pub arrival: Arrival,
    pub steps: Vec<Step>,
}

/// What a script sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Automatic {
    /// A message that came in, passed on as it is but for a trace on top. Failures are reported to the account, or to
    /// nobody when the message is a report itself.
    Redirect { is_report: bool },
    /// A message of the script's own, with From, To, Date and Subject: signed, and failures are reported to nobody
    /// (RFC 3834 §3.3). From must be an address that the account may use.
    Answer,
}

/// One recipient of one message in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    pub id: String,
    pub sender: Option<Address>,
    pub recipient: Address,
    pub bytes: u64,
    /// Seconds since 1970.
    pub queued: u64,
    pub next_try: u64,
    pub tries: u32,
    /// What the last try met, in words.
    pub last: Option<String>,
    /// Whether the owner keeps it back.
    pub held: bool,
}

/// How full the queue is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueSize {
    pub messages: u64,
    pub bytes: u64,
    /// Messages that were tried at least once.
    pub put_off: u64,
    pub held: u64,
    /// When the oldest came: seconds since 1970.
    pub oldest: Option<u64>,
}

/// Messages of the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Which {
    All,
    /// By their names.
    Ids(Vec<String>),
    /// From this address or domain; `<>` for reports.
    From(String),
    /// With something left to do for this address or domain.
    To(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum QueueChange {
    /// Try now, whatever waits and rests there are.
    Retry,
    /// Keep back until released.
    Hold,
    Release,
    /// Take out for good. Its sender is not told.
    Remove,
}

/// One message of the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    pub id: String,
    pub sender: Option<Address>,
    /// Whose mail it is.
    pub account: Option<Address>,
    /// Seconds since 1970.
    pub queued: u64,
    pub bytes: u64,
    pub held: bool,
    pub require_tls: bool,
    pub recipients: Vec<QueuedFor>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedFor {
    pub address: Address,
    /// `waiting`, `delivered`, `failed`.
    pub state: String,
    pub tries: u32,
    /// Seconds since 1970.
    pub next_try: u64,
    pub last: Option<String>,
}
