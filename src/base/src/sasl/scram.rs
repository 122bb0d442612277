//! SCRAM's messages from the server's side (RFC 5802 §5 and §7; RFC 7677; RFC 9266 for the binding). Pure.

use super::{Fault, Step};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Where an exchange stands.
pub struct Scram {
    /// Whether the mechanism is the one with channel binding.
    plus: bool,
    /// What this connection's binding is, if it has one; then the mechanism with binding was offered.
    binding: Option<Vec<u8>>,
    server_nonce: String,
    stage: Stage,
}

enum Stage {
    First,
    /// The first message was read; the salt is awaited from the directory, or the final message from the client.
    Final(First),
}

struct First {
    login: String,
    /// The GS2 header as it was sent.
    header: String,
    bare: String,
    client_nonce: String,
    server_first: String,
}

type Parsed<T> = Result<T, Fault>;

impl Scram {
    pub fn new(plus: bool, binding: Option<Vec<u8>>, server_nonce: String) -> Self {
        Self { plus, binding, server_nonce, stage: Stage::First }
    }

    pub fn receive(&mut self, message: &str) -> Parsed<Step> {
        match &self.stage {
            Stage::First => {
                let first = self.first(message)?;
                let login = first.login.clone();
                self.stage = Stage::Final(first);
                Ok(Step::Salt { login })
            }
            Stage::Final(first) => self.last(first, message),
        }
    }

    pub fn salted(&mut self, salt: &[u8], iterations: u32) -> Vec<u8> {
        let Stage::Final(first) = &mut self.stage else { return Vec::new() };
        let nonce = format!("{}{}", first.client_nonce, self.server_nonce);
        first.server_first = format!("r={nonce},s={},i={iterations}", STANDARD.encode(salt));
        first.server_first.clone().into_bytes()
    }

    /// `gs2-header client-first-message-bare`.
    fn first(&self, message: &str) -> Parsed<First> {
        let malformed = || Fault::Malformed("that is not what SCRAM begins with");
        let mut parts = message.splitn(3, ',');
        let (flag, acting_as, bare) = (parts.next(), parts.next(), parts.next());
        let (Some(flag), Some(acting_as), Some(bare)) = (flag, acting_as, bare) else { return Err(malformed()) };
        self.check_flag(flag)?;
        let mut attributes = bare.split(',');
        let login = attributes.next().and_then(|text| text.strip_prefix("n=")).ok_or_else(malformed)?;
        let nonce = attributes.next().and_then(|text| text.strip_prefix("r=")).ok_or_else(malformed)?;
        if nonce.is_empty() || !nonce.bytes().all(|byte| (0x21..0x7f).contains(&byte)) {
            return Err(Fault::Malformed("the nonce is empty or has characters that it may not have"));
        }
        let login = sasl_name(login)?;
        match acting_as.strip_prefix("a=") {
            Some(other) if sasl_name(other)? != login => return Err(Fault::ActsForAnother),
            None if !acting_as.is_empty() => return Err(malformed()),
            _ => {}
        }
        Ok(First {
            login,
            header: format!("{flag},{acting_as},"),
            bare: bare.to_owned(),
            client_nonce: nonce.to_owned(),
            server_first: String::new(),
        })
    }

    /// RFC 5802 §6: what the client says of channel binding must fit what was offered.
    fn check_flag(&self, flag: &str) -> Parsed<()> {
        match (flag, self.plus) {
            ("n", false) => Ok(()),
            ("y", false) if self.binding.is_some() => Err(Fault::Downgrade),
            ("y", false) => Ok(()),
            ("p=tls-exporter", true) => Ok(()),
            (other, true) if other.starts_with("p=") => {
                Err(Fault::Malformed("the channel binding of this server is tls-exporter"))
            }
            _ => Err(Fault::Malformed("the channel binding flag does not fit the mechanism")),
        }
    }

    /// `channel-binding "," nonce ["," extensions] "," proof`.
    fn last(&self, first: &First, message: &str) -> Parsed<Step> {
        let malformed = || Fault::Malformed("that is not what SCRAM ends with");
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or_else(malformed)?;
        let client_proof = STANDARD.decode(proof).map_err(|_| Fault::Malformed("the proof is not base64"))?;
        let mut attributes = without_proof.split(',');
        let binding = attributes.next().and_then(|text| text.strip_prefix("c=")).ok_or_else(malformed)?;
        let binding = STANDARD.decode(binding).map_err(|_| Fault::Malformed("the channel binding is not base64"))?;
        let mut expected = first.header.clone().into_bytes();
        if self.plus {
            expected.extend_from_slice(self.binding.as_deref().unwrap_or_default());
        }
        if binding != expected {
            return Err(Fault::OtherChannel);
        }
        let nonce = attributes.next().and_then(|text| text.strip_prefix("r=")).ok_or_else(malformed)?;
        if nonce.strip_prefix(first.client_nonce.as_str()) != Some(self.server_nonce.as_str()) {
            return Err(Fault::Malformed("the nonce is not that of this exchange"));
        }
        let auth_message = format!("{},{},{without_proof}", first.bare, first.server_first);
        Ok(Step::Proof { login: first.login.clone(), auth_message, client_proof })
    }
}

/// The server's last message (RFC 5802 §7, server-final-message).
pub fn final_message(server_signature: &[u8]) -> Vec<u8> {
    format!("v={}", STANDARD.encode(server_signature)).into_bytes()
}

/// RFC 5802 §5.1: a comma is written `=2C` and an equals sign `=3D`.
fn sasl_name(text: &str) -> Parsed<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('=') {
        out.push_str(&rest[..at]);
        rest = match (rest[at..].strip_prefix("=2C"), rest[at..].strip_prefix("=3D")) {
            (Some(rest), _) => {
                out.push(',');
                rest
            }
            (_, Some(rest)) => {
                out.push('=');
                rest
            }
            _ => return Err(Fault::Malformed("the name is not written as SCRAM wants it")),
        };
    }
    out.push_str(rest);
    if out.is_empty() || out.chars().any(char::is_control) {
        return Err(Fault::Malformed("the name is empty or has control characters"));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::super::{Exchange, Mechanism, Offer};
    use super::*;
    use aws_lc_rs::{digest, hmac, pbkdf2};
    use std::num::NonZeroU32;

    const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";

    fn begin(mechanism: Mechanism, binding: Option<&[u8]>) -> Exchange {
        let offer = Offer { scram: true, binding: binding.map(<[u8]>::to_vec) };
        Exchange::begin(mechanism, &offer, SERVER_NONCE.into()).unwrap()
    }

    fn sign(key: &[u8], text: &[u8]) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
    }

    /// What the directory computes: whether the proof is that of the password, and the server's signature.
    fn check(password: &str, salt: &[u8], iterations: u32, auth_message: &str, proof: &[u8]) -> (bool, Vec<u8>) {
        let mut salted = [0; 32];
        let count = NonZeroU32::new(iterations).unwrap();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, count, salt, password.as_bytes(), &mut salted);
        let client_key = sign(&salted, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, &client_key);
        let signature = sign(stored_key.as_ref(), auth_message.as_bytes());
        let recovered: Vec<u8> = proof.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        let right = digest::digest(&digest::SHA256, &recovered).as_ref() == stored_key.as_ref();
        (right, sign(&sign(&salted, b"Server Key"), auth_message.as_bytes()))
    }

    #[test]
    fn the_example_of_rfc_7677_section_3_comes_out() {
        let mut it = begin(Mechanism::ScramSha256, None);
        assert!(matches!(it.receive(None), Step::Challenge(empty) if empty.is_empty()));
        assert!(matches!(it.receive(Some(FIRST.as_bytes())), Step::Salt { login } if login == "user"));
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let server_first = String::from_utf8(it.salted(&salt, 4096)).unwrap();
        assert_eq!(
            server_first,
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
            p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let Step::Proof { login, auth_message, client_proof } = it.receive(Some(last.as_bytes())) else {
            panic!("no proof")
        };
        assert_eq!(login, "user");
        let (right, signature) = check("pencil", &salt, 4096, &auth_message, &client_proof);
        assert!(right);
        assert_eq!(it.signed(&signature), b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        let (right, _) = check("pencils", &salt, 4096, &auth_message, &client_proof);
        assert!(!right);
    }

    fn with_binding(binding: &[u8]) -> Step {
        let mut it = begin(Mechanism::ScramSha256Plus, Some(b"exported"));
        assert!(matches!(it.receive(Some(b"p=tls-exporter,,n=user,r=abc")), Step::Salt { .. }));
        it.salted(b"salt", 4096);
        let mut header = b"p=tls-exporter,,".to_vec();
        header.extend_from_slice(binding);
        let last = format!("c={},r=abc{SERVER_NONCE},p={}", STANDARD.encode(header), STANDARD.encode([0; 32]));
        it.receive(Some(last.as_bytes()))
    }

    #[test]
    fn a_binding_to_another_connection_is_noticed() {
        assert!(matches!(with_binding(b"exported"), Step::Proof { .. }));
        assert!(matches!(with_binding(b"other"), Step::Failed(Fault::OtherChannel)));
    }

    #[test]
    fn a_client_that_was_told_of_no_binding_where_there_is_one_is_warned() {
        let mut it = begin(Mechanism::ScramSha256, Some(b"exported"));
        assert!(matches!(it.receive(Some(b"y,,n=user,r=abc")), Step::Failed(Fault::Downgrade)));
        let mut it = begin(Mechanism::ScramSha256, None);
        assert!(matches!(it.receive(Some(b"y,,n=user,r=abc")), Step::Salt { .. }));
    }

    #[test]
    fn flags_nonces_and_names_that_do_not_fit_are_refused() {
        for wrong in [
            "",
            "n",
            "n,,",
            "n,,r=abc",
            "n,,n=user",
            "n,,n=user,r=",
            "x,,n=user,r=abc",
            "p=tls-exporter,,n=user,r=abc",
            "n,,n=us=er,r=abc",
            "n,,m=ext,n=user,r=abc",
            "n,a=bob,n=user,r=abc",
            "n,,n=,r=abc",
            "n,b,n=user,r=abc",
        ] {
            let step = begin(Mechanism::ScramSha256, None).receive(Some(wrong.as_bytes()));
            assert!(matches!(step, Step::Failed(_)), "{wrong}: {step:?}");
        }
        let mut it = begin(Mechanism::ScramSha256, None);
        assert!(matches!(it.receive(Some(b"n,a=a=2Cb=3D,n=a=2Cb=3D,r=abc")), Step::Salt { login } if login == "a,b="));
        it.salted(b"salt", 4096);
        let other = format!("c={},r=abcother,p=AAAA", STANDARD.encode("n,a=a=2Cb=3D,"));
        assert!(matches!(it.receive(Some(other.as_bytes())), Step::Failed(_)));
    }
}
