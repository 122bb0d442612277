//! METADATA (RFC 5464) and its listing (RFC 9590).
//!
//! Entries below `/private/` are each user's own; on a folder of another they are kept under the user's address.
//! Entries below `/shared/` are seen by all who may read the folder. Of the server itself, `/shared/comment` and
//! `/shared/admin` can be read, and private entries belong to the account.

use super::place::Found;
use super::rights::Rights;
use super::{Done, Session, Stop};
use crate::imap::proto::{Depth, GetMetadata};
use crate::{blocking, limits};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::mime::quoted_or_literal;
use store::{Account, FolderId, FolderName};
use tokio::io::{AsyncRead, AsyncWrite};

type Entries = BTreeMap<String, Vec<u8>>;

/// Where annotations are kept: of a folder or of an account, for whom.
struct Holder {
    account: Arc<Account>,
    folder: Option<FolderId>,
    /// The user, where the folder is another's.
    guest: Option<String>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn get_metadata(&mut self, get: GetMetadata) -> Done {
        let all = self.metadata_of(&get.mailbox).await?;
        let mut shown: Vec<(&str, Option<&Vec<u8>>)> = Vec::new();
        for wanted in &get.entries {
            match all.get(wanted) {
                Some(value) => shown.push((wanted, Some(value))),
                None if get.depth == Depth::Zero => shown.push((wanted, None)),
                None => {}
            }
            shown.extend(
                all.iter().filter(|(name, _)| below(name, wanted, get.depth)).map(|(n, v)| (n.as_str(), Some(v))),
            );
        }
        let fits = |value: &Option<&Vec<u8>>| {
            let size = value.map_or(0, Vec::len) as u64;
            get.max_size.is_none_or(|most| size <= most)
        };
        let longest = shown.iter().filter(|(_, value)| !fits(value)).filter_map(|(_, value)| value.map(Vec::len)).max();
        shown.retain(|(_, value)| fits(value));
        let name = match get.mailbox.is_empty() {
            true => "\"\"".to_owned(),
            false => super::folders::shown(&self.folder_name(&get.mailbox)?, self.modes.utf8()),
        };
        write(&mut self.conn.output, &name, &shown);
        Ok(match longest {
            // RFC 5464 §4.2.1.
            Some(longest) => format!("[METADATA LONGENTRIES {longest}] some values are longer"),
            None => "done".into(),
        })
    }

    async fn metadata_of(&self, mailbox: &[u8]) -> Result<Entries, Stop> {
        if mailbox.is_empty() {
            let mut all = self.read_entries(self.server_holder()?).await?;
            let domain = self.user()?.address.domain();
            all.insert("/shared/comment".into(), b"Mailstead".to_vec());
            all.insert("/shared/admin".into(), format!("mailto:postmaster@{domain}").into_bytes());
            return Ok(all);
        }
        let found = self.found(mailbox, Rights::LOOKUP.with(Rights::READ)).await?;
        self.read_entries(self.holder(&found)?).await
    }

    fn server_holder(&self) -> Result<Holder, Stop> {
        Ok(Holder { account: self.account()?, folder: None, guest: None })
    }

    fn holder(&self, found: &Found) -> Result<Holder, Stop> {
        let guest = found.owner.as_ref().map(|_| self.user().map(|user| user.address.to_string())).transpose()?;
        Ok(Holder { account: Arc::clone(&found.account), folder: Some(found.folder.id), guest })
    }

    async fn read_entries(&self, holder: Holder) -> Result<Entries, Stop> {
        let folder = holder.folder;
        let kept = blocking::on(&holder.account, move |account| account.annotations(folder)).await?;
        Ok(kept.into_iter().filter_map(|(name, value)| Some((outer(&name, holder.guest.as_deref())?, value))).collect())
    }

    pub(super) async fn set_metadata(&mut self, mailbox: &[u8], entries: Vec<(String, Option<Vec<u8>>)>) -> Done {
        if entries.iter().any(|(_, value)| value.as_ref().is_some_and(|value| value.len() > limits::METADATA_VALUE)) {
            return Err(Stop::No(format!("[METADATA MAXSIZE {}] a value is too long", limits::METADATA_VALUE)));
        }
        let shared = entries.iter().any(|(name, _)| name.starts_with("/shared"));
        let holder = if mailbox.is_empty() {
            if shared {
                return Err(Stop::No("[NOPERM] what the server says of itself is not set by clients".into()));
            }
            self.server_holder()?
        } else {
            // RFC 5464 §3: shared entries are part of the mailbox, private ones of whoever reads it.
            let needed = if shared { Rights::READ.with(Rights::WRITE) } else { Rights::READ };
            self.holder(&self.found(mailbox, Rights::LOOKUP.with(needed)).await?)?
        };
        let Holder { account, folder, guest } = holder;
        let stored = blocking::on(&account, move |account| {
            let kept = account.annotations(folder)?.len();
            let added = entries.iter().filter(|(_, value)| value.is_some()).count();
            if kept + added > limits::METADATA_COUNT {
                return Ok(false);
            }
            let inner = entries.into_iter().map(|(name, value)| (inner(&name, guest.as_deref()), value));
            account.annotate(folder, &inner.collect::<Vec<_>>()).map(|()| true)
        });
        match stored.await? {
            true => Ok("done".into()),
            false => Err(Stop::No("[METADATA TOOMANY] there are too many entries already".into())),
        }
    }

    /// For LIST … RETURN (METADATA …): those that have a value.
    pub(super) async fn tell_listed_metadata(&mut self, name: FolderName, wanted: &[String]) -> Result<(), Stop> {
        let place = self.place_of(name.clone()).await?;
        let Ok(found) = self.found_at(place, Rights::LOOKUP.with(Rights::READ)).await else { return Ok(()) };
        let all = self.read_entries(self.holder(&found)?).await?;
        let shown: Vec<(&str, Option<&Vec<u8>>)> =
            wanted.iter().map(|entry| (entry.as_str(), all.get(entry))).collect();
        let name = super::folders::shown(&name, self.modes.utf8());
        write(&mut self.conn.output, &name, &shown);
        Ok(())
    }
}

/// Whether an entry lies below another, as far as was asked for.
fn below(name: &str, above: &str, depth: Depth) -> bool {
    let Some(rest) = name.strip_prefix(above).and_then(|rest| rest.strip_prefix('/')) else { return false };
    match depth {
        Depth::Zero => false,
        Depth::One => !rest.contains('/'),
        Depth::Infinity => true,
    }
}

/// The name under which an entry is kept.
fn inner(name: &str, guest: Option<&str>) -> String {
    match (guest, name.strip_prefix("/private")) {
        (Some(guest), Some(rest)) => format!("/of/{guest}{rest}"),
        _ => name.to_owned(),
    }
}

/// The name of a kept entry for a user; `None` when it is not theirs.
fn outer(kept: &str, guest: Option<&str>) -> Option<String> {
    if kept.starts_with("/shared/") || (guest.is_none() && kept.starts_with("/private/")) {
        return Some(kept.to_owned());
    }
    let rest = kept.strip_prefix("/of/")?.strip_prefix(guest?)?;
    rest.starts_with('/').then(|| format!("/private{rest}"))
}

/// `* METADATA INBOX (/private/comment "x" /shared/comment NIL)` (RFC 5464 §4.4.1).
fn write(out: &mut Vec<u8>, name: &str, entries: &[(&str, Option<&Vec<u8>>)]) {
    if entries.is_empty() {
        return;
    }
    out.extend_from_slice(format!("* METADATA {name} (").as_bytes());
    for (at, (entry, value)) in entries.iter().enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(&crate::imap::proto::astring(entry.as_bytes()));
        out.push(b' ');
        match value {
            None => out.extend_from_slice(b"NIL"),
            // RFC 5464 §5: a value with NUL octets is a literal8.
            Some(value) if value.contains(&0) => {
                out.extend_from_slice(format!("~{{{}}}\r\n", value.len()).as_bytes());
                out.extend_from_slice(value);
            }
            Some(value) => quoted_or_literal(out, value),
        }
    }
    out.extend_from_slice(b")\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_private_entries_are_kept_apart() {
        let kept = inner("/private/comment", Some("bob@example.org"));
        assert_eq!(outer(&kept, Some("bob@example.org")).as_deref(), Some("/private/comment"));
        assert_eq!(outer(&kept, Some("eve@example.org")), None);
        assert_eq!(outer(&kept, None), None);
        assert_eq!(outer("/private/comment", Some("bob@example.org")), None);
        assert_eq!(inner("/shared/comment", Some("bob@example.org")), "/shared/comment");
        assert_eq!(outer("/mailstead/quota-warned", None), None);
    }

    #[test]
    fn depth_bounds_what_lies_below() {
        let one = ["/private/filters/values/small", "/private/filters/values"];
        assert!(below(one[0], "/private/filters", Depth::Infinity) && !below(one[0], "/private/filters", Depth::One));
        assert!(
            below(one[1], "/private/filters", Depth::One)
                && !below("/private/filtersx", "/private/filters", Depth::One)
        );
    }
}
