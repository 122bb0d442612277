//! Every reply that the server itself has to give, in one table.
//!
//! Invariant: sessions say nothing that is not in it, but for what the filter or a mailbox put into words
//! ([`passed_on`]) and the lines of EHLO. So a test can see to it that each one is shown in a transcript
//! (`tests/smtp/*.session`).

use crate::proto::Reply;
use std::fmt::Display;

/// A reply as it stands in the table; `{}` in its words is filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    pub code: u16,
    /// RFC 3463; empty for greetings and intermediate replies.
    pub enhanced: &'static str,
    pub words: &'static str,
}

impl Said {
    pub fn reply(self) -> Reply {
        self.with(&[])
    }

    /// The reply with each `{}` replaced, in order.
    pub fn with(self, what: &[&dyn Display]) -> Reply {
        let mut parts = self.words.split("{}");
        let mut text = parts.next().unwrap_or_default().to_owned();
        for (index, part) in parts.enumerate() {
            if let Some(value) = what.get(index) {
                text.push_str(&value.to_string());
            }
            text.push_str(part);
        }
        Reply::new(self.code, self.enhanced, text)
    }
}

/// What the filter, or a mailbox, said in words of its own.
pub fn passed_on(code: u16, enhanced: &str, words: impl Into<String>) -> Reply {
    Reply::new(code, enhanced, words)
}

macro_rules! replies {
    ($($(#[$meta:meta])* $name:ident = $code:literal $enhanced:literal $words:literal;)*) => {
        $($(#[$meta])* pub const $name: Said = Said { code: $code, enhanced: $enhanced, words: $words };)*

        /// All of them with their names.
        #[cfg(test)]
        pub const ALL: &[(&str, Said)] = &[$((stringify!($name), $name)),*];
    };
}

replies! {
    GREETING = 220 "" "{} ESMTP";
    // --- Well ---
    HELP = 214 "2.0.0" "see RFC 5321";
    GOODBYE = 221 "2.0.0" "goodbye";
    BEGIN_TLS = 220 "2.0.0" "go ahead";
    WELCOME = 235 "2.7.0" "welcome";
    RESET = 250 "2.0.0" "begin again";
    NOTHING_DONE = 250 "2.0.0" "nothing done";
    SENDER_OK = 250 "2.1.0" "sender ok";
    RECIPIENT_OK = 250 "2.1.5" "recipient ok";
    CHUNK_OK = 250 "2.0.0" "{} octets received";
    STORED = 250 "2.0.0" "stored as {}";
    STORED_AND_QUEUED = 250 "2.0.0" "stored and queued as {}";
    QUEUED = 250 "2.0.0" "queued as {}";
    /// RFC 5321 §7.3: telling who exists would be a gift to those who collect addresses.
    VERIFY = 252 "2.5.0" "send mail and see";
    // --- Go on ---
    CHALLENGE = 334 "" "{}";
    SEND_DATA = 354 "" "end with a line that is a dot alone";
    // --- Come again ---
    TOO_MANY_CONNECTIONS = 421 "4.7.0" "too many connections; come back later";
    TOO_FAST = 421 "4.7.0" "too many connections from your network in a short time; come back later";
    SILENT = 421 "4.4.2" "nothing was heard for too long; closing";
    MESSAGE_TOO_SLOW = 421 "4.4.2" "the message took too long; closing";
    TOO_MANY_COMMANDS = 421 "4.7.0" "too many commands; come back later";
    TOO_MANY_MISTAKES = 421 "4.7.0" "too many mistakes; come back later";
    TOO_MANY_UNKNOWN = 421 "4.7.0" "too many unknown recipients, {} among them";
    BRAKED = 450 "4.7.1" "{}";
    GREYLISTED = 451 "4.7.1" "your server is new here; please try again in {} minutes, as mail servers do";
    LISTED_FOR_NOW = 451 "4.7.1" "{}";
    NOT_NOW = 451 "4.3.2" "a part of this server does not answer just now; try again later";
    MAILBOX_NOT_NOW = 451 "4.3.0" "the mailbox cannot take this just now; try again later";
    SOME_NOT_NOW = 451 "4.3.1" "some mailboxes cannot take this just now; try again later";
    QUEUE_NOT_NOW = 451 "4.3.0" "the queue cannot be written just now; try again later";
    QUEUE_FULL = 452 "4.3.1" "{}; try again later";
    DISK_FULL = 452 "4.3.1" "the disk of this server is nearly full; try again later";
    NO_MEMORY = 452 "4.3.1" "too many large messages at once; try again later";
    TOO_MANY_RECIPIENTS = 452 "4.5.3" "too many recipients; send another copy to the rest";
    MAILBOX_FULL = 452 "4.2.2" "{}";
    LOGIN_THROTTLED = 454 "4.7.0" "too many failed logins; try again in {} seconds";
    LOGIN_NOT_NOW = 454 "4.7.0" "logins cannot be checked just now; try again later";
    // --- Not understood, or out of order ---
    UNKNOWN_COMMAND = 500 "5.5.2" "{}";
    BROKEN_LINE = 500 "5.5.2" "a line ends with CR LF and has no other CR or LF";
    LONG_LINE = 500 "5.5.2" "a command is no longer than {} octets";
    SYNTAX = 501 "5.5.4" "{}";
    BAD_RESPONSE = 501 "5.5.2" "this response cannot be read";
    LOGIN_GIVEN_UP = 501 "5.7.0" "login given up";
    TOO_FAR_AHEAD = 501 "5.5.4" "mail is kept back for {} days at most";
    NOT_OFFERED = 502 "5.5.1" "this command is not offered here";
    OUT_OF_ORDER = 503 "5.5.1" "{}";
    USERS_ELSEWHERE = 503 "5.5.1" "users send mail through port 465 or 587";
    TLS_ALREADY = 503 "5.5.1" "TLS is on already";
    UNKNOWN_MECHANISM = 504 "5.5.4" "{} are offered";
    // --- No ---
    TLS_FIRST = 530 "5.7.0" "STARTTLS comes first";
    LOGIN_FIRST = 530 "5.7.0" "log in first";
    WRONG_PASSWORD = 535 "5.7.8" "wrong name or password";
    BAD_EXCHANGE = 535 "5.7.8" "{}";
    TLS_BEFORE_LOGIN = 538 "5.7.11" "STARTTLS comes first";
    NO_SUCH_MAILBOX = 550 "5.1.1" "there is no mailbox {} here";
    NO_RELAY = 550 "5.7.1" "{} is not of this server; relaying denied";
    NOT_THE_AUTHOR = 550 "5.7.1" "{} may not write {} into From or Sender";
    NO_AUTHOR = 550 "5.7.1" "{}";
    LIES_IN_HELLO = 550 "5.7.1" "you introduced yourself as {}, which is this server";
    LISTED = 550 "5.7.1" "{}";
    TOO_LARGE = 552 "5.3.4" "a message is no larger than {} MB";
    LONG_HEADER = 552 "5.3.4" "{}";
    DOES_NOT_FIT = 552 "5.2.2" "{}: this message does not fit";
    NOT_THE_SENDER = 553 "5.7.1" "{} may not send as {}";
    BAD_ADDRESS = 553 "5.1.3" "{}";
    NEEDS_SMTPUTF8 = 553 "5.6.7" "an address outside ASCII needs SMTPUTF8 behind MAIL";
    NO_RECIPIENTS = 554 "5.5.1" "no valid recipients";
    TALKS_EARLY = 554 "5.5.1" "wait for the greeting before you speak";
    BROKEN_MESSAGE = 554 "5.6.0" "{}; closing the connection";
    BAD_FORM = 554 "5.6.0" "{}";
    LOOP = 554 "5.4.6" "{}";
    UNKNOWN_PARAMETER = 555 "5.5.4" "{}";
}
