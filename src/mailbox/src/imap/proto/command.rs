//! Every command that is understood, and how its line is read.

use super::fetch::Fetch;
use super::parser::{Bad, Parsed, Parser, bad, is_atom_char, tag_of};
use super::search::Search;
use super::set::Set;
use super::write::parse_date_time;
use crate::limits;
use base::Secret;
use store::{FlagChange, Flags, Keywords};

/// A command with its tag.
#[derive(Debug, Clone)]
pub struct Line {
    pub tag: String,
    pub command: Command,
}

/// RFC 3501 §6, and the extensions of the capability table. Mailbox names are as they came over the wire.
#[derive(Debug, Clone)]
pub enum Command {
    Capability,
    Noop,
    Logout,
    Login { user: Vec<u8>, password: Secret },
    Authenticate { mechanism: String, initial: Option<Vec<u8>> },
    Enable(Vec<String>),
    Id,
    Namespace,
    Select { mailbox: Vec<u8>, read_only: bool, condstore: bool },
    Create(Vec<u8>),
    Delete(Vec<u8>),
    Rename { from: Vec<u8>, to: Vec<u8> },
    Subscribe { mailbox: Vec<u8>, subscribed: bool },
    List(ListCommand),
    Lsub { reference: Vec<u8>, pattern: Vec<u8> },
    Status { mailbox: Vec<u8>, items: Vec<StatusItem> },
    Append(Append),
    Idle,
    Check,
    Close,
    Unselect,
    Expunge { uids: Option<Set> },
    Search { uid: bool, search: Search },
    Fetch { uid: bool, fetch: Fetch },
    Store { uid: bool, store: StoreCommand },
    Copy { uid: bool, set: Set, mailbox: Vec<u8>, moving: bool },
}

/// LIST with what RFC 5258 and RFC 5819 add.
#[derive(Debug, Clone, Default)]
pub struct ListCommand {
    pub only_subscribed: bool,
    pub only_special: bool,
    pub recursive_match: bool,
    pub reference: Vec<u8>,
    pub patterns: Vec<Vec<u8>>,
    pub return_subscribed: bool,
    pub return_status: Option<Vec<StatusItem>>,
    /// Whether any of the extended syntax was used.
    pub extended: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusItem {
    Messages,
    Recent,
    UidNext,
    UidValidity,
    Unseen,
    HighestModSeq,
    /// RFC 8438.
    Size,
}

/// Flags as STORE and APPEND name them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flagged {
    pub flags: Flags,
    pub keywords: Keywords,
}

#[derive(Debug, Clone)]
pub struct Append {
    pub mailbox: Vec<u8>,
    pub flags: Flagged,
    /// Seconds since 1970.
    pub received: Option<u64>,
    pub message: Vec<u8>,
}

#[derive(Debug, Clone)]
pub struct StoreCommand {
    pub set: Set,
    pub change: FlagChange,
    pub silent: bool,
    pub flags: Flagged,
    pub unchanged_since: Option<u64>,
}

/// Reads a whole command: its line and literals, without the last line end.
pub fn parse(bytes: &[u8]) -> Parsed<Line> {
    let Some(tag) = tag_of(bytes) else { return bad("a command begins with a tag and a space") };
    let mut parser = Parser::new(&bytes[tag.len()..]);
    parser.space()?;
    let name = parser.atom().map_err(|_| Bad("after the tag stands a command".into()))?.to_ascii_uppercase();
    let command = match name.as_str() {
        "UID" => uid_command(&mut parser)?,
        name => command(name, &mut parser)?,
    };
    parser.end()?;
    Ok(Line { tag: tag.to_owned(), command })
}

fn command(name: &str, p: &mut Parser<'_>) -> Parsed<Command> {
    Ok(match name {
        "CAPABILITY" => Command::Capability,
        "NOOP" => Command::Noop,
        "LOGOUT" => Command::Logout,
        "LOGIN" => login(p)?,
        "AUTHENTICATE" => authenticate(p)?,
        "STARTTLS" => return bad("the connection is encrypted already"),
        "ENABLE" => enable(p)?,
        "ID" => id(p)?,
        "NAMESPACE" => Command::Namespace,
        "SELECT" => select(p, false)?,
        "EXAMINE" => select(p, true)?,
        "CREATE" => Command::Create(create(p)?),
        "DELETE" => Command::Delete(mailbox(p)?),
        "RENAME" => Command::Rename { from: mailbox(p)?, to: mailbox(p)? },
        "SUBSCRIBE" => Command::Subscribe { mailbox: mailbox(p)?, subscribed: true },
        "UNSUBSCRIBE" => Command::Subscribe { mailbox: mailbox(p)?, subscribed: false },
        "LIST" => Command::List(list(p)?),
        "LSUB" => Command::Lsub { reference: mailbox(p)?, pattern: pattern(p)? },
        "STATUS" => status(p)?,
        "APPEND" => append(p)?,
        "IDLE" => Command::Idle,
        "CHECK" => Command::Check,
        "CLOSE" => Command::Close,
        "UNSELECT" => Command::Unselect,
        "EXPUNGE" => Command::Expunge { uids: None },
        "SEARCH" | "FETCH" | "STORE" | "COPY" | "MOVE" => on_messages(name, p, false)?,
        other => return bad(format!("there is no command {other}")),
    })
}

fn uid_command(p: &mut Parser<'_>) -> Parsed<Command> {
    p.space()?;
    match p.atom()?.to_ascii_uppercase().as_str() {
        "EXPUNGE" => {
            p.space()?;
            Ok(Command::Expunge { uids: Some(Set::parse(p)?) })
        }
        name @ ("SEARCH" | "FETCH" | "STORE" | "COPY" | "MOVE") => on_messages(name, p, true),
        other => bad(format!("there is no command UID {other}")),
    }
}

fn on_messages(name: &str, p: &mut Parser<'_>, uid: bool) -> Parsed<Command> {
    p.space()?;
    Ok(match name {
        "SEARCH" => Command::Search { uid, search: Search::parse(p)? },
        "FETCH" => Command::Fetch { uid, fetch: Fetch::parse(p)? },
        "STORE" => Command::Store { uid, store: store(p)? },
        moving => {
            let set = Set::parse(p)?;
            Command::Copy { uid, set, mailbox: mailbox(p)?, moving: moving == "MOVE" }
        }
    })
}

fn mailbox(p: &mut Parser<'_>) -> Parsed<Vec<u8>> {
    p.space()?;
    p.astring()
}

fn login(p: &mut Parser<'_>) -> Parsed<Command> {
    let user = mailbox(p)?;
    let password = mailbox(p)?;
    // Passwords are text; one that is no UTF-8 is wrong, which is for the directory to say.
    Ok(Command::Login { user, password: Secret::new(String::from_utf8_lossy(&password).into_owned()) })
}

fn authenticate(p: &mut Parser<'_>) -> Parsed<Command> {
    p.space()?;
    let mechanism = p.atom()?.to_ascii_uppercase();
    let initial = match p.take(b' ') {
        true => Some(p.run(|byte| byte > b' ').to_vec()),
        false => None,
    };
    Ok(Command::Authenticate { mechanism, initial })
}

fn enable(p: &mut Parser<'_>) -> Parsed<Command> {
    let mut names = Vec::new();
    while p.take(b' ') && !p.at_end() {
        names.push(p.atom()?.to_ascii_uppercase());
        if names.len() > 100 {
            return bad("too many names");
        }
    }
    if names.is_empty() { bad("ENABLE names what to enable") } else { Ok(Command::Enable(names)) }
}

/// RFC 2971 §3.1. What the client says about itself is read and not kept.
fn id(p: &mut Parser<'_>) -> Parsed<Command> {
    p.space()?;
    if !p.take_word("NIL") {
        p.list(|p| if p.take_word("NIL") { Ok(Vec::new()) } else { p.string() })?;
    }
    Ok(Command::Id)
}

fn select(p: &mut Parser<'_>, read_only: bool) -> Parsed<Command> {
    let mailbox = mailbox(p)?;
    let mut condstore = false;
    if p.take(b' ') && p.peek() == Some(b'(') {
        for parameter in p.list(|p| Ok(p.atom()?.to_ascii_uppercase()))? {
            match parameter.as_str() {
                "CONDSTORE" => condstore = true,
                other => return bad(format!("there is no select parameter {other}")),
            }
        }
    }
    Ok(Command::Select { mailbox, read_only, condstore })
}

fn create(p: &mut Parser<'_>) -> Parsed<Vec<u8>> {
    let mut name = mailbox(p)?;
    // RFC 3501 §6.3.3: a separator at the end announces folders below; they need no announcing.
    if name.last() == Some(&b'/') {
        name.pop();
    }
    Ok(name)
}

fn pattern(p: &mut Parser<'_>) -> Parsed<Vec<u8>> {
    p.space()?;
    let pattern = p.list_mailbox()?;
    if pattern.len() > limits::LIST_PATTERN { bad("the pattern is too long") } else { Ok(pattern) }
}

/// RFC 3501 §6.3.8, RFC 5258 §3, RFC 6154 §2, RFC 5819.
fn list(p: &mut Parser<'_>) -> Parsed<ListCommand> {
    let mut list = ListCommand::default();
    p.space()?;
    if p.peek() == Some(b'(') {
        list.extended = true;
        for option in p.list(|p| Ok(p.atom()?.to_ascii_uppercase()))? {
            match option.as_str() {
                "SUBSCRIBED" => list.only_subscribed = true,
                "SPECIAL-USE" => list.only_special = true,
                "RECURSIVEMATCH" => list.recursive_match = true,
                "REMOTE" => {}
                other => return bad(format!("there is no list selection option {other}")),
            }
        }
        p.space()?;
    }
    list.reference = p.astring()?;
    p.space()?;
    if p.peek() == Some(b'(') {
        list.extended = true;
        list.patterns = p.list(Parser::list_mailbox)?;
    } else {
        list.patterns.push(p.list_mailbox()?);
    }
    let bounded = list.patterns.len() <= limits::LIST_PATTERNS;
    if !bounded || list.patterns.iter().any(|pattern| pattern.len() > limits::LIST_PATTERN) {
        return bad("the patterns are too long or too many");
    }
    if p.take(b' ') && p.take_word("RETURN") {
        list.extended = true;
        p.space()?;
        list_returns(p, &mut list)?;
    }
    Ok(list)
}

fn list_returns(p: &mut Parser<'_>, list: &mut ListCommand) -> Parsed<()> {
    let returns = p.list(|p| {
        let name = p.atom()?.to_ascii_uppercase();
        let items = if name == "STATUS" {
            p.space()?;
            Some(p.list(status_item)?)
        } else {
            None
        };
        Ok((name, items))
    })?;
    for (name, items) in returns {
        match name.as_str() {
            "SUBSCRIBED" => list.return_subscribed = true,
            "STATUS" => list.return_status = items,
            // Told in any case.
            "CHILDREN" | "SPECIAL-USE" => {}
            other => return bad(format!("there is no list return option {other}")),
        }
    }
    Ok(())
}

fn status(p: &mut Parser<'_>) -> Parsed<Command> {
    let mailbox = mailbox(p)?;
    p.space()?;
    let items = p.list(status_item)?;
    if items.is_empty() { bad("STATUS names what to tell") } else { Ok(Command::Status { mailbox, items }) }
}

fn status_item(p: &mut Parser<'_>) -> Parsed<StatusItem> {
    Ok(match p.atom()?.to_ascii_uppercase().as_str() {
        "MESSAGES" => StatusItem::Messages,
        "RECENT" => StatusItem::Recent,
        "UIDNEXT" => StatusItem::UidNext,
        "UIDVALIDITY" => StatusItem::UidValidity,
        "UNSEEN" => StatusItem::Unseen,
        "HIGHESTMODSEQ" => StatusItem::HighestModSeq,
        "SIZE" => StatusItem::Size,
        other => return bad(format!("there is no status item {other}")),
    })
}

fn append(p: &mut Parser<'_>) -> Parsed<Command> {
    let mailbox = mailbox(p)?;
    p.space()?;
    let mut flags = Flagged::default();
    if p.peek() == Some(b'(') {
        flags = flag_list(p)?;
        p.space()?;
    }
    let mut received = None;
    if p.peek() == Some(b'"') {
        received = Some(parse_date_time(&p.string()?).ok_or_else(|| Bad("the date-time cannot be read".into()))?);
        p.space()?;
    }
    let message = p.literal()?.to_vec();
    Ok(Command::Append(Append { mailbox, flags, received, message }))
}

fn flag_list(p: &mut Parser<'_>) -> Parsed<Flagged> {
    gather(p.list(flag)?)
}

/// One flag; `\Recent` and unknown system flags are passed over, since clients send back what they were shown.
fn flag<'a>(p: &mut Parser<'a>) -> Parsed<&'a str> {
    let rest = p.rest();
    let backslash = usize::from(p.take(b'\\'));
    let name = p.run(is_atom_char);
    let flag = std::str::from_utf8(&rest[..backslash + name.len()]).unwrap_or_default();
    if name.is_empty() { bad(format!("expected a flag {}", p.here())) } else { Ok(flag) }
}

fn gather(names: Vec<&str>) -> Parsed<Flagged> {
    let system = names.iter().filter_map(|name| Flags::named(name));
    let flags = system.fold(Flags::NONE, |flags, flag| flags | flag);
    let keywords: Vec<&str> = names.into_iter().filter(|name| !name.starts_with('\\')).collect();
    let kept = Keywords::new(keywords.iter().copied());
    if keywords.iter().any(|name| !kept.contains(name)) {
        return bad("a keyword is too long, or there are too many");
    }
    Ok(Flagged { flags, keywords: kept })
}

/// RFC 3501 §6.4.6, RFC 7162 §3.1.3.
fn store(p: &mut Parser<'_>) -> Parsed<StoreCommand> {
    let set = Set::parse(p)?;
    p.space()?;
    let mut unchanged_since = None;
    if p.take(b'(') {
        if !p.take_word("UNCHANGEDSINCE ") {
            return bad(format!("expected UNCHANGEDSINCE {}", p.here()));
        }
        unchanged_since = Some(p.long_number()?);
        p.expect(b')')?;
        p.space()?;
    }
    let change = match p.peek() {
        Some(b'+') => FlagChange::Add,
        Some(b'-') => FlagChange::Remove,
        _ => FlagChange::Replace,
    };
    if change != FlagChange::Replace {
        p.run(|byte| byte == b'+' || byte == b'-');
    }
    if !p.take_word("FLAGS") {
        return bad(format!("expected FLAGS {}", p.here()));
    }
    let silent = p.take_word(".SILENT");
    p.space()?;
    let flags = if p.peek() == Some(b'(') { flag_list(p)? } else { bare_flags(p)? };
    Ok(StoreCommand { set, change, silent, flags, unchanged_since })
}

fn bare_flags(p: &mut Parser<'_>) -> Parsed<Flagged> {
    let mut names = vec![flag(p)?];
    while p.take(b' ') {
        names.push(flag(p)?);
        if names.len() > 1000 {
            return bad("too many flags");
        }
    }
    gather(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn why(text: &str) -> String {
        parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn what_was_wrong_is_said() {
        assert!(why("a FROB").contains("FROB"));
        assert!(why("a SELECT").contains("space"));
        assert!(why("a LOGIN \"x y").contains("not closed"));
        assert!(why("a STORE 1 FLAG (\\Seen)").contains("FLAGS"));
        assert!(why("a NOOP x").contains("nothing more"));
        assert!(why("").contains("tag"));
    }

    #[test]
    fn an_append_carries_its_message_exactly() {
        let line = b"a APPEND Sent (\\Seen $Forwarded) \"21-Nov-2026 08:00:00 +0100\" {6}\r\nx\r\ny\r\n";
        let Command::Append(append) = parse(line).unwrap().command else { panic!() };
        assert_eq!(append.message, b"x\r\ny\r\n");
        assert_eq!(append.flags.flags, Flags::SEEN);
        assert!(append.flags.keywords.contains("$Forwarded"));
        assert_eq!(append.received, Some(1_795_244_400));
    }

    #[test]
    fn extended_lists_are_understood() {
        let line = b"a LIST (SUBSCRIBED) \"\" (INBOX Work.%) RETURN (CHILDREN SPECIAL-USE STATUS (MESSAGES UNSEEN))";
        let Command::List(list) = parse(line).unwrap().command else { panic!() };
        assert!(list.only_subscribed && list.extended);
        assert_eq!(list.patterns.len(), 2);
        assert_eq!(list.return_status, Some(vec![StatusItem::Messages, StatusItem::Unseen]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_understood_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn anything_like_a_command_is_understood_or_refused(
            words in proptest::collection::vec(prop_oneof![
                Just("FETCH"), Just("UID"), Just("SEARCH"), Just("STORE"), Just("LIST"), Just("APPEND"), Just("1:*"),
                Just("("), Just(")"), Just("BODY[1.HEADER.FIELDS (a)]<0.5>"), Just("NOT"), Just("OR"), Just("{3}\r\nabc"),
                Just("\"a b\""), Just("RETURN"), Just("FLAGS"), Just("\\Seen"), Just("INBOX"), Just("BODY.PEEK["),
            ], 0..12)
        ) {
            let _ = parse(format!("a {}", words.join(" ")).as_bytes());
        }
    }
}
