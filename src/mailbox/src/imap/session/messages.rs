//! Storing, flagging, copying, moving and removing messages.

use super::{Done, Session, Stop};
use crate::imap::proto::{Set, StoreCommand, compact};
use crate::learn::Lesson;
use store::{FlagUpdate, Folder, FolderName, ModSeq, SpecialUse, StoreError, Transferred, Uid};
use tokio::io::{AsyncRead, AsyncWrite};

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// The UIDs of a set. None of them is not an error for UIDs (RFC 3501 §6.4.8).
    pub(super) fn uids(&mut self, set: &Set, by_uid: bool) -> Result<Vec<Uid>, Stop> {
        self.numbers_allowed(by_uid || *set == Set::Saved)?;
        if *set == Set::Saved {
            let saved = std::sync::Arc::clone(&self.saved);
            let view = self.view()?;
            // What was removed since then is passed over (RFC 5182 §2.1).
            return Ok(saved.iter().copied().filter(|uid| view.place(*uid).is_some()).collect());
        }
        let view = self.view()?;
        let places = view.places(set, by_uid).ok_or_else(|| Stop::Bad("there is no message of that number".into()))?;
        Ok(places.into_iter().map(|place| view.rows[place].uid).collect())
    }

    pub(super) async fn store(&mut self, by_uid: bool, command: StoreCommand) -> Done {
        let id = self.writable()?.folder.id;
        let uids = self.uids(&command.set, by_uid)?;
        // RFC 7162 §3.1: using it enables it.
        self.condstore |= command.unchanged_since.is_some();
        let update = FlagUpdate {
            change: command.change,
            flags: command.flags.flags,
            keywords: command.flags.keywords,
            unchanged_since: command.unchanged_since.map(ModSeq),
        };
        let changed = self.on_store(move |account| account.update_flags(id, &uids, &update)).await?;
        let condstore = self.condstore;
        let view = self.view()?;
        let mut told = Vec::new();
        for row in changed.rows {
            let (uid, modseq) = (row.uid, row.modseq);
            view.put(row);
            let Some(place) = view.place(uid) else { continue };
            if !command.silent {
                told.push(view.flags_response(place, by_uid, condstore));
            } else if condstore {
                told.push(format!("* {} FETCH (UID {} MODSEQ ({}))\r\n", place + 1, uid.0, modseq.0));
            }
        }
        let modified: Vec<u32> = match by_uid {
            true => changed.modified.iter().map(|uid| uid.0).collect(),
            false => changed.modified.iter().filter_map(|uid| Some(view.place(*uid)? as u32 + 1)).collect(),
        };
        told.iter().for_each(|line| self.conn.output.extend_from_slice(line.as_bytes()));
        if modified.is_empty() {
            return Ok("stored".into());
        }
        Ok(format!("[MODIFIED {}] these had changed meanwhile", compact(modified)))
    }

    pub(super) async fn expunge(&mut self, uids: Option<Set>) -> Done {
        let id = self.writable()?.folder.id;
        let uids = uids.map(|set| self.uids(&set, true)).transpose()?;
        self.on_store(move |account| account.expunge(id, uids.as_deref())).await?;
        Ok("expunged".into())
    }

    /// COPY and MOVE (RFC 3501 §6.4.7, RFC 6851).
    pub(super) async fn transfer(&mut self, by_uid: bool, set: &Set, mailbox: &[u8], moving: bool) -> Done {
        let source = if moving { self.writable()?.folder.clone() } else { self.view()?.folder.clone() };
        let uids = self.uids(set, by_uid)?;
        let target: FolderName = self.folder_name(mailbox)?;
        let from = source.id;
        let (target, moved) = self
            .on_store(move |account| {
                let target = account.folder(&target)?.ok_or(StoreError::NoFolder(target))?;
                let moved = account.transfer(from, &uids, target.id, moving)?;
                Ok((target, moved))
            })
            .await
            .map_err(try_create)?;
        self.teach(&source, &target, &moved);
        if moved.uids.is_empty() {
            return Ok("there was nothing to do".into());
        }
        let old = compact(moved.uids.iter().map(|(old, _)| old.0));
        let new = compact(moved.uids.iter().map(|(_, new)| new.0));
        let code = format!("[COPYUID {} {old} {new}]", moved.validity.0);
        if moving {
            // RFC 6851 §4.3: before the EXPUNGE responses.
            self.say(&format!("* OK {code} moved"));
            return Ok("moved".into());
        }
        Ok(format!("{code} copied"))
    }

    /// What goes into Junk is spam to its reader; what is taken out of it, but not thrown away, is not.
    fn teach(&self, source: &Folder, target: &Folder, moved: &Transferred) {
        let junk = Some(SpecialUse::Junk);
        let spam = match (source.special, target.special) {
            (from, to) if from == to => return,
            (_, to) if to == junk => true,
            (from, to) if from == junk && to != Some(SpecialUse::Trash) => false,
            _ => return,
        };
        let Some(user) = &self.user else { return };
        for (_, uid) in &moved.uids {
            self.shared.learner.put(Lesson {
                address: user.address.clone(),
                account: user.account.clone(),
                folder: target.id,
                uid: *uid,
                spam,
            });
        }
    }
}

/// RFC 3501 §7.1: a missing target may be made by the client.
pub(super) fn try_create(stop: Stop) -> Stop {
    match stop {
        Stop::No(text) => Stop::No(text.replace("[NONEXISTENT]", "[TRYCREATE]")),
        other => other,
    }
}
