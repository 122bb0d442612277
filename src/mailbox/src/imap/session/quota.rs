//! QUOTA (RFC 9208): each account is one quota root, called by its address, with the resource STORAGE.

use super::rights::Rights;
use super::{Done, Session, Stop};
use crate::quota::Over;
use base::Address;
use tokio::io::{AsyncRead, AsyncWrite};

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn get_quota(&mut self, root: &[u8]) -> Done {
        let own = self.user()?.address.clone();
        if !root.eq_ignore_ascii_case(own.to_string().as_bytes()) {
            return Err(Stop::No("[NOPERM] that is no quota root of yours".into()));
        }
        match self.quota_line(&own).await? {
            Some(line) => self.say(&line),
            None => return Err(Stop::No("[NONEXISTENT] your account has no quota".into())),
        }
        Ok("done".into())
    }

    pub(super) async fn get_quota_root(&mut self, mailbox: &[u8]) -> Done {
        let found = self.found(mailbox, Rights::READ).await?;
        let own = self.user()?.address.clone();
        let root = found.owner.clone().unwrap_or_else(|| own.clone());
        let name = self.told_name(found.owner.as_ref(), &found.folder.name);
        let name = super::folders::shown(&name, self.modes.utf8());
        let line = self.quota_line(&root).await?;
        // A mailbox that nothing bounds has no root (RFC 9208 §4.3).
        let shown = line.as_ref().map(|_| format!(" {root}")).unwrap_or_default();
        self.say(&format!("* QUOTAROOT {name}{shown}"));
        // How full another's account is, is theirs to know.
        if let Some(line) = line.filter(|_| root == own) {
            self.say(&line);
        }
        Ok("done".into())
    }

    /// A QUOTA response in units of 1024 octets (RFC 9208 §5.1); `None` where nothing bounds the account.
    async fn quota_line(&self, address: &Address) -> Result<Option<String>, Stop> {
        let standing = self.shared.quotas.standing(address).await?;
        let Some(limit) = standing.limit else { return Ok(None) };
        Ok(Some(format!("* QUOTA {address} (STORAGE {} {})", standing.used.div_ceil(1024), limit / 1024)))
    }

    /// Whether so many octets more fit into an account: the user's, or the owner's of a shared folder.
    pub(super) async fn room_for(&self, owner: Option<&Address>, octets: u64) -> Result<(), Stop> {
        let own = &self.user()?.address;
        let address = owner.unwrap_or(own);
        let standing = self.shared.quotas.standing(address).await?;
        standing.room_for(octets).map_err(|over: Over| Stop::No(format!("[OVERQUOTA] {}", over.words(address))))
    }
}
