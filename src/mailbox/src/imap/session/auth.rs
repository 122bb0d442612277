//! Logging in, and what may be asked in any state.

use super::{Done, Session, Stop, User};
use crate::imap::capability;
use crate::imap::connection::End;
use crate::limits;
use crate::login::{self, Asker, Progress, Refused};
use base::Secret;
use base::sasl::Fault;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use wire::directory::Service;

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) fn capability(&mut self) -> Done {
        let offered = self.capabilities();
        self.say(&format!("* CAPABILITY {offered}"));
        Ok("done".into())
    }

    pub(super) fn capabilities(&self) -> String {
        capability::offered(&self.offer, self.user.is_some(), self.conn.is_compressed())
    }

    /// RFC 2971. The version is nobody's business before the login, nor needed after.
    pub(super) fn id(&mut self) -> Done {
        self.say("* ID (\"name\" \"Mailstead\")");
        Ok("done".into())
    }

    pub(super) fn logout(&mut self) -> Done {
        self.selected = None;
        self.say("* BYE until next time");
        Err(Stop::End(End::Gone))
    }

    /// RFC 5161: what is known is switched on and told, the rest is passed over.
    pub(super) fn enable(&mut self, names: &[String]) -> Done {
        self.user()?;
        let mut enabled = String::new();
        for name in names {
            match name.as_str() {
                "CONDSTORE" => self.condstore = true,
                "IMAP4REV2" => self.modes.rev2 = true,
                "QRESYNC" => {
                    // RFC 7162 §3.2.3.
                    self.modes.qresync = true;
                    self.condstore = true;
                }
                "UIDONLY" => self.modes.uid_only = true,
                "UTF8=ACCEPT" => self.modes.utf8_accept = true,
                _ => continue,
            }
            enabled.push(' ');
            enabled.push_str(if name == "IMAP4REV2" { "IMAP4rev2" } else { name });
        }
        self.say(&format!("* ENABLED{enabled}"));
        Ok("done".into())
    }

    /// RFC 4978. It begins after the tagged reply.
    pub(super) fn compress(&mut self, mechanism: &str) -> Done {
        self.user()?;
        if mechanism != "DEFLATE" {
            return Err(Stop::Bad("the only compression is DEFLATE".into()));
        }
        if self.conn.is_compressed() {
            return Err(Stop::No("[COMPRESSIONACTIVE] the connection is compressed already".into()));
        }
        self.compress_next = true;
        Ok("compression begins".into())
    }

    pub(super) async fn login(&mut self, user: &[u8], password: Secret) -> Done {
        if self.user.is_some() {
            return Err(Stop::Bad("logged in already".into()));
        }
        let login = String::from_utf8_lossy(user).into_owned();
        match self.shared.logins.password(login, password, self.asker()).await {
            Ok(user) => self.enter(user),
            Err(refused) => Err(self.refuse(&refused)),
        }
    }

    /// RFC 9051 §6.2.2: any mechanism that was offered.
    pub(super) async fn authenticate(&mut self, mechanism: &str, initial: Option<Vec<u8>>) -> Done {
        if self.user.is_some() {
            return Err(Stop::Bad("logged in already".into()));
        }
        let shared = Arc::clone(&self.shared);
        let Some(mut exchange) = shared.logins.begin(mechanism, &self.offer) else {
            return Err(Stop::No(format!("[CANNOT] this server knows {} and LOGIN", self.offer.names())));
        };
        let mut response = match initial {
            None => None,
            // RFC 4959 §3: an empty response is written as "=".
            Some(empty) if empty == b"=" => Some(Vec::new()),
            Some(initial) => Some(decoded(&initial)?),
        };
        loop {
            let challenge = match shared.logins.advance(&mut exchange, response.as_deref(), self.asker()).await {
                Progress::Challenge(challenge) => challenge,
                Progress::In(user, None) => return self.enter(*user),
                Progress::In(user, Some(last_words)) => {
                    self.ask(&last_words).await?;
                    return self.enter(*user);
                }
                Progress::Refused(refused) => return Err(self.refuse(&refused)),
            };
            response = Some(decoded(&self.ask(&challenge).await?)?);
        }
    }

    /// Sends a challenge; gives the answer as it came.
    async fn ask(&mut self, challenge: &[u8]) -> Result<Vec<u8>, Stop> {
        self.say(&format!("+ {}", STANDARD.encode(challenge)));
        self.conn.flush().await.map_err(Stop::End)?;
        let line = tokio::time::timeout(limits::LOGIN_WITHIN, self.conn.line(limits::COMMAND_LINE));
        let line = line.await.map_err(|_| Stop::End(End::Bye("no login in time")))?.map_err(Stop::End)?;
        if line == b"*" { Err(Stop::Bad("cancelled".into())) } else { Ok(line) }
    }

    fn asker(&self) -> Asker {
        Asker { service: Service::Imap, client: self.client }
    }

    fn refuse(&mut self, refused: &Refused) -> Stop {
        let code = match refused {
            Refused::Denied => {
                self.login_tries += 1;
                if self.login_tries >= limits::LOGIN_TRIES {
                    return Stop::End(End::Bye("too many wrong passwords"));
                }
                "AUTHENTICATIONFAILED"
            }
            Refused::Throttled(_) | Refused::Unavailable => "UNAVAILABLE",
            Refused::TooManySessions => "LIMIT",
            Refused::Exchange(Fault::Malformed(why)) => return Stop::Bad((*why).into()),
            Refused::Exchange(Fault::ActsForAnother) => "AUTHORIZATIONFAILED",
            Refused::Exchange(_) => "AUTHENTICATIONFAILED",
        };
        Stop::No(format!("[{code}] {refused}"))
    }

    fn enter(&mut self, user: login::User) -> Done {
        let feed = user.account.watch();
        let (address, account) = (user.address.clone(), Arc::clone(&user.account));
        self.user = Some(User { address, account, feed, _login: user });
        Ok(format!("[CAPABILITY {}] welcome", self.capabilities()))
    }
}

fn decoded(base64: &[u8]) -> Result<Vec<u8>, Stop> {
    STANDARD.decode(base64).map_err(|_| Stop::Bad("that is not base64".into()))
}
