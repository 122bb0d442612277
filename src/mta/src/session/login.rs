//! AUTH (RFC 4954): only inside TLS, only for submission.

use super::{Kind, Next, Session, not_now, out_of_order};
use crate::limits;
use crate::proto::Reply;
use crate::proto::auth::{self, Credentials, Mechanism};
use base::Secret;
use wire::directory::Login;

/// What the next line is, when a login is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchange {
    PlainResponse,
    LoginName,
    LoginPassword { login: String },
}

impl Session {
    pub(super) async fn auth(&mut self, mechanism: Option<Mechanism>, initial: Option<Vec<u8>>) -> Next {
        if let Some(refusal) = self.may_log_in() {
            return Next::Say(refusal);
        }
        match (mechanism, initial) {
            (None, _) => Next::Say(Reply::new(504, "5.5.4", "PLAIN and LOGIN are offered")),
            (Some(Mechanism::Plain), Some(response)) => self.continue_login(Exchange::PlainResponse, &response).await,
            (Some(Mechanism::Plain), None) => self.ask(Exchange::PlainResponse, ""),
            (Some(Mechanism::Login), Some(response)) => self.continue_login(Exchange::LoginName, &response).await,
            (Some(Mechanism::Login), None) => self.ask(Exchange::LoginName, auth::ASK_LOGIN),
        }
    }

    fn may_log_in(&self) -> Option<Reply> {
        match self.kind {
            Kind::Inbound => Some(Reply::new(503, "5.5.1", "users send mail through port 465 or 587")),
            Kind::Submission if self.tls.is_none() => Some(Reply::new(538, "5.7.11", "STARTTLS comes first")),
            Kind::Submission if self.hello.is_none() => Some(out_of_order("EHLO comes first")),
            Kind::Submission if self.account.is_some() => Some(out_of_order("you are logged in already")),
            Kind::Submission if self.envelope.is_some() => Some(out_of_order("not within a message")),
            Kind::Submission => None,
        }
    }

    fn ask(&mut self, exchange: Exchange, challenge: &str) -> Next {
        self.exchange = Some(exchange);
        Next::Say(Reply::new(334, "", challenge))
    }

    /// Takes a response of the client; `*` gives up (RFC 4954 §4).
    pub(super) async fn continue_login(&mut self, exchange: Exchange, response: &[u8]) -> Next {
        let garbled = Next::Say(Reply::new(501, "5.5.2", "this response cannot be read"));
        if response == b"*" {
            return Next::Say(Reply::new(501, "5.7.0", "login given up"));
        }
        match exchange {
            Exchange::PlainResponse => match auth::plain(response) {
                Some(credentials) => self.log_in(credentials).await,
                None => garbled,
            },
            Exchange::LoginName => match auth::text(response) {
                Some(login) => self.ask(Exchange::LoginPassword { login }, auth::ASK_PASSWORD),
                None => garbled,
            },
            Exchange::LoginPassword { login } => match auth::text(response) {
                Some(password) => self.log_in(Credentials { login, password: Secret::new(password) }).await,
                None => garbled,
            },
        }
    }

    async fn log_in(&mut self, Credentials { login, password }: Credentials) -> Next {
        match self.house.neighbours.log_in(login, password, self.client).await {
            Ok(Login::Granted { account, .. }) => {
                self.account = Some(account);
                Next::Say(Reply::new(235, "2.7.0", "welcome"))
            }
            Ok(Login::Throttled { retry_after_seconds }) => {
                let text = format!("too many failed logins; try again in {retry_after_seconds} seconds");
                Next::Say(Reply::new(454, "4.7.0", text))
            }
            Ok(Login::Denied) => self.denied().await,
            Err(error) => {
                let reply = not_now(&error);
                Next::Say(Reply { code: 454, enhanced: "4.7.0".into(), ..reply })
            }
        }
    }

    async fn denied(&mut self) -> Next {
        tokio::time::sleep(limits::FAILED_LOGIN_PAUSE).await;
        self.counts.failed_logins += 1;
        let reply = Reply::new(535, "5.7.8", "wrong name or password");
        if self.counts.failed_logins >= limits::FAILED_LOGINS { Next::Close(reply) } else { Next::Say(reply) }
    }
}
