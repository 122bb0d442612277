//! Tokens of commands: atoms, strings, numbers, lists.

/// Why a command was not understood; the sentence goes to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Bad(pub String);

pub type Parsed<T> = Result<T, Bad>;

pub fn bad<T>(why: impl Into<String>) -> Parsed<T> {
    Err(Bad(why.into()))
}

/// The tag of a command line, if it has a proper one; what a BAD reply is labelled with.
pub fn tag_of(line: &[u8]) -> Option<&str> {
    let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    let tag = &line[..end];
    let plain = !tag.is_empty() && tag.len() <= 100 && tag.iter().all(|byte| is_astring_char(*byte) && *byte != b'+');
    plain.then(|| std::str::from_utf8(tag).ok())?
}

/// RFC 3501 §9, ATOM-CHAR.
pub fn is_atom_char(byte: u8) -> bool {
    (0x21..0x7f).contains(&byte) && !b"(){%*\"\\]".contains(&byte)
}

/// ASTRING-CHAR.
pub fn is_astring_char(byte: u8) -> bool {
    is_atom_char(byte) || byte == b']'
}

/// A cursor over one command, its literals in place, its last line end cut.
pub struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Parser<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    pub fn at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        if there {
            self.at += 1;
        }
        there
    }

    /// Takes a word if it is next, whatever its case.
    pub fn take_word(&mut self, word: &str) -> bool {
        let there = self.rest().get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word.as_bytes()));
        if there {
            self.at += word.len();
        }
        there
    }

    pub fn expect(&mut self, byte: u8) -> Parsed<()> {
        if self.take(byte) {
            return Ok(());
        }
        bad(format!("expected “{}” {}", char::from(byte), self.here()))
    }

    pub fn space(&mut self) -> Parsed<()> {
        if !self.take(b' ') {
            return bad(format!("expected a space {}", self.here()));
        }
        // Some clients send two.
        while self.take(b' ') {}
        Ok(())
    }

    pub fn end(&mut self) -> Parsed<()> {
        while self.take(b' ') {}
        if self.at_end() { Ok(()) } else { bad(format!("nothing more was expected {}", self.here())) }
    }

    /// Where the parser stands, for messages.
    pub fn here(&self) -> String {
        match self.rest() {
            [] => "at the end".to_owned(),
            rest => {
                let shown: String = String::from_utf8_lossy(&rest[..rest.len().min(20)]).escape_default().collect();
                format!("at “{shown}”")
            }
        }
    }

    pub fn run(&mut self, allowed: impl Fn(u8) -> bool) -> &'a [u8] {
        let start = self.at;
        while self.peek().is_some_and(&allowed) {
            self.at += 1;
        }
        &self.bytes[start..self.at]
    }

    /// An atom, as text.
    pub fn atom(&mut self) -> Parsed<&'a str> {
        let atom = self.run(is_atom_char);
        match std::str::from_utf8(atom) {
            Ok(text) if !text.is_empty() => Ok(text),
            _ => bad(format!("expected a word {}", self.here())),
        }
    }

    pub fn number(&mut self) -> Parsed<u32> {
        let digits = self.run(|byte| byte.is_ascii_digit());
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        number.ok_or_else(|| Bad(format!("expected a number below 2^32 {}", self.here())))
    }

    /// A number of 63 bits (RFC 7162 §7).
    pub fn long_number(&mut self) -> Parsed<u64> {
        let digits = self.run(|byte| byte.is_ascii_digit());
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        number
            .filter(|number| *number <= i64::MAX as u64)
            .ok_or_else(|| Bad(format!("expected a number {}", self.here())))
    }

    /// A quoted string or literal.
    pub fn string(&mut self) -> Parsed<Vec<u8>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal().map(<[u8]>::to_vec),
            Some(b'~') if self.rest().starts_with(b"~{") => self.literal8().map(<[u8]>::to_vec),
            _ => bad(format!("expected a string {}", self.here())),
        }
    }

    pub fn astring(&mut self) -> Parsed<Vec<u8>> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(),
            _ => match self.run(is_astring_char) {
                [] => bad(format!("expected a string {}", self.here())),
                atom => Ok(atom.to_vec()),
            },
        }
    }

    /// A mailbox name or LIST pattern: an astring that may have wildcards. Plain UTF-8 is let through as well.
    pub fn list_mailbox(&mut self) -> Parsed<Vec<u8>> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(),
            _ => match self.run(|byte| is_astring_char(byte) || byte == b'%' || byte == b'*') {
                [] => bad(format!("expected a mailbox name {}", self.here())),
                atom => Ok(atom.to_vec()),
            },
        }
    }

    fn quoted(&mut self) -> Parsed<Vec<u8>> {
        let mut out = Vec::new();
        self.at += 1;
        loop {
            let byte = self.peek();
            self.at += 1;
            match byte {
                Some(b'"') => return Ok(out),
                Some(b'\\') => {
                    let escaped = self.peek();
                    self.at += 1;
                    match escaped {
                        Some(byte @ (b'"' | b'\\')) => out.push(byte),
                        _ => return bad("a backslash in a quoted string stands only before a quote or a backslash"),
                    }
                }
                None | Some(b'\r' | b'\n' | 0) => return bad("a quoted string is not closed on its line"),
                Some(byte) => out.push(byte),
            }
        }
    }

    /// A literal without NUL octets.
    pub fn literal(&mut self) -> Parsed<&'a [u8]> {
        let bytes = self.sized()?;
        if bytes.contains(&0) {
            return bad("a literal with a NUL octet is written ~{…} (RFC 3516)");
        }
        Ok(bytes)
    }

    /// A literal, or one of any octets, `~{…}` (RFC 3516 §4).
    pub fn literal8(&mut self) -> Parsed<&'a [u8]> {
        if self.take(b'~') { self.sized() } else { self.literal() }
    }

    fn sized(&mut self) -> Parsed<&'a [u8]> {
        self.expect(b'{')?;
        let length = self.number()? as usize;
        self.take(b'+');
        self.expect(b'}')?;
        if !(self.take(b'\r') && self.take(b'\n')) {
            return bad("a literal begins on a new line");
        }
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let Some(end) = end else { return bad("a literal is shorter than was announced") };
        let bytes = &self.bytes[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    /// `(item item …)`, perhaps empty.
    pub fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        self.expect(b'(')?;
        let mut out = Vec::new();
        loop {
            while self.take(b' ') {}
            if self.take(b')') {
                return Ok(out);
            }
            if out.len() >= 1000 {
                return bad("the list has too many items");
            }
            out.push(item(self)?);
            if !matches!(self.peek(), Some(b' ' | b')')) {
                return bad(format!("expected a space or the end of the list {}", self.here()));
            }
        }
    }
}
