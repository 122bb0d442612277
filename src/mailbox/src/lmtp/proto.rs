//! LMTP's commands (RFC 2033 §4, RFC 5321 §4.1). Pure.

use base::Address;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Lhlo,
    /// The reverse-path as it was written between the brackets, empty for bounces; the announced size (RFC 1870).
    Mail {
        sender: String,
        size: Option<usize>,
    },
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
        "MAIL" => sender(rest),
        "RCPT" => {
            let (path, _) = path(rest, "TO:")?;
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

fn sender(rest: &str) -> Result<Command, Refusal> {
    let (path, parameters) = path(rest, "FROM:")?;
    if path.len() > 320 || path.chars().any(|c| c.is_control() || c == '<' || c == '>') {
        return Err("501 5.1.7 the sender's address cannot be used".into());
    }
    let mut size = None;
    for parameter in parameters.split(' ') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if name.eq_ignore_ascii_case("SIZE") {
            size = Some(value.parse().map_err(|_| "501 5.5.4 the SIZE is no number")?);
        }
    }
    Ok(Command::Mail { sender: path.to_owned(), size })
}

/// What stands in angle brackets after `FROM:` or `TO:`, and the parameters behind it.
fn path<'a>(rest: &'a str, keyword: &str) -> Result<(&'a str, &'a str), Refusal> {
    let wrong = || format!("501 5.5.4 expected {keyword}<address>");
    let rest = rest.trim_start();
    let head = rest.get(..keyword.len()).filter(|head| head.eq_ignore_ascii_case(keyword)).ok_or_else(wrong)?;
    let inner = rest[head.len()..].trim_start().strip_prefix('<').ok_or_else(wrong)?;
    inner.split_once('>').ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_commands_are_read() {
        assert_eq!(parse(b"lhlo mta"), Ok(Command::Lhlo));
        let mail = |sender: &str, size| Ok(Command::Mail { sender: sender.into(), size });
        assert_eq!(parse(b"MAIL FROM:<> BODY=8BITMIME"), mail("", None));
        assert_eq!(parse(b"MAIL FROM:<a@b.org> BODY=8BITMIME size=10"), mail("a@b.org", Some(10)));
        assert!(parse(b"MAIL FROM:<a@b.org> SIZE=x").is_err());
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
