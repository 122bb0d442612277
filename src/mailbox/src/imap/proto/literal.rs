//! Literals announced at the end of a line (RFC 9051 §4.3, RFC 7888; `~{…}` of RFC 3516 as well).

/// A literal that follows this line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    pub length: u64,
    /// Whether the client waits for a go-ahead.
    pub waits: bool,
}

/// Whether a line, without its line end, announces a literal: `{12}` or `{12+}`.
pub fn announced(line: &[u8]) -> Option<Announced> {
    let inner = line.strip_suffix(b"}")?;
    let open = inner.iter().rposition(|byte| *byte == b'{')?;
    let digits = &inner[open + 1..];
    let (digits, waits) = match digits.strip_suffix(b"+") {
        Some(digits) => (digits, false),
        None => (digits, true),
    };
    if digits.is_empty() || digits.len() > 19 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(Announced { length, waits })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_literal_are_seen_and_nothing_else() {
        assert_eq!(announced(b"a LOGIN {5}"), Some(Announced { length: 5, waits: true }));
        assert_eq!(announced(b"a LOGIN {5+}"), Some(Announced { length: 5, waits: false }));
        assert_eq!(announced(b"a APPEND x ~{5+}"), Some(Announced { length: 5, waits: false }));
        for other in [b"a LOGIN {}".as_slice(), b"{-1}", b"{5} ", b"5}", b"{99999999999999999999}"] {
            assert_eq!(announced(other), None);
        }
    }
}
