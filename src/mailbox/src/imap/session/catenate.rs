//! The URLs that CATENATE takes (RFC 4469 §3, RFC 5092): messages and parts of the same account, by absolute path:
//! `/INBOX;UIDVALIDITY=3/;UID=20/;SECTION=1.2/;PARTIAL=0.100`.

use super::section;
use crate::imap::proto::{self, Parser, Partial, Section};
use store::mime::Parsed;
use store::{Account, FolderName, StoreError, Uid};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    folder: FolderName,
    validity: Option<u32>,
    uid: Uid,
    section: Option<Section>,
    partial: Option<Partial>,
}

impl Target {
    /// `None` for what is no such URL.
    pub fn parse(url: &[u8]) -> Option<Target> {
        let path = std::str::from_utf8(url).ok()?.strip_prefix('/')?;
        let (mailbox, message) = path.split_once("/;UID=").or_else(|| path.split_once("/;uid="))?;
        let (name, validity) = match split(mailbox, ";UIDVALIDITY=") {
            Some((name, validity)) => (name, Some(validity.parse().ok().filter(|validity| *validity > 0)?)),
            None => (mailbox, None),
        };
        let mut pieces = message.split("/;");
        let uid = Uid(pieces.next()?.parse().ok().filter(|uid| *uid > 0)?);
        let (mut part, mut partial) = (None, None);
        for piece in pieces {
            if let Some(("", value)) = split(piece, "SECTION=") {
                let decoded = unescaped(value)?;
                let mut parser = Parser::new(decoded.as_bytes());
                part = Some(proto::section(&mut parser).ok().filter(|_| parser.at_end())?);
            } else if let Some(("", value)) = split(piece, "PARTIAL=") {
                let (first, count) = value.split_once('.').unwrap_or((value, "4294967295"));
                partial = Some(Partial { first: first.parse().ok()?, count: count.parse().ok()? });
            } else {
                return None;
            }
        }
        let folder = FolderName::parse(&unescaped(name)?).ok()?;
        Some(Target { folder, validity, uid, section: part, partial })
    }

    /// What it points at; `None` when there is no such thing.
    pub fn bytes(&self, account: &Account) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(folder) = account.folder(&self.folder)? else { return Ok(None) };
        if self.validity.is_some_and(|validity| validity != folder.validity.0) {
            return Ok(None);
        }
        let message = account.read(folder.id, self.uid)?;
        let whole = Section { path: Vec::new(), text: proto::Text::All };
        let wanted = self.section.as_ref().unwrap_or(&whole);
        let root = Parsed::of(&message).root;
        let found = section::bytes(&message, &root, wanted);
        Ok(found.map(|bytes| section::cut(&bytes, self.partial).to_vec()))
    }
}

/// Splits at a word, whatever its case.
fn split<'a>(text: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    let at = text.to_ascii_uppercase().find(word)?;
    Some((&text[..at], &text[at + word.len()..]))
}

/// `%20` and the like undone (RFC 3986 §2.1).
fn unescaped(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let (high, low) = (char::from(bytes.next()?).to_digit(16)?, char::from(bytes.next()?).to_digit(16)?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn urls_name_a_folder_a_message_and_a_part() {
        let target = Target::parse(b"/Drafts;UIDVALIDITY=385759045/;UID=20/;section=1.2.MIME/;partial=3.5").unwrap();
        assert_eq!((target.folder.as_str(), target.validity, target.uid), ("Drafts", Some(385_759_045), Uid(20)));
        assert_eq!(target.section.unwrap().path, [1, 2]);
        assert_eq!(target.partial, Some(Partial { first: 3, count: 5 }));
        let target = Target::parse("/Entw%C3%BCrfe%20neu/;UID=1".as_bytes()).unwrap();
        assert_eq!(target.folder.as_str(), "Entwürfe neu");
    }

    #[test]
    fn other_urls_are_refused() {
        for wrong in
            ["imap://elsewhere/INBOX/;UID=1", "/INBOX", "/INBOX/;UID=0", "/INBOX/;UID=1/;FROB=2", "/%zz/;UID=1"]
        {
            assert_eq!(Target::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_url_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..60), path in "(/|;|UID=|%|1|SECTION=|é){0,12}") {
            let _ = Target::parse(&bytes);
            let _ = Target::parse(path.as_bytes());
        }
    }
}
