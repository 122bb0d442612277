//! ManageSieve's commands and strings (RFC 5804 §2 and §4). Pure.
//!
//! A command arrives whole: its line, with each literal's octets behind the line end that announced it.

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Authenticate { mechanism: String, initial: Option<Vec<u8>> },
    StartTls,
    Logout,
    Capability,
    HaveSpace { name: String, octets: u64 },
    PutScript { name: String, text: Vec<u8> },
    CheckScript { text: Vec<u8> },
    ListScripts,
    SetActive { name: String },
    GetScript { name: String },
    DeleteScript { name: String },
    RenameScript { from: String, to: String },
    Noop { tag: Option<String> },
    Unauthenticate,
}

/// What the client is told is wrong.
pub type Wrong = &'static str;

/// A literal that a line announces at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// `{n+}`: this many octets follow.
    Octets(usize),
    /// `{n}`, or a number too large to be one: only servers send the first.
    Wrong,
}

/// The literal at the end of a line, if there is one.
pub fn announced(line: &[u8]) -> Option<Announced> {
    let open = line.iter().rposition(|byte| *byte == b'{')?;
    let digits = line[open + 1..].strip_suffix(b"}")?;
    let bare = digits.strip_suffix(b"+").unwrap_or(digits);
    if bare.is_empty() || !bare.iter().all(u8::is_ascii_digit) || in_quotes(&line[..open]) {
        return None;
    }
    let octets = std::str::from_utf8(bare).ok().and_then(|text| text.parse().ok());
    Some(match octets {
        Some(octets) if digits.len() > bare.len() => Announced::Octets(octets),
        _ => Announced::Wrong,
    })
}

/// Whether a line ends within a quoted string.
fn in_quotes(line: &[u8]) -> bool {
    let (mut quoted, mut escaped) = (false, false);
    for byte in line {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
    }
    quoted
}

/// Reads a whole command.
pub fn parse(bytes: &[u8]) -> Result<Command, Wrong> {
    let mut reader = Reader { rest: bytes };
    let verb = reader.word()?;
    let command = match verb.to_ascii_uppercase().as_str() {
        "AUTHENTICATE" => {
            let mechanism = reader.text()?;
            let initial = if reader.is_done() { None } else { Some(reader.string()?) };
            Command::Authenticate { mechanism, initial }
        }
        "STARTTLS" => Command::StartTls,
        "LOGOUT" => Command::Logout,
        "CAPABILITY" => Command::Capability,
        "HAVESPACE" => Command::HaveSpace { name: reader.text()?, octets: reader.number()? },
        "PUTSCRIPT" => Command::PutScript { name: reader.text()?, text: reader.string()? },
        "CHECKSCRIPT" => Command::CheckScript { text: reader.string()? },
        "LISTSCRIPTS" => Command::ListScripts,
        "SETACTIVE" => Command::SetActive { name: reader.text()? },
        "GETSCRIPT" => Command::GetScript { name: reader.text()? },
        "DELETESCRIPT" => Command::DeleteScript { name: reader.text()? },
        "RENAMESCRIPT" => Command::RenameScript { from: reader.text()?, to: reader.text()? },
        "NOOP" => Command::Noop { tag: if reader.is_done() { None } else { Some(reader.text()?) } },
        "UNAUTHENTICATE" => Command::Unauthenticate,
        _ => return Err("that is no ManageSieve command"),
    };
    if reader.is_done() { Ok(command) } else { Err("there is too much behind the command") }
}

/// Reads a line that is one string: a client's answer to a challenge. A bare `*` comes as itself.
pub fn response(bytes: &[u8]) -> Result<Vec<u8>, Wrong> {
    let mut reader = Reader { rest: bytes };
    let string = reader.string()?;
    if reader.is_done() { Ok(string) } else { Err("there is too much behind the string") }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn is_done(&mut self) -> bool {
        self.rest = self.rest.trim_ascii();
        self.rest.is_empty()
    }

    fn word(&mut self) -> Result<String, Wrong> {
        self.rest = self.rest.trim_ascii_start();
        let end = self.rest.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        if word.is_empty() { Err("a command is wanted") } else { Ok(String::from_utf8_lossy(word).into_owned()) }
    }

    fn number(&mut self) -> Result<u64, Wrong> {
        let word = self.word().map_err(|_| "a number is wanted")?;
        word.parse().map_err(|_| "a number is wanted")
    }

    fn text(&mut self) -> Result<String, Wrong> {
        String::from_utf8(self.string()?).map_err(|_| "a string is not UTF-8")
    }

    fn string(&mut self) -> Result<Vec<u8>, Wrong> {
        self.rest = self.rest.trim_ascii_start();
        match self.rest.first() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal(),
            _ => Err("a string is wanted, in quotes or as a literal"),
        }
    }

    fn quoted(&mut self) -> Result<Vec<u8>, Wrong> {
        let mut out = Vec::new();
        let mut bytes = self.rest.iter().enumerate().skip(1);
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(out);
                }
                b'\\' => match bytes.next() {
                    Some((_, escaped @ (b'"' | b'\\'))) => out.push(*escaped),
                    _ => return Err("only quotes and backslashes are escaped in a string"),
                },
                b'\r' | b'\n' | 0 => return Err("a string in quotes has no line breaks"),
                other => out.push(*other),
            }
        }
        Err("a string has no closing quote")
    }

    fn literal(&mut self) -> Result<Vec<u8>, Wrong> {
        let wrong = "a literal is not what was announced";
        let end = self.rest.windows(2).position(|pair| pair == b"\r\n").ok_or(wrong)?;
        let (head, rest) = self.rest.split_at(end);
        let Some(Announced::Octets(octets)) = announced(head) else { return Err("clients write literals as {n+}") };
        let (string, rest) = rest[2..].split_at_checked(octets).ok_or(wrong)?;
        self.rest = rest;
        Ok(string.to_vec())
    }
}

/// A string for the client: quoted where that is possible, else a literal.
pub fn string(text: &[u8]) -> Vec<u8> {
    let plain = text.len() <= 1024 && !text.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
    if !plain {
        let mut out = format!("{{{}}}\r\n", text.len()).into_bytes();
        out.extend_from_slice(text);
        return out;
    }
    let mut out = vec![b'"'];
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn commands_are_read_with_quoted_strings_and_literals() {
        let put = b"putscript \"a \\\"b\\\" \\\\\" {7+}\r\nkeep;\r\n";
        assert_eq!(parse(put), Ok(Command::PutScript { name: "a \"b\" \\".into(), text: b"keep;\r\n".to_vec() }));
        let rename = Command::RenameScript { from: "a".into(), to: "b".into() };
        assert_eq!(parse(b"RENAMESCRIPT {1+}\r\na {1+}\r\nb"), Ok(rename));
        assert_eq!(parse(b"HAVESPACE \"a\" 99"), Ok(Command::HaveSpace { name: "a".into(), octets: 99 }));
        assert_eq!(parse(b"NOOP"), Ok(Command::Noop { tag: None }));
        for wrong in [
            "",
            "PUTSCRIPT",
            "SETACTIVE a",
            "SETACTIVE \"a",
            "LOGOUT now",
            "HAVESPACE \"a\" -1",
            "\"x\"",
            "SETACTIVE \"\\a\"",
            "SETACTIVE {1}\r\na",
            "SETACTIVE {5+}\r\na",
            "SETACTIVE \"a\nb\"",
        ] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_literal_is_announced_at_the_end_of_a_line_and_outside_of_quotes() {
        assert_eq!(announced(b"PUTSCRIPT \"a\" {12+}"), Some(Announced::Octets(12)));
        assert_eq!(announced(b"PUTSCRIPT \"a\" {12}"), Some(Announced::Wrong));
        assert_eq!(announced(b"X {99999999999999999999+}"), Some(Announced::Wrong));
        assert_eq!(announced(b"SETACTIVE \"a {12+}"), None);
        assert_eq!(announced(b"SETACTIVE \"a\\\" {12+}"), None);
        assert_eq!(announced(b"SETACTIVE \"{1+}\""), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_understood_or_refused(bytes in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b'\\'), Just(b'{'), Just(b'+'), Just(b'}'), any::<u8>()], 0..80), verb in 0usize..4) {
            let mut line = [b"PUTSCRIPT ".as_slice(), b"AUTHENTICATE ", b"NOOP ", b""][verb].to_vec();
            line.extend_from_slice(&bytes);
            let _ = (parse(&line), announced(&line), response(&bytes));
        }

        #[test]
        fn any_string_is_read_as_it_was_written(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let written = string(&text);
            // Servers write literals without the plus; but for it a client's would look the same.
            let written = match text.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
                true => [format!("{{{}+}}\r\n", text.len()).as_bytes(), &text].concat(),
                false => written,
            };
            prop_assert_eq!(response(&written), Ok(text));
        }
    }
}
