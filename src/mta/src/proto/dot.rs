//! The end of a message: reading it, and keeping a message's own dots from looking like it (RFC 5321 §4.5.2).
//!
//! # Smuggling
//!
//! A message ends with CRLF, a dot, CRLF. Some servers also take LF `.` LF, LF `.` CRLF or CR `.` CR for the end, and
//! some senders pass such bytes on untouched. An attacker who writes `LF . CRLF MAIL FROM:<ceo@…> …` into the *text* of
//! a message then has the sender vouch for one message and the receiver see two, the second one with any sender and
//! past every check. The defence: exactly one sequence ends a message, and a CR or LF that is not part of a CRLF, which
//! no honest mail program sends (RFC 5321 §2.3.8), is not mended and not passed on but ends the conversation. So
//! nothing that follows such a byte is ever read as a command, and no server after us sees one.

use crate::limits;
use memchr::{memchr_iter, memchr2};

/// Where in the message the reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// After CRLF, or at the very start.
    LineStart,
    /// Inside a line.
    Text,
    /// After a CR inside a line; only LF may follow.
    TextCr,
    /// After a dot at the start of a line: the end, or a stuffed dot.
    Dot,
    /// After CRLF `.` CR; only LF may follow, and ends the message.
    DotCr,
}

/// How a piece of input was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// All of it; the message goes on.
    All,
    /// The message ended; so many bytes belonged to it, the rest is the next command.
    End(usize),
}

/// Why a message cannot be taken. The conversation cannot go on after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DotError {
    #[error("a carriage return or line feed stands alone in the message")]
    BareNewline,
    #[error("a line of the message is longer than {} octets", limits::TEXT_LINE)]
    LongLine,
}

/// Reads a message up to its end and undoes the dot-stuffing.
#[derive(Debug)]
pub struct DotReader {
    state: State,
    /// Octets of the current line so far.
    line: usize,
}

impl Default for DotReader {
    fn default() -> Self {
        Self { state: State::LineStart, line: 0 }
    }
}

impl DotReader {
    /// Takes a piece of input and appends what it says to `out`.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Taken, DotError> {
        let mut position = 0;
        while let Some(&byte) = input.get(position) {
            if self.state == State::Text && byte != b'\r' && byte != b'\n' {
                position += self.run_of_text(input.get(position..).unwrap_or_default(), out)?;
                continue;
            }
            position += 1;
            self.state = match (self.state, byte) {
                (State::DotCr, b'\n') => return Ok(Taken::End(position)),
                (State::LineStart, b'.') => State::Dot,
                (State::Dot, b'\r') => State::DotCr,
                (State::TextCr, b'\n') => {
                    out.extend_from_slice(b"\r\n");
                    self.line = 0;
                    State::LineStart
                }
                (State::LineStart | State::Text, b'\r') => State::TextCr,
                (State::TextCr | State::DotCr, _) | (_, b'\n') => return Err(DotError::BareNewline),
                (State::LineStart | State::Text | State::Dot, byte) => {
                    out.push(byte);
                    self.line += 1;
                    State::Text
                }
            };
        }
        Ok(Taken::All)
    }

    /// Copies up to the next CR or LF in one go, and says how much that was.
    fn run_of_text(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, DotError> {
        let run = memchr2(b'\r', b'\n', input).unwrap_or(input.len());
        self.line += run;
        if self.line > limits::TEXT_LINE {
            return Err(DotError::LongLine);
        }
        out.extend_from_slice(input.get(..run).unwrap_or_default());
        Ok(run)
    }
}

/// Checks a message that did not come through a [`DotReader`] by the same rules. Its last line may lack its end.
pub fn check(message: &[u8]) -> Result<(), DotError> {
    let mut rest = message;
    while let Some(at) = memchr2(b'\r', b'\n', rest) {
        if at > limits::TEXT_LINE {
            return Err(DotError::LongLine);
        }
        rest = rest.get(at..).and_then(|rest| rest.strip_prefix(b"\r\n")).ok_or(DotError::BareNewline)?;
    }
    if rest.len() > limits::TEXT_LINE { Err(DotError::LongLine) } else { Ok(()) }
}

/// Writes a message so that no line of it looks like its end; works on pieces.
#[derive(Debug)]
pub struct DotWriter {
    at_line_start: bool,
}

impl Default for DotWriter {
    fn default() -> Self {
        Self { at_line_start: true }
    }
}

impl DotWriter {
    /// Appends a piece of the message, dots stuffed.
    pub fn feed(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        out.reserve(piece.len());
        // Up to each dot that begins a line, which is seldom: all between is copied in one go.
        let mut copied = 0;
        for at in memchr_iter(b'.', piece) {
            let begins_line = match at {
                0 => self.at_line_start,
                _ => piece.get(at - 1) == Some(&b'\n'),
            };
            if begins_line {
                out.extend_from_slice(piece.get(copied..at).unwrap_or_default());
                out.push(b'.');
                copied = at;
            }
        }
        out.extend_from_slice(piece.get(copied..).unwrap_or_default());
        if let Some(last) = piece.last() {
            self.at_line_start = *last == b'\n';
        }
    }

    /// Appends the end, with a CRLF before it where the message does not end in one.
    pub fn finish(self, out: &mut Vec<u8>) {
        if !self.at_line_start {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(input: &[u8]) -> (Result<Taken, DotError>, Vec<u8>) {
        let mut out = Vec::new();
        (DotReader::default().feed(input, &mut out), out)
    }

    #[test]
    fn crlf_dot_crlf_ends_a_message_and_the_next_command_is_left_alone() {
        assert_eq!(read(b"a\r\n.\r\nQUIT\r\n"), (Ok(Taken::End(6)), b"a\r\n".to_vec()));
        assert_eq!(read(b".\r\n"), (Ok(Taken::End(3)), Vec::new()));
        assert_eq!(read(b"..\r\n.x\r\n\r\n.\r\n"), (Ok(Taken::End(13)), b".\r\nx\r\n\r\n".to_vec()));
    }

    #[test]
    fn no_other_sequence_ends_a_message() {
        let variants: [&[u8]; 9] = [
            b"a\n.\r\nMAIL",
            b"a\r.\r\nMAIL",
            b"a\n.\nMAIL",
            b"a\r\n.\nMAIL",
            b"a\r\n.\rMAIL",
            b"a\r.\rMAIL",
            b"a\n\n.\r\n",
            b"a\r\r\n.\r\n",
            b"\n.\r\n",
        ];
        for variant in variants {
            assert_eq!(read(variant).0, Err(DotError::BareNewline), "{:?}", String::from_utf8_lossy(variant));
        }
    }

    #[test]
    fn a_message_of_announced_length_is_held_to_the_same_rules() {
        for well in [&b"a\r\n.\r\nb"[..], b"", b"\r\n"] {
            assert_eq!(check(well), Ok(()));
        }
        for wrong in [&b"a\nb"[..], b"a\rb\r\n", b"a\r", b"\r\r\n", b"\n"] {
            assert_eq!(check(wrong), Err(DotError::BareNewline), "{:?}", String::from_utf8_lossy(wrong));
        }
        assert_eq!(check(&vec![b'x'; limits::TEXT_LINE + 1]), Err(DotError::LongLine));
    }

    #[test]
    fn an_endless_line_is_refused_before_it_fills_the_memory() {
        assert_eq!(read(&vec![b'x'; limits::TEXT_LINE + 2]).0, Err(DotError::LongLine));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same_in_any_pieces(
            lines in proptest::collection::vec("[.a-c\u{e9}]{0,4}", 0..20), cut in 1usize..9,
        ) {
            let message: Vec<u8> = lines.iter().flat_map(|line| format!("{line}\r\n").into_bytes()).collect();
            let mut sent = Vec::new();
            let mut writer = DotWriter::default();
            message.chunks(cut).for_each(|piece| writer.feed(piece, &mut sent));
            writer.finish(&mut sent);
            let (mut reader, mut got, mut ended) = (DotReader::default(), Vec::new(), false);
            for piece in sent.chunks(cut) {
                prop_assert!(!ended);
                match reader.feed(piece, &mut got) {
                    Ok(Taken::All) => {}
                    Ok(Taken::End(at)) => { prop_assert_eq!(at, piece.len()); ended = true; }
                    Err(error) => prop_assert!(false, "{}", error),
                }
            }
            prop_assert!(ended);
            prop_assert_eq!(got, message);
        }

        #[test]
        fn any_bytes_are_read_without_a_crash_and_without_a_bare_newline_coming_through(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), any::<u8>()], 0..300),
        ) {
            let (_, out) = read(&bytes);
            for (at, byte) in out.iter().enumerate() {
                match byte {
                    b'\n' => prop_assert!(at > 0 && out[at - 1] == b'\r'),
                    b'\r' => prop_assert_eq!(out.get(at + 1), Some(&b'\n')),
                    _ => {}
                }
            }
        }
    }
}
