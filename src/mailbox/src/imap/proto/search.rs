//! Search keys (RFC 9051 §6.4.4) with the return options of ESEARCH and its kin.

use super::parser::{Parsed, Parser, bad};
use super::set::{Set, Window};
use crate::limits;
use jiff::civil::Date;
use store::Flags;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// `None` for the response that the session's revision of IMAP has by default.
    pub returns: Option<Returns>,
    pub charset: Charset,
    /// All of which a message must meet; none when the charset is unknown.
    pub keys: Vec<Key>,
}

/// The CHARSET that a search names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// None.
    Default,
    Named,
    /// Neither UTF-8 nor US-ASCII; what follows was not read.
    Unknown,
}

/// RETURN options (RFC 9051 §6.4.4, RFC 5182, RFC 9394, RFC 6203).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Returns {
    pub min: bool,
    pub max: bool,
    pub all: bool,
    pub count: bool,
    pub save: bool,
    pub relevancy: bool,
    pub partial: Option<Window>,
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
    SavedBefore(Date),
    SavedOn(Date),
    SavedSince(Date),
    /// At least, and less than, so many seconds old (RFC 5032).
    Older(u32),
    Younger(u32),
    Larger(u64),
    Smaller(u64),
    ModSeq(u64),
    /// RFC 8474 §5.
    EmailId(String),
    ThreadId(String),
    /// Also what only resembles it (RFC 6203).
    Fuzzy(Box<Key>),
    Not(Box<Key>),
    Or(Box<Key>, Box<Key>),
    And(Vec<Key>),
}

impl Search {
    /// What follows SEARCH.
    pub fn parse(p: &mut Parser<'_>) -> Parsed<Search> {
        let returns = Returns::parse(p)?;
        let mut charset = Charset::Default;
        if p.take_word("CHARSET ") {
            charset = charset_name(p)?;
        }
        Search::program(p, returns, charset)
    }

    /// What follows SORT's criteria or THREAD's algorithm: the charset is always named (RFC 5256 §3).
    pub fn with_charset(p: &mut Parser<'_>, returns: Option<Returns>) -> Parsed<Search> {
        let charset = charset_name(p)?;
        Search::program(p, returns, charset)
    }

    fn program(p: &mut Parser<'_>, returns: Option<Returns>, charset: Charset) -> Parsed<Search> {
        if charset == Charset::Unknown {
            p.run(|_| true);
            return Ok(Search { returns, charset, keys: Vec::new() });
        }
        let mut reader = Keys { left: limits::SEARCH_KEYS };
        Ok(Search { returns, charset, keys: reader.several(p, 0)? })
    }

    /// Whether a key of this kind stands anywhere in it.
    pub fn any(&self, wanted: impl Fn(&Key) -> bool) -> bool {
        self.keys.iter().any(|key| key.any(&wanted))
    }
}

impl Key {
    /// Whether this key or one within it is of a kind.
    pub fn any(&self, wanted: &dyn Fn(&Key) -> bool) -> bool {
        wanted(self)
            || match self {
                Key::Not(inner) | Key::Fuzzy(inner) => inner.any(wanted),
                Key::Or(a, b) => a.any(wanted) || b.any(wanted),
                Key::And(keys) => keys.iter().any(|key| key.any(wanted)),
                _ => false,
            }
    }
}

fn charset_name(p: &mut Parser<'_>) -> Parsed<Charset> {
    let charset = p.astring()?;
    p.space()?;
    let known = [b"UTF-8".as_slice(), b"US-ASCII"].iter().any(|known| charset.eq_ignore_ascii_case(known));
    Ok(if known { Charset::Named } else { Charset::Unknown })
}

impl Returns {
    /// `RETURN (…)` and the space after it, if that is next.
    pub fn parse(p: &mut Parser<'_>) -> Parsed<Option<Returns>> {
        if !p.take_word("RETURN ") {
            return Ok(None);
        }
        let mut returns = Returns::default();
        p.list(|p| returns.option(p))?;
        p.space()?;
        if returns.partial.is_some() && returns.all {
            return bad("PARTIAL and ALL are not asked for together");
        }
        if returns == (Returns { save: returns.save, relevancy: returns.relevancy, ..Returns::default() }) {
            // RFC 5182 §2.1: SAVE alone wants no numbers. Nothing at all means ALL.
            returns.all = !returns.save;
        }
        Ok(Some(returns))
    }

    fn option(&mut self, p: &mut Parser<'_>) -> Parsed<()> {
        match p.atom()?.to_ascii_uppercase().as_str() {
            "MIN" => self.min = true,
            "MAX" => self.max = true,
            "ALL" => self.all = true,
            "COUNT" => self.count = true,
            "SAVE" => self.save = true,
            "RELEVANCY" => self.relevancy = true,
            "PARTIAL" => {
                p.space()?;
                self.partial = Some(Window::parse(p)?);
            }
            other => return bad(format!("there is no search return option {other}")),
        }
        Ok(())
    }
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
            Some(b'*' | b'$' | b'0'..=b'9') => return Ok(Key::Numbers(Set::parse(p)?)),
            _ => {}
        }
        let name = p.atom()?.to_ascii_uppercase();
        match name.as_str() {
            "NOT" => {
                p.space()?;
                Ok(Key::Not(Box::new(self.one(p, depth + 1)?)))
            }
            "FUZZY" => {
                p.space()?;
                Ok(Key::Fuzzy(Box::new(self.one(p, depth + 1)?)))
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
        "SAVEDBEFORE" => Ok(Key::SavedBefore(date(p)?)),
        "SAVEDON" => Ok(Key::SavedOn(date(p)?)),
        "SAVEDSINCE" => Ok(Key::SavedSince(date(p)?)),
        // RFC 8514 §4.3: it asks whether the mailbox has save dates, which all here have.
        "SAVEDATESUPPORTED" => Ok(Key::All),
        "OLDER" => Ok(Key::Older(interval(p)?)),
        "YOUNGER" => Ok(Key::Younger(interval(p)?)),
        "EMAILID" => Ok(Key::EmailId(object_id(p)?)),
        "THREADID" => Ok(Key::ThreadId(object_id(p)?)),
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

/// Seconds, not none (RFC 5032 §3).
fn interval(p: &mut Parser<'_>) -> Parsed<u32> {
    p.space()?;
    match p.number()? {
        0 => bad("an interval is at least one second"),
        seconds => Ok(seconds),
    }
}

/// RFC 8474 §7, objectid.
fn object_id(p: &mut Parser<'_>) -> Parsed<String> {
    p.space()?;
    Ok(p.atom()?.to_owned())
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
    fn return_options_mean_what_the_rfcs_say() {
        let returns = |text: &str| Search::parse(&mut Parser::new(text.as_bytes())).unwrap().returns.unwrap();
        assert!(returns("RETURN () ALL").all);
        assert!(!returns("RETURN (SAVE) ALL").all && returns("RETURN (SAVE) ALL").save);
        assert_eq!(returns("RETURN (PARTIAL -1:-50) ALL").partial, Some(Window { first: -1, last: -50 }));
        let unknown = Search::parse(&mut Parser::new(b"CHARSET KOI8-R SUBJECT {2}\r\n\xff\xfe")).unwrap();
        assert_eq!(unknown.charset, Charset::Unknown);
    }

    #[test]
    fn endless_nesting_is_refused() {
        assert!(keys(&"(".repeat(5000)).is_err());
        assert!(keys(&format!("{}SEEN", "NOT ".repeat(5000))).is_err());
    }

    #[test]
    fn wrong_dates_and_keys_are_refused() {
        for wrong in [
            "SINCE 31-Feb-2026",
            "SINCE 2026-01-01",
            "FROB",
            "FROM",
            "LARGER x",
            "OLDER 0",
            "RETURN (ALL PARTIAL 1:2) ALL",
        ] {
            assert!(keys(wrong).is_err(), "{wrong}");
        }
    }
}
