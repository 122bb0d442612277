//! The answers to a FETCH: what is asked of each message, from the view, the index and the file, in that order of cost.
//! Made on a thread for blocking work, a piece at a time.

use super::binary::{self, Missing};
use super::find::{email_id, thread_id};
use super::section;
use super::view::{Telling, View};
use crate::imap::proto::{self, Item};
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;
use store::mime::{Parsed, Part, quoted_or_literal};
use store::{Account, FolderId, Image, Row, Shown, StoreError, Uid};

/// An answer is given in pieces of about so many octets; one message is read whatever its size.
const PIECE: usize = 256 << 10;

/// What is asked, and all that is needed to answer besides the store.
pub struct Question {
    items: Vec<Item>,
    needs: Needs,
    id: FolderId,
    image: Arc<Image>,
    recent: Range<Uid>,
    telling: Telling,
    /// Messages that this FETCH made \Seen, ascending.
    seen_now: Vec<Uid>,
}

/// What is needed besides the view.
#[derive(Clone, Copy, Default)]
struct Needs {
    envelope: bool,
    structure: bool,
    parsed: bool,
    bytes: bool,
}

/// A piece of the answer.
#[derive(Default)]
pub struct Answer {
    pub bytes: Vec<u8>,
    /// How many of the messages it is about.
    pub count: usize,
    /// Some had gone.
    pub missing: bool,
    /// Some could not be decoded (RFC 3516 §4.3); they are not answered for.
    pub undecoded: bool,
}

/// What was loaded of one message.
#[derive(Default)]
struct Loaded {
    envelope: Option<Vec<u8>>,
    structure: Option<Vec<u8>>,
    parsed: Option<Parsed>,
}

impl Question {
    /// Messages looked up at once in the index.
    pub const MOST: usize = 500;

    pub fn new(items: Vec<Item>, view: &View, telling: Telling, seen_now: Vec<Uid>) -> Question {
        let (id, image, recent) = (view.folder.id, Arc::clone(&view.image), view.recent());
        Question { needs: Needs::of(&items), items, id, image, recent, telling, seen_now }
    }

    /// Whether the view alone can answer.
    pub fn needs_nothing(&self) -> bool {
        let Needs { envelope, structure, parsed, bytes } = self.needs;
        !(envelope || structure || parsed || bytes)
    }

    /// Adds a piece of the answer for these messages, and how many of them it is about: one at least.
    pub fn answer(&self, account: &Account, uids: &[Uid], answer: &mut Answer) -> Result<(), StoreError> {
        let some = &uids[..uids.len().min(Self::MOST)];
        let places: Vec<Option<usize>> = some.iter().map(|uid| self.image.place(*uid)).collect();
        let rows: Vec<Row> = places.iter().flatten().filter_map(|place| self.image.get(*place)).cloned().collect();
        let mut loaded = self.load(account, &rows)?.into_iter();
        let (mut rows, mut message) = (rows.iter(), Vec::new());
        for place in places {
            if answer.bytes.len() >= PIECE {
                break;
            }
            answer.count += 1;
            let Some(place) = place else { continue };
            let Some(row) = rows.next() else { continue };
            let Some(Some(loaded)) = loaded.next() else {
                answer.missing = true;
                continue;
            };
            if self.needs.bytes {
                match account.read_into(self.id, row, &mut message) {
                    Ok(()) => {}
                    Err(StoreError::NoMessage) => {
                        answer.missing = true;
                        continue;
                    }
                    Err(why) => return Err(why),
                }
            }
            if !decodable(&self.items, loaded.parsed.as_ref(), &message) {
                answer.undecoded = true;
                continue;
            }
            self.respond(&mut answer.bytes, place, row, &loaded, &message);
        }
        Ok(())
    }

    /// What the index keeps of the messages; `None` for those that have gone.
    fn load(&self, account: &Account, rows: &[Row]) -> Result<Vec<Option<Loaded>>, StoreError> {
        let mut all: Vec<Option<Loaded>> = rows.iter().map(|_| Some(Loaded::default())).collect();
        if self.needs.envelope {
            put(&mut all, account.shown(self.id, rows, Shown::Envelope)?, |loaded, value| {
                loaded.envelope = Some(value)
            });
        }
        if self.needs.structure {
            put(&mut all, account.shown(self.id, rows, Shown::Structure)?, |loaded, value| {
                loaded.structure = Some(value);
            });
        }
        if self.needs.parsed {
            put(&mut all, account.parsed(self.id, rows)?, |loaded, value| loaded.parsed = Some(value));
        }
        Ok(all)
    }

    /// One untagged FETCH response.
    fn respond(&self, out: &mut Vec<u8>, place: usize, row: &Row, loaded: &Loaded, message: &[u8]) {
        match self.telling.uid_only {
            true => say(out, format_args!("* {} UIDFETCH (", row.uid.0)),
            false => say(out, format_args!("* {} FETCH (", place + 1)),
        }
        let start = out.len();
        for item in &self.items {
            if out.len() > start {
                out.push(b' ');
            }
            match item {
                Item::Uid => say(out, format_args!("UID {}", row.uid.0)),
                Item::Flags => self.flags(out, row),
                Item::ModSeq => say(out, format_args!("MODSEQ ({})", row.modseq.0)),
                Item::InternalDate => {
                    say(out, format_args!("INTERNALDATE {}", proto::date_time(u64::from(row.received))));
                }
                Item::SaveDate => say(out, format_args!("SAVEDATE {}", proto::date_time(u64::from(row.saved)))),
                Item::Size => say(out, format_args!("RFC822.SIZE {}", row.size)),
                item => write_loaded(out, item, loaded, message),
            }
        }
        // What \Seen did is told along (RFC 3501 §6.4.5).
        if self.seen_now.binary_search(&row.uid).is_ok() && !self.items.contains(&Item::Flags) {
            out.push(b' ');
            self.flags(out, row);
            if self.telling.condstore && !self.items.contains(&Item::ModSeq) {
                say(out, format_args!(" MODSEQ ({})", row.modseq.0));
            }
        }
        out.extend_from_slice(b")\r\n");
    }

    fn flags(&self, out: &mut Vec<u8>, row: &Row) {
        out.extend_from_slice(b"FLAGS ");
        proto::put_flags(out, row.flags, &row.keywords, self.recent.contains(&row.uid));
    }
}

/// Puts what was found into what was loaded; a message of which nothing was found has gone.
fn put<T>(all: &mut [Option<Loaded>], found: Vec<Option<T>>, mut set: impl FnMut(&mut Loaded, T)) {
    for (slot, value) in all.iter_mut().zip(found) {
        match (slot.as_mut(), value) {
            (Some(loaded), Some(value)) => set(loaded, value),
            _ => *slot = None,
        }
    }
}

fn say(out: &mut Vec<u8>, what: std::fmt::Arguments<'_>) {
    // Writing into memory does not fail.
    let _ = out.write_fmt(what);
}

impl Needs {
    fn of(items: &[Item]) -> Needs {
        let mut needs = Needs::default();
        for item in items {
            match item {
                Item::Uid | Item::Flags | Item::ModSeq | Item::InternalDate | Item::SaveDate | Item::Size => {}
                Item::Envelope => needs.envelope = true,
                Item::BodyStructure => needs.structure = true,
                Item::Body | Item::Preview { .. } | Item::EmailId | Item::ThreadId => needs.parsed = true,
                // The whole message and its header need no structure.
                Item::Section { section, .. } => {
                    needs.bytes = true;
                    needs.parsed |= !section::is_plain(section);
                }
                Item::Binary { .. } | Item::BinarySize(_) => (needs.bytes, needs.parsed) = (true, true),
            }
        }
        needs
    }
}

/// Whether the parts that are asked for decoded can be.
fn decodable(items: &[Item], parsed: Option<&Parsed>, message: &[u8]) -> bool {
    let Some(parsed) = parsed else { return true };
    items.iter().all(|item| match item {
        Item::Binary { path, .. } | Item::BinarySize(path) => {
            binary::content(message, &parsed.root, path) != Err(Missing::Encoding)
        }
        _ => true,
    })
}

fn write_loaded(out: &mut Vec<u8>, item: &Item, loaded: &Loaded, message: &[u8]) {
    match (item, &loaded.parsed) {
        (Item::Envelope, _) => {
            out.extend_from_slice(b"ENVELOPE ");
            out.extend_from_slice(loaded.envelope.as_deref().unwrap_or_default());
        }
        (Item::BodyStructure, _) => {
            out.extend_from_slice(b"BODYSTRUCTURE ");
            out.extend_from_slice(loaded.structure.as_deref().unwrap_or_default());
        }
        (Item::Body, Some(parsed)) => {
            out.extend_from_slice(b"BODY ");
            proto::body(out, &parsed.root, false);
        }
        (Item::Section { section, partial, label, .. }, parsed) => {
            out.extend_from_slice(label.as_bytes());
            out.push(b' ');
            let found = match parsed {
                Some(parsed) => section::bytes(message, &parsed.root, section),
                None => section::plain(message, section),
            };
            match found {
                None => out.extend_from_slice(b"NIL"),
                Some(found) => {
                    let cut = section::cut(&found, *partial);
                    out.extend_from_slice(format!("{{{}}}\r\n", cut.len()).as_bytes());
                    out.extend_from_slice(cut);
                }
            }
        }
        (Item::Binary { .. } | Item::BinarySize(_), Some(parsed)) => {
            write_binary(out, item, &parsed.root, message);
        }
        (Item::Preview { .. }, Some(parsed)) => {
            out.extend_from_slice(b"PREVIEW ");
            quoted_or_literal(out, parsed.preview.as_bytes());
        }
        (Item::EmailId, Some(parsed)) => out.extend_from_slice(format!("EMAILID ({})", email_id(parsed)).as_bytes()),
        (Item::ThreadId, Some(parsed)) => {
            out.extend_from_slice(format!("THREADID ({})", thread_id(parsed)).as_bytes());
        }
        // Everything else is loaded with its structure.
        _ => out.extend_from_slice(b"BODY NIL"),
    }
}

/// `BINARY[1.2]<0> ~{5}…` and `BINARY.SIZE[1.2] 5` (RFC 3516 §4.4).
fn write_binary(out: &mut Vec<u8>, item: &Item, root: &Part, message: &[u8]) {
    let (Item::Binary { path, .. } | Item::BinarySize(path)) = item else { return };
    let numbers: Vec<String> = path.iter().map(u32::to_string).collect();
    let number = numbers.join(".");
    let content = binary::content(message, root, path).ok();
    let Item::Binary { partial, .. } = item else {
        out.extend_from_slice(format!("BINARY.SIZE[{number}] {}", content.map_or(0, |c| c.len())).as_bytes());
        return;
    };
    let origin = partial.map(|partial| format!("<{}>", partial.first)).unwrap_or_default();
    out.extend_from_slice(format!("BINARY[{number}]{origin} ").as_bytes());
    let Some(content) = content else {
        out.extend_from_slice(b"NIL");
        return;
    };
    let cut = section::cut(&content, *partial);
    // A literal without NUL is one that every client reads.
    let mark = if cut.contains(&0) { "~" } else { "" };
    out.extend_from_slice(format!("{mark}{{{}}}\r\n", cut.len()).as_bytes());
    out.extend_from_slice(cut);
}
