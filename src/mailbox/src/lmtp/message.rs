//! The message on its way into a mailbox: reading DATA, the verdict that the MTA put before it, the fields we add.

use base::Address;
use store::mime::fields;

/// Takes the lines of DATA (RFC 5321 §4.5.2). Only CRLF.CRLF ends it: a dot between other line ends is content.
#[derive(Default)]
pub struct DataReader {
    message: Vec<u8>,
    /// Whether the line before did not end in CRLF, so that this one does not begin a line.
    within_line: bool,
    too_large: bool,
}

impl DataReader {
    /// Takes what was read up to a LF (or a part of a long line). Tells whether that was the end.
    pub fn take(&mut self, line: &[u8], most: usize) -> bool {
        let mut line = line;
        if !self.within_line {
            if line == b".\r\n" {
                return true;
            }
            line = line.strip_prefix(b".").unwrap_or(line);
        }
        self.within_line = !line.ends_with(b"\r\n");
        if self.message.len() + line.len() > most {
            // The rest is read to its end, and not kept.
            self.too_large = true;
            self.message = Vec::new();
        }
        if !self.too_large {
            self.message.extend_from_slice(line);
        }
        false
    }

    /// The message; `None` when it was too large.
    pub fn finish(self) -> Option<Vec<u8>> {
        (!self.too_large).then_some(self.message)
    }
}

/// Whether the MTA's first `X-Mailstead-Verdict` says junk. The MTA removes such fields that strangers send.
pub fn is_junk(message: &[u8]) -> bool {
    let verdict = fields(message).find(|field| field.is("X-Mailstead-Verdict"));
    verdict.is_some_and(|field| field.value.trim_ascii_start().to_ascii_lowercase().starts_with(b"junk"))
}

/// The message as it is kept: with the path it came by (RFC 5321 §4.4) and whose mailbox it is.
pub fn kept(message: &[u8], sender: &str, account: &Address) -> Vec<u8> {
    let mut out = format!("Return-Path: <{sender}>\r\nDelivered-To: {account}\r\n").into_bytes();
    out.reserve_exact(message.len());
    out.extend_from_slice(message);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(input: &[u8]) -> Option<Vec<u8>> {
        let mut reader = DataReader::default();
        for line in input.split_inclusive(|byte| *byte == b'\n') {
            if reader.take(line, 1000) {
                return reader.finish();
            }
        }
        None
    }

    #[test]
    fn only_a_dot_between_proper_line_ends_ends_the_message() {
        assert_eq!(read(b"a\r\n..b\r\n.\r\n").unwrap(), b"a\r\n.b\r\n");
        assert_eq!(read(b"a\n.\r\nb\r\n.\r\n").unwrap(), b"a\n.\r\nb\r\n");
        assert_eq!(read(b"a\r\n.\n\r\n.\r\n").unwrap(), b"a\r\n\n\r\n");
        assert_eq!(read(b".\r\n").unwrap(), b"");
    }

    #[test]
    fn the_first_verdict_counts() {
        assert!(is_junk(b"Received: x\r\nX-Mailstead-Verdict: junk; score=7.1\r\n\r\n"));
        assert!(!is_junk(b"X-Mailstead-Verdict: accept; score=0\r\nX-Mailstead-Verdict: junk\r\n\r\n"));
        assert!(!is_junk(b"Subject: x\r\n\r\nX-Mailstead-Verdict: junk\r\n"));
    }

    proptest! {
        #[test]
        fn whatever_is_sent_stuffed_comes_out_the_same(lines in proptest::collection::vec("[.a\n]{0,5}", 0..20)) {
            let message: Vec<u8> = lines.iter().flat_map(|line| [line.as_bytes(), b"\r\n"].concat()).collect();
            let mut sent = Vec::new();
            let mut start = true;
            for (index, byte) in message.iter().enumerate() {
                if start && *byte == b'.' {
                    sent.push(b'.');
                }
                sent.push(*byte);
                start = *byte == b'\n' && index > 0 && message[index - 1] == b'\r';
            }
            sent.extend_from_slice(b".\r\n");
            prop_assert_eq!(read(&sent), Some(message));
        }
    }
}
