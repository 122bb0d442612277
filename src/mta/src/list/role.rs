//! What is meant by a list's address: the list itself, or something behind a `+`. Pure.

use base::Address;

/// What a letter to one of a list's addresses is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    Post,
    Owner,
    Help,
    Subscribe,
    Unsubscribe,
    /// Each with its token.
    Confirm(String),
    Leave(String),
    Bounces(String),
    Approve(String),
    Reject(String),
}

impl Role {
    /// Reads the tag of an address of a list; `None` for one that means nothing.
    pub fn of(address: &Address) -> Option<Self> {
        let Some((_, tag)) = address.local().split_once('+') else { return Some(Self::Post) };
        let tag = tag.to_ascii_lowercase();
        let (word, token) = tag.split_once('-').map_or((tag.as_str(), None), |(word, token)| (word, Some(token)));
        let token = token.filter(|token| !token.is_empty()).map(str::to_owned);
        Some(match (word, token) {
            ("owner", None) => Self::Owner,
            ("help", None) => Self::Help,
            ("subscribe", None) => Self::Subscribe,
            ("unsubscribe", None) => Self::Unsubscribe,
            ("unsubscribe", Some(token)) => Self::Leave(token),
            ("confirm", Some(token)) => Self::Confirm(token),
            ("bounces", Some(token)) => Self::Bounces(token),
            ("approve", Some(token)) => Self::Approve(token),
            ("reject", Some(token)) => Self::Reject(token),
            _ => return None,
        })
    }
}

/// `local+tag@domain` of a list. A list's own name is short enough for all of them (the directory sees to it).
pub fn tagged(list: &Address, tag: &str) -> Option<Address> {
    Address::new(&format!("{}+{tag}", list.local()), list.domain().clone()).ok()
}

/// What List-Id says between its angle brackets (RFC 2919 §2).
pub fn id(list: &Address) -> String {
    let local: String =
        list.local().chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
    format!("{local}.{}", list.domain())
}

/// Whether a `List-Id` value is that of the list.
pub fn is_id_of(value: &str, list: &Address) -> bool {
    let inside = value.rsplit_once('<').map_or(value, |(_, rest)| rest).trim_end().trim_end_matches('>');
    inside.trim().eq_ignore_ascii_case(&id(list))
}

/// The whole field, with the list's name in it.
pub fn id_field(name: &str, list: &Address) -> String {
    format!("List-Id: {} <{}>\r\n", phrase(name), id(list))
}

/// A name as a phrase of a header (RFC 5322 §3.2.5), encoded where it is not ASCII (RFC 2047).
pub fn phrase(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || " '-_".contains(c);
    if name.chars().all(plain) {
        return name.trim().to_owned();
    }
    if name.is_ascii() {
        let quoted: String = name.chars().filter(|c| !c.is_ascii_control()).collect();
        return format!("\"{}\"", quoted.replace('\\', "\\\\").replace('"', "\\\""));
    }
    let mut words = Vec::new();
    let mut piece = String::new();
    for c in name.chars().filter(|c| !c.is_control()) {
        // 42 octets are 56 in base64; an encoded word has 75 at most.
        if piece.len() + c.len_utf8() > 42 {
            words.push(std::mem::take(&mut piece));
        }
        piece.push(c);
    }
    words.push(piece);
    let encoded = |word: &String| {
        use base64::Engine;
        format!("=?utf-8?B?{}?=", base64::engine::general_purpose::STANDARD.encode(word))
    };
    words.iter().map(encoded).collect::<Vec<_>>().join("\r\n ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn a_lists_addresses_mean_what_they_say() {
        for (text, role) in [
            ("club@example.org", Some(Role::Post)),
            ("Club+Unsubscribe@example.org", Some(Role::Unsubscribe)),
            ("club+unsubscribe-ABC@example.org", Some(Role::Leave("abc".into()))),
            ("club+bounces-abc@example.org", Some(Role::Bounces("abc".into()))),
            ("club+owner@example.org", Some(Role::Owner)),
            ("club+confirm@example.org", None),
            ("club+approve-@example.org", None),
            ("club+whatever@example.org", None),
        ] {
            assert_eq!(Role::of(&address(text)), role, "{text}");
        }
    }

    #[test]
    fn a_list_knows_its_own_id() {
        let club = address("club@example.org");
        assert_eq!(id_field("The club", &club), "List-Id: The club <club.example.org>\r\n");
        assert!(is_id_of("The club <Club.Example.org>", &club) && is_id_of("club.example.org", &club));
        assert!(!is_id_of("Another <club2.example.org>", &club));
        assert_eq!(phrase("Café"), "=?utf-8?B?Q2Fmw6k=?=");
        assert_eq!(phrase("A, B \"C\""), "\"A, B \\\"C\\\"\"");
    }

    proptest! {
        #[test]
        fn any_name_makes_one_header_field(name in ".{0,100}") {
            let phrase = phrase(&name);
            prop_assert!(phrase.is_ascii());
            prop_assert!(phrase.split("\r\n").skip(1).all(|line| line.starts_with(' ')));
            prop_assert!(!phrase.replace("\r\n ", "").contains(['\r', '\n']));
        }
    }
}
