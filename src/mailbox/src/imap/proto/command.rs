//! Every command that is understood, and how its line is read.

use super::access::{self, GetMetadata, RightsChange};
use super::append::{self, Append};
use super::fetch::Fetch;
use super::list::{self, ListCommand, StatusItem};
use super::notify::Notify;
use super::parser::{Bad, Parsed, Parser, bad, is_atom_char, tag_of};
use super::search::Search;
use super::select::{Select, select};
use super::set::{Num, Set};
use super::sort::{Multisearch, Sort, Thread};
use base::Secret;
use store::{FlagChange, Flags, Keywords};

/// A command with its tag.
#[derive(Debug, Clone)]
pub struct Line {
    pub tag: String,
    pub command: Command,
}

/// RFC 9051 §6, RFC 3501 §6, and the extensions of the capability table. Mailbox names are as they came over the wire.
#[derive(Debug, Clone)]
pub enum Command {
    Capability,
    Noop,
    Logout,
    Login {
        user: Vec<u8>,
        password: Secret,
    },
    Authenticate {
        mechanism: String,
        initial: Option<Vec<u8>>,
    },
    Enable(Vec<String>),
    Id,
    Namespace,
    /// The mechanism's name.
    Compress(String),
    Select(Select),
    Create {
        mailbox: Vec<u8>,
        uses: Vec<String>,
    },
    Delete(Vec<u8>),
    Rename {
        from: Vec<u8>,
        to: Vec<u8>,
    },
    Subscribe {
        mailbox: Vec<u8>,
        subscribed: bool,
    },
    List(ListCommand),
    Lsub {
        reference: Vec<u8>,
        pattern: Vec<u8>,
    },
    Status {
        mailbox: Vec<u8>,
        items: Vec<StatusItem>,
    },
    Append(Append),
    Replace {
        uid: bool,
        number: Num,
        append: Append,
    },
    Idle,
    Notify(Option<Notify>),
    GetMetadata(GetMetadata),
    SetMetadata {
        mailbox: Vec<u8>,
        entries: Vec<(String, Option<Vec<u8>>)>,
    },
    GetQuota(Vec<u8>),
    GetQuotaRoot(Vec<u8>),
    SetQuota,
    GetAcl(Vec<u8>),
    SetAcl {
        mailbox: Vec<u8>,
        who: String,
        change: RightsChange,
        letters: String,
    },
    DeleteAcl {
        mailbox: Vec<u8>,
        who: String,
    },
    ListRights {
        mailbox: Vec<u8>,
        who: String,
    },
    MyRights(Vec<u8>),
    Multisearch(Multisearch),
    Check,
    Close,
    Unselect,
    Expunge {
        uids: Option<Set>,
    },
    Search {
        uid: bool,
        search: Search,
    },
    Sort {
        uid: bool,
        sort: Sort,
    },
    Thread {
        uid: bool,
        thread: Thread,
    },
    Fetch {
        uid: bool,
        fetch: Fetch,
    },
    Store {
        uid: bool,
        store: StoreCommand,
    },
    Copy {
        uid: bool,
        set: Set,
        mailbox: Vec<u8>,
        moving: bool,
    },
}

/// Flags as STORE and APPEND name them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flagged {
    pub flags: Flags,
    pub keywords: Keywords,
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
        "COMPRESS" => {
            p.space()?;
            Command::Compress(p.atom()?.to_ascii_uppercase())
        }
        "CREATE" => create(p)?,
        "DELETE" => Command::Delete(mailbox(p)?),
        "RENAME" => Command::Rename { from: mailbox(p)?, to: mailbox(p)? },
        "SUBSCRIBE" => Command::Subscribe { mailbox: mailbox(p)?, subscribed: true },
        "UNSUBSCRIBE" => Command::Subscribe { mailbox: mailbox(p)?, subscribed: false },
        "LIST" => Command::List(list::list(p)?),
        "LSUB" => Command::Lsub { reference: mailbox(p)?, pattern: list::pattern(p)? },
        "STATUS" => list::status(p)?,
        "APPEND" => Command::Append(append::append(p)?),
        "IDLE" => Command::Idle,
        "NOTIFY" => Command::Notify(Notify::parse(p)?),
        "GETMETADATA" => access::get_metadata(p)?,
        "SETMETADATA" => access::set_metadata(p)?,
        "GETQUOTA" => Command::GetQuota(mailbox(p)?),
        "GETQUOTAROOT" => Command::GetQuotaRoot(mailbox(p)?),
        "SETQUOTA" => access::set_quota(p)?,
        "GETACL" => Command::GetAcl(mailbox(p)?),
        "SETACL" => access::set_acl(p)?,
        "DELETEACL" => Command::DeleteAcl { mailbox: mailbox(p)?, who: access::identifier(p)? },
        "LISTRIGHTS" => Command::ListRights { mailbox: mailbox(p)?, who: access::identifier(p)? },
        "MYRIGHTS" => Command::MyRights(mailbox(p)?),
        "ESEARCH" => {
            p.space()?;
            Command::Multisearch(Multisearch::parse(p)?)
        }
        "CHECK" => Command::Check,
        "CLOSE" => Command::Close,
        "UNSELECT" => Command::Unselect,
        "EXPUNGE" => Command::Expunge { uids: None },
        "SEARCH" | "SORT" | "THREAD" | "FETCH" | "STORE" | "COPY" | "MOVE" | "REPLACE" => on_messages(name, p, false)?,
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
        name @ ("SEARCH" | "SORT" | "THREAD" | "FETCH" | "STORE" | "COPY" | "MOVE" | "REPLACE") => {
            on_messages(name, p, true)
        }
        other => bad(format!("there is no command UID {other}")),
    }
}

fn on_messages(name: &str, p: &mut Parser<'_>, uid: bool) -> Parsed<Command> {
    p.space()?;
    Ok(match name {
        "SEARCH" => Command::Search { uid, search: Search::parse(p)? },
        "SORT" => Command::Sort { uid, sort: Sort::parse(p)? },
        "THREAD" => Command::Thread { uid, thread: Thread::parse(p)? },
        "REPLACE" => replace(p, uid)?,
        "FETCH" => Command::Fetch { uid, fetch: Fetch::parse(p)? },
        "STORE" => Command::Store { uid, store: store(p)? },
        moving => {
            let set = Set::parse(p)?;
            Command::Copy { uid, set, mailbox: mailbox(p)?, moving: moving == "MOVE" }
        }
    })
}

/// RFC 8508 §3.
fn replace(p: &mut Parser<'_>, uid: bool) -> Parsed<Command> {
    let number = if p.take(b'*') { Num::Last } else { Num::Is(p.number()?) };
    let append = append::append(p)?;
    if number == Num::Is(0) || append.messages.len() != 1 {
        return bad("REPLACE puts one message in the place of one message");
    }
    Ok(Command::Replace { uid, number, append })
}

/// A space and a mailbox's name.
pub fn mailbox(p: &mut Parser<'_>) -> Parsed<Vec<u8>> {
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

/// With what RFC 6154 §3 adds. The name keeps a separator at its end: the session knows what it means.
fn create(p: &mut Parser<'_>) -> Parsed<Command> {
    let mailbox = mailbox(p)?;
    let mut uses = Vec::new();
    if p.take(b' ') && p.take(b'(') {
        if !p.take_word("USE ") {
            return bad(format!("expected USE {}", p.here()));
        }
        uses = p.list(|p| flag(p).map(str::to_owned))?;
        p.expect(b')')?;
    }
    Ok(Command::Create { mailbox, uses })
}

/// Flags in parentheses.
pub fn flag_list(p: &mut Parser<'_>) -> Parsed<Flagged> {
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
    use super::super::append::Data;
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
        let append = &append.messages[0];
        assert_eq!(append.data, Data::Whole(b"x\r\ny\r\n".to_vec()));
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

    #[test]
    fn what_a_client_still_knows_is_understood() {
        let line = b"a SELECT INBOX (QRESYNC (67890007 20050715194045000 41,43:211 (1,3 41,50)))";
        let Command::Select(select) = parse(line).unwrap().command else { panic!() };
        let resync = select.resync.unwrap();
        assert_eq!((resync.validity, resync.modseq), (67_890_007, 20_050_715_194_045_000));
        assert!(resync.known.is_some() && resync.matches.is_some());
        assert!(why("a SELECT INBOX (QRESYNC (0 1))").contains("not 0"));
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
                Just("\"a b\""), Just("RETURN"), Just("SORT"), Just("THREAD"), Just("NOTIFY"), Just("SET"), Just("ESEARCH"), Just("IN"), Just("UTF-8"),
                Just("GETMETADATA"), Just("/private/comment"), Just("QRESYNC"), Just("SETACL"), Just("CATENATE"), Just("FLAGS"), Just("\\Seen"), Just("INBOX"), Just("BODY.PEEK["),
            ], 0..12)
        ) {
            let _ = parse(format!("a {}", words.join(" ")).as_bytes());
        }
    }
}
