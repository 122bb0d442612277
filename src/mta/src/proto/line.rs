//! Cutting lines off a buffer. A line ends with CRLF and nothing else.

use bytes::BytesMut;

/// What stands at the start of a buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A whole line, without its CRLF.
    Whole(Vec<u8>),
    /// A line with a CR or LF that is not part of a CRLF; it was taken off the buffer up to the LF.
    Broken,
    /// Longer than the bound, and no end in sight.
    TooLong,
    /// More has to be read.
    Partial,
}

/// Takes the next line off `buffer`; `longest` counts the CRLF.
pub fn take(buffer: &mut BytesMut, longest: usize) -> Line {
    let Some(end) = buffer.iter().take(longest).position(|byte| *byte == b'\n') else {
        return if buffer.len() >= longest { Line::TooLong } else { Line::Partial };
    };
    let line = buffer.split_to(end + 1);
    match line.strip_suffix(b"\r\n") {
        Some(text) if !text.contains(&b'\r') => Line::Whole(text.to_vec()),
        _ => Line::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn first(text: &[u8]) -> Line {
        take(&mut BytesMut::from(text), 20)
    }

    #[test]
    fn only_crlf_ends_a_line() {
        assert_eq!(first(b"NOOP\r\nQUIT"), Line::Whole(b"NOOP".to_vec()));
        assert_eq!(first(b"NOOP\nQUIT\r\n"), Line::Broken);
        assert_eq!(first(b"NO\rOP\r\n"), Line::Broken);
        assert_eq!(first(b"NOOP\r"), Line::Partial);
        assert_eq!(first(&[b'x'; 20]), Line::TooLong);
    }

    proptest! {
        #[test]
        fn any_bytes_are_cut_without_a_crash(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while !matches!(take(&mut buffer, 30), Line::Partial | Line::TooLong) {}
        }
    }
}
