//! Command lines into values (RFC 5321 §4.1, RFC 1870 SIZE, RFC 6152 BODY, RFC 4954 AUTH).

use super::auth::Mechanism;
use super::path::{self, Recipient};
use base::Address;

/// One command, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// HELO (false) or EHLO (true) with the name that the client gives itself.
    Hello {
        extended: bool,
        name: String,
    },
    Mail(MailFrom),
    Rcpt(Recipient),
    Data,
    Rset,
    Noop,
    Help,
    Vrfy,
    Quit,
    StartTls,
    /// The mechanism (`None`: one that is not known here) and an initial response.
    Auth {
        mechanism: Option<Mechanism>,
        initial: Option<Vec<u8>>,
    },
    /// A command of the standards that is not offered here (EXPN, ETRN, BDAT, TURN …).
    NotOffered,
}

/// MAIL with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailFrom {
    /// `None`: the null sender.
    pub sender: Option<Address>,
    /// Octets, as the client declares them.
    pub size: Option<u64>,
    pub eight_bit: bool,
}

/// Why a line is not a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error("command not recognised")]
    Unknown,
    #[error("{0}")]
    Syntax(&'static str),
    #[error("parameter not recognised: {0}")]
    Parameter(String),
    #[error("{0}")]
    Address(String),
    #[error("addresses outside ASCII are not taken here")]
    NotAscii,
}

/// Longest name in HELO or EHLO that is kept: a domain name or an address literal is never longer.
const LONGEST_NAME: usize = 255;

impl Command {
    /// Reads a line, given without its CRLF.
    pub fn parse(line: &[u8]) -> Result<Self, CommandError> {
        let text = std::str::from_utf8(line).map_err(|_| CommandError::NotAscii)?;
        if text.contains('\0') {
            return Err(CommandError::Syntax("a NUL stands in the command"));
        }
        let text = text.trim_end_matches([' ', '\t']);
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        match verb.to_ascii_uppercase().as_str() {
            "HELO" => hello(false, rest),
            "EHLO" => hello(true, rest),
            "MAIL" => mail(keyword(rest, "FROM:")?),
            "RCPT" => rcpt(keyword(rest, "TO:")?),
            "DATA" => alone(Self::Data, rest),
            "RSET" => alone(Self::Rset, rest),
            "QUIT" => alone(Self::Quit, rest),
            "STARTTLS" => alone(Self::StartTls, rest),
            "NOOP" => Ok(Self::Noop),
            "HELP" => Ok(Self::Help),
            "VRFY" if rest.is_empty() => Err(CommandError::Syntax("VRFY needs a name")),
            "VRFY" => Ok(Self::Vrfy),
            "AUTH" => auth(rest),
            "EXPN" | "ETRN" | "BDAT" | "TURN" | "ATRN" | "SEND" | "SOML" | "SAML" | "BURL" => Ok(Self::NotOffered),
            _ => Err(CommandError::Unknown),
        }
    }
}

fn alone(command: Command, rest: &str) -> Result<Command, CommandError> {
    if rest.is_empty() { Ok(command) } else { Err(CommandError::Syntax("this command takes no parameters")) }
}

fn hello(extended: bool, rest: &str) -> Result<Command, CommandError> {
    let name = rest.trim_matches(' ');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(plain) {
        return Err(CommandError::Syntax("a host name or address literal is needed"));
    }
    Ok(Command::Hello { extended, name: name.to_owned() })
}

fn keyword<'a>(rest: &'a str, word: &'static str) -> Result<&'a str, CommandError> {
    match rest.get(..word.len()) {
        Some(start) if start.eq_ignore_ascii_case(word) => Ok(rest.get(word.len()..).unwrap_or_default()),
        _ if word == "TO:" => Err(CommandError::Syntax("RCPT TO:<address> is meant")),
        _ => Err(CommandError::Syntax("MAIL FROM:<address> is meant")),
    }
}

fn mail(rest: &str) -> Result<Command, CommandError> {
    let (path, parameters) = path::split(rest)?;
    let mut mail = MailFrom { sender: path::sender(path)?, size: None, eight_bit: false };
    for parameter in parameters.split(' ').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match (name.to_ascii_uppercase().as_str(), value.to_ascii_uppercase().as_str()) {
            ("SIZE", digits) if !digits.is_empty() && digits.len() <= 20 => {
                let bad = |_| CommandError::Syntax("SIZE is a number");
                mail.size = Some(digits.parse().map_err(bad)?);
            }
            ("BODY", "7BIT") => mail.eight_bit = false,
            ("BODY", "8BITMIME") => mail.eight_bit = true,
            // RFC 4954 §5: a server that does not trust the client ignores who it says has written the message.
            ("AUTH", _) => {}
            _ => return Err(CommandError::Parameter(parameter.to_owned())),
        }
    }
    Ok(Command::Mail(mail))
}

fn rcpt(rest: &str) -> Result<Command, CommandError> {
    let (path, parameters) = path::split(rest)?;
    if !parameters.is_empty() {
        return Err(CommandError::Parameter(parameters.to_owned()));
    }
    path::recipient(path).map(Command::Rcpt)
}

fn auth(rest: &str) -> Result<Command, CommandError> {
    let mut words = rest.split(' ').filter(|word| !word.is_empty());
    let name = words.next().ok_or(CommandError::Syntax("AUTH needs a mechanism"))?;
    let initial = words.next().map(|word| word.as_bytes().to_vec());
    match words.next() {
        None => Ok(Command::Auth { mechanism: Mechanism::parse(name), initial }),
        Some(_) => Err(CommandError::Syntax("AUTH takes a mechanism and a response")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mail_from(line: &str) -> MailFrom {
        match Command::parse(line.as_bytes()).unwrap() {
            Command::Mail(mail) => mail,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn mail_is_read_with_its_parameters() {
        let mail = mail_from("mail from:<ann@example.org> SIZE=1000 body=8bitmime");
        assert_eq!(mail.sender.unwrap().to_string(), "ann@example.org");
        assert_eq!((mail.size, mail.eight_bit), (Some(1000), true));
        assert_eq!(mail_from("MAIL FROM:<>").sender, None);
        assert_eq!(mail_from("MAIL FROM: <@a.org,@b.org:c@d.org>").sender.unwrap().to_string(), "c@d.org");
        assert_eq!(mail_from("MAIL FROM:<\"a>b\"@d.org>").sender.unwrap().local(), "a>b");
    }

    #[test]
    fn postmaster_needs_no_domain_and_nobody_else_does_without() {
        assert_eq!(Command::parse(b"RCPT TO:<PostMaster>").unwrap(), Command::Rcpt(Recipient::Postmaster));
        assert!(matches!(Command::parse(b"RCPT TO:<ann>"), Err(CommandError::Address(_))));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_a_reason() {
        for (line, why) in [
            ("XYZZY", CommandError::Unknown),
            ("MAIL FROM:<a@b.org> RET=FULL", CommandError::Parameter("RET=FULL".into())),
            ("MAIL FROM:a@b.org", CommandError::Syntax("a path stands in < and >")),
            ("DATA now", CommandError::Syntax("this command takes no parameters")),
            ("EHLO", CommandError::Syntax("a host name or address literal is needed")),
            ("EHLO a(b)\"c", CommandError::Syntax("a host name or address literal is needed")),
            ("MAIL FROM:<\u{fc}@b.org>", CommandError::NotAscii),
        ] {
            assert_eq!(Command::parse(line.as_bytes()), Err(why), "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_crash(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Command::parse(&bytes);
        }

        #[test]
        fn any_arguments_are_read_without_a_crash(
            verb in "(EHLO|MAIL FROM:|RCPT TO:|AUTH|VRFY)", rest in "[ <>@:\"\\\\a-z=.]{0,40}",
        ) {
            let _ = Command::parse(format!("{verb}{rest}").as_bytes());
            let _ = Command::parse(format!("{verb} {rest}").as_bytes());
        }
    }
}
