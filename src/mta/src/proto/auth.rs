//! The two SASL mechanisms that mail programs use: PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login).

use base::Secret;
use base64::{Engine, engine::general_purpose::STANDARD};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    Login,
}

impl Mechanism {
    pub fn parse(name: &str) -> Option<Self> {
        match () {
            () if name.eq_ignore_ascii_case("PLAIN") => Some(Self::Plain),
            () if name.eq_ignore_ascii_case("LOGIN") => Some(Self::Login),
            () => None,
        }
    }
}

/// What a mail program wants to log in with.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub login: String,
    pub password: Secret,
}

/// The challenges of LOGIN, as every program expects them.
pub const ASK_LOGIN: &str = "VXNlcm5hbWU6";
pub const ASK_PASSWORD: &str = "UGFzc3dvcmQ6";

/// Decodes one response; `=` alone is an empty one (RFC 4954 §4).
pub fn text(response: &[u8]) -> Option<String> {
    if response == b"=" {
        return Some(String::new());
    }
    String::from_utf8(STANDARD.decode(response).ok()?).ok()
}

/// Reads PLAIN's `authzid NUL authcid NUL password`. Acting as someone else is not possible here, so an
/// authorisation name that differs is refused.
pub fn plain(response: &[u8]) -> Option<Credentials> {
    let decoded = text(response)?;
    let mut parts = decoded.splitn(3, '\0');
    let (acting, login, password) = (parts.next()?, parts.next()?, parts.next()?);
    let one_person = acting.is_empty() || acting == login;
    (one_person && !login.is_empty() && !password.contains('\0'))
        .then(|| Credentials { login: login.to_owned(), password: Secret::new(password) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_gives_login_and_password() {
        let got = plain(STANDARD.encode("\0ann@example.org\0s p:x").as_bytes()).unwrap();
        assert_eq!((got.login.as_str(), got.password.expose()), ("ann@example.org", "s p:x"));
        assert!(plain(STANDARD.encode("bob\0ann\0x").as_bytes()).is_none());
        assert!(plain(b"=").is_none());
    }

    proptest! {
        #[test]
        fn any_response_is_read_without_a_crash(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = plain(&bytes);
            let _ = plain(STANDARD.encode(&bytes).as_bytes());
        }
    }
}
