//! Logging in, and what may be asked in any state.

use super::{Done, Session, Stop, User};
use crate::imap::capability;
use crate::imap::connection::End;
use crate::limits;
use base::{Address, Secret};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncWrite};
use wire::directory::{Authenticate, Login, Service};

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) fn capability(&mut self) -> Done {
        let offered = capability::offered(self.user.is_some(), self.conn.is_compressed());
        self.say(&format!("* CAPABILITY {offered}"));
        Ok("done".into())
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
        self.verify(login, password).await
    }

    /// RFC 4616: `authzid NUL authcid NUL password` in base64.
    pub(super) async fn authenticate(&mut self, mechanism: &str, initial: Option<Vec<u8>>) -> Done {
        if self.user.is_some() {
            return Err(Stop::Bad("logged in already".into()));
        }
        if mechanism != "PLAIN" {
            return Err(Stop::No("[CANNOT] this server knows AUTHENTICATE PLAIN and LOGIN".into()));
        }
        let encoded = match initial {
            // RFC 4959 §3: an empty response is written as "=".
            Some(initial) if initial == b"=" => Vec::new(),
            Some(initial) => initial,
            None => {
                self.say("+ ");
                self.conn.flush().await.map_err(Stop::End)?;
                let line = tokio::time::timeout(limits::LOGIN_WITHIN, self.conn.line(limits::COMMAND_LINE));
                line.await.map_err(|_| Stop::End(End::Bye("no login in time")))?.map_err(Stop::End)?
            }
        };
        if encoded == b"*" {
            return Err(Stop::Bad("cancelled".into()));
        }
        let decoded = STANDARD.decode(&encoded).map_err(|_| Stop::Bad("that is not base64".into()))?;
        let text = String::from_utf8(decoded).map_err(|_| Stop::Bad("that is not UTF-8".into()))?;
        let mut parts = text.split('\0');
        let (Some(acting_as), Some(login), Some(password), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Stop::Bad("that is not what PLAIN looks like".into()));
        };
        if !acting_as.is_empty() && acting_as != login {
            return Err(Stop::No("[AUTHORIZATIONFAILED] nobody acts for somebody else here".into()));
        }
        let (login, password) = (login.to_owned(), Secret::new(password));
        self.verify(login, password).await
    }

    async fn verify(&mut self, login: String, password: Secret) -> Done {
        let request = Authenticate { login, password, service: Service::Imap, client: self.client };
        match self.shared.directory.ask(&request).await {
            Ok(Login::Granted { account, .. }) => self.enter(account).await,
            Ok(Login::Denied) => {
                self.login_tries += 1;
                if self.login_tries >= limits::LOGIN_TRIES {
                    return Err(Stop::End(End::Bye("too many wrong passwords")));
                }
                Err(Stop::No("[AUTHENTICATIONFAILED] the name or the password is wrong".into()))
            }
            Ok(Login::Throttled { retry_after_seconds }) => Err(Stop::No(format!(
                "[UNAVAILABLE] too many failed logins; try again in {retry_after_seconds} seconds"
            ))),
            Err(why) => {
                tracing::error!("a login could not be checked: {why}");
                Err(Stop::No("[UNAVAILABLE] logins cannot be checked just now; try again".into()))
            }
        }
    }

    async fn enter(&mut self, address: Address) -> Done {
        let Some(slot) = self.shared.of_account(&address) else {
            return Err(Stop::No("[LIMIT] this account has too many sessions already".into()));
        };
        let account = self.shared.accounts.get(&address).await?;
        let feed = account.watch();
        tracing::info!("{address} logged in from {}", self.client);
        self.user = Some(User { address, account, feed, _slot: slot });
        Ok(format!("[CAPABILITY {}] welcome", capability::offered(true, self.conn.is_compressed())))
    }
}
