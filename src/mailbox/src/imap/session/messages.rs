//! Storing, flagging, copying, moving and removing messages.

use super::place::Found;
use super::rights::Rights;
use super::view::View;
use super::{Done, Session, Stop};
use crate::blocking;
use crate::imap::proto::{Set, StoreCommand, compact};
use crate::learn::Lesson;
use std::sync::Arc;
use store::{FlagChange, FlagUpdate, Flags, Folder, FolderId, ModSeq, New, SpecialUse, StoreError, Transferred, Uid};
use tokio::io::{AsyncRead, AsyncWrite};

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// The UIDs of a set. None of them is not an error for UIDs (RFC 3501 §6.4.8).
    pub(super) fn uids(&mut self, set: &Set, by_uid: bool) -> Result<Vec<Uid>, Stop> {
        self.numbers_allowed(by_uid || *set == Set::Saved)?;
        if *set == Set::Saved {
            let saved = std::sync::Arc::clone(&self.saved);
            let view = self.view()?;
            // What was removed since then is passed over (RFC 5182 §2.1).
            return Ok(saved.iter().copied().filter(|uid| view.image.place(*uid).is_some()).collect());
        }
        let view = self.view()?;
        let rows = view.rows(set, by_uid).ok_or_else(|| Stop::Bad("there is no message of that number".into()))?;
        Ok(rows.into_iter().map(|row| row.uid).collect())
    }

    pub(super) async fn store(&mut self, by_uid: bool, command: StoreCommand) -> Done {
        let id = self.writable(needed(&command))?.folder.id;
        let uids = self.uids(&command.set, by_uid)?;
        // RFC 7162 §3.1: using it enables it.
        self.condstore |= command.unchanged_since.is_some();
        let update = FlagUpdate {
            change: command.change,
            flags: command.flags.flags,
            keywords: command.flags.keywords,
            unchanged_since: command.unchanged_since.map(ModSeq),
        };
        let changed = self.on_selected(move |account| account.update_flags(id, &uids, &update)).await?;
        let telling = self.telling();
        let view = self.view()?;
        let mut told = Vec::new();
        for row in changed.rows {
            let (uid, modseq) = (row.uid, row.modseq);
            view.put(row);
            let Some(place) = view.image.place(uid) else { continue };
            if !command.silent {
                told.push(view.flags_response(place, by_uid, telling));
            } else if telling.condstore {
                told.push(match telling.uid_only {
                    true => format!("* {} UIDFETCH (MODSEQ ({}))\r\n", uid.0, modseq.0),
                    false => format!("* {} FETCH (UID {} MODSEQ ({}))\r\n", place + 1, uid.0, modseq.0),
                });
            }
        }
        let modified: Vec<u32> = match by_uid {
            true => changed.modified.iter().map(|uid| uid.0).collect(),
            false => changed.modified.iter().filter_map(|uid| Some(view.image.place(*uid)? as u32 + 1)).collect(),
        };
        told.iter().for_each(|line| self.conn.output.extend_from_slice(line.as_bytes()));
        if modified.is_empty() {
            return Ok("stored".into());
        }
        Ok(format!("[MODIFIED {}] these had changed meanwhile", compact(modified)))
    }

    pub(super) async fn expunge(&mut self, uids: Option<Set>) -> Done {
        let id = self.writable(Rights::EXPUNGE)?.folder.id;
        let uids = uids.map(|set| self.uids(&set, true)).transpose()?;
        let highest = self
            .on_selected(move |account| {
                account.expunge(id, uids.as_deref())?;
                Ok(account.image(id)?.highest)
            })
            .await?;
        // RFC 7162 §3.2.7.
        Ok(if self.modes.qresync { format!("[HIGHESTMODSEQ {}] expunged", highest.0) } else { "expunged".into() })
    }

    /// COPY and MOVE (RFC 3501 §6.4.7, RFC 6851).
    pub(super) async fn transfer(&mut self, by_uid: bool, set: &Set, mailbox: &[u8], moving: bool) -> Done {
        let removing = Rights::DELETE_MESSAGES.with(Rights::EXPUNGE);
        let source = if moving { self.writable(removing)?.folder.clone() } else { self.view()?.folder.clone() };
        let uids = self.uids(set, by_uid)?;
        let target = self.found(mailbox, Rights::INSERT).await.map_err(try_create)?;
        let view = self.view()?;
        if !Arc::ptr_eq(&view.account, &target.account) {
            return self.transfer_between(source.id, uids, target, moving).await;
        }
        if !moving {
            let octets = octets(view, &uids);
            self.room_for(target.owner.as_ref(), octets).await?;
        }
        let (from, to) = (source.id, target.folder.id);
        let moved = self.on_selected(move |account| account.transfer(from, &uids, to, moving)).await?;
        let target = target.folder;
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

    /// Between accounts messages are stored anew, and only then removed from where they were.
    async fn transfer_between(&mut self, from: FolderId, uids: Vec<Uid>, target: Found, moving: bool) -> Done {
        let octets = octets(self.view()?, &uids);
        self.room_for(target.owner.as_ref(), octets).await?;
        let account = Arc::clone(&self.view()?.account);
        let to = Arc::clone(&target.account);
        let name = target.folder.name.clone();
        let (validity, pairs) = blocking::on(&account, move |account| {
            let rows = account.image(from)?;
            let mut pairs = Vec::with_capacity(uids.len());
            for uid in uids {
                let Some(row) = rows.by_uid(uid) else { continue };
                let bytes = match account.read(from, uid) {
                    Err(StoreError::NoMessage) => continue,
                    read => read?,
                };
                let (flags, keywords, received) = (row.flags, row.keywords.clone(), u64::from(row.received));
                pairs.push((uid, to.deliver(&name, &New { bytes: &bytes, flags, keywords, received })?));
            }
            if moving {
                let old: Vec<Uid> = pairs.iter().map(|(old, _)| *old).collect();
                super::append::remove(account, from, &old)?;
            }
            Ok((pairs.first().map(|(_, new)| new.validity), pairs))
        })
        .await?;
        let Some(validity) = validity else { return Ok("there was nothing to do".into()) };
        let old = compact(pairs.iter().map(|(old, _)| old.0));
        let new = compact(pairs.iter().map(|(_, new)| new.uid.0));
        let code = format!("[COPYUID {} {old} {new}]", validity.0);
        if moving {
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
        let (Some(user), Some(view)) = (&self.user, &self.selected) else { return };
        // What lies in another's folder is theirs to sort.
        if view.owner.is_some() {
            return;
        }
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

fn octets(view: &View, uids: &[Uid]) -> u64 {
    uids.iter().filter_map(|uid| view.image.by_uid(*uid)).map(|row| u64::from(row.size)).sum()
}

/// The rights that a change of flags needs (RFC 4314 §4).
fn needed(command: &StoreCommand) -> Rights {
    if command.change == FlagChange::Replace {
        return Rights::SEEN.with(Rights::DELETE_MESSAGES).with(Rights::WRITE);
    }
    let flags = command.flags.flags;
    let special = Flags::SEEN | Flags::DELETED;
    let mut needed = Rights::default();
    for (flag, right) in [(Flags::SEEN, Rights::SEEN), (Flags::DELETED, Rights::DELETE_MESSAGES)] {
        if flags.contains(flag) {
            needed = needed.with(right);
        }
    }
    let others = flags.without(special) != Flags::NONE || !command.flags.keywords.is_empty();
    if others { needed.with(Rights::WRITE) } else { needed }
}

/// RFC 3501 §7.1: a missing target may be made by the client.
pub(super) fn try_create(stop: Stop) -> Stop {
    match stop {
        Stop::No(text) => Stop::No(text.replace("[NONEXISTENT]", "[TRYCREATE]")),
        other => other,
    }
}
