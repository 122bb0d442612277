//! xtext (RFC 3461 §4): how a value with any characters stands in a parameter. Bounded by the command line.

/// Decodes `+3D` and the like; `None` when the text is not xtext, or not UTF-8 once decoded, or has control characters,
/// which nothing that is sent on in a report may have.
pub fn decode(text: &str) -> Option<String> {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => {
                let (digits, after) = rest.split_at_checked(2)?;
                let upper = digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F'));
                let digits = std::str::from_utf8(digits).ok().filter(|_| upper)?;
                out.push(u8::from_str_radix(digits, 16).ok()?);
                rest = after;
            }
            b'=' | 0..=b' ' | 0x7f.. => return None,
            byte => out.push(*byte),
        }
    }
    let decoded = String::from_utf8(out).ok()?;
    (!decoded.chars().any(char::is_control)).then_some(decoded)
}

/// Writes a value as xtext.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'+' | b'=' | 0..=b' ' | 0x7f.. => out.push_str(&format!("+{byte:02X}")),
            byte => out.push(char::from(byte)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_xtext_is_not_guessed_at() {
        assert_eq!(decode("a+3Db+2Bc").as_deref(), Some("a=b+c"));
        for wrong in ["a=b", "a b", "+3", "+", "+3d", "+GG", "\u{fc}", "+0A", "+FF"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_survives(text in "[^\\p{Cc}]{0,60}") {
            prop_assert_eq!(decode(&encode(&text)), Some(text));
        }

        #[test]
        fn any_text_is_read_without_a_crash(text in ".{0,60}") {
            let _ = decode(&text);
        }
    }
}
