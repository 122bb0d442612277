//! The POP3 state machine (RFC 1939 §3): AUTHORIZATION until the login, TRANSACTION, and UPDATE at QUIT.

use super::maildrop::{Item, Maildrop};
use super::proto::{self, Command};
use crate::limits;
use crate::login::{Asker, Logins, Progress, Refused, User};
use crate::talk::{Duplex, End, Talk};
use base::Secret;
use base::sasl::Offer;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::net::IpAddr;
use std::sync::Arc;
use store::StoreError;
use tokio::time::Instant;
use wire::directory::Service;

pub struct Session<S> {
    talk: Talk<S>,
    logins: Arc<Logins>,
    asker: Asker,
    offer: Offer,
    /// What USER named.
    name: Option<String>,
    open: Option<(Box<User>, Maildrop)>,
    login_tries: u32,
    bad_commands: u32,
}

/// What a command came to: a sentence, an error with its response code (RFC 2449 §8), or the end.
enum Reply {
    Ok(String),
    /// A multi-line reply: the first line, then what is in `output` already prepared.
    Lines(String, Vec<u8>),
    Err(String),
    End(End),
}

impl<S: Duplex> Session<S> {
    /// `binding` is the connection's `tls-exporter` value.
    pub async fn new(stream: S, logins: Arc<Logins>, client: IpAddr, binding: Option<Vec<u8>>) -> Self {
        let offer = logins.offer(binding).await;
        let asker = Asker { service: Service::Pop3, client };
        let talk = Talk::new(stream);
        Self { talk, logins, asker, offer, name: None, open: None, login_tries: 0, bad_commands: 0 }
    }

    /// Converses until either side ends it. Only QUIT deletes anything.
    pub async fn run(mut self) {
        if let Err(End::Bye(why)) = self.converse().await {
            self.talk.say(&format!("-ERR {why}"));
            // The client may be gone; then nobody needs the reason.
            let _ = self.talk.flush().await;
        }
        self.talk.close().await;
    }

    async fn converse(&mut self) -> Result<(), End> {
        self.talk.say("+OK Mailstead ready");
        let login_until = Instant::now() + limits::LOGIN_WITHIN;
        loop {
            self.talk.flush_unless_more().await?;
            let within = match self.open {
                Some(_) => limits::POP3_IDLE,
                None => login_until.saturating_duration_since(Instant::now()),
            };
            let line = self.talk.line(limits::POP3_LINE, within).await?;
            let reply = match proto::parse(&line) {
                Ok(command) => {
                    self.bad_commands = 0;
                    self.execute(command).await
                }
                Err(wrong) => self.malformed(wrong),
            };
            match reply {
                Reply::Ok(text) => self.talk.say(&format!("+OK {text}")),
                Reply::Lines(text, lines) => {
                    self.talk.say(&format!("+OK {text}"));
                    self.talk.output.extend_from_slice(&lines);
                }
                Reply::Err(text) => self.talk.say(&format!("-ERR {text}")),
                Reply::End(End::Gone) => return self.talk.flush().await,
                Reply::End(end) => return Err(end),
            }
        }
    }

    fn malformed(&mut self, wrong: &str) -> Reply {
        self.bad_commands += 1;
        if self.bad_commands > limits::BAD_COMMANDS {
            return Reply::End(End::Bye("too many commands that are none"));
        }
        Reply::Err(wrong.to_owned())
    }

    async fn execute(&mut self, command: Command) -> Reply {
        match (command, self.open.is_some()) {
            (Command::Capa, _) => self.capabilities(),
            (Command::Quit, _) => self.quit().await,
            (Command::User(name), false) => {
                self.name = Some(name);
                Reply::Ok("now the password".into())
            }
            (Command::Pass(password), false) => self.pass(password).await,
            (Command::Auth { mechanism, initial }, false) => self.auth(mechanism, initial).await,
            (Command::User(_) | Command::Pass(_) | Command::Auth { .. }, true) => {
                Reply::Err("logged in already".into())
            }
            (_, false) => Reply::Err("log in first".into()),
            (Command::Noop, true) => Reply::Ok("here".into()),
            (Command::Stat, true) => self.stat(),
            (Command::List(message), true) => self.list(message, |_, item| item.size.to_string()),
            (Command::Uidl(message), true) => self.list(message, Maildrop::unique_id),
            (Command::Retr(message), true) => self.retrieve(message, None).await,
            (Command::Top(message, lines), true) => self.retrieve(message, Some(lines)).await,
            (Command::Dele(message), true) => match self.item(message) {
                Ok(item) => {
                    item.deleted = true;
                    Reply::Ok(format!("message {message} goes at QUIT"))
                }
                Err(reply) => reply,
            },
            (Command::Rset, true) => {
                if let Some((_, maildrop)) = &mut self.open {
                    maildrop.items.iter_mut().for_each(|item| item.deleted = false);
                }
                Reply::Ok("nothing will be deleted".into())
            }
        }
    }

    /// RFC 2449 §6. SASL names the mechanisms (RFC 5034 §3).
    fn capabilities(&self) -> Reply {
        let sasl = format!("SASL {}", self.offer.names());
        let names = ["TOP", "UIDL", "USER", &sasl, "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE", "EXPIRE NEVER"];
        let mut lines = names.join("\r\n").into_bytes();
        lines.extend_from_slice(b"\r\nIMPLEMENTATION Mailstead\r\n.\r\n");
        Reply::Lines("what this server can do".into(), lines)
    }

    async fn pass(&mut self, password: Secret) -> Reply {
        let Some(name) = self.name.take() else { return Reply::Err("USER comes first".into()) };
        match self.logins.password(name, password, self.asker).await {
            Ok(user) => self.enter(Box::new(user)).await,
            Err(refused) => self.refuse(&refused),
        }
    }

    /// RFC 5034 §4.
    async fn auth(&mut self, mechanism: Option<String>, initial: Option<String>) -> Reply {
        let Some(mechanism) = mechanism else {
            let names: String = self.offer.mechanisms().map(|it| format!("{}\r\n", it.name())).collect();
            return Reply::Lines("the mechanisms".into(), format!("{names}.\r\n").into_bytes());
        };
        let Some(mut exchange) = self.logins.begin(&mechanism, &self.offer) else {
            return Reply::Err("that mechanism is not offered".into());
        };
        let mut response = match initial.as_deref().map(decoded) {
            None => None,
            Some(Some(bytes)) => Some(bytes),
            Some(None) => return Reply::Err("that is not base64".into()),
        };
        loop {
            let challenge = match self.logins.advance(&mut exchange, response.as_deref(), self.asker).await {
                Progress::Challenge(challenge) => challenge,
                Progress::In(user, None) => return self.enter(user).await,
                Progress::In(user, Some(last_words)) => {
                    return match self.ask(&last_words).await {
                        Ok(Some(_)) => self.enter(user).await,
                        Ok(None) => Reply::Err("cancelled".into()),
                        Err(end) => Reply::End(end),
                    };
                }
                Progress::Refused(refused) => return self.refuse(&refused),
            };
            response = match self.ask(&challenge).await {
                Ok(Some(line)) => match STANDARD.decode(&line) {
                    Ok(bytes) => Some(bytes),
                    Err(_) => return Reply::Err("that is not base64".into()),
                },
                Ok(None) => return Reply::Err("cancelled".into()),
                Err(end) => return Reply::End(end),
            };
        }
    }

    /// Sends a challenge; gives the answer as it came, or `None` when the client cancels with `*`.
    async fn ask(&mut self, challenge: &[u8]) -> Result<Option<Vec<u8>>, End> {
        self.talk.say(&format!("+ {}", STANDARD.encode(challenge)));
        self.talk.flush().await?;
        let line = self.talk.line(limits::POP3_LINE, limits::LOGIN_WITHIN).await?;
        Ok((line != b"*").then_some(line))
    }

    /// RFC 3206: [AUTH] is about the credentials, [SYS/TEMP] is not. RFC 2449 §8.1.1 has [IN-USE].
    fn refuse(&mut self, refused: &Refused) -> Reply {
        let code = match refused {
            Refused::Denied => {
                self.login_tries += 1;
                "[AUTH]"
            }
            Refused::Throttled(_) | Refused::Unavailable => "[SYS/TEMP]",
            Refused::TooManySessions => "[IN-USE]",
            Refused::Exchange(_) => "[AUTH]",
        };
        if self.login_tries >= limits::LOGIN_TRIES {
            return Reply::End(End::Bye("[AUTH] too many wrong passwords"));
        }
        Reply::Err(format!("{code} {refused}"))
    }

    async fn enter(&mut self, user: Box<User>) -> Reply {
        match Maildrop::open(&user).await {
            Ok(maildrop) => {
                let count = maildrop.items.len();
                self.open = Some((user, maildrop));
                Reply::Ok(format!("welcome, {count} messages"))
            }
            Err(why) => store_failed(&why),
        }
    }

    fn maildrop(&self) -> Option<&Maildrop> {
        self.open.as_ref().map(|(_, maildrop)| maildrop)
    }

    fn item(&mut self, message: usize) -> Result<&mut Item, Reply> {
        let items = self.open.as_mut().map(|(_, maildrop)| &mut maildrop.items);
        let item = items.and_then(|items| items.get_mut(message.checked_sub(1)?));
        match item {
            Some(item) if item.deleted => Err(Reply::Err(format!("message {message} is deleted"))),
            Some(item) => Ok(item),
            None => Err(Reply::Err("there is no such message".into())),
        }
    }

    fn stat(&self) -> Reply {
        let listed = self.maildrop().into_iter().flat_map(Maildrop::listed);
        let (count, octets) = listed.fold((0usize, 0u64), |(count, octets), (_, item)| (count + 1, octets + item.size));
        Reply::Ok(format!("{count} {octets}"))
    }

    /// LIST and UIDL, of one message or of all.
    fn list(&mut self, message: Option<usize>, what: impl Fn(&Maildrop, &Item) -> String) -> Reply {
        if let Some(message) = message
            && let Err(reply) = self.item(message)
        {
            return reply;
        }
        let Some(maildrop) = self.maildrop() else { return Reply::Err("log in first".into()) };
        let wanted = maildrop.listed().filter(|(number, _)| message.is_none_or(|only| only == *number));
        let mut lines = wanted.map(|(number, item)| format!("{number} {}", what(maildrop, item)));
        match message {
            Some(_) => Reply::Ok(lines.next().unwrap_or_default()),
            None => {
                let mut all = lines.fold(String::new(), |all, line| all + &line + "\r\n");
                all.push_str(".\r\n");
                Reply::Lines("the messages".into(), all.into_bytes())
            }
        }
    }

    /// RETR, and TOP when `lines` is told.
    async fn retrieve(&mut self, message: usize, lines: Option<usize>) -> Reply {
        let item = match self.item(message) {
            Ok(item) => item.clone(),
            Err(reply) => return reply,
        };
        let Some(maildrop) = self.maildrop() else { return Reply::Err("log in first".into()) };
        let bytes = match maildrop.read(&item).await {
            Ok(bytes) => bytes,
            Err(why) => return store_failed(&why),
        };
        if lines.is_none()
            && let Ok(item) = self.item(message)
        {
            item.retrieved = true;
        }
        let mut written = Vec::new();
        proto::write_message(&bytes, lines, &mut written);
        Reply::Lines(format!("{} octets", item.size), written)
    }

    async fn quit(&mut self) -> Reply {
        if let Some((user, maildrop)) = self.open.take()
            && let Err(why) = maildrop.update().await
        {
            tracing::error!("{}: the maildrop was not brought up to date: {why}", user.address);
            self.talk.say("-ERR [SYS/TEMP] some messages were not deleted");
            return Reply::End(End::Gone);
        }
        self.talk.say("+OK until next time");
        Reply::End(End::Gone)
    }
}

/// A response's bytes; RFC 5034 §4 writes an empty one as `=`.
fn decoded(text: &str) -> Option<Vec<u8>> {
    if text == "=" { Some(Vec::new()) } else { STANDARD.decode(text).ok() }
}

fn store_failed(why: &StoreError) -> Reply {
    match why {
        StoreError::NoMessage => Reply::Err("the message was removed meanwhile".into()),
        StoreError::Retired => Reply::End(End::Bye("this account was removed")),
        why => {
            tracing::error!("the store failed: {why}");
            Reply::Err("[SYS/TEMP] the store failed; the server's log says how".into())
        }
    }
}
