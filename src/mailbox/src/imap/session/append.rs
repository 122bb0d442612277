//! APPEND, with several messages (RFC 3502) and put together from parts (RFC 4469), and REPLACE (RFC 8508).

use super::messages::try_create;
use super::{Done, Session, Stop, catenate};
use crate::imap::proto::{Append, Appended, CatPart, Data, Num, Set, compact};
use crate::limits;
use store::{FlagChange, FlagUpdate, Flags, FolderName, Keywords, New, StoreError, Stored};
use tokio::io::{AsyncRead, AsyncWrite};

/// A message ready to be stored.
struct Ready {
    bytes: Vec<u8>,
    flags: Flags,
    keywords: Keywords,
    received: u64,
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
        let name = self.folder_name(&append.mailbox)?;
        let target = name.clone();
        // Before the messages are put together, so that a missing mailbox costs nothing.
        self.on_store(move |account| account.folder(&target)?.ok_or(StoreError::NoFolder(target)))
            .await
            .map_err(try_create)?;
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
        self.on_store(move |account| store_all(account, &name, &ready)).await.map_err(try_create)
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
        let id = self.writable()?.folder.id;
        self.numbers_allowed(by_uid)?;
        let old = self.uids(&Set::Ranges(vec![(number, number)]), by_uid)?;
        let [old] = old.as_slice() else {
            return Err(Stop::Bad("there is no message of that number".into()));
        };
        let old = *old;
        let stored = self.put(append).await?;
        self.on_store(move |account| {
            let update = FlagUpdate {
                change: FlagChange::Add,
                flags: Flags::DELETED,
                keywords: Keywords::default(),
                unchanged_since: None,
            };
            account.update_flags(id, &[old], &update)?;
            account.expunge(id, Some(&[old]))
        })
        .await?;
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

fn store_all(account: &store::Account, name: &FolderName, ready: &[Ready]) -> Result<Vec<Stored>, StoreError> {
    let new = |message: &Ready| {
        let Ready { bytes, flags, keywords, received } = message;
        account.deliver(name, &New { bytes, flags: *flags, keywords: keywords.clone(), received: *received })
    };
    ready.iter().map(new).collect()
}
