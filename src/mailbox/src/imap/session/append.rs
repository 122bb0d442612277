//! APPEND, with several messages (RFC 3502) and put together from parts (RFC 4469), and REPLACE (RFC 8508).

use super::messages::try_create;
use super::rights::Rights;
use super::{Done, Session, Stop, catenate};
use crate::imap::proto::{Append, Appended, CatPart, Data, Num, Set, compact};
use crate::{blocking, limits};
use store::{FlagChange, FlagUpdate, Flags, FolderId, Keywords, New, StoreError, Stored, Uid};
use tokio::io::{AsyncRead, AsyncWrite};

/// A message ready to be stored.
struct Ready {
    bytes: Vec<u8>,
    flags: Flags,
    keywords: Keywords,
    received: u64,
}

impl Ready {
    fn as_new(&self) -> New<'_> {
        let Ready { bytes, flags, keywords, received } = self;
        New { bytes, flags: *flags, keywords: keywords.clone(), received: *received }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn append(&mut self, append: Append) -> Done {
        self.user()?;
        let stored = self.put(append).await?;
        let code = stored
            .first()
            .map(|first| format!("[APPENDUID {} {}] ", first.validity.0, compact(stored.iter().map(|one| one.uid.0))));
        Ok(format!("{}stored", code.unwrap_or_default()))
    }

    /// Stores all messages of an APPEND, or none.
    async fn put(&mut self, append: Append) -> Result<Vec<Stored>, Stop> {
        // Looked for before the messages are put together, so that a missing mailbox costs nothing.
        let target = self.found(&append.mailbox, Rights::INSERT).await.map_err(try_create)?;
        let mut ready = Vec::with_capacity(append.messages.len());
        let mut octets = 0;
        for message in append.messages {
            let message = self.ready(message).await?;
            octets += message.bytes.len();
            if octets > limits::MESSAGE {
                return Err(too_big());
            }
            ready.push(message);
        }
        self.room_for(target.owner.as_ref(), octets as u64).await?;
        let name = target.folder.name;
        let stored = blocking::on(&target.account, move |account| {
            account.deliver_many(&name, &ready.iter().map(Ready::as_new).collect::<Vec<_>>())
        });
        stored.await.map_err(Stop::from).map_err(try_create)
    }

    async fn ready(&mut self, message: Appended) -> Result<Ready, Stop> {
        let bytes = match message.data {
            Data::Whole(bytes) => bytes,
            Data::Utf8(_) if !self.modes.utf8_accept => {
                return Err(Stop::Bad("UTF8 needs ENABLE UTF8=ACCEPT".into()));
            }
            Data::Utf8(bytes) => bytes,
            Data::Parts(parts) => self.put_together(parts).await?,
        };
        if bytes.is_empty() {
            return Err(Stop::No("[CANNOT] an empty message cannot be kept".into()));
        }
        let received = message.received.unwrap_or_else(base::time::now_unix);
        Ok(Ready { bytes, flags: message.flags.flags, keywords: message.flags.keywords, received })
    }

    /// RFC 4469 §3.
    async fn put_together(&mut self, parts: Vec<CatPart>) -> Result<Vec<u8>, Stop> {
        let mut out = Vec::new();
        for part in parts {
            match part {
                CatPart::Text(text) => out.extend(text),
                CatPart::Url(url) => {
                    let refuse = |why: &str| {
                        let shown: String =
                            String::from_utf8_lossy(&url).chars().filter(char::is_ascii_graphic).collect();
                        Stop::No(format!("[BADURL \"{}\"] {why}", shown.replace(['"', '\\'], "")))
                    };
                    let target = catenate::Target::parse(&url)
                        .ok_or_else(|| refuse("this is no URL of a message or part on this server"))?;
                    match self.on_store(move |account| target.bytes(account)).await {
                        Ok(Some(bytes)) => out.extend(bytes),
                        Ok(None) | Err(Stop::No(_)) => return Err(refuse("there is no such message or part")),
                        Err(other) => return Err(other),
                    }
                }
            }
            if out.len() > limits::MESSAGE {
                return Err(too_big());
            }
        }
        Ok(out)
    }

    /// The new message is stored before the old one is removed; there is no moment without either.
    pub(super) async fn replace(&mut self, by_uid: bool, number: Num, append: Append) -> Done {
        let removing = Rights::DELETE_MESSAGES.with(Rights::EXPUNGE);
        let id = self.writable(removing)?.folder.id;
        self.numbers_allowed(by_uid)?;
        let old = self.uids(&Set::Ranges(vec![(number, number)]), by_uid)?;
        let [old] = old.as_slice() else {
            return Err(Stop::Bad("there is no message of that number".into()));
        };
        let old = *old;
        let stored = self.put(append).await?;
        self.on_selected(move |account| remove(account, id, &[old])).await?;
        if let Some(new) = stored.first() {
            // RFC 8508 §4.3: untagged, before the EXPUNGE response.
            self.say(&format!("* OK [APPENDUID {} {}] replacement stored", new.validity.0, new.uid.0));
        }
        Ok("replaced".into())
    }
}

fn too_big() -> Stop {
    Stop::No(format!("[TOOBIG] the message is larger than {} MiB", limits::MESSAGE >> 20))
}

/// Removes messages whatever their flags.
pub(super) fn remove(account: &store::Account, id: FolderId, uids: &[Uid]) -> Result<(), StoreError> {
    let (flags, keywords) = (Flags::DELETED, Keywords::default());
    let update = FlagUpdate { change: FlagChange::Add, flags, keywords, unchanged_since: None };
    account.update_flags(id, uids, &update)?;
    account.expunge(id, Some(uids)).map(|_| ())
}
