//! One SMTP session as a state machine: a line or a message in, a reply out. It knows no sockets.
//!
//! The order of things is RFC 5321 §4.1.4: hello, then any number of MAIL, RCPT…, DATA or BDAT…. Submission (RFC 6409) puts
//! STARTTLS and AUTH before MAIL. [`Session::command`] is the whole protocol in one `match`.

mod braked;
mod capability;
mod chunks;
mod envelope;
mod inbound;
mod login;
mod outbound;
pub mod replies;
mod report;
mod round_trip;
mod stranger;
mod told;

use crate::house::House;
use crate::limits;
use crate::memory::Share;
use crate::policy::guest::Guest;
use crate::proto::dot::DotError;
use crate::proto::envelope::Body;
use crate::proto::line::Line;
use crate::proto::{Command, CommandError, Reply};
use base::Address;
use base::sasl::Offer;
use chunks::Chunks;
use envelope::Envelope;
use login::Underway;
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
    /// So many octets of the message follow, for [`Session::piece`]; then [`Session::chunk`] has the reply.
    Chunk {
        octets: u64,
    },
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
    chunks: Chunks,
    exchange: Option<Underway>,
    /// How a login is possible.
    offer: Offer,
    /// The recipient that is being asked for, for the history.
    asked_for: Option<Address>,
    /// What the DNS knows of the client.
    guest: Guest,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    commands: usize,
    idle: usize,
    errors: usize,
    unknown: usize,
    failed_logins: usize,
    told: usize,
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
            chunks: Chunks::default(),
            exchange: None,
            offer: Offer::default(),
            asked_for: None,
            guest: Guest::default(),
            counts: Counts::default(),
        }
    }

    pub fn greeting(&self) -> Reply {
        replies::GREETING.with(&[&self.house.hostname])
    }

    pub fn house(&self) -> Arc<House> {
        Arc::clone(&self.house)
    }

    /// Takes note of TLS. After STARTTLS all that was said before is forgotten (RFC 3207 §4.2).
    /// `binding` is the connection's `tls-exporter` value, where it has one.
    pub fn secured(&mut self, how: String, binding: Option<Vec<u8>>) {
        self.tls = Some(how);
        self.hello = None;
        self.offer.binding = binding;
        self.forget();
    }

    /// Answers one line.
    pub async fn line(&mut self, line: Line) -> Next {
        self.counts.commands += 1;
        if self.counts.commands > limits::COMMANDS || self.counts.idle > limits::IDLE_COMMANDS {
            return Next::Close(replies::TOO_MANY_COMMANDS.reply());
        }
        let next = match (line, self.exchange.take()) {
            (Line::Whole(text), Some(exchange)) => self.continue_login(exchange, &text).await,
            (Line::Whole(text), None) => match Command::parse(&text) {
                Ok(command) => {
                    let next = self.command(command).await;
                    if let Next::Say(reply) | Next::Close(reply) = &next {
                        self.note(reply, None);
                    }
                    next
                }
                Err(error @ CommandError::Chunk) => {
                    self.forget();
                    Next::Close(misunderstood(&error))
                }
                Err(error) => Next::Say(misunderstood(&error)),
            },
            (Line::Broken, _) => Next::Say(replies::BROKEN_LINE.reply()),
            (Line::TooLong | Line::Partial, _) => Next::Close(replies::LONG_LINE.with(&[&limits::COMMAND_LINE])),
        };
        self.count_error(next)
    }

    async fn command(&mut self, command: Command) -> Next {
        let idle = self.counts.idle + 1;
        self.counts.idle = match command {
            Command::Mail(_) | Command::Rcpt(_) | Command::Data | Command::Bdat { .. } | Command::Auth { .. } => 0,
            _ => idle,
        };
        match command {
            Command::Hello { extended, name } => self.hello(extended, name).await,
            Command::StartTls => self.starttls(),
            Command::Auth { mechanism, initial } => self.auth(&mechanism, initial).await,
            Command::Mail(mail) => Next::Say(self.mail(mail).await),
            Command::Rcpt(rcpt) => self.rcpt(rcpt).await,
            Command::Data => self.data().await,
            Command::Bdat { octets, last } => self.bdat(octets, last).await,
            Command::Rset => {
                self.forget();
                Next::Say(replies::RESET.reply())
            }
            Command::Noop => Next::Say(replies::NOTHING_DONE.reply()),
            Command::Help => Next::Say(replies::HELP.reply()),
            Command::Vrfy => Next::Say(replies::VERIFY.reply()),
            Command::Quit => Next::Close(replies::GOODBYE.reply()),
            Command::NotOffered => Next::Say(replies::NOT_OFFERED.reply()),
        }
    }

    /// Takes a message after DATA and says what became of it.
    pub async fn message(&mut self, received: Received) -> Next {
        let Some(envelope) = self.envelope.take() else {
            return Next::Close(replies::NOT_NOW.reply());
        };
        let refusal = match received {
            Received::Whole(bytes, share) => return Next::Say(self.finish(envelope, bytes, Some(share)).await),
            Received::TooLarge => too_large(),
            Received::NoMemory => replies::NO_MEMORY.reply(),
        };
        self.note_message(&envelope, &refusal);
        Next::Say(refusal)
    }

    /// A whole message, however it came. Its share of the memory is held until it is dealt with.
    async fn finish(&mut self, envelope: Envelope, bytes: Vec<u8>, share: Option<Share>) -> Reply {
        let reply = match self.account.clone() {
            Some(account) => self.submit(envelope, account, bytes).await,
            None => self.take_in(envelope, bytes).await,
        };
        drop(share);
        reply
    }

    /// What is said to a message that cannot be read to its end. Nothing after it may be taken for a command.
    pub fn broken_message(&mut self, error: DotError) -> Next {
        let refusal = replies::BROKEN_MESSAGE.with(&[&error]);
        if let Some(envelope) = self.envelope.take() {
            self.note_message(&envelope, &refusal);
        }
        tracing::info!("{} sent a message that is refused: {error}", self.client);
        Next::Close(refusal)
    }

    /// Ends the transaction.
    fn forget(&mut self) {
        self.envelope = None;
        self.chunks = Chunks::default();
    }

    async fn hello(&mut self, extended: bool, name: String) -> Next {
        self.forget();
        let greeting = format!("{} greets {name}", self.house.hostname);
        self.hello = Some(Hello { extended, name });
        if !extended {
            return Next::Say(Reply::many(250, vec![self.house.hostname.to_string()]));
        }
        if self.kind == Kind::Submission && self.tls.is_some() {
            self.offer.scram = self.house.neighbours.scram_offered().await;
        }
        let mut lines = vec![greeting];
        lines.extend(self.capabilities(self.house.now()));
        Next::Say(Reply::many(250, lines))
    }

    fn starttls(&mut self) -> Next {
        if self.tls.is_some() {
            return Next::Say(replies::TLS_ALREADY.reply());
        }
        Next::StartTls(replies::BEGIN_TLS.reply())
    }

    async fn data(&mut self) -> Next {
        let Some(envelope) = &self.envelope else { return Next::Say(out_of_order("MAIL comes first")) };
        if self.chunks.have_begun() {
            return Next::Say(out_of_order("a message that began with BDAT goes on with it"));
        }
        if envelope.body == Body::Binary {
            return Next::Say(out_of_order("a binary message comes by BDAT"));
        }
        if envelope.recipients.is_empty() {
            return Next::Say(replies::NO_RECIPIENTS.reply());
        }
        if let Some(refusal) = self.braked().await {
            return Next::Say(refusal);
        }
        Next::Data(replies::SEND_DATA.reply())
    }

    /// Closes on a peer that makes one mistake after another.
    fn count_error(&mut self, next: Next) -> Next {
        match next {
            Next::Say(reply) if (500..=504).contains(&reply.code) => {
                self.counts.errors += 1;
                if self.counts.errors >= limits::ERRORS {
                    return Next::Close(replies::TOO_MANY_MISTAKES.reply());
                }
                Next::Say(reply)
            }
            other => other,
        }
    }

    /// How the message came, for the Received field (RFC 3848).
    fn protocol(&self, utf8: bool) -> &'static str {
        let extended = self.hello.as_ref().is_some_and(|hello| hello.extended);
        if utf8 {
            // RFC 6531 §4.3.
            return match (self.tls.is_some(), self.account.is_some()) {
                (true, true) => "UTF8SMTPSA",
                (true, false) => "UTF8SMTPS",
                (false, _) => "UTF8SMTP",
            };
        }
        match (extended, self.tls.is_some(), self.account.is_some()) {
            (false, false, _) => "SMTP",
            (_, true, true) => "ESMTPSA",
            (_, true, false) => "ESMTPS",
            (true, false, _) => "ESMTP",
        }
    }
}

fn misunderstood(error: &CommandError) -> Reply {
    let said = match error {
        CommandError::Unknown | CommandError::NotText => replies::UNKNOWN_COMMAND,
        CommandError::Syntax(_) | CommandError::Chunk => replies::SYNTAX,
        CommandError::Parameter(_) => replies::UNKNOWN_PARAMETER,
        CommandError::Address(_) => replies::BAD_ADDRESS,
    };
    said.with(&[error])
}

fn out_of_order(text: &str) -> Reply {
    replies::OUT_OF_ORDER.with(&[&text])
}

fn too_large() -> Reply {
    replies::TOO_LARGE.with(&[&(limits::MESSAGE >> 20)])
}

/// What is said when a neighbour does not answer: the peer keeps the message and comes again.
fn not_now(error: &wire::WireError) -> Reply {
    tracing::warn!("deferring: {error}");
    replies::NOT_NOW.reply()
}
