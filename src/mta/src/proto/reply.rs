//! Replies, as the server writes them and as the client reads them (RFC 5321 §4.2, RFC 2034 enhanced codes).

use crate::limits;

/// What a server says: a code, an enhanced code where the reply has one, and lines of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    /// `5.1.1`; empty for greetings, EHLO and intermediate replies.
    pub enhanced: String,
    pub lines: Vec<String>,
}

impl Reply {
    pub fn new(code: u16, enhanced: &str, text: impl Into<String>) -> Self {
        Self { code, enhanced: enhanced.to_owned(), lines: vec![text.into()] }
    }

    pub fn many(code: u16, lines: Vec<String>) -> Self {
        Self { code, enhanced: String::new(), lines }
    }

    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.code)
    }

    pub fn is_permanent(&self) -> bool {
        (500..600).contains(&self.code)
    }

    /// Appends the reply as it goes over the wire. Text is made one printable line, whatever it came from.
    pub fn write(&self, out: &mut Vec<u8>) {
        let last = self.lines.len().saturating_sub(1);
        for (index, line) in self.lines.iter().enumerate() {
            let mark = if index == last { ' ' } else { '-' };
            let space = if self.enhanced.is_empty() { "" } else { " " };
            let text: String = line.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).take(400).collect();
            out.extend_from_slice(format!("{}{mark}{}{space}{text}\r\n", self.code, self.enhanced).as_bytes());
        }
    }

    /// The enhanced code, or a general one of the right class.
    pub fn status(&self) -> String {
        match self.enhanced.as_str() {
            "" => format!("{}.0.0", self.code / 100),
            known => known.to_owned(),
        }
    }

    /// The reply in one line, as a person reads it in a report.
    pub fn words(&self) -> String {
        let text = self.lines.join(" ");
        [self.code.to_string().as_str(), self.enhanced.as_str(), text.as_str()]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// Why a peer's reply makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the reply is not SMTP")]
pub struct ReplyError;

/// Collects the lines of one reply.
#[derive(Debug, Default)]
pub struct ReplyReader {
    code: Option<u16>,
    enhanced: String,
    lines: Vec<String>,
}

impl ReplyReader {
    /// Takes a line without its CRLF; gives the reply when it was the last.
    pub fn feed(&mut self, line: &[u8]) -> Result<Option<Reply>, ReplyError> {
        let digits = line.get(..3).and_then(|digits| std::str::from_utf8(digits).ok()).ok_or(ReplyError)?;
        let code: u16 = digits.parse().ok().filter(|code| (200..600).contains(code)).ok_or(ReplyError)?;
        let last = match line.get(3) {
            None | Some(b' ') => true,
            Some(b'-') => false,
            Some(_) => return Err(ReplyError),
        };
        if *self.code.get_or_insert(code) != code || self.lines.len() >= limits::REPLY_LINES {
            return Err(ReplyError);
        }
        let text = String::from_utf8_lossy(line.get(4..).unwrap_or_default());
        let (enhanced, text) = split_enhanced(code, &text);
        if self.enhanced.is_empty() {
            self.enhanced = enhanced.to_owned();
        }
        self.lines.push(text.chars().filter(|c| !c.is_control()).collect());
        if !last {
            return Ok(None);
        }
        let done = std::mem::take(self);
        Ok(Some(Reply { code, enhanced: done.enhanced, lines: done.lines }))
    }
}

/// Takes `5.1.1 ` off the front of a reply's text, when it is one of the code's class (RFC 3463 §2).
fn split_enhanced(code: u16, text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let parts: Vec<&str> = word.split('.').collect();
    let numbers = parts.iter().all(|part| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()));
    match parts.as_slice() {
        [class, _, _] if numbers && *class == (code / 100).to_string() => (word, rest),
        _ => ("", text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_reply_reads_back_as_it_was_written() {
        let reply = Reply { code: 550, enhanced: "5.1.1".into(), lines: vec!["no such".into(), "mailbox".into()] };
        let mut wire = Vec::new();
        reply.write(&mut wire);
        assert_eq!(wire, b"550-5.1.1 no such\r\n550 5.1.1 mailbox\r\n");
        let mut reader = ReplyReader::default();
        assert_eq!(reader.feed(b"550-5.1.1 no such"), Ok(None));
        assert_eq!(reader.feed(b"550 5.1.1 mailbox").unwrap().unwrap(), reply);
    }

    #[test]
    fn a_number_in_the_text_is_no_enhanced_code() {
        let reply = ReplyReader::default().feed(b"250 1.2.3 ok").unwrap().unwrap();
        assert_eq!((reply.enhanced.as_str(), reply.lines[0].as_str()), ("", "1.2.3 ok"));
        assert_eq!(reply.status(), "2.0.0");
    }

    #[test]
    fn text_from_elsewhere_cannot_add_a_line() {
        let mut wire = Vec::new();
        Reply::new(550, "5.0.0", "no\r\n250 yes").write(&mut wire);
        assert_eq!(wire, b"550 5.0.0 no??250 yes\r\n");
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_a_crash(line in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut reader = ReplyReader::default();
            let _ = reader.feed(&line);
            let _ = reader.feed(&line);
        }
    }
}
