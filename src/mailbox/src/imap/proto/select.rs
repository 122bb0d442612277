//! SELECT and EXAMINE with their parameters (RFC 9051 §6.3.2, RFC 7162 §3.1.8, §3.2.5).

use super::command::{Command, mailbox};
use super::parser::{Parsed, Parser, bad};
use super::set::Set;

/// SELECT and EXAMINE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Select {
    pub mailbox: Vec<u8>,
    pub read_only: bool,
    pub condstore: bool,
    pub resync: Option<Resync>,
}

/// What a client still knows of a mailbox (RFC 7162 §3.2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resync {
    pub validity: u32,
    pub modseq: u64,
    pub known: Option<Set>,
    /// Message numbers and their UIDs.
    pub matches: Option<(Set, Set)>,
}

pub fn select(p: &mut Parser<'_>, read_only: bool) -> Parsed<Command> {
    let mut select = Select { mailbox: mailbox(p)?, read_only, condstore: false, resync: None };
    if p.take(b' ') && p.peek() == Some(b'(') {
        p.list(|p| {
            match p.atom()?.to_ascii_uppercase().as_str() {
                "CONDSTORE" => select.condstore = true,
                "QRESYNC" => {
                    p.space()?;
                    select.resync = Some(resync(p)?);
                }
                other => return bad(format!("there is no select parameter {other}")),
            }
            Ok(())
        })?;
    }
    Ok(Command::Select(select))
}

fn resync(p: &mut Parser<'_>) -> Parsed<Resync> {
    p.expect(b'(')?;
    let validity = p.number()?;
    p.space()?;
    let modseq = p.long_number()?;
    if validity == 0 || modseq == 0 {
        return bad("UIDVALIDITY and modification sequence are not 0");
    }
    let mut resync = Resync { validity, modseq, known: None, matches: None };
    if p.take(b' ') && p.peek() != Some(b'(') {
        resync.known = Some(Set::parse_known(p)?);
        p.take(b' ');
    }
    if p.take(b'(') {
        let numbers = Set::parse_known(p)?;
        p.space()?;
        resync.matches = Some((numbers, Set::parse_known(p)?));
        p.expect(b')')?;
    }
    p.expect(b')')?;
    Ok(resync)
}
