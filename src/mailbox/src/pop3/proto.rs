//! POP3's commands (RFC 1939, RFC 2449, RFC 5034) and how a message is written to the client. Pure.

use base::Secret;

#[derive(Debug, Clone)]
pub enum Command {
    Capa,
    User(String),
    Pass(Secret),
    /// Without a mechanism the client asks which there are.
    Auth {
        mechanism: Option<String>,
        /// In base64, as it came; `=` stands for nothing.
        initial: Option<String>,
    },
    Stat,
    List(Option<usize>),
    Uidl(Option<usize>),
    Retr(usize),
    Top(usize, usize),
    Dele(usize),
    Noop,
    Rset,
    Quit,
}

/// What the client is told is wrong.
pub type Wrong = &'static str;

/// Reads one line, without its line end.
pub fn parse(line: &[u8]) -> Result<Command, Wrong> {
    let text = std::str::from_utf8(line).map_err(|_| "the command is not UTF-8")?;
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    let upper = verb.to_ascii_uppercase();
    // A password may have spaces, also at its ends (RFC 1939 §7, PASS).
    if upper == "PASS" {
        return if rest.is_empty() { Err("PASS wants a password") } else { Ok(Command::Pass(Secret::new(rest))) };
    }
    let arguments: Vec<&str> = rest.split(' ').filter(|word| !word.is_empty()).collect();
    let command = match (upper.as_str(), arguments.as_slice()) {
        ("CAPA", []) => Command::Capa,
        ("USER", [name]) => Command::User((*name).to_owned()),
        ("USER", _) => return Err("USER wants a name"),
        ("AUTH", []) => Command::Auth { mechanism: None, initial: None },
        ("AUTH", [mechanism]) => Command::Auth { mechanism: Some((*mechanism).to_owned()), initial: None },
        ("AUTH", [mechanism, initial]) => {
            Command::Auth { mechanism: Some((*mechanism).to_owned()), initial: Some((*initial).to_owned()) }
        }
        ("STAT", []) => Command::Stat,
        ("LIST", []) => Command::List(None),
        ("LIST", [message]) => Command::List(Some(number(message)?)),
        ("UIDL", []) => Command::Uidl(None),
        ("UIDL", [message]) => Command::Uidl(Some(number(message)?)),
        ("RETR", [message]) => Command::Retr(number(message)?),
        ("DELE", [message]) => Command::Dele(number(message)?),
        ("TOP", [message, lines]) => Command::Top(number(message)?, number(lines)?),
        ("RETR" | "DELE", _) => return Err("a message number is wanted"),
        ("TOP", _) => return Err("TOP wants a message number and a count of lines"),
        ("NOOP", []) => Command::Noop,
        ("RSET", []) => Command::Rset,
        ("QUIT", []) => Command::Quit,
        ("CAPA" | "AUTH" | "STAT" | "LIST" | "UIDL" | "NOOP" | "RSET" | "QUIT", _) => return Err("too many arguments"),
        _ => return Err("that is no POP3 command of this server"),
    };
    Ok(command)
}

fn number(text: &str) -> Result<usize, Wrong> {
    let digits = !text.is_empty() && text.len() <= 10 && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().map_err(|_| "the number is too large") } else { Err("that is not a number") }
}

/// Writes a message as RFC 1939 §3 wants it: every line ends in CRLF, a dot that begins one is doubled, and a line with
/// one dot ends it. `body_lines` bounds what follows the header (TOP).
pub fn write_message(message: &[u8], body_lines: Option<usize>, out: &mut Vec<u8>) {
    out.reserve(message.len() + message.len() / 32 + 8);
    let (mut in_body, mut left) = (false, body_lines.unwrap_or(usize::MAX));
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if in_body {
            if left == 0 {
                break;
            }
            left -= 1;
        }
        if text.first() == Some(&b'.') {
            out.push(b'.');
        }
        out.extend_from_slice(text);
        out.extend_from_slice(b"\r\n");
        in_body |= text.is_empty();
    }
    out.extend_from_slice(b".\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(message: &[u8], lines: Option<usize>) -> String {
        let mut out = Vec::new();
        write_message(message, lines, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_password_keeps_its_spaces() {
        match parse(b"pass  two words ") {
            Ok(Command::Pass(secret)) => assert_eq!(secret.expose(), " two words "),
            other => panic!("{other:?}"),
        }
        assert!(parse(b"PASS").is_err() && parse(b"PASS ").is_err());
    }

    #[test]
    fn commands_are_read_whatever_their_case_and_wrong_ones_are_told_why() {
        assert!(matches!(parse(b"top 3 0"), Ok(Command::Top(3, 0))));
        assert!(matches!(parse(b"LIST"), Ok(Command::List(None))));
        assert!(matches!(parse(b"AUTH PLAIN ="), Ok(Command::Auth { mechanism: Some(_), initial: Some(_) })));
        for wrong in ["", "RETR", "RETR x", "RETR -1", "RETR 99999999999", "TOP 1", "QUIT now", "APOP a b", "STLS"] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(parse(b"\xff").is_err());
    }

    #[test]
    fn dots_are_doubled_and_bare_line_feeds_become_crlf() {
        assert_eq!(written(b"A: b\n\n.x\r\n..\nend", None), "A: b\r\n\r\n..x\r\n...\r\nend\r\n.\r\n");
        assert_eq!(written(b"", None), ".\r\n");
    }

    #[test]
    fn top_gives_the_header_and_so_many_lines() {
        let message = b"A: b\r\n\r\none\r\n\r\nthree\r\n";
        assert_eq!(written(message, Some(0)), "A: b\r\n\r\n.\r\n");
        assert_eq!(written(message, Some(2)), "A: b\r\n\r\none\r\n\r\n.\r\n");
        assert_eq!(written(message, Some(99)), "A: b\r\n\r\none\r\n\r\nthree\r\n.\r\n");
    }

    proptest! {
        #[test]
        fn any_line_is_understood_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn any_message_is_written_with_one_end(bytes in proptest::collection::vec(prop_oneof![Just(b'.'), Just(b'\r'), Just(b'\n'), any::<u8>()], 0..200)) {
            let mut out = Vec::new();
            write_message(&bytes, None, &mut out);
            let ends = out.windows(5).filter(|window| *window == b"\r\n.\r\n").count();
            prop_assert!(ends <= 1 && out.ends_with(b".\r\n"));
            prop_assert!(ends == 1 || out == b".\r\n");
        }
    }
}
