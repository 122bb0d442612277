//! FETCH (RFC 3501 §6.4.5): what is asked of each message, from the view, the index and the file, in that order of cost.

use super::binary::{self, Missing};
use super::section;
use super::{Done, Session, Stop};
use crate::imap::proto::{self, Fetch, Item};
use store::mime::Parsed;
use store::{Details, FlagChange, FlagUpdate, Flags, FolderId, Keywords, StoreError, Uid};
use tokio::io::{AsyncRead, AsyncWrite};

/// Messages looked up at once in the index.
const BATCH: usize = 100;
/// Octets of messages read at once; one message is read whatever its size.
const BATCH_OCTETS: u64 = 1 << 20;

/// What is needed besides the view.
#[derive(Clone, Copy)]
struct Needs {
    details: bool,
    structure: bool,
    bytes: bool,
}

/// What came of a batch.
#[derive(Default)]
struct Outcome {
    /// Some had gone.
    missing: bool,
    /// Some could not be decoded (RFC 3516 §4.3); they are not answered for.
    undecoded: bool,
}

type Loaded = (Details, Option<Vec<u8>>);

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn fetch(&mut self, by_uid: bool, mut fetch: Fetch) -> Done {
        if by_uid && !fetch.items.contains(&Item::Uid) {
            fetch.items.insert(0, Item::Uid);
        }
        // RFC 7162 §3.1: asking for it enables it.
        self.condstore |= fetch.items.contains(&Item::ModSeq);
        let mut uids = self.uids(&fetch.set, by_uid)?;
        if fetch.vanished && !(by_uid && self.modes.qresync) {
            return Err(Stop::Bad("VANISHED goes with UID FETCH and ENABLE QRESYNC".into()));
        }
        let has = |wanted: fn(&Item) -> bool| fetch.items.iter().any(wanted);
        if has(|item| matches!(item, Item::Preview { .. } | Item::SaveDate | Item::EmailId | Item::ThreadId)) {
            return Err(Stop::No("[CANNOT] this server does not keep that".into()));
        }
        if let Some(since) = fetch.changed_since {
            let view = self.view()?;
            uids.retain(|uid| view.place(*uid).is_some_and(|place| view.rows[place].modseq.0 > since));
        }
        if let Some(window) = fetch.window {
            // RFC 9394 §3.3: of the messages that the other modifiers leave.
            uids = uids[window.of(uids.len())].to_vec();
        }
        let seen_now = if fetch.sees() { self.mark_seen(&uids).await? } else { Vec::new() };
        let needs = Needs::of(&fetch.items);
        let (mut missing, mut undecoded) = (false, false);
        for batch in uids.chunks(BATCH) {
            let outcome = self.fetch_batch(batch, &fetch.items, &seen_now, needs).await?;
            missing |= outcome.missing;
            undecoded |= outcome.undecoded;
        }
        if undecoded {
            return Err(Stop::No("[UNKNOWN-CTE] a part has a transfer encoding that is not known".into()));
        }
        Ok(if missing { "[EXPUNGEISSUED] some messages were removed meanwhile" } else { "fetched" }.into())
    }

    /// Sets \Seen where it is not set; returns where it was not.
    async fn mark_seen(&mut self, uids: &[Uid]) -> Result<Vec<Uid>, Stop> {
        let view = self.view()?;
        if view.read_only {
            return Ok(Vec::new());
        }
        let is_unseen = |uid: &&Uid| view.place(**uid).is_some_and(|at| !view.rows[at].flags.contains(Flags::SEEN));
        let unseen: Vec<Uid> = uids.iter().filter(is_unseen).copied().collect();
        if unseen.is_empty() {
            return Ok(unseen);
        }
        let (id, targets) = (view.folder.id, unseen.clone());
        let update = FlagUpdate {
            change: FlagChange::Add,
            flags: Flags::SEEN,
            keywords: Keywords::default(),
            unchanged_since: None,
        };
        let changed = self.on_store(move |account| account.update_flags(id, &targets, &update)).await?;
        let view = self.view()?;
        changed.rows.into_iter().for_each(|row| view.put(row));
        Ok(unseen)
    }

    /// Answers for up to [`BATCH`] messages.
    async fn fetch_batch(
        &mut self,
        uids: &[Uid],
        items: &[Item],
        seen_now: &[Uid],
        needs: Needs,
    ) -> Result<Outcome, Stop> {
        let mut outcome = Outcome::default();
        if !needs.details {
            for uid in uids {
                self.respond(*uid, None, items, seen_now)?;
            }
            self.conn.flush_if_full().await.map_err(Stop::End)?;
            return Ok(outcome);
        }
        let id = self.view()?.folder.id;
        let wanted = uids.to_vec();
        let details = self.on_store(move |account| account.details(id, &wanted, needs.structure)).await?;
        outcome.missing = details.len() < uids.len();
        let mut rest = details.into_iter().peekable();
        while rest.peek().is_some() {
            let mut group = Vec::new();
            let mut octets = 0;
            while let Some(next) = rest.next_if(|next| group.is_empty() || octets + next.size <= BATCH_OCTETS) {
                octets += next.size;
                group.push(next);
            }
            for loaded in self.load(id, group, needs.bytes).await? {
                match loaded {
                    Ok(loaded) if !decodable(items, &loaded) => outcome.undecoded = true,
                    Ok(loaded) => self.respond(loaded.0.uid, Some(&loaded), items, seen_now)?,
                    Err(StoreError::NoMessage) => outcome.missing = true,
                    Err(why) => return Err(why.into()),
                }
            }
            self.conn.flush_if_full().await.map_err(Stop::End)?;
        }
        Ok(outcome)
    }

    async fn load(
        &self,
        id: FolderId,
        group: Vec<Details>,
        bytes: bool,
    ) -> Result<Vec<Result<Loaded, StoreError>>, Stop> {
        if !bytes {
            return Ok(group.into_iter().map(|details| Ok((details, None))).collect());
        }
        self.on_store(move |account| {
            let read = |details: Details| account.read(id, details.uid).map(|bytes| (details, Some(bytes)));
            Ok(group.into_iter().map(read).collect())
        })
        .await
    }

    /// One untagged FETCH response.
    fn respond(&mut self, uid: Uid, loaded: Option<&Loaded>, items: &[Item], seen_now: &[Uid]) -> Result<(), Stop> {
        let condstore = self.condstore;
        let Some(view) = &self.selected else { return Ok(()) };
        let Some(place) = view.place(uid) else { return Ok(()) };
        let row = &view.rows[place];
        let flags = || format!("FLAGS {}", proto::flag_list(row.flags, &row.keywords, view.is_recent(uid)));
        let out = &mut self.conn.output;
        out.extend_from_slice(format!("* {} FETCH (", place + 1).as_bytes());
        let start = out.len();
        for item in items {
            if out.len() > start {
                out.push(b' ');
            }
            match item {
                Item::Uid => out.extend_from_slice(format!("UID {}", uid.0).as_bytes()),
                Item::Flags => out.extend_from_slice(flags().as_bytes()),
                Item::ModSeq => out.extend_from_slice(format!("MODSEQ ({})", row.modseq.0).as_bytes()),
                item => match loaded {
                    Some(loaded) => write_loaded(out, item, loaded),
                    None => out.extend_from_slice(b"BODY NIL"),
                },
            }
        }
        // What \Seen did is told along (RFC 3501 §6.4.5).
        if seen_now.binary_search(&uid).is_ok() && !items.contains(&Item::Flags) {
            out.push(b' ');
            out.extend_from_slice(flags().as_bytes());
            if condstore && !items.contains(&Item::ModSeq) {
                out.extend_from_slice(format!(" MODSEQ ({})", row.modseq.0).as_bytes());
            }
        }
        out.extend_from_slice(b")\r\n");
        Ok(())
    }
}

impl Needs {
    fn of(items: &[Item]) -> Needs {
        let view_alone = |item: &Item| matches!(item, Item::Uid | Item::Flags | Item::ModSeq);
        let bytes =
            items.iter().any(|item| matches!(item, Item::Section { .. } | Item::Binary { .. } | Item::BinarySize(_)));
        let structure = items.iter().any(|item| match item {
            Item::Envelope | Item::Body | Item::BodyStructure | Item::Binary { .. } | Item::BinarySize(_) => true,
            // The whole message needs no structure.
            Item::Section { section, .. } => !section.path.is_empty() || section.text != proto::Text::All,
            _ => false,
        });
        Needs { details: !items.iter().all(view_alone), structure, bytes }
    }
}

/// Whether the parts that are asked for decoded can be.
fn decodable(items: &[Item], (details, bytes): &Loaded) -> bool {
    let (Some(parsed), Some(message)) = (&details.parsed, bytes) else { return true };
    items.iter().all(|item| match item {
        Item::Binary { path, .. } | Item::BinarySize(path) => {
            binary::content(message, &parsed.root, path) != Err(Missing::Encoding)
        }
        _ => true,
    })
}

/// `BINARY[1.2]<0> ~{5}…` and `BINARY.SIZE[1.2] 5` (RFC 3516 §4.4).
fn write_binary(out: &mut Vec<u8>, item: &Item, parsed: Option<&Parsed>, message: &[u8]) {
    let (Item::Binary { path, .. } | Item::BinarySize(path)) = item else { return };
    let numbers: Vec<String> = path.iter().map(u32::to_string).collect();
    let number = numbers.join(".");
    let content = parsed.and_then(|parsed| binary::content(message, &parsed.root, path).ok());
    match item {
        Item::Binary { partial, .. } => {
            let origin = partial.map(|partial| format!("<{}>", partial.first)).unwrap_or_default();
            out.extend_from_slice(format!("BINARY[{number}]{origin} ").as_bytes());
            match content {
                None => out.extend_from_slice(b"NIL"),
                Some(content) => {
                    let cut = section::cut(&content, *partial);
                    // A literal without NUL is one that every client reads.
                    let mark = if cut.contains(&0) { "~" } else { "" };
                    out.extend_from_slice(format!("{mark}{{{}}}\r\n", cut.len()).as_bytes());
                    out.extend_from_slice(cut);
                }
            }
        }
        _ => out.extend_from_slice(format!("BINARY.SIZE[{number}] {}", content.map_or(0, |c| c.len())).as_bytes()),
    }
}

fn write_loaded(out: &mut Vec<u8>, item: &Item, (details, bytes): &Loaded) {
    match (item, &details.parsed) {
        (Item::InternalDate, _) => {
            out.extend_from_slice(format!("INTERNALDATE {}", proto::date_time(details.received)).as_bytes());
        }
        (Item::Size, _) => out.extend_from_slice(format!("RFC822.SIZE {}", details.size).as_bytes()),
        (Item::Envelope, Some(parsed)) => {
            out.extend_from_slice(b"ENVELOPE ");
            proto::envelope(out, &parsed.envelope);
        }
        (Item::Body | Item::BodyStructure, Some(parsed)) => {
            let extended = *item == Item::BodyStructure;
            out.extend_from_slice(if extended { b"BODYSTRUCTURE ".as_slice() } else { b"BODY " });
            proto::body(out, &parsed.root, extended);
        }
        (Item::Section { section, partial, label, .. }, parsed) => {
            out.extend_from_slice(label.as_bytes());
            out.push(b' ');
            let message = bytes.as_deref().unwrap_or_default();
            let found = match parsed {
                Some(parsed) => section::bytes(message, &parsed.root, section),
                None => Some(message.into()),
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
        (Item::Binary { .. } | Item::BinarySize(_), parsed) => {
            write_binary(out, item, parsed.as_deref(), bytes.as_deref().unwrap_or_default());
        }
        // A message whose structure could not be read any more: its file went away a moment ago.
        (Item::Envelope, None) => out.extend_from_slice(b"ENVELOPE (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"),
        (item @ (Item::Body | Item::BodyStructure), None) => {
            let name: &[u8] = if *item == Item::Body { b"BODY" } else { b"BODYSTRUCTURE" };
            out.extend_from_slice(name);
            out.extend_from_slice(b" (\"text\" \"plain\" NIL NIL NIL \"7bit\" 0 0)");
        }
        _ => {}
    }
}
