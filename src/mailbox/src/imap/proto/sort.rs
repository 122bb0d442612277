//! SORT and THREAD (RFC 5256, RFC 5957, RFC 5267), and ESEARCH over several mailboxes (RFC 7377).

use super::mailboxes::Mailboxes;
use super::parser::{Parsed, Parser, bad};
use super::search::{Returns, Search};

/// What messages are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortKey {
    Arrival,
    Cc,
    Date,
    DisplayFrom,
    DisplayTo,
    From,
    Size,
    Subject,
    To,
    /// RFC 6203 §4.
    Relevancy,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sort {
    /// The key, and whether its order is reversed.
    pub by: Vec<(SortKey, bool)>,
    pub search: Search,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    OrderedSubject,
    References,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    pub algorithm: Algorithm,
    pub search: Search,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Multisearch {
    pub sources: Vec<Mailboxes>,
    pub search: Search,
}

impl Sort {
    pub fn parse(p: &mut Parser<'_>) -> Parsed<Sort> {
        let returns = Returns::parse(p)?;
        let mut by = Vec::new();
        let mut reverse = false;
        p.list(|p| {
            let key = match p.atom()?.to_ascii_uppercase().as_str() {
                "REVERSE" if !reverse => {
                    reverse = true;
                    return Ok(());
                }
                "ARRIVAL" => SortKey::Arrival,
                "CC" => SortKey::Cc,
                "DATE" => SortKey::Date,
                "DISPLAYFROM" => SortKey::DisplayFrom,
                "DISPLAYTO" => SortKey::DisplayTo,
                "FROM" => SortKey::From,
                "SIZE" => SortKey::Size,
                "SUBJECT" => SortKey::Subject,
                "TO" => SortKey::To,
                "RELEVANCY" => SortKey::Relevancy,
                other => return bad(format!("there is no sort key {other}")),
            };
            by.push((key, reverse));
            reverse = false;
            Ok(())
        })?;
        // Each key once and once reversed is all that makes sense.
        if by.is_empty() || reverse || by.len() > 20 {
            return bad("SORT names what to sort by");
        }
        p.space()?;
        Ok(Sort { by, search: Search::with_charset(p, returns)? })
    }
}

impl Thread {
    pub fn parse(p: &mut Parser<'_>) -> Parsed<Thread> {
        let algorithm = match p.atom()?.to_ascii_uppercase().as_str() {
            "ORDEREDSUBJECT" => Algorithm::OrderedSubject,
            "REFERENCES" => Algorithm::References,
            other => return bad(format!("there is no threading algorithm {other}")),
        };
        p.space()?;
        Ok(Thread { algorithm, search: Search::with_charset(p, None)? })
    }
}

impl Multisearch {
    /// What follows ESEARCH.
    pub fn parse(p: &mut Parser<'_>) -> Parsed<Multisearch> {
        let mut sources = Vec::new();
        if p.take_word("IN (") {
            loop {
                // RFC 7377 §2.2: scope options; none is defined.
                if p.peek() == Some(b'(') {
                    return bad("there are no scope options");
                }
                sources.push(Mailboxes::parse(p)?);
                if sources.len() > 100 {
                    return bad("too many groups of mailboxes");
                }
                if p.take(b')') {
                    break;
                }
                p.space()?;
            }
            p.space()?;
        }
        if sources.is_empty() {
            sources.push(Mailboxes::Selected);
        }
        Ok(Multisearch { sources, search: Search::parse(p)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorting_names_keys_and_directions() {
        let parse = |text: &str| Sort::parse(&mut Parser::new(text.as_bytes()));
        let sort = parse("(REVERSE DATE SUBJECT) UTF-8 UNDELETED").unwrap();
        assert_eq!(sort.by, [(SortKey::Date, true), (SortKey::Subject, false)]);
        assert!(parse("RETURN (COUNT) (ARRIVAL) US-ASCII ALL").unwrap().search.returns.unwrap().count);
        for wrong in ["() UTF-8 ALL", "(REVERSE) UTF-8 ALL", "(REVERSE REVERSE DATE) UTF-8 ALL", "(DATE) ALL"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn several_mailboxes_are_searched_by_groups() {
        let text = "IN (mailboxes \"folder1\" subtree (a b) inboxes) RETURN (COUNT) UNSEEN";
        let search = Multisearch::parse(&mut Parser::new(text.as_bytes())).unwrap();
        assert_eq!(search.sources.len(), 3);
        assert_eq!(search.sources[0], Mailboxes::Named(vec![b"folder1".to_vec()]));
    }
}
