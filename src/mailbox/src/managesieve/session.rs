//! The ManageSieve state machine (RFC 5804 §1.1 and §2): nothing but STARTTLS before TLS, nothing but a login before
//! the login, then the scripts.

use super::proto::{self, Announced, Command, string};
use crate::limits;
use crate::login::{Asker, Logins, Progress, Refused, User};
use crate::sieve::language;
use crate::sieve::scripts::{OWN_RULE, ScriptError, ScriptName, Scripts};
use crate::talk::{Duplex, End, Talk};
use base::sasl::Offer;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::time::Instant;
use wire::directory::Service;

pub struct Session<S> {
    talk: Talk<S>,
    logins: Arc<Logins>,
    asker: Asker,
    /// `None` before TLS: then no mechanism is named and none is taken.
    offer: Option<Offer>,
    user: Option<Box<User>>,
    login_until: Instant,
    login_tries: u32,
    bad_commands: u32,
}

/// How a conversation ended.
pub enum Ended<S> {
    Closed,
    /// The client asked for TLS; the stream is ready for the handshake.
    StartTls(S),
}

/// What a command came to.
enum Reply {
    Ok(String),
    /// A refusal with a response code (RFC 5804 §1.3), or an empty one.
    No(&'static str, String),
    StartTls,
    End(End),
}

impl<S: Duplex> Session<S> {
    pub fn new(stream: S, logins: Arc<Logins>, client: IpAddr, offer: Option<Offer>) -> Self {
        let asker = Asker { service: Service::ManageSieve, client };
        let login_until = Instant::now() + limits::LOGIN_WITHIN;
        let talk = Talk::new(stream);
        Self { talk, logins, asker, offer, user: None, login_until, login_tries: 0, bad_commands: 0 }
    }

    /// Converses until either side ends it or TLS is to begin.
    pub async fn run(mut self) -> Ended<S> {
        match self.converse().await {
            Ok(()) => match self.talk.into_stream() {
                Some(stream) => return Ended::StartTls(stream),
                None => tracing::warn!("{}: plain text came after STARTTLS; closed", self.asker.client),
            },
            Err(end) => {
                if let End::Bye(why) = end {
                    self.talk.say(&format!("BYE \"{why}\""));
                    // The client may be gone; then nobody needs the reason.
                    let _ = self.talk.flush().await;
                }
                self.talk.close().await;
            }
        }
        Ended::Closed
    }

    /// `Ok` when TLS is to begin.
    async fn converse(&mut self) -> Result<(), End> {
        self.capabilities();
        self.talk.say("OK \"Mailstead ready\"");
        loop {
            self.talk.flush_unless_more().await?;
            let Some(bytes) = self.gather().await? else { continue };
            let reply = match proto::parse(&bytes) {
                Ok(command) => {
                    self.bad_commands = 0;
                    self.execute(command).await
                }
                Err(wrong) => self.malformed(wrong),
            };
            match reply {
                Reply::Ok(text) if text.starts_with('(') => self.talk.say(&format!("OK {text}")),
                Reply::Ok(text) => self.say_with("OK", "", &text),
                Reply::No(code, text) => self.say_with("NO", code, &text),
                Reply::StartTls => {
                    self.talk.say("OK \"begin\"");
                    return self.talk.flush().await;
                }
                Reply::End(end) => return Err(end),
            }
        }
    }

    /// A command with its literals; `None` when it was refused already.
    async fn gather(&mut self) -> Result<Option<Vec<u8>>, End> {
        let within = match self.user {
            Some(_) => limits::MANAGESIEVE_IDLE,
            None => self.login_until.saturating_duration_since(Instant::now()),
        };
        let mut command = self.talk.line(limits::MANAGESIEVE_LINE, within).await?;
        let mut start = 0;
        let mut total = 0;
        let mut refused = false;
        let largest = match self.user {
            Some(_) => limits::SIEVE_SCRIPT,
            None => limits::MANAGESIEVE_LITERAL_BEFORE_LOGIN,
        };
        while let Some(literal) = proto::announced(&command[start..]) {
            let Announced::Octets(octets) = literal else { return Err(End::Bye("clients write literals as {n+}")) };
            total += octets;
            if total > limits::MANAGESIEVE_LITERAL || (self.user.is_none() && total > largest) {
                return Err(End::Bye("the literal is larger than this server takes"));
            }
            // What is too large for a script is read to its end, and not kept.
            refused |= total > largest;
            let bytes = self.talk.octets(octets, !refused, limits::COMMAND_WITHIN).await?;
            command.extend_from_slice(b"\r\n");
            command.extend_from_slice(&bytes);
            start = command.len();
            let line = self.talk.line(limits::MANAGESIEVE_LINE, limits::LOGIN_WITHIN).await?;
            command.extend(line);
            if command.len() > limits::SIEVE_SCRIPT + 2 * limits::MANAGESIEVE_LINE {
                return Err(End::Bye("the command is too long"));
            }
        }
        if refused {
            let too_large = ScriptError::TooLarge.to_string();
            self.say_with("NO", "QUOTA/MAXSIZE", &too_large);
            return Ok(None);
        }
        Ok(Some(command))
    }

    fn malformed(&mut self, wrong: &str) -> Reply {
        self.bad_commands += 1;
        if self.bad_commands > limits::BAD_COMMANDS {
            return Reply::End(End::Bye("too many commands that are none"));
        }
        Reply::No("", wrong.to_owned())
    }

    fn say_with(&mut self, word: &str, code: &str, text: &str) {
        let out = &mut self.talk.output;
        out.extend_from_slice(word.as_bytes());
        if !code.is_empty() {
            out.extend_from_slice(format!(" ({code})").as_bytes());
        }
        out.push(b' ');
        out.extend(string(text.as_bytes()));
        out.extend_from_slice(b"\r\n");
    }

    /// RFC 5804 §1.7.
    fn capabilities(&mut self) {
        let sasl = self.offer.as_ref().map(Offer::names).unwrap_or_default();
        let redirects = limits::SIEVE_REDIRECTS.to_string();
        let extensions = language::extensions();
        let mut list = vec![
            ("IMPLEMENTATION", Some("Mailstead".to_owned())),
            ("SASL", Some(sasl)),
            ("SIEVE", Some(extensions)),
            ("NOTIFY", Some("mailto".to_owned())),
            ("MAXREDIRECTS", Some(redirects)),
            ("VERSION", Some("1.0".to_owned())),
            ("UNAUTHENTICATE", None),
        ];
        if self.offer.is_none() {
            list.push(("STARTTLS", None));
        }
        if let Some(user) = &self.user {
            list.push(("OWNER", Some(user.address.to_string())));
        }
        for (name, value) in list {
            self.talk.output.extend(string(name.as_bytes()));
            if let Some(value) = value {
                self.talk.output.push(b' ');
                self.talk.output.extend(string(value.as_bytes()));
            }
            self.talk.output.extend_from_slice(b"\r\n");
        }
    }

    async fn execute(&mut self, command: Command) -> Reply {
        match (command, &self.offer, self.user.is_some()) {
            (Command::Capability, ..) => {
                self.capabilities();
                Reply::Ok("that is all".into())
            }
            (Command::Noop { tag: None }, ..) => Reply::Ok("done".into()),
            (Command::Noop { tag: Some(tag) }, ..) => {
                let tag = String::from_utf8_lossy(&string(tag.as_bytes())).into_owned();
                Reply::Ok(format!("(TAG {tag}) \"done\""))
            }
            (Command::Logout, ..) => {
                self.talk.say("OK \"until next time\"");
                match self.talk.flush().await {
                    Ok(()) => Reply::End(End::Gone),
                    Err(end) => Reply::End(end),
                }
            }
            (Command::StartTls, None, _) => Reply::StartTls,
            (Command::StartTls, Some(_), _) => Reply::No("", "TLS is there already".into()),
            (_, None, _) => Reply::No("ENCRYPT-NEEDED", "STARTTLS comes first".into()),
            (Command::Authenticate { mechanism, initial }, Some(offer), false) => {
                let offer = offer.clone();
                self.authenticate(&mechanism, initial, &offer).await
            }
            (Command::Authenticate { .. }, _, true) => Reply::No("", "logged in already".into()),
            (_, _, false) => Reply::No("", "log in first".into()),
            (Command::Unauthenticate, _, true) => {
                self.user = None;
                self.login_until = Instant::now() + limits::LOGIN_WITHIN;
                Reply::Ok("logged out".into())
            }
            (command, _, true) => self.scripts(command).await,
        }
    }

    /// RFC 5804 §2.1: challenges and answers are strings in base64.
    async fn authenticate(&mut self, mechanism: &str, initial: Option<Vec<u8>>, offer: &Offer) -> Reply {
        let Some(mut exchange) = self.logins.begin(mechanism, offer) else {
            return Reply::No("", "that mechanism is not offered".into());
        };
        let mut response = initial;
        loop {
            let decoded = match response.map(|text| STANDARD.decode(text)).transpose() {
                Ok(decoded) => decoded,
                Err(_) => return Reply::No("", "that is not base64".into()),
            };
            let challenge = match self.logins.advance(&mut exchange, decoded.as_deref(), self.asker).await {
                Progress::Challenge(challenge) => challenge,
                Progress::In(user, last_words) => {
                    tracing::debug!("{} manages its scripts", user.address);
                    self.user = Some(user);
                    return match last_words {
                        Some(words) => Reply::Ok(format!("(SASL \"{}\") \"welcome\"", STANDARD.encode(words))),
                        None => Reply::Ok("welcome".into()),
                    };
                }
                Progress::Refused(refused) => return self.refuse(&refused),
            };
            response = match self.ask(&challenge).await {
                Ok(answer) if answer == b"*" => return Reply::No("", "cancelled".into()),
                Ok(answer) => Some(answer),
                Err(end) => return Reply::End(end),
            };
        }
    }

    async fn ask(&mut self, challenge: &[u8]) -> Result<Vec<u8>, End> {
        self.talk.output.extend(string(STANDARD.encode(challenge).as_bytes()));
        self.talk.output.extend_from_slice(b"\r\n");
        self.talk.flush().await?;
        let Some(line) = self.gather().await? else { return Ok(b"*".to_vec()) };
        // An answer that is no string cannot be told from a cancelled exchange.
        Ok(proto::response(&line).unwrap_or_else(|_| b"*".to_vec()))
    }

    fn refuse(&mut self, refused: &Refused) -> Reply {
        if matches!(refused, Refused::Denied) {
            self.login_tries += 1;
            if self.login_tries >= limits::LOGIN_TRIES {
                return Reply::End(End::Bye("too many wrong passwords"));
            }
        }
        let code = match refused {
            Refused::Throttled(_) | Refused::Unavailable | Refused::TooManySessions => "TRYLATER",
            Refused::Denied | Refused::Exchange(_) => "",
        };
        Reply::No(code, refused.to_string())
    }

    async fn scripts(&mut self, command: Command) -> Reply {
        let Some(user) = &self.user else { return Reply::No("", "log in first".into()) };
        if user.account.is_retired() {
            return Reply::End(End::Bye("this account was removed"));
        }
        let account = Arc::clone(&user.account);
        let logins = Arc::clone(&self.logins);
        let worked = tokio::task::spawn_blocking(move || {
            // One change at a time; they are rare and short.
            let _one = logins.scripts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            work(&Scripts::of(&account), command)
        });
        match worked.await {
            Ok((data, reply)) => {
                self.talk.output.extend(data);
                reply
            }
            Err(why) => {
                tracing::error!("a script command failed: {why}");
                Reply::No("TRYLATER", "the server failed; its log says how".into())
            }
        }
    }
}

/// A command on the scripts: what goes before the reply, and the reply.
fn work(scripts: &Scripts, command: Command) -> (Vec<u8>, Reply) {
    match attempt(scripts, command) {
        Ok((data, text)) => (data, Reply::Ok(text)),
        Err(reply) => (Vec::new(), reply),
    }
}

fn attempt(scripts: &Scripts, command: Command) -> Result<(Vec<u8>, String), Reply> {
    let done = |text: &str| Ok((Vec::new(), text.to_owned()));
    let name = |text: &str| ScriptName::parse(text).map_err(failed);
    let check = |text: &[u8]| language::check(text).map_err(|fault| Reply::No("", fault.to_string()));
    match command {
        Command::HaveSpace { name: text, octets } => {
            let octets = usize::try_from(octets).unwrap_or(usize::MAX);
            scripts.have_space(&name(&text)?, octets).map_err(failed)?;
            done("there is room")
        }
        Command::PutScript { name: text, text: script } => {
            let name = name(&text)?;
            scripts.have_space(&name, script.len()).map_err(failed)?;
            check(&script)?;
            scripts.put(&name, &script).map_err(failed)?;
            done("stored")
        }
        Command::CheckScript { text } => {
            check(&text)?;
            done("the script is good")
        }
        Command::ListScripts => list(scripts),
        Command::SetActive { name: text } if text.is_empty() => {
            scripts.set_active(None).map_err(failed)?;
            done("no script is active")
        }
        Command::SetActive { name: text } => {
            let name = name(&text)?;
            if name.as_str() != OWN_RULE {
                // A file that came another way, or was stored by an earlier version, may not be good.
                check(&scripts.read(&name).map_err(failed)?)?;
            }
            scripts.set_active(Some(&name)).map_err(failed)?;
            done("active from now on")
        }
        Command::GetScript { name: text } => {
            let script = scripts.read(&name(&text)?).map_err(failed)?;
            let mut data = format!("{{{}}}\r\n", script.len()).into_bytes();
            data.extend(script);
            data.extend_from_slice(b"\r\n");
            Ok((data, "that is it".into()))
        }
        Command::DeleteScript { name: text } => {
            scripts.delete(&name(&text)?).map_err(failed)?;
            done("deleted")
        }
        Command::RenameScript { from, to } => {
            scripts.rename(&name(&from)?, &name(&to)?).map_err(failed)?;
            done("renamed")
        }
        _ => Err(Reply::No("", "that cannot be done here".into())),
    }
}

/// RFC 5804 §2.7. The box's own rule is listed so that owners know of it.
fn list(scripts: &Scripts) -> Result<(Vec<u8>, String), Reply> {
    let active = scripts.active().map_err(failed)?;
    let mut data = Vec::new();
    for name in scripts.names().map_err(failed)? {
        data.extend(string(name.as_str().as_bytes()));
        if active.as_ref() == Some(&name) {
            data.extend_from_slice(b" ACTIVE");
        }
        data.extend_from_slice(b"\r\n");
    }
    data.extend(string(OWN_RULE.as_bytes()));
    data.extend_from_slice(b"\r\n");
    Ok((data, format!("{OWN_RULE} always runs first and cannot be changed")))
}

fn failed(error: ScriptError) -> Reply {
    let code = match &error {
        ScriptError::None(_) => "NONEXISTENT",
        ScriptError::Exists(_) => "ALREADYEXISTS",
        ScriptError::Active => "ACTIVE",
        ScriptError::TooMany => "QUOTA/MAXSCRIPTS",
        ScriptError::TooLarge => "QUOTA/MAXSIZE",
        ScriptError::BadName | ScriptError::NameTooLong | ScriptError::OwnRule => "",
        ScriptError::Io { .. } => {
            tracing::error!("the scripts: {error}");
            return Reply::No("TRYLATER", "the server failed; its log says how".into());
        }
    };
    Reply::No(code, error.to_string())
}
