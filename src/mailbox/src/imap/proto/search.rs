//! Search keys (RFC 3501 §6.4.4) with ESEARCH's return options (RFC 4731).

use super::parser::{Parsed, Parser, bad};
use super::set::Set;
use crate::limits;
use jiff::civil::Date;
use store::Flags;

#[derive(Debug, Clone)]
pub struct Search {
    /// `None` for the classic SEARCH response.
    pub returns: Option<Vec<Return>>,
    /// All of which a message must meet.
    pub keys: Vec<Key>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Return {
    Min,
    Max,
    All,
    Count,
}

/// What a message may be asked. Text is lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    All,
    Numbers(Set),
    Uids(Set),
    Flag(Flags),
    Keyword(String),
    Recent,
    New,
    Old,
    /// In the header field: the text. An empty text asks only whether the field is there.
    Header {
        field: String,
        text: String,
    },
    Body(String),
    Text(String),
    Before(Date),
    On(Date),
    Since(Date),
    SentBefore(Date),
    SentOn(Date),
    SentSince(Date),
    Larger(u64),
    Smaller(u64),
    ModSeq(u64),
    Not(Box<Key>),
    Or(Box<Key>, Box<Key>),
    And(Vec<Key>),
}

impl Search {
    pub fn parse(p: &mut Parser<'_>) -> Parsed<Search> {
        let mut returns = None;
        if p.take_word("RETURN ") {
            returns = Some(return_options(p)?);
            p.space()?;
        }
        if p.take_word("CHARSET ") {
            let charset = p.astring()?;
            if ![b"UTF-8".as_slice(), b"US-ASCII"].iter().any(|known| charset.eq_ignore_ascii_case(known)) {
                return bad("searches are in UTF-8 or US-ASCII");
            }
            p.space()?;
        }
        let mut reader = Keys { left: limits::SEARCH_KEYS };
        Ok(Search { returns, keys: reader.several(p, 0)? })
    }

    /// Whether a key of this kind stands anywhere in it.
    pub fn any(&self, wanted: impl Fn(&Key) -> bool) -> bool {
        fn within(key: &Key, wanted: &dyn Fn(&Key) -> bool) -> bool {
            wanted(key)
                || match key {
                    Key::Not(inner) => within(inner, wanted),
                    Key::Or(a, b) => within(a, wanted) || within(b, wanted),
                    Key::And(keys) => keys.iter().any(|key| within(key, wanted)),
                    _ => false,
                }
        }
        self.keys.iter().any(|key| within(key, &wanted))
    }
}

fn return_options(p: &mut Parser<'_>) -> Parsed<Vec<Return>> {
    let mut options = p.list(|p| {
        Ok(match p.atom()?.to_ascii_uppercase().as_str() {
            "MIN" => Return::Min,
            "MAX" => Return::Max,
            "ALL" => Return::All,
            "COUNT" => Return::Count,
            other => return bad(format!("there is no search return option {other}")),
        })
    })?;
    if options.is_empty() {
        options.push(Return::All);
    }
    Ok(options)
}

struct Keys {
    left: usize,
}

impl Keys {
    fn several(&mut self, p: &mut Parser<'_>, depth: usize) -> Parsed<Vec<Key>> {
        let mut keys = vec![self.one(p, depth)?];
        while p.peek() == Some(b' ') {
            p.space()?;
            if p.at_end() {
                break;
            }
            keys.push(self.one(p, depth)?);
        }
        Ok(keys)
    }

    fn one(&mut self, p: &mut Parser<'_>, depth: usize) -> Parsed<Key> {
        if depth > limits::SEARCH_DEPTH || self.left == 0 {
            return bad("the search is nested too deep or has too many keys");
        }
        self.left -= 1;
        match p.peek() {
            Some(b'(') => {
                p.expect(b'(')?;
                let keys = self.several(p, depth + 1)?;
                p.expect(b')')?;
                return Ok(Key::And(keys));
            }
            Some(b'*' | b'0'..=b'9') => return Ok(Key::Numbers(Set::parse(p)?)),
            _ => {}
        }
        let name = p.atom()?.to_ascii_uppercase();
        match name.as_str() {
            "NOT" => {
                p.space()?;
                Ok(Key::Not(Box::new(self.one(p, depth + 1)?)))
            }
            "OR" => {
                p.space()?;
                let first = self.one(p, depth + 1)?;
                p.space()?;
                Ok(Key::Or(Box::new(first), Box::new(self.one(p, depth + 1)?)))
            }
            name => simple(name, p),
        }
    }
}

fn simple(name: &str, p: &mut Parser<'_>) -> Parsed<Key> {
    let flag = |flag| Ok(Key::Flag(flag));
    let not = |key| Ok(Key::Not(Box::new(key)));
    match name {
        "ALL" => Ok(Key::All),
        "ANSWERED" => flag(Flags::ANSWERED),
        "DELETED" => flag(Flags::DELETED),
        "DRAFT" => flag(Flags::DRAFT),
        "FLAGGED" => flag(Flags::FLAGGED),
        "SEEN" => flag(Flags::SEEN),
        "UNANSWERED" => not(Key::Flag(Flags::ANSWERED)),
        "UNDELETED" => not(Key::Flag(Flags::DELETED)),
        "UNDRAFT" => not(Key::Flag(Flags::DRAFT)),
        "UNFLAGGED" => not(Key::Flag(Flags::FLAGGED)),
        "UNSEEN" => not(Key::Flag(Flags::SEEN)),
        "RECENT" => Ok(Key::Recent),
        "NEW" => Ok(Key::New),
        "OLD" => Ok(Key::Old),
        "KEYWORD" => keyword(p),
        "UNKEYWORD" => not(keyword(p)?),
        "BCC" | "CC" | "FROM" | "SUBJECT" | "TO" => {
            Ok(Key::Header { field: name.to_ascii_lowercase(), text: text(p)? })
        }
        "HEADER" => {
            let field = text(p)?;
            Ok(Key::Header { field, text: text(p)? })
        }
        "BODY" => Ok(Key::Body(text(p)?)),
        "TEXT" => Ok(Key::Text(text(p)?)),
        "BEFORE" => Ok(Key::Before(date(p)?)),
        "ON" => Ok(Key::On(date(p)?)),
        "SINCE" => Ok(Key::Since(date(p)?)),
        "SENTBEFORE" => Ok(Key::SentBefore(date(p)?)),
        "SENTON" => Ok(Key::SentOn(date(p)?)),
        "SENTSINCE" => Ok(Key::SentSince(date(p)?)),
        "LARGER" => Ok(Key::Larger(long(p)?)),
        "SMALLER" => Ok(Key::Smaller(long(p)?)),
        "UID" => {
            p.space()?;
            Ok(Key::Uids(Set::parse(p)?))
        }
        "MODSEQ" => modseq(p),
        other => bad(format!("there is no search key {other}")),
    }
}

fn text(p: &mut Parser<'_>) -> Parsed<String> {
    p.space()?;
    let bytes = p.astring()?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.to_lowercase()),
        Err(_) => bad("the text searched for is not UTF-8"),
    }
}

fn keyword(p: &mut Parser<'_>) -> Parsed<Key> {
    p.space()?;
    Ok(Key::Keyword(p.atom()?.to_owned()))
}

fn long(p: &mut Parser<'_>) -> Parsed<u64> {
    p.space()?;
    p.long_number()
}

/// RFC 7162 §3.1.5; the entry, when named, makes no difference here.
fn modseq(p: &mut Parser<'_>) -> Parsed<Key> {
    p.space()?;
    if p.peek() == Some(b'"') {
        p.string()?;
        p.space()?;
        p.atom()?;
        p.space()?;
    }
    Ok(Key::ModSeq(p.long_number()?))
}

/// `1-Feb-1994`, perhaps in quotes.
fn date(p: &mut Parser<'_>) -> Parsed<Date> {
    p.space()?;
    let text = p.astring()?;
    let parsed = std::str::from_utf8(&text).ok().and_then(read_date);
    parsed.map_or_else(|| bad("a date looks like 21-Nov-2026"), Ok)
}

/// `21-Nov-2026`.
pub fn read_date(text: &str) -> Option<Date> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut parts = text.trim().split('-');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || year.len() != 4 {
        return None;
    }
    let month = MONTHS.iter().position(|known| known.eq_ignore_ascii_case(month))? + 1;
    Date::new(year.parse().ok()?, i8::try_from(month).ok()?, day.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Parsed<Vec<Key>> {
        let mut parser = Parser::new(text.as_bytes());
        let search = Search::parse(&mut parser)?;
        parser.end()?;
        Ok(search.keys)
    }

    #[test]
    fn nested_keys_are_understood() {
        let parsed = keys("OR (SEEN 1:3) NOT FROM \"Ann\" SINCE 1-Feb-1994").unwrap();
        assert_eq!(parsed.len(), 2);
        assert!(matches!(&parsed[0], Key::Or(a, b) if matches!(**a, Key::And(_)) && matches!(**b, Key::Not(_))));
    }

    #[test]
    fn endless_nesting_is_refused() {
        assert!(keys(&"(".repeat(5000)).is_err());
        assert!(keys(&format!("{}SEEN", "NOT ".repeat(5000))).is_err());
    }

    #[test]
    fn wrong_dates_and_keys_are_refused() {
        for wrong in ["SINCE 31-Feb-2026", "SINCE 2026-01-01", "FROB", "FROM", "LARGER x", "CHARSET KOI8-R ALL"] {
            assert!(keys(wrong).is_err(), "{wrong}");
        }
    }
}
