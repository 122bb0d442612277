//! LMTP's commands (RFC 2033 §4, RFC 5321 §4.1). Pure.

use base::Address;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Lhlo,
    /// The reverse-path as it was written between the brackets; empty for bounces.
    Mail(String),
    Rcpt(Address),
    Data,
    Rset,
    Noop,
    Vrfy,
    Quit,
}

/// A refusal, as the reply that is sent.
pub type Refusal = String;

/// Reads one line, without its line end.
pub fn parse(line: &[u8]) -> Result<Command, Refusal> {
    let text = std::str::from_utf8(line).map_err(|_| "500 5.5.2 the command is not UTF-8".to_owned())?;
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    match verb.to_ascii_uppercase().as_str() {
        "LHLO" if !rest.trim().is_empty() => Ok(Command::Lhlo),
        "LHLO" => Err("501 5.5.4 LHLO names the client".into()),
        "HELO" | "EHLO" => Err("500 5.5.1 this is LMTP; begin with LHLO".into()),
        "MAIL" => sender(rest).map(Command::Mail),
        "RCPT" => {
            let path = path(rest, "TO:")?;
            let address = Address::parse(path).map_err(|why| format!("501 5.1.3 {why}"))?;
            Ok(Command::Rcpt(address))
        }
        "DATA" => Ok(Command::Data),
        "RSET" => Ok(Command::Rset),
        "NOOP" => Ok(Command::Noop),
        "VRFY" => Ok(Command::Vrfy),
        "QUIT" => Ok(Command::Quit),
        _ => Err("500 5.5.1 that is no LMTP command".into()),
    }
}

fn sender(rest: &str) -> Result<String, Refusal> {
    let path = path(rest, "FROM:")?;
    if path.len() > 320 || path.chars().any(|c| c.is_control() || c == '<' || c == '>') {
        return Err("501 5.1.7 the sender's address cannot be used".into());
    }
    Ok(path.to_owned())
}

/// What stands in angle brackets after `FROM:` or `TO:`. Parameters (BODY, SIZE) make no difference here.
fn path<'a>(rest: &'a str, keyword: &str) -> Result<&'a str, Refusal> {
    let wrong = || format!("501 5.5.4 expected {keyword}<address>");
    let rest = rest.trim_start();
    let head = rest.get(..keyword.len()).filter(|head| head.eq_ignore_ascii_case(keyword)).ok_or_else(wrong)?;
    let inner = rest[head.len()..].trim_start().strip_prefix('<').ok_or_else(wrong)?;
    let (path, _) = inner.split_once('>').ok_or_else(wrong)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_commands_are_read() {
        assert_eq!(parse(b"lhlo mta"), Ok(Command::Lhlo));
        assert_eq!(parse(b"MAIL FROM:<> BODY=8BITMIME"), Ok(Command::Mail(String::new())));
        assert_eq!(parse(b"MAIL FROM:<a@b.org> SIZE=10"), Ok(Command::Mail("a@b.org".into())));
        assert!(matches!(parse(b"RCPT TO:<ann+x@example.org>"), Ok(Command::Rcpt(_))));
        for wrong in [b"EHLO x".as_slice(), b"MAIL a@b", b"RCPT TO:<a>", b"RCPT TO:<a@b", b"", b"\xff"] {
            assert!(parse(wrong).unwrap_err().starts_with('5'));
        }
    }

    proptest! {
        #[test]
        fn any_line_is_understood_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse(&bytes);
        }
    }
}
