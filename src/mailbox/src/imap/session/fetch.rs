//! FETCH (RFC 3501 §6.4.5): what is asked of each message, from the view, the index and the file, in that order of cost.

use super::binary::{self, Missing};
use super::find::{email_id, thread_id};
use super::rights::Rights;
use super::section;
use super::{Done, Session, Stop};
use crate::imap::proto::{self, Fetch, Item};
use store::mime::{Parsed, Part, quoted_or_literal};
use store::{FlagChange, FlagUpdate, Flags, FolderId, Keywords, ModSeq, Row, StoreError, Uid};
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

/// A message with what was loaded of it.
struct Details {
    row: Row,
    parsed: Option<Parsed>,
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
        if self.modes.uid_only {
            // RFC 9586 §3.3: the UID stands at the head of the response.
            fetch.items.retain(|item| *item != Item::Uid);
        } else if (by_uid || self.modes.qresync) && !fetch.items.contains(&Item::Uid) {
            fetch.items.insert(0, Item::Uid);
        }
        // RFC 7162 §3.1: asking for it enables it.
        self.condstore |= fetch.items.contains(&Item::ModSeq);
        if fetch.vanished && !(by_uid && self.modes.qresync) {
            return Err(Stop::Bad("VANISHED goes with UID FETCH and ENABLE QRESYNC".into()));
        }
        let mut uids = self.uids(&fetch.set, by_uid)?;
        if let Some(since) = fetch.changed_since {
            let view = self.view()?;
            uids.retain(|uid| view.image.by_uid(*uid).is_some_and(|row| row.modseq.0 > since));
        }
        if let Some(window) = fetch.window {
            // RFC 9394 §3.3: of the messages that the other modifiers leave.
            uids = uids[window.of(uids.len())].to_vec();
        }
        if let (true, Some(since)) = (fetch.vanished, fetch.changed_since) {
            let ranges = fetch.set.bounds(u32::MAX);
            self.tell_vanished(ModSeq(since), &ranges, 1).await?;
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
        if view.read_only || !view.rights.has(Rights::SEEN) {
            return Ok(Vec::new());
        }
        let is_unseen = |uid: &&Uid| view.image.by_uid(**uid).is_some_and(|row| !row.flags.contains(Flags::SEEN));
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
        let changed = self.on_selected(move |account| account.update_flags(id, &targets, &update)).await?;
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
        let view = self.view()?;
        let id = view.folder.id;
        let rows: Vec<Row> = uids.iter().filter_map(|uid| view.image.by_uid(*uid)).cloned().collect();
        let details = self
            .on_selected(move |account| {
                if !needs.structure {
                    return Ok(rows.into_iter().map(|row| Details { row, parsed: None }).collect::<Vec<_>>());
                }
                let parsed = account.parsed(id, &rows)?;
                let with = rows.into_iter().zip(parsed).filter(|(_, parsed)| parsed.is_some());
                Ok(with.map(|(row, parsed)| Details { row, parsed }).collect())
            })
            .await?;
        outcome.missing = details.len() < uids.len();
        let mut rest = details.into_iter().peekable();
        while rest.peek().is_some() {
            let mut group = Vec::new();
            let mut octets = 0;
            while let Some(next) =
                rest.next_if(|next| group.is_empty() || octets + u64::from(next.row.size) <= BATCH_OCTETS)
            {
                octets += u64::from(next.row.size);
                group.push(next);
            }
            for loaded in self.load(id, group, needs.bytes).await? {
                match loaded {
                    Ok(loaded) if !decodable(items, &loaded) => outcome.undecoded = true,
                    Ok(loaded) => self.respond(loaded.0.row.uid, Some(&loaded), items, seen_now)?,
                    Err(StoreError::NoMessage) => outcome.missing = true,
                    Err(why) => return Err(why.into()),
                }
            }
            self.conn.flush_if_full().await.map_err(Stop::End)?;
        }
        Ok(outcome)
    }

    async fn load(
        &mut self,
        id: FolderId,
        group: Vec<Details>,
        bytes: bool,
    ) -> Result<Vec<Result<Loaded, StoreError>>, Stop> {
        if !bytes {
            return Ok(group.into_iter().map(|details| Ok((details, None))).collect());
        }
        self.on_selected(move |account| {
            let read = |details: Details| account.read(id, details.row.uid).map(|bytes| (details, Some(bytes)));
            Ok(group.into_iter().map(read).collect())
        })
        .await
    }

    /// One untagged FETCH response.
    fn respond(&mut self, uid: Uid, loaded: Option<&Loaded>, items: &[Item], seen_now: &[Uid]) -> Result<(), Stop> {
        let telling = self.telling();
        let Some(view) = &self.selected else { return Ok(()) };
        let Some(place) = view.image.place(uid) else { return Ok(()) };
        let Some(row) = view.image.get(place) else { return Ok(()) };
        let flags = || format!("FLAGS {}", proto::flag_list(row.flags, &row.keywords, view.is_recent(uid)));
        let out = &mut self.conn.output;
        match telling.uid_only {
            true => out.extend_from_slice(format!("* {} UIDFETCH (", uid.0).as_bytes()),
            false => out.extend_from_slice(format!("* {} FETCH (", place + 1).as_bytes()),
        }
        let start = out.len();
        for item in items {
            if out.len() > start {
                out.push(b' ');
            }
            match item {
                Item::Uid => out.extend_from_slice(format!("UID {}", uid.0).as_bytes()),
                Item::Flags => out.extend_from_slice(flags().as_bytes()),
                Item::ModSeq => out.extend_from_slice(format!("MODSEQ ({})", row.modseq.0).as_bytes()),
                Item::InternalDate => {
                    let date = proto::date_time(u64::from(row.received));
                    out.extend_from_slice(format!("INTERNALDATE {date}").as_bytes());
                }
                Item::SaveDate => {
                    let date = proto::date_time(u64::from(row.saved));
                    out.extend_from_slice(format!("SAVEDATE {date}").as_bytes());
                }
                Item::Size => out.extend_from_slice(format!("RFC822.SIZE {}", row.size).as_bytes()),
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
            if telling.condstore && !items.contains(&Item::ModSeq) {
                out.extend_from_slice(format!(" MODSEQ ({})", row.modseq.0).as_bytes());
            }
        }
        out.extend_from_slice(b")\r\n");
        Ok(())
    }
}

impl Needs {
    fn of(items: &[Item]) -> Needs {
        let view_alone = |item: &Item| {
            use Item::{Flags, InternalDate, ModSeq, SaveDate, Size, Uid};
            matches!(item, Uid | Flags | ModSeq | InternalDate | SaveDate | Size)
        };
        let bytes =
            items.iter().any(|item| matches!(item, Item::Section { .. } | Item::Binary { .. } | Item::BinarySize(_)));
        let structure = items.iter().any(|item| match item {
            // The whole message needs no structure.
            Item::Section { section, .. } => !section.path.is_empty() || section.text != proto::Text::All,
            item => !view_alone(item),
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

fn write_loaded(out: &mut Vec<u8>, item: &Item, (details, bytes): &Loaded) {
    let message = bytes.as_deref().unwrap_or_default();
    match (item, &details.parsed) {
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
