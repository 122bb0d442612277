//! Modified UTF-7 (RFC 3501 §5.1.3): printable ASCII stands for itself, `&` is `&-`, the rest is base64 of UTF-16
//! between `&` and `-`, with `,` for `/` and no padding.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/// Encodes any text.
pub fn encode(text: &str) -> String {
    encode_with(text, is_printable)
}

/// As [`encode`], with a dot written as `&AC4-`, since it separates levels in Maildir++ directory names.
pub fn encode_level(text: &str) -> String {
    encode_with(text, |c| is_printable(c) && c != '.')
}

fn is_printable(c: char) -> bool {
    (' '..='~').contains(&c)
}

fn encode_with(text: &str, plain: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut shifted: Vec<u16> = Vec::new();
    for c in text.chars() {
        if plain(c) {
            flush(&mut shifted, &mut out);
            out.push(c);
            if c == '&' {
                out.push('-');
            }
        } else {
            shifted.extend_from_slice(c.encode_utf16(&mut [0; 2]));
        }
    }
    flush(&mut shifted, &mut out);
    out
}

fn flush(units: &mut Vec<u16>, out: &mut String) {
    if units.is_empty() {
        return;
    }
    out.push('&');
    let (mut bits, mut count) = (0u32, 0u32);
    for unit in units.drain(..) {
        bits = (bits << 16) | u32::from(unit);
        count += 16;
        while count >= 6 {
            count -= 6;
            out.push(char::from(ALPHABET[(bits >> count) as usize & 63]));
        }
        bits &= (1 << count) - 1;
    }
    if count > 0 {
        out.push(char::from(ALPHABET[(bits << (6 - count)) as usize & 63]));
    }
    out.push('-');
}

/// Decodes; `None` for what is not modified UTF-7 in its one right form.
pub fn decode(text: &str) -> Option<String> {
    // What is not encoded in its one form would be a second name for the same folder.
    decode_any(text).filter(|decoded| encode(decoded) == text)
}

/// Decodes what [`encode_level`] wrote, with the same strictness.
pub fn decode_level(text: &str) -> Option<String> {
    decode_any(text).filter(|decoded| encode_level(decoded) == text)
}

fn decode_any(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if !is_printable(c) {
            return None;
        }
        if c != '&' {
            out.push(c);
            rest = &rest[1..];
            continue;
        }
        let (shifted, after) = rest[1..].split_once('-')?;
        if shifted.is_empty() {
            out.push('&');
        } else {
            out.push_str(&unshift(shifted)?);
        }
        rest = after;
    }
    Some(out)
}

fn unshift(base64: &str) -> Option<String> {
    let mut units = Vec::new();
    let (mut bits, mut count) = (0u32, 0u32);
    for byte in base64.bytes() {
        let value = ALPHABET.iter().position(|known| *known == byte)?;
        bits = (bits << 6) | u32::try_from(value).ok()?;
        count += 6;
        if count >= 16 {
            count -= 16;
            units.push(u16::try_from((bits >> count) & 0xffff).ok()?);
            bits &= (1 << count) - 1;
        }
    }
    String::from_utf16(&units).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_the_rfc_come_out_right() {
        assert_eq!(encode("~peter/mail/台北/日本語"), "~peter/mail/&U,BTFw-/&ZeVnLIqe-");
        assert_eq!(decode("~peter/mail/&U,BTFw-/&ZeVnLIqe-").unwrap(), "~peter/mail/台北/日本語");
        assert_eq!(encode("Entwürfe & mehr"), "Entw&APw-rfe &- mehr");
    }

    #[test]
    fn two_spellings_of_one_name_are_not_both_taken() {
        for bad in ["&AGE-", "&U,BTFw-&ZeVnLIqe-", "&", "&AB", "ü", "&2AA-"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_survives_the_round_trip(text in any::<String>()) {
            prop_assert_eq!(decode(&encode(&text)), Some(text.clone()));
            prop_assert!(!encode_level(&text).contains('.'));
            prop_assert_eq!(decode_level(&encode_level(&text)), Some(text));
        }
    }
}
