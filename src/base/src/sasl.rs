//! The SASL exchange (RFC 4422) as a state machine without I/O, shared by all protocols that log in.
//!
//! Knows PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login) and SCRAM-SHA-256 with and without channel binding
//! (RFC 5802, RFC 7677). It asks its caller the questions that only the directory answers, and never sees a verifier.
//! Invariants: an exchange that failed stays failed; nobody acts for somebody else.

mod scram;

use crate::Secret;
use scram::Scram;

/// The mechanisms, in the order in which a server should name them: the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    ScramSha256Plus,
    ScramSha256,
    Plain,
    Login,
}

impl Mechanism {
    const ALL: [Mechanism; 4] = [Self::ScramSha256Plus, Self::ScramSha256, Self::Plain, Self::Login];

    pub fn name(self) -> &'static str {
        match self {
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
        }
    }

    /// The mechanism of a name, whatever its case.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    fn is_scram(self) -> bool {
        matches!(self, Self::ScramSha256 | Self::ScramSha256Plus)
    }
}

/// What a connection can offer.
#[derive(Debug, Clone, Default)]
pub struct Offer {
    /// Whether any account has a password that SCRAM can check.
    pub scram: bool,
    /// The `tls-exporter` channel binding (RFC 9266), on TLS 1.3.
    pub binding: Option<Vec<u8>>,
}

impl Offer {
    /// The mechanisms to name. `binding` without SCRAM offers nothing more.
    pub fn mechanisms(&self) -> impl Iterator<Item = Mechanism> {
        let (scram, plus) = (self.scram, self.scram && self.binding.is_some());
        Mechanism::ALL.into_iter().filter(move |mechanism| match mechanism {
            Mechanism::ScramSha256Plus => plus,
            Mechanism::ScramSha256 => scram,
            Mechanism::Plain | Mechanism::Login => true,
        })
    }

    /// The names of the mechanisms, separated by spaces.
    pub fn names(&self) -> String {
        self.mechanisms().map(Mechanism::name).collect::<Vec<_>>().join(" ")
    }
}

/// Why an exchange is over without a login. The sentence is for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("{0}")]
    Malformed(&'static str),
    #[error("nobody acts for somebody else here")]
    ActsForAnother,
    #[error("the client believes that this server has no channel binding; somebody may stand between")]
    Downgrade,
    #[error("the channel binding is that of another connection; somebody may stand between")]
    OtherChannel,
}

/// What is to be done next.
#[derive(Debug)]
pub enum Step {
    /// Send this to the client and bring what it answers to [`Exchange::receive`].
    Challenge(Vec<u8>),
    /// Have the password checked; the exchange is over.
    Password {
        login: String,
        password: Secret,
    },
    /// Ask for the salt and iterations of this name, for [`Exchange::salted`].
    Salt {
        login: String,
    },
    /// Have the proof checked. When it is right, the server's signature goes to [`Exchange::signed`].
    Proof {
        login: String,
        auth_message: String,
        client_proof: Vec<u8>,
    },
    Failed(Fault),
}

/// An exchange under way.
pub struct Exchange(State);

enum State {
    Plain,
    LoginName,
    LoginPassword(String),
    Scram(Box<Scram>),
    Over,
}

const LOGIN_NAME: &[u8] = b"Username:";
const LOGIN_PASSWORD: &[u8] = b"Password:";

impl Exchange {
    /// Begins; `None` when the connection does not offer the mechanism. `nonce` is fresh, printable, without commas.
    pub fn begin(mechanism: Mechanism, offer: &Offer, nonce: String) -> Option<Self> {
        if mechanism.is_scram() && !offer.mechanisms().any(|offered| offered == mechanism) {
            return None;
        }
        Some(Self(match mechanism {
            Mechanism::Plain => State::Plain,
            Mechanism::Login => State::LoginName,
            Mechanism::ScramSha256 | Mechanism::ScramSha256Plus => {
                let plus = mechanism == Mechanism::ScramSha256Plus;
                State::Scram(Box::new(Scram::new(plus, offer.binding.clone(), nonce)))
            }
        }))
    }

    /// Takes what the client sent (decoded), or that it sent nothing with the command.
    pub fn receive(&mut self, response: Option<&[u8]>) -> Step {
        match std::mem::replace(&mut self.0, State::Over) {
            State::Plain => match response {
                None => self.go_on(State::Plain, Vec::new()),
                Some(bytes) => plain(bytes),
            },
            State::LoginName => match response {
                None => self.go_on(State::LoginName, LOGIN_NAME.to_vec()),
                Some(bytes) => match text(bytes) {
                    Ok(login) => self.go_on(State::LoginPassword(login), LOGIN_PASSWORD.to_vec()),
                    Err(fault) => Step::Failed(fault),
                },
            },
            State::LoginPassword(login) => match text(response.unwrap_or_default()) {
                Ok(password) => Step::Password { login, password: Secret::new(password) },
                Err(fault) => Step::Failed(fault),
            },
            State::Scram(scram) => self.scram(scram, response),
            State::Over => Step::Failed(Fault::Malformed("the exchange is over")),
        }
    }

    fn scram(&mut self, mut scram: Box<Scram>, response: Option<&[u8]>) -> Step {
        let Some(bytes) = response else { return self.go_on(State::Scram(scram), Vec::new()) };
        match text(bytes).and_then(|message| scram.receive(&message)) {
            Ok(step) => {
                self.0 = State::Scram(scram);
                step
            }
            Err(fault) => Step::Failed(fault),
        }
    }

    fn go_on(&mut self, state: State, challenge: Vec<u8>) -> Step {
        self.0 = state;
        Step::Challenge(challenge)
    }

    /// The answer to [`Step::Salt`]; gives what to send to the client.
    pub fn salted(&mut self, salt: &[u8], iterations: u32) -> Vec<u8> {
        match &mut self.0 {
            State::Scram(scram) => scram.salted(salt, iterations),
            _ => Vec::new(),
        }
    }

    /// The answer to [`Step::Proof`] when it was right; gives the last words to the client, and ends the exchange.
    pub fn signed(&mut self, server_signature: &[u8]) -> Vec<u8> {
        self.0 = State::Over;
        scram::final_message(server_signature)
    }
}

/// What a server adds to the client's nonce (RFC 5802 §5.1: printable ASCII without commas); 144 bits.
pub fn nonce() -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(rand::random::<[u8; 18]>())
}

/// The `tls-exporter` channel binding of a TLS 1.3 connection (RFC 9266 §4); earlier versions need an extension that
/// the client may lack, so they have none.
pub fn exported(connection: &rustls::ServerConnection) -> Option<Vec<u8>> {
    if connection.protocol_version() != Some(rustls::ProtocolVersion::TLSv1_3) {
        return None;
    }
    let exported = connection.export_keying_material([0u8; 32], b"EXPORTER-Channel-Binding", Some(b""));
    exported.ok().map(|bytes| bytes.to_vec())
}

fn text(bytes: &[u8]) -> Result<String, Fault> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Fault::Malformed("that is not UTF-8"))
}

/// RFC 4616 §2: `authzid NUL authcid NUL password`.
fn plain(bytes: &[u8]) -> Step {
    let parts: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
    let [acting_as, login, password] = parts.as_slice() else {
        return Step::Failed(Fault::Malformed("that is not what PLAIN looks like"));
    };
    if !acting_as.is_empty() && acting_as != login {
        return Step::Failed(Fault::ActsForAnother);
    }
    match (text(login), text(password)) {
        (Ok(login), Ok(password)) => Step::Password { login, password: Secret::new(password) },
        (Err(fault), _) | (_, Err(fault)) => Step::Failed(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exchange(mechanism: Mechanism) -> Exchange {
        let offer = Offer { scram: true, binding: Some(vec![7; 32]) };
        Exchange::begin(mechanism, &offer, "nonce".into()).unwrap()
    }

    fn password(step: Step) -> (String, String) {
        match step {
            Step::Password { login, password } => (login, password.expose().to_owned()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn plain_takes_its_response_at_once_or_when_asked() {
        let ann = ("ann@example.org".to_owned(), "secret".to_owned());
        let mut it = exchange(Mechanism::Plain);
        assert_eq!(password(it.receive(Some(b"\0ann@example.org\0secret"))), ann);
        let mut it = exchange(Mechanism::Plain);
        assert!(matches!(it.receive(None), Step::Challenge(empty) if empty.is_empty()));
        assert_eq!(password(it.receive(Some(b"ann@example.org\0ann@example.org\0secret"))), ann);
        assert!(matches!(it.receive(Some(b"\0a\0b")), Step::Failed(_)));
    }

    #[test]
    fn nobody_acts_for_somebody_else() {
        let step = exchange(Mechanism::Plain).receive(Some(b"bob\0ann\0secret"));
        assert!(matches!(step, Step::Failed(Fault::ActsForAnother)));
    }

    #[test]
    fn login_asks_for_the_name_and_then_for_the_password() {
        let mut it = exchange(Mechanism::Login);
        assert!(matches!(it.receive(None), Step::Challenge(text) if text == b"Username:"));
        assert!(matches!(it.receive(Some(b"ann")), Step::Challenge(text) if text == b"Password:"));
        assert_eq!(password(it.receive(Some(b"pw"))), ("ann".into(), "pw".into()));
    }

    #[test]
    fn scram_is_offered_only_when_it_can_work() {
        assert_eq!(Offer::default().names(), "PLAIN LOGIN");
        let bound = Offer { scram: false, binding: Some(vec![1]) };
        assert_eq!(bound.names(), "PLAIN LOGIN");
        assert!(Exchange::begin(Mechanism::ScramSha256, &bound, "n".into()).is_none());
        let without = Offer { scram: true, binding: None };
        assert_eq!(without.names(), "SCRAM-SHA-256 PLAIN LOGIN");
        assert!(Exchange::begin(Mechanism::ScramSha256Plus, &without, "n".into()).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_a_step(which in 0usize..4, parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..5)) {
            let mut it = exchange(Mechanism::ALL[which]);
            for part in parts {
                if let Step::Salt { .. } = it.receive(Some(&part)) {
                    it.salted(b"salt", 4096);
                }
            }
        }
    }
}
