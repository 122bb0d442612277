//! Tests: what is printed is read back the same, and imap-codec, which others wrote, understands it the same way.

use super::*;
use crate::imap::proto::parser::is_atom_char;
use imap_codec::CommandCodec;
use imap_codec::decode::Decoder;
use imap_codec::encode::Encoder;
use proptest::prelude::*;
use store::{FlagChange, Flags, Keywords};

/// A quoted string: no NUL, CR or LF.
fn quoted(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn print_set(set: &Set) -> String {
    let end = |num: &Num| match num {
        Num::Is(number) => number.to_string(),
        Num::Last => "*".into(),
    };
    match set {
        Set::Saved => "$".into(),
        Set::Ranges(ranges) => {
            let one = |(a, b): &(Num, Num)| if a == b { end(a) } else { format!("{}:{}", end(a), end(b)) };
            ranges.iter().map(one).collect::<Vec<_>>().join(",")
        }
    }
}

fn print_date(date: jiff::civil::Date) -> String {
    jiff::fmt::strtime::format("%-d-%b-%Y", date).unwrap()
}

fn print_key(key: &Key) -> String {
    let text = |text: &String| quoted(text.as_bytes());
    match key {
        Key::All => "ALL".into(),
        Key::Numbers(set) => print_set(set),
        Key::Uids(set) => format!("UID {}", print_set(set)),
        Key::Flag(flag) => flag.names().next().unwrap().trim_start_matches('\\').to_ascii_uppercase(),
        Key::Keyword(name) => format!("KEYWORD {name}"),
        Key::Recent => "RECENT".into(),
        Key::New => "NEW".into(),
        Key::Old => "OLD".into(),
        Key::Header { field, text: wanted } => format!("HEADER {} {}", text(field), text(wanted)),
        Key::Body(wanted) => format!("BODY {}", text(wanted)),
        Key::Text(wanted) => format!("TEXT {}", text(wanted)),
        Key::Before(date) => format!("BEFORE {}", print_date(*date)),
        Key::On(date) => format!("ON {}", print_date(*date)),
        Key::Since(date) => format!("SINCE {}", print_date(*date)),
        Key::SentBefore(date) => format!("SENTBEFORE {}", print_date(*date)),
        Key::SentOn(date) => format!("SENTON {}", print_date(*date)),
        Key::SentSince(date) => format!("SENTSINCE {}", print_date(*date)),
        Key::SavedBefore(date) => format!("SAVEDBEFORE {}", print_date(*date)),
        Key::SavedOn(date) => format!("SAVEDON {}", print_date(*date)),
        Key::SavedSince(date) => format!("SAVEDSINCE {}", print_date(*date)),
        Key::Older(seconds) => format!("OLDER {seconds}"),
        Key::Younger(seconds) => format!("YOUNGER {seconds}"),
        Key::Larger(size) => format!("LARGER {size}"),
        Key::Smaller(size) => format!("SMALLER {size}"),
        Key::ModSeq(modseq) => format!("MODSEQ {modseq}"),
        Key::EmailId(id) => format!("EMAILID {id}"),
        Key::ThreadId(id) => format!("THREADID {id}"),
        Key::Fuzzy(inner) => format!("FUZZY {}", print_key(inner)),
        Key::Not(inner) => format!("NOT {}", print_key(inner)),
        Key::Or(a, b) => format!("OR {} {}", print_key(a), print_key(b)),
        Key::And(keys) => format!("({})", keys.iter().map(print_key).collect::<Vec<_>>().join(" ")),
    }
}

fn print_item(item: &Item) -> String {
    let path = |path: &[u32]| path.iter().map(u32::to_string).collect::<Vec<_>>().join(".");
    let cut = |partial: &Option<Partial>| partial.map(|it| format!("<{}.{}>", it.first, it.count)).unwrap_or_default();
    let peeked = |peek: bool| if peek { ".PEEK" } else { "" };
    match item {
        Item::Flags => "FLAGS".into(),
        Item::Uid => "UID".into(),
        Item::InternalDate => "INTERNALDATE".into(),
        Item::Size => "RFC822.SIZE".into(),
        Item::Envelope => "ENVELOPE".into(),
        Item::Body => "BODY".into(),
        Item::BodyStructure => "BODYSTRUCTURE".into(),
        Item::ModSeq => "MODSEQ".into(),
        Item::Preview { lazy } => if *lazy { "PREVIEW (LAZY)" } else { "PREVIEW" }.into(),
        Item::SaveDate => "SAVEDATE".into(),
        Item::EmailId => "EMAILID".into(),
        Item::ThreadId => "THREADID".into(),
        Item::Binary { path: at, peek, partial } => format!("BINARY{}[{}]{}", peeked(*peek), path(at), cut(partial)),
        Item::BinarySize(at) => format!("BINARY.SIZE[{}]", path(at)),
        // The label has the section as it is written, and the origin without its count.
        Item::Section { peek, partial, label, .. } => {
            let section = &label[4..=label.rfind(']').unwrap()];
            format!("BODY{}{section}{}", peeked(*peek), cut(partial))
        }
    }
}

fn sets() -> impl Strategy<Value = Set> {
    let num = || prop_oneof![4 => (1u32..).prop_map(Num::Is), 1 => Just(Num::Last)];
    let range = prop_oneof![num().prop_map(|num| (num, num)), (num(), num())];
    proptest::collection::vec(range, 1..5).prop_map(Set::Ranges)
}

fn dates() -> impl Strategy<Value = jiff::civil::Date> {
    (1990i16..2100, 1i8..=12, 1i8..=28).prop_map(|(year, month, day)| jiff::civil::date(year, month, day))
}

/// Lower case, as keys keep it.
fn texts() -> impl Strategy<Value = String> {
    "[ -~]{0,12}".prop_map(|text| text.to_lowercase())
}

/// Keys of RFC 3501, which imap-codec knows.
fn plain_keys() -> impl Strategy<Value = Key> {
    let flags = prop_oneof![Just(Flags::SEEN), Just(Flags::ANSWERED), Just(Flags::DRAFT), Just(Flags::DELETED)];
    let leaf = prop_oneof![
        Just(Key::All),
        Just(Key::New),
        Just(Key::Old),
        Just(Key::Recent),
        sets().prop_map(Key::Numbers),
        sets().prop_map(Key::Uids),
        flags.prop_map(Key::Flag),
        "[A-Za-z$][a-z]{0,5}".prop_map(Key::Keyword),
        ("[a-z-]{1,8}", texts()).prop_map(|(field, text)| Key::Header { field, text }),
        texts().prop_map(Key::Body),
        texts().prop_map(Key::Text),
        dates().prop_map(Key::Before),
        dates().prop_map(Key::SentOn),
        dates().prop_map(Key::Since),
        any::<u32>().prop_map(|size| Key::Larger(u64::from(size))),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|key| Key::Not(Box::new(key))),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Key::Or(Box::new(a), Box::new(b))),
            proptest::collection::vec(inner, 2..4).prop_map(Key::And),
        ]
    })
}

fn all_keys() -> impl Strategy<Value = Key> {
    prop_oneof![
        4 => plain_keys(),
        1 => Just(Key::Numbers(Set::Saved)),
        1 => dates().prop_map(Key::SavedSince),
        1 => (1u32..).prop_map(Key::Older),
        1 => (1u32..).prop_map(Key::Younger),
        1 => (0..i64::MAX as u64).prop_map(Key::ModSeq),
        1 => "[MT][0-9a-f]{4,8}".prop_map(Key::EmailId),
        1 => "[MT][0-9a-f]{4,8}".prop_map(Key::ThreadId),
        1 => plain_keys().prop_map(|key| Key::Fuzzy(Box::new(key))),
    ]
}

/// Items of RFC 3501.
fn plain_items() -> impl Strategy<Value = String> {
    let section = "(([1-9](\\.[1-9]){0,2}\\.)?(HEADER|TEXT|HEADER\\.FIELDS \\(From To\\))|[1-9]\\.MIME|[1-9]|)";
    prop_oneof![
        Just("FLAGS".to_owned()),
        Just("UID".to_owned()),
        Just("ENVELOPE".to_owned()),
        Just("BODYSTRUCTURE".to_owned()),
        Just("RFC822.SIZE".to_owned()),
        Just("INTERNALDATE".to_owned()),
        (section, "(<[0-9]{1,4}\\.[1-9][0-9]{0,4}>)?").prop_map(|(section, cut)| format!("BODY.PEEK[{section}]{cut}")),
        (section, "(<[0-9]{1,4}\\.[1-9][0-9]{0,4}>)?").prop_map(|(section, cut)| format!("BODY[{section}]{cut}")),
    ]
}

fn all_items() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => plain_items(),
        1 => "BINARY(\\.PEEK)?\\[[1-9](\\.[1-9])?\\](<[1-9]\\.[1-9]>)?",
        1 => "BINARY\\.SIZE\\[[1-9]\\]",
        1 => Just("PREVIEW (LAZY)".to_owned()),
        1 => Just("SAVEDATE".to_owned()),
        1 => Just("MODSEQ".to_owned()),
    ]
}

fn names() -> impl Strategy<Value = String> {
    "[A-Za-z0-9/ .\"\\\\&-]{1,12}"
}

/// Any value as the parser made it, without the tag.
fn meaning(line: &[u8]) -> String {
    format!("{:?}", parse(line).unwrap_or_else(|why| panic!("{}: {why}", String::from_utf8_lossy(line))).command)
}

/// The command as imap-codec writes it again after reading it.
fn through_codec(line: &str) -> Vec<u8> {
    let bytes = format!("{line}\r\n").into_bytes();
    let (rest, command) = CommandCodec::default().decode(&bytes).unwrap_or_else(|why| panic!("{line}: {why:?}"));
    assert!(rest.is_empty());
    let mut again = CommandCodec::default().encode(&command).dump();
    again.truncate(again.len() - 2);
    again
}

proptest! {
    #[test]
    fn searches_are_read_as_they_were_printed(keys in proptest::collection::vec(all_keys(), 1..4)) {
        let printed = keys.iter().map(print_key).collect::<Vec<_>>().join(" ");
        let mut parser = Parser::new(printed.as_bytes());
        prop_assert_eq!(Search::parse(&mut parser).unwrap().keys, keys);
    }

    #[test]
    fn fetches_are_read_as_they_were_printed(set in sets(), items in proptest::collection::vec(all_items(), 1..5)) {
        let text = format!("{} ({})", print_set(&set), items.join(" "));
        let fetch = Fetch::parse(&mut Parser::new(text.as_bytes())).unwrap();
        let printed = fetch.items.iter().map(print_item).collect::<Vec<_>>().join(" ");
        let again = Fetch::parse(&mut Parser::new(format!("{} ({printed})", print_set(&set)).as_bytes())).unwrap();
        prop_assert_eq!(&again.set, &set);
        prop_assert_eq!(again.items, fetch.items);
    }

    #[test]
    fn imap_codec_understands_searches_as_this_server_does(key in plain_keys(), uid: bool) {
        // One key, since imap-codec writes several as a list, which means the same and is read as such.
        let line = format!("a {}SEARCH {}", if uid { "UID " } else { "" }, print_key(&key));
        prop_assert_eq!(meaning(&through_codec(&line)), meaning(line.as_bytes()));
    }

    #[test]
    fn imap_codec_understands_fetches_as_this_server_does(
        set in sets(), items in proptest::collection::vec(plain_items(), 1..5), uid: bool
    ) {
        let line = format!("a {}FETCH {} ({})", if uid { "UID " } else { "" }, print_set(&set), items.join(" "));
        prop_assert_eq!(meaning(&through_codec(&line)), meaning(line.as_bytes()));
    }

    #[test]
    fn imap_codec_understands_other_commands_as_this_server_does(
        which in 0usize..16, set in sets(), name in names(), other in names(), sign in 0usize..3
    ) {
        let (name, other, set) = (quoted(name.as_bytes()), quoted(other.as_bytes()), print_set(&set));
        let sign = ["", "+", "-"][sign];
        let line = match which {
            0 => format!("a SELECT {name}"),
            1 => format!("a EXAMINE {name}"),
            2 => format!("a CREATE {name}"),
            3 => format!("a DELETE {name}"),
            4 => format!("a RENAME {name} {other}"),
            5 => format!("a SUBSCRIBE {name}"),
            6 => format!("a LIST {name} {other}"),
            7 => format!("a LSUB {name} {other}"),
            8 => format!("a STATUS {name} (MESSAGES UIDNEXT UNSEEN)"),
            9 => format!("a COPY {set} {name}"),
            10 => format!("a UID MOVE {set} {name}"),
            11 => format!("a STORE {set} {sign}FLAGS.SILENT (\\Seen \\Deleted $Work)"),
            12 => format!("a UID STORE {set} {sign}FLAGS (\\Answered)"),
            13 => format!("a LOGIN {name} {other}"),
            14 => "a ENABLE CONDSTORE UTF8=ACCEPT".to_owned(),
            _ => "a EXPUNGE".to_owned(),
        };
        prop_assert_eq!(meaning(&through_codec(&line)), meaning(line.as_bytes()));
    }

    #[test]
    fn flags_are_read_as_they_were_printed(bits in 0u32..32, keywords in proptest::collection::vec("[$A-Za-z][a-z0-9]{0,8}", 0..4)) {
        let all = [Flags::SEEN, Flags::ANSWERED, Flags::FLAGGED, Flags::DELETED, Flags::DRAFT];
        let chosen = all.iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0);
        let flags = chosen.fold(Flags::NONE, |flags, (_, flag)| flags | *flag);
        prop_assume!(keywords.iter().all(|name| name.bytes().all(is_atom_char)));
        let keywords = Keywords::new(keywords.iter().map(String::as_str));
        let line = format!("a STORE 1 FLAGS {}", flag_list(flags, &keywords, false));
        let Command::Store { store, .. } = parse(line.as_bytes()).unwrap().command else { panic!() };
        prop_assert_eq!((store.flags.flags, store.flags.keywords, store.change), (flags, keywords, FlagChange::Replace));
    }
}
