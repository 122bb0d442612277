//! What FETCH may ask for (RFC 9051 §6.4.5), with BINARY (RFC 3516), PREVIEW (RFC 8970), SAVEDATE (RFC 8514), OBJECTID
//! (RFC 8474), and the modifiers of CONDSTORE, QRESYNC (RFC 7162) and PARTIAL (RFC 9394).

use super::parser::{Parsed, Parser, bad};
use super::set::{Set, Window};
use super::write::astring;
use crate::limits;

#[derive(Debug, Clone)]
pub struct Fetch {
    pub set: Set,
    pub items: Vec<Item>,
    /// Only messages changed after this (RFC 7162 §3.1.4.1).
    pub changed_since: Option<u64>,
    /// Also what was removed since then (RFC 7162 §3.2.6).
    pub vanished: bool,
    /// Only a part of the set (RFC 9394 §3.3).
    pub window: Option<Window>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    Flags,
    Uid,
    InternalDate,
    Size,
    Envelope,
    Body,
    BodyStructure,
    ModSeq,
    /// RFC 8970; `lazy` asks for it only when it is at hand.
    Preview {
        lazy: bool,
    },
    /// RFC 8514.
    SaveDate,
    /// RFC 8474.
    EmailId,
    ThreadId,
    /// A part with its transfer encoding undone (RFC 3516).
    Binary {
        path: Vec<u32>,
        peek: bool,
        partial: Option<Partial>,
    },
    BinarySize(Vec<u32>),
    Section {
        section: Section,
        peek: bool,
        partial: Option<Partial>,
        label: String,
    },
}

/// A part of a message: its number, and what of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    pub path: Vec<u32>,
    pub text: Text,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    All,
    Header,
    Fields { names: Vec<Vec<u8>>, not: bool },
    Body,
    Mime,
}

/// `<first.count>`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partial {
    pub first: u32,
    pub count: u32,
}

impl Fetch {
    pub fn parse(p: &mut Parser<'_>) -> Parsed<Fetch> {
        let set = Set::parse(p)?;
        p.space()?;
        let items = fetch_items(p)?;
        let mut fetch = Fetch { set, items, changed_since: None, vanished: false, window: None };
        if p.take(b' ') && p.peek() == Some(b'(') {
            p.list(|p| modifier(p, &mut fetch))?;
        }
        if fetch.vanished && fetch.changed_since.is_none() {
            return bad("VANISHED goes with CHANGEDSINCE");
        }
        if fetch.changed_since.is_some() && !fetch.items.contains(&Item::ModSeq) {
            fetch.items.push(Item::ModSeq);
        }
        Ok(fetch)
    }

    /// Whether anything asked for sets \Seen.
    pub fn sees(&self) -> bool {
        self.items
            .iter()
            .any(|item| matches!(item, Item::Section { peek: false, .. } | Item::Binary { peek: false, .. }))
    }
}

fn modifier(p: &mut Parser<'_>, fetch: &mut Fetch) -> Parsed<()> {
    match p.atom()?.to_ascii_uppercase().as_str() {
        "CHANGEDSINCE" => {
            p.space()?;
            fetch.changed_since = Some(p.long_number()?);
        }
        "VANISHED" => fetch.vanished = true,
        "PARTIAL" => {
            p.space()?;
            fetch.window = Some(Window::parse(p)?);
        }
        other => return bad(format!("there is no FETCH modifier {other}")),
    }
    Ok(())
}

/// One item, a macro, or several in parentheses; each once.
pub fn fetch_items(p: &mut Parser<'_>) -> Parsed<Vec<Item>> {
    let items = if p.peek() == Some(b'(') { p.list(item)? } else { macro_or_item(p)? };
    if items.is_empty() || items.len() > limits::FETCH_ITEMS {
        return bad("FETCH asks for nothing, or for too much at once");
    }
    let mut unique: Vec<Item> = Vec::with_capacity(items.len());
    for item in items {
        if !unique.contains(&item) {
            unique.push(item);
        }
    }
    Ok(unique)
}

fn macro_or_item(p: &mut Parser<'_>) -> Parsed<Vec<Item>> {
    let fast = [Item::Flags, Item::InternalDate, Item::Size];
    for (name, more) in [("ALL", vec![Item::Envelope]), ("FAST", vec![]), ("FULL", vec![Item::Envelope, Item::Body])] {
        if p.take_word(name) {
            return Ok(fast.into_iter().chain(more).collect());
        }
    }
    Ok(vec![item(p)?])
}

fn item(p: &mut Parser<'_>) -> Parsed<Item> {
    let name = p.run(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
    let name = String::from_utf8_lossy(name).to_ascii_uppercase();
    let whole = |text, peek| {
        let section = Section { path: Vec::new(), text };
        Item::Section { section, peek, partial: None, label: name.clone() }
    };
    Ok(match name.as_str() {
        "FLAGS" => Item::Flags,
        "UID" => Item::Uid,
        "INTERNALDATE" => Item::InternalDate,
        "RFC822.SIZE" => Item::Size,
        "ENVELOPE" => Item::Envelope,
        "BODYSTRUCTURE" => Item::BodyStructure,
        "MODSEQ" => Item::ModSeq,
        "RFC822" => whole(Text::All, false),
        "RFC822.HEADER" => whole(Text::Header, true),
        "RFC822.TEXT" => whole(Text::Body, false),
        "BODY" | "BODY.PEEK" if p.peek() == Some(b'[') => section_item(p, name == "BODY.PEEK")?,
        "BODY" => Item::Body,
        "BINARY" | "BINARY.PEEK" => binary(p, name == "BINARY.PEEK")?,
        "BINARY.SIZE" => Item::BinarySize(numbered(p)?),
        "PREVIEW" => {
            let lazy = p.rest().get(..6).is_some_and(|next| next.eq_ignore_ascii_case(b" (LAZY"));
            if lazy {
                p.space()?;
                p.list(Parser::atom)?;
            }
            Item::Preview { lazy }
        }
        "SAVEDATE" => Item::SaveDate,
        "EMAILID" => Item::EmailId,
        "THREADID" => Item::ThreadId,
        other => return bad(format!("FETCH has no item {other:?}")),
    })
}

fn section_item(p: &mut Parser<'_>, peek: bool) -> Parsed<Item> {
    p.expect(b'[')?;
    let section = section(p)?;
    p.expect(b']')?;
    let partial = partial(p)?;
    let origin = partial.map(|partial| format!("<{}>", partial.first)).unwrap_or_default();
    let label = format!("BODY[{}]{origin}", shown(&section));
    Ok(Item::Section { section, peek, partial, label })
}

fn partial(p: &mut Parser<'_>) -> Parsed<Option<Partial>> {
    if !p.take(b'<') {
        return Ok(None);
    }
    let first = p.number()?;
    p.expect(b'.')?;
    let count = p.number()?;
    p.expect(b'>')?;
    if count == 0 {
        return bad("a partial fetch asks for at least one octet");
    }
    Ok(Some(Partial { first, count }))
}

fn binary(p: &mut Parser<'_>, peek: bool) -> Parsed<Item> {
    Ok(Item::Binary { path: numbered(p)?, peek, partial: partial(p)? })
}

/// `[1.2]`, or `[]` for the whole message.
fn numbered(p: &mut Parser<'_>) -> Parsed<Vec<u32>> {
    p.expect(b'[')?;
    let Section { path, text } = section(p)?;
    p.expect(b']')?;
    if text == Text::All { Ok(path) } else { bad("BINARY takes the number of a part and nothing else") }
}

/// Reads `1.2.HEADER` and the like, as it stands between brackets (RFC 9051 §9, section-spec) or in a URL.
pub fn section(p: &mut Parser<'_>) -> Parsed<Section> {
    let mut path = Vec::new();
    while p.peek().is_some_and(|byte| byte.is_ascii_digit()) {
        match p.number()? {
            0 => return bad("parts are numbered from 1"),
            _ if path.len() >= limits::SECTION_DEPTH => return bad("no part lies so deep"),
            number => path.push(number),
        }
        if !p.take(b'.') {
            return Ok(Section { path, text: Text::All });
        }
    }
    let text = if p.take_word("HEADER.FIELDS.NOT") {
        Text::Fields { names: names(p)?, not: true }
    } else if p.take_word("HEADER.FIELDS") {
        Text::Fields { names: names(p)?, not: false }
    } else if p.take_word("HEADER") {
        Text::Header
    } else if p.take_word("TEXT") {
        Text::Body
    } else if !path.is_empty() && p.take_word("MIME") {
        Text::Mime
    } else if path.is_empty() {
        Text::All
    } else {
        return bad(format!("expected HEADER, TEXT or MIME {}", p.here()));
    };
    Ok(Section { path, text })
}

fn names(p: &mut Parser<'_>) -> Parsed<Vec<Vec<u8>>> {
    p.space()?;
    let names = p.list(Parser::astring)?;
    if names.is_empty() { bad("HEADER.FIELDS names at least one field") } else { Ok(names) }
}

/// The section as the response repeats it.
fn shown(section: &Section) -> String {
    let mut out: Vec<String> = section.path.iter().map(u32::to_string).collect();
    let fields = |names: &[Vec<u8>]| {
        let names: Vec<String> =
            names.iter().map(|name| String::from_utf8_lossy(&astring(name)).into_owned()).collect();
        names.join(" ")
    };
    match &section.text {
        Text::All => {}
        Text::Header => out.push("HEADER".into()),
        Text::Fields { names, not: false } => out.push(format!("HEADER.FIELDS ({})", fields(names))),
        Text::Fields { names, not: true } => out.push(format!("HEADER.FIELDS.NOT ({})", fields(names))),
        Text::Body => out.push("TEXT".into()),
        Text::Mime => out.push("MIME".into()),
    }
    out.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &str) -> Parsed<Vec<Item>> {
        Fetch::parse(&mut Parser::new(format!("1 {text}").as_bytes())).map(|fetch| fetch.items)
    }

    #[test]
    fn a_section_is_repeated_in_the_response_as_it_was_asked_for() {
        for (asked, told) in [
            ("BODY.PEEK[]", "BODY[]"),
            ("BODY[1.2.mime]", "BODY[1.2.MIME]"),
            ("BODY[HEADER.FIELDS (From \"To\")]<0.100>", "BODY[HEADER.FIELDS (From To)]<0>"),
            ("BODY[2.HEADER.FIELDS.NOT (x)]", "BODY[2.HEADER.FIELDS.NOT (x)]"),
            ("RFC822.HEADER", "RFC822.HEADER"),
        ] {
            let items = items(asked).unwrap();
            let Item::Section { label, .. } = &items[0] else { panic!("{asked}") };
            assert_eq!(label, told);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in
            ["()", "BODY[MIME]", "BODY[0]", "BODY[1.]", "BODY[HEADER.FIELDS ()]", "BODY[]<5>", "FLAG", "BODY[]<0.0>"]
        {
            assert!(items(wrong).is_err(), "{wrong}");
        }
        assert_eq!(items("FULL").unwrap().len(), 5);
    }
}
