//! One SMTP session as a state machine: a line or a message in, a reply out. It knows no sockets.
//!
//! The order of things is RFC 5321 §4.1.4: hello, then any number of MAIL, RCPT…, DATA. Submission (RFC 6409) puts
//! STARTTLS and AUTH before MAIL. [`Session::command`] is the whole protocol in one `match`.

mod envelope;
mod inbound;
mod login;
mod outbound;

use crate::house::House;
use crate::limits;
use crate::memory::Share;
use crate::proto::dot::DotError;
use crate::proto::line::Line;
use crate::proto::{Command, CommandError, Reply};
use base::Address;
use envelope::Envelope;
use login::Exchange;
use std::net::IpAddr;
use std::sync::Arc;

/// The decision that the mailbox sees on mail of the box's own users, which is not judged.
pub const OWN_VERDICT: &str = "X-Mailstead-Verdict: accept; score=0.0\r\n";

/// Who is expected at a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Port 25: other people's servers.
    Inbound,
    /// Ports 465 and 587: the box's own users.
    Submission,
}

/// What the server does after a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    Say(Reply),
    /// The reply, and then nothing more.
    Close(Reply),
    /// The reply, then the message follows.
    Data(Reply),
    /// The reply, then the TLS handshake.
    StartTls(Reply),
}

/// What came after DATA.
#[derive(Debug)]
pub enum Received {
    Whole(Vec<u8>, Share),
    TooLarge,
    /// All sessions together hold as much as they may.
    NoMemory,
}

/// How the client introduced itself.
#[derive(Debug, Clone)]
struct Hello {
    extended: bool,
    name: String,
}

/// A session, from greeting to QUIT.
#[derive(Debug)]
pub struct Session {
    house: Arc<House>,
    kind: Kind,
    client: IpAddr,
    /// `TLSv1.3 with …`, inside TLS.
    tls: Option<String>,
    hello: Option<Hello>,
    account: Option<Address>,
    envelope: Option<Envelope>,
    exchange: Option<Exchange>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    commands: usize,
    idle: usize,
    errors: usize,
    unknown: usize,
    failed_logins: usize,
}

impl Session {
    pub fn new(house: Arc<House>, kind: Kind, client: IpAddr) -> Self {
        Self {
            house,
            kind,
            client,
            tls: None,
            hello: None,
            account: None,
            envelope: None,
            exchange: None,
            counts: Counts::default(),
        }
    }

    pub fn greeting(&self) -> Reply {
        Reply::new(220, "", format!("{} ESMTP", self.house.hostname))
    }

    /// Takes note of TLS. After STARTTLS all that was said before is forgotten (RFC 3207 §4.2).
    pub fn secured(&mut self, how: String) {
        self.tls = Some(how);
        self.hello = None;
        self.envelope = None;
    }

    /// Answers one line.
    pub async fn line(&mut self, line: Line) -> Next {
        self.counts.commands += 1;
        if self.counts.commands > limits::COMMANDS || self.counts.idle > limits::IDLE_COMMANDS {
            return Next::Close(Reply::new(421, "4.7.0", "too many commands; come back later"));
        }
        let next = match (line, self.exchange.take()) {
            (Line::Whole(text), Some(exchange)) => self.continue_login(exchange, &text).await,
            (Line::Whole(text), None) => match Command::parse(&text) {
                Ok(command) => self.command(command).await,
                Err(error) => Next::Say(misunderstood(&error)),
            },
            (Line::Broken, _) => {
                Next::Say(Reply::new(500, "5.5.2", "a line ends with CR LF and has no other CR or LF"))
            }
            (Line::TooLong | Line::Partial, _) => Next::Close(Reply::new(
                500,
                "5.5.2",
                format!("a command is no longer than {} octets", limits::COMMAND_LINE),
            )),
        };
        self.count_error(next)
    }

    async fn command(&mut self, command: Command) -> Next {
        let idle = self.counts.idle + 1;
        self.counts.idle = match command {
            Command::Mail(_) | Command::Rcpt(_) | Command::Data | Command::Auth { .. } => 0,
            _ => idle,
        };
        match command {
            Command::Hello { extended, name } => self.hello(extended, name),
            Command::StartTls => self.starttls(),
            Command::Auth { mechanism, initial } => self.auth(mechanism, initial).await,
            Command::Mail(mail) => Next::Say(self.mail(mail).await),
            Command::Rcpt(recipient) => self.rcpt(recipient).await,
            Command::Data => self.data(),
            Command::Rset => {
                self.envelope = None;
                Next::Say(Reply::new(250, "2.0.0", "begin again"))
            }
            Command::Noop => Next::Say(Reply::new(250, "2.0.0", "nothing done")),
            Command::Help => Next::Say(Reply::new(214, "2.0.0", "see RFC 5321")),
            // Telling who exists would be a gift to those who collect addresses (RFC 5321 §7.3).
            Command::Vrfy => Next::Say(Reply::new(252, "2.5.0", "send mail and see")),
            Command::Quit => Next::Close(Reply::new(221, "2.0.0", "goodbye")),
            Command::NotOffered => Next::Say(Reply::new(502, "5.5.1", "this command is not offered here")),
        }
    }

    /// Takes a message after DATA and says what became of it.
    pub async fn message(&mut self, received: Received) -> Next {
        let Some(envelope) = self.envelope.take() else {
            return Next::Close(Reply::new(451, "4.3.0", "this message came unexpectedly"));
        };
        let reply = match received {
            Received::TooLarge => too_large(),
            Received::NoMemory => Reply::new(452, "4.3.1", "too many large messages at once; try again later"),
            Received::Whole(bytes, share) => {
                let reply = match self.account.clone() {
                    Some(account) => self.submit(envelope, account, bytes).await,
                    None => self.take_in(envelope, bytes).await,
                };
                drop(share);
                reply
            }
        };
        Next::Say(reply)
    }

    /// What is said to a message that cannot be read to its end. Nothing after it may be taken for a command.
    pub fn broken_message(&mut self, error: DotError) -> Next {
        self.envelope = None;
        tracing::info!("{} sent a message that is refused: {error}", self.client);
        Next::Close(Reply::new(554, "5.6.0", format!("{error}; closing the connection")))
    }

    fn hello(&mut self, extended: bool, name: String) -> Next {
        self.envelope = None;
        let greeting = format!("{} greets {name}", self.house.hostname);
        self.hello = Some(Hello { extended, name });
        if !extended {
            return Next::Say(Reply::many(250, vec![self.house.hostname.to_string()]));
        }
        let mut lines = vec![greeting, "PIPELINING".into(), format!("SIZE {}", limits::MESSAGE), "8BITMIME".into()];
        lines.push("ENHANCEDSTATUSCODES".into());
        match (&self.tls, self.kind) {
            (None, _) => lines.push("STARTTLS".into()),
            (Some(_), Kind::Submission) if self.account.is_none() => lines.push("AUTH PLAIN LOGIN".into()),
            (Some(_), _) => {}
        }
        lines.push("HELP".into());
        Next::Say(Reply::many(250, lines))
    }

    fn starttls(&mut self) -> Next {
        if self.tls.is_some() {
            return Next::Say(Reply::new(503, "5.5.1", "TLS is on already"));
        }
        Next::StartTls(Reply::new(220, "2.0.0", "go ahead"))
    }

    fn data(&mut self) -> Next {
        let Some(envelope) = &self.envelope else { return Next::Say(out_of_order("MAIL comes first")) };
        if envelope.recipients.is_empty() {
            return Next::Say(Reply::new(554, "5.5.1", "no valid recipients"));
        }
        if let Some(account) = &self.account {
            let allowed = self.house.rates.take(account, envelope.recipients.len(), std::time::Instant::now());
            if !allowed {
                tracing::warn!("{account} sends more than {} messages an hour", limits::MESSAGES_PER_HOUR);
                return Next::Say(Reply::new(450, "4.7.1", "you have sent very much lately; try again in an hour"));
            }
        }
        Next::Data(Reply::new(354, "", "end with a line that is a dot alone"))
    }

    /// Closes on a peer that makes one mistake after another.
    fn count_error(&mut self, next: Next) -> Next {
        match next {
            Next::Say(reply) if (500..=504).contains(&reply.code) => {
                self.counts.errors += 1;
                if self.counts.errors >= limits::ERRORS {
                    return Next::Close(Reply::new(421, "4.7.0", "too many mistakes; come back later"));
                }
                Next::Say(reply)
            }
            other => other,
        }
    }

    /// How the message came, for the Received field (RFC 3848).
    fn protocol(&self) -> &'static str {
        let extended = self.hello.as_ref().is_some_and(|hello| hello.extended);
        match (extended, self.tls.is_some(), self.account.is_some()) {
            (false, false, _) => "SMTP",
            (_, true, true) => "ESMTPSA",
            (_, true, false) => "ESMTPS",
            (true, false, _) => "ESMTP",
        }
    }
}

fn misunderstood(error: &CommandError) -> Reply {
    match error {
        CommandError::Unknown => Reply::new(500, "5.5.2", error.to_string()),
        CommandError::Syntax(_) => Reply::new(501, "5.5.4", error.to_string()),
        CommandError::Parameter(_) => Reply::new(555, "5.5.4", error.to_string()),
        CommandError::Address(_) => Reply::new(553, "5.1.3", error.to_string()),
        CommandError::NotAscii => Reply::new(553, "5.6.7", error.to_string()),
    }
}

fn out_of_order(text: &str) -> Reply {
    Reply::new(503, "5.5.1", text)
}

fn too_large() -> Reply {
    Reply::new(552, "5.3.4", format!("a message is no larger than {} MB", limits::MESSAGE >> 20))
}

/// What is said when a neighbour does not answer: the peer keeps the message and comes again.
fn not_now(error: &wire::WireError) -> Reply {
    tracing::warn!("deferring: {error}");
    Reply::new(451, "4.3.2", "a part of this server does not answer just now; try again later")
}
