//! AUTH (RFC 4954): only inside TLS, only for submission. The exchange itself is [`base::sasl`].

use super::{Kind, Next, Session, not_now, out_of_order, replies};
use crate::limits;
use crate::proto::Reply;
use base::Address;
use base::sasl::{Exchange, Fault, Mechanism, Step};
use base64::{Engine, engine::general_purpose::STANDARD};
use wire::WireError;
use wire::directory::{Login, ScramLogin};

/// A login under way.
pub struct Underway {
    exchange: Exchange,
    /// SCRAM's last words are out, and the client is about to take note of them: who it then is.
    granted: Option<Address>,
}

impl std::fmt::Debug for Underway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a login under way")
    }
}

impl Session {
    pub(super) async fn auth(&mut self, mechanism: &str, initial: Option<Vec<u8>>) -> Next {
        if let Some(refusal) = self.may_log_in() {
            return Next::Say(refusal);
        }
        let exchange = Mechanism::named(mechanism)
            .and_then(|mechanism| Exchange::begin(mechanism, &self.offer, base::sasl::nonce()));
        let Some(exchange) = exchange else {
            return Next::Say(replies::UNKNOWN_MECHANISM.with(&[&self.offer.names()]));
        };
        let underway = Underway { exchange, granted: None };
        match initial.map(|text| decode(&text)) {
            None => self.advance(underway, None).await,
            Some(Some(response)) => self.advance(underway, Some(&response)).await,
            Some(None) => Next::Say(replies::BAD_RESPONSE.reply()),
        }
    }

    fn may_log_in(&self) -> Option<Reply> {
        match self.kind {
            Kind::Inbound => Some(replies::USERS_ELSEWHERE.reply()),
            Kind::Submission if self.tls.is_none() => Some(replies::TLS_BEFORE_LOGIN.reply()),
            Kind::Submission if self.hello.is_none() => Some(out_of_order("EHLO comes first")),
            Kind::Submission if self.account.is_some() => Some(out_of_order("you are logged in already")),
            Kind::Submission if self.envelope.is_some() => Some(out_of_order("not within a message")),
            Kind::Submission => None,
        }
    }

    /// Takes a response of the client; `*` gives up (RFC 4954 §4).
    pub(super) async fn continue_login(&mut self, underway: Underway, response: &[u8]) -> Next {
        if response == b"*" {
            return Next::Say(replies::LOGIN_GIVEN_UP.reply());
        }
        match decode(response) {
            Some(response) => self.advance(underway, Some(&response)).await,
            None => Next::Say(replies::BAD_RESPONSE.reply()),
        }
    }

    async fn advance(&mut self, mut it: Underway, response: Option<&[u8]>) -> Next {
        if let Some(account) = it.granted.take() {
            // RFC 5802 §5: the client has checked the server's signature and says nothing more.
            return match response {
                Some(b"") => self.enter(account),
                _ => Next::Say(replies::BAD_RESPONSE.reply()),
            };
        }
        match it.exchange.receive(response) {
            Step::Challenge(challenge) => self.ask(it, &challenge),
            Step::Password { login, password } => {
                match self.house.neighbours.log_in(login, password, self.client).await {
                    Ok(Login::Granted { account, .. }) => self.enter(account),
                    Ok(Login::Denied) => self.denied().await,
                    Ok(Login::Throttled { retry_after_seconds }) => throttled(retry_after_seconds),
                    Err(error) => away(&error),
                }
            }
            Step::Salt { login } => match self.house.neighbours.scram_challenge(login, self.client).await {
                Ok(parameters) => {
                    let challenge = it.exchange.salted(&parameters.salt, parameters.iterations);
                    self.ask(it, &challenge)
                }
                Err(error) => away(&error),
            },
            Step::Proof { login, auth_message, client_proof } => {
                let asked = self.house.neighbours.scram_verify(login, auth_message, client_proof, self.client).await;
                match asked {
                    Ok(ScramLogin::Granted { account, server_signature, .. }) => {
                        let last_words = it.exchange.signed(&server_signature);
                        it.granted = Some(account);
                        self.ask(it, &last_words)
                    }
                    Ok(ScramLogin::Denied) => self.denied().await,
                    Ok(ScramLogin::Throttled { retry_after_seconds }) => throttled(retry_after_seconds),
                    Err(error) => away(&error),
                }
            }
            Step::Failed(fault) => self.failed(&fault),
        }
    }

    fn ask(&mut self, underway: Underway, challenge: &[u8]) -> Next {
        self.exchange = Some(underway);
        Next::Say(replies::CHALLENGE.with(&[&STANDARD.encode(challenge)]))
    }

    fn enter(&mut self, account: Address) -> Next {
        self.account = Some(account);
        Next::Say(replies::WELCOME.reply())
    }

    fn failed(&self, fault: &Fault) -> Next {
        match fault {
            Fault::Malformed(_) => Next::Say(replies::BAD_RESPONSE.reply()),
            fault => {
                tracing::warn!("a login from {} failed: {fault}", self.client);
                Next::Say(replies::BAD_EXCHANGE.with(&[fault]))
            }
        }
    }

    async fn denied(&mut self) -> Next {
        tokio::time::sleep(limits::FAILED_LOGIN_PAUSE).await;
        self.counts.failed_logins += 1;
        let reply = replies::WRONG_PASSWORD.reply();
        if self.counts.failed_logins >= limits::FAILED_LOGINS { Next::Close(reply) } else { Next::Say(reply) }
    }
}

/// One response; `=` alone is an empty one (RFC 4954 §4).
fn decode(response: &[u8]) -> Option<Vec<u8>> {
    if response == b"=" { Some(Vec::new()) } else { STANDARD.decode(response).ok() }
}

fn throttled(seconds: u64) -> Next {
    Next::Say(replies::LOGIN_THROTTLED.with(&[&seconds]))
}

fn away(error: &WireError) -> Next {
    drop(not_now(error));
    Next::Say(replies::LOGIN_NOT_NOW.reply())
}
