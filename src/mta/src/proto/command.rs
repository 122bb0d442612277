//! Command lines into values (RFC 5321 §4.1, RFC 3030 BDAT, RFC 4954 AUTH). What stands behind MAIL and RCPT is read by
//! [`super::envelope`].

use super::envelope::{self, MailFrom, RcptTo};

/// One command, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// HELO (false) or EHLO (true) with the name that the client gives itself.
    Hello {
        extended: bool,
        name: String,
    },
    Mail(MailFrom),
    Rcpt(RcptTo),
    Data,
    /// So many octets of the message follow at once (RFC 3030).
    Bdat {
        octets: u64,
        last: bool,
    },
    Rset,
    Noop,
    Help,
    Vrfy,
    Quit,
    StartTls,
    /// The mechanism's name and an initial response.
    Auth {
        mechanism: String,
        initial: Option<Vec<u8>>,
    },
    /// A command of the standards that is not offered here (EXPN, ETRN, TURN …).
    NotOffered,
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
    #[error("the command is not UTF-8")]
    NotText,
    /// How many octets follow cannot be known, so nothing after it can be understood.
    #[error("BDAT is followed by a number of octets, and LAST with the last of them")]
    Chunk,
}

/// Longest name in HELO or EHLO that is kept: a domain name or an address literal is never longer.
const LONGEST_NAME: usize = 255;

impl Command {
    /// Reads a line, given without its CRLF.
    pub fn parse(line: &[u8]) -> Result<Self, CommandError> {
        let text = std::str::from_utf8(line).map_err(|_| CommandError::NotText)?;
        if text.contains('\0') {
            return Err(CommandError::Syntax("a NUL stands in the command"));
        }
        let text = text.trim_end_matches([' ', '\t']);
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        match verb.to_ascii_uppercase().as_str() {
            "HELO" => hello(false, rest),
            "EHLO" => hello(true, rest),
            "MAIL" => envelope::mail(keyword(rest, "FROM:")?).map(Self::Mail),
            "RCPT" => envelope::rcpt(keyword(rest, "TO:")?).map(Self::Rcpt),
            "DATA" => alone(Self::Data, rest),
            "BDAT" => bdat(rest),
            "RSET" => alone(Self::Rset, rest),
            "QUIT" => alone(Self::Quit, rest),
            "STARTTLS" => alone(Self::StartTls, rest),
            "NOOP" => Ok(Self::Noop),
            "HELP" => Ok(Self::Help),
            "VRFY" if rest.is_empty() => Err(CommandError::Syntax("VRFY needs a name")),
            "VRFY" => Ok(Self::Vrfy),
            "AUTH" => auth(rest),
            "EXPN" | "ETRN" | "TURN" | "ATRN" | "SEND" | "SOML" | "SAML" | "BURL" => Ok(Self::NotOffered),
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

/// `BDAT octets [LAST]`.
fn bdat(rest: &str) -> Result<Command, CommandError> {
    let mut words = rest.split(' ').filter(|word| !word.is_empty());
    let digits = words.next().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    // Twelve digits are more than any message has, and never overflow.
    let octets = digits.filter(|digits| digits.len() <= 12).and_then(|digits| digits.parse().ok());
    let octets = octets.ok_or(CommandError::Chunk)?;
    match (words.next(), words.next()) {
        (None, _) => Ok(Command::Bdat { octets, last: false }),
        (Some(word), None) if word.eq_ignore_ascii_case("LAST") => Ok(Command::Bdat { octets, last: true }),
        _ => Err(CommandError::Chunk),
    }
}

fn auth(rest: &str) -> Result<Command, CommandError> {
    let mut words = rest.split(' ').filter(|word| !word.is_empty());
    let name = words.next().ok_or(CommandError::Syntax("AUTH needs a mechanism"))?;
    let initial = words.next().map(|word| word.as_bytes().to_vec());
    match words.next() {
        None => Ok(Command::Auth { mechanism: name.to_owned(), initial }),
        Some(_) => Err(CommandError::Syntax("AUTH takes a mechanism and a response")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::path::Recipient;
    use proptest::prelude::*;

    fn mail_from(line: &str) -> MailFrom {
        match Command::parse(line.as_bytes()).unwrap() {
            Command::Mail(mail) => mail,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn paths_are_read_as_servers_write_them() {
        assert_eq!(mail_from("mail from:<ann@example.org>").sender.unwrap().to_string(), "ann@example.org");
        assert_eq!(mail_from("MAIL FROM:<>").sender, None);
        assert_eq!(mail_from("MAIL FROM: <@a.org,@b.org:c@d.org>").sender.unwrap().to_string(), "c@d.org");
        assert_eq!(mail_from("MAIL FROM:<\"a>b\"@d.org>").sender.unwrap().local(), "a>b");
    }

    #[test]
    fn a_chunk_says_how_long_it_is_or_nothing_after_it_can_be_read() {
        let read = |line: &str| Command::parse(line.as_bytes());
        assert_eq!(read("BDAT 10"), Ok(Command::Bdat { octets: 10, last: false }));
        assert_eq!(read("bdat 0 last"), Ok(Command::Bdat { octets: 0, last: true }));
        for wrong in
            ["BDAT", "BDAT LAST", "BDAT -1", "BDAT 10 FIRST", "BDAT 10 LAST x", "BDAT 99999999999999999999", "BDAT +1"]
        {
            assert_eq!(read(wrong), Err(CommandError::Chunk), "{wrong}");
        }
    }

    #[test]
    fn postmaster_needs_no_domain_and_nobody_else_does_without() {
        let read = Command::parse(b"RCPT TO:<PostMaster>").unwrap();
        assert!(matches!(read, Command::Rcpt(RcptTo { recipient: Recipient::Postmaster, .. })));
        assert!(matches!(Command::parse(b"RCPT TO:<ann>"), Err(CommandError::Address(_))));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_a_reason() {
        for (line, why) in [
            ("XYZZY", CommandError::Unknown),
            ("MAIL FROM:<a@b.org> BY=1", CommandError::Parameter("BY=1".into())),
            ("MAIL FROM:a@b.org", CommandError::Syntax("a path stands in < and >")),
            ("DATA now", CommandError::Syntax("this command takes no parameters")),
            ("EHLO", CommandError::Syntax("a host name or address literal is needed")),
            ("EHLO a(b)\"c", CommandError::Syntax("a host name or address literal is needed")),
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
            verb in "(EHLO|MAIL FROM:|RCPT TO:|AUTH|VRFY|BDAT)", rest in "[ <>@:\"\\\\a-z=.]{0,40}",
        ) {
            let _ = Command::parse(format!("{verb}{rest}").as_bytes());
            let _ = Command::parse(format!("{verb} {rest}").as_bytes());
        }
    }
}
