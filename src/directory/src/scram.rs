//! The keys of SCRAM-SHA-256 (RFC 5802 §3, RFC 7677) for app passwords: making them, and checking a client's proof.
//! Pure, and comparing in constant time. Only random passwords come here: of a chosen one these keys would be a quick
//! way to guess it.

use crate::limits::SCRAM_ITERATIONS;
use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};

/// What is kept of an app password.
#[derive(Clone)]
pub struct Verifier {
    pub stored_key: Vec<u8>,
    pub server_key: Vec<u8>,
}

impl Verifier {
    /// `password` is ASCII, for which SASLprep changes nothing.
    pub fn of(password: &str, salt: &[u8]) -> Self {
        let mut salted = [0; digest::SHA256_OUTPUT_LEN];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, SCRAM_ITERATIONS, salt, password.as_bytes(), &mut salted);
        let client_key = mac(&salted, b"Client Key");
        Self {
            stored_key: digest::digest(&digest::SHA256, client_key.as_ref()).as_ref().to_vec(),
            server_key: mac(&salted, b"Server Key").as_ref().to_vec(),
        }
    }

    /// Whether a client that knows the password made this proof.
    pub fn is_proved(&self, auth_message: &str, client_proof: &[u8]) -> bool {
        let signature = mac(&self.stored_key, auth_message.as_bytes());
        if client_proof.len() != signature.as_ref().len() {
            return false;
        }
        let client_key: Vec<u8> = client_proof.iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        same(digest::digest(&digest::SHA256, &client_key).as_ref(), &self.stored_key)
    }

    /// Whether both were made from the same password with the same salt.
    pub fn is_same(&self, other: &Verifier) -> bool {
        same(&self.stored_key, &other.stored_key)
    }

    /// ServerSignature, by which the client knows its server.
    pub fn server_signature(&self, auth_message: &str) -> Vec<u8> {
        mac(&self.server_key, auth_message.as_bytes()).as_ref().to_vec()
    }
}

/// HMAC-SHA-256.
pub fn mac(key: &[u8], data: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data)
}

fn same(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// The client's side, for tests.
#[cfg(test)]
pub fn prove(password: &str, salt: &[u8], auth_message: &str) -> Vec<u8> {
    let mut salted = [0; digest::SHA256_OUTPUT_LEN];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, SCRAM_ITERATIONS, salt, password.as_bytes(), &mut salted);
    let client_key = mac(&salted, b"Client Key");
    let signature = mac(&Verifier::of(password, salt).stored_key, auth_message.as_bytes());
    client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::prelude::{BASE64_STANDARD, Engine};
    use proptest::prelude::*;

    /// RFC 7677 §3.
    const AUTH_MESSAGE: &str = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
        r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
        c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

    fn bytes(text: &str) -> Vec<u8> {
        BASE64_STANDARD.decode(text).unwrap()
    }

    #[test]
    fn the_exchange_of_rfc_7677_comes_out_as_printed_there() {
        let verifier = Verifier::of("pencil", &bytes("W22ZaJ0SNY7soEsUEjb6gQ=="));
        let proof = bytes("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        assert!(verifier.is_proved(AUTH_MESSAGE, &proof));
        let signature = bytes("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert_eq!(verifier.server_signature(AUTH_MESSAGE), signature);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_proof_fits_its_own_password_and_conversation_only(
            password in "[a-z2-9]{4}-[a-z2-9]{4}", other in "[a-z2-9]{4}-[a-z2-9]{4}", salt: [u8; 16],
            message in ".{0,80}", bit in 0_usize..256, junk in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let verifier = Verifier::of(&password, &salt);
            let mut proof = prove(&password, &salt, &message);
            prop_assert!(verifier.is_proved(&message, &proof));
            let longer = message.clone() + "x";
            prop_assert!(!verifier.is_proved(&longer, &proof));
            prop_assert_eq!(verifier.is_same(&Verifier::of(&other, &salt)), password == other);
            prop_assert!(!verifier.is_proved(&message, &junk));
            proof[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!verifier.is_proved(&message, &proof));
        }
    }
}
