//! Where a mailbox name leads: into the user's own account, or, below `Shared/<address>/`, into another's that shares
//! the folder (RFC 4314). Who may not look a folder up is told that there is none.

use super::rights::Rights;
use super::{Session, Stop};
use crate::blocking;
use base::Address;
use std::sync::Arc;
use store::{Account, Folder, FolderName, SEPARATOR, StoreError};
use tokio::io::{AsyncRead, AsyncWrite};

/// The first level of the names of what others share.
pub const SHARED: &str = "Shared";
/// Where an account keeps who shares something with it: addresses, one a line. Clients neither see nor set it.
pub const SHARED_BY: &str = "/mailstead/shared-by";

/// Where a name leads.
pub struct Place {
    pub account: Arc<Account>,
    /// Whose it is, where it is not the user's own.
    pub owner: Option<Address>,
    /// The folder's name in that account.
    pub name: FolderName,
}

/// A folder that there is, with what the user may do with it.
pub struct Found {
    pub account: Arc<Account>,
    pub owner: Option<Address>,
    pub folder: Folder,
    pub rights: Rights,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn place(&self, wire: &[u8]) -> Result<Place, Stop> {
        let name = self.folder_name(wire)?;
        self.place_of(name).await
    }

    pub(super) async fn place_of(&self, name: FolderName) -> Result<Place, Stop> {
        let user = self.user()?;
        let Some((owner, inner)) = in_shared(&name) else {
            return Ok(Place { account: Arc::clone(&user.account), owner: None, name });
        };
        if owner == user.address {
            return Err(Stop::No("[CANNOT] one's own folders are not found below Shared".into()));
        }
        let sharing = self.sharing().await?;
        let account = match sharing.contains(&owner) {
            true => self.shared.logins.accounts.existing(&owner).await?,
            false => None,
        };
        let account = account.ok_or_else(|| Stop::from(StoreError::NoFolder(name)))?;
        Ok(Place { account, owner: Some(owner), name: inner })
    }

    /// The folder of a name, if the user has these rights on it.
    pub(super) async fn found(&self, wire: &[u8], needed: Rights) -> Result<Found, Stop> {
        let place = self.place(wire).await?;
        self.found_at(place, needed).await
    }

    pub(super) async fn found_at(&self, place: Place, needed: Rights) -> Result<Found, Stop> {
        let user = self.user()?;
        let (who, shared) = (user.address.to_string(), place.owner.is_some());
        let (name, told) = (place.name.clone(), self.told_name(place.owner.as_ref(), &place.name));
        let (folder, rights) = blocking::on(&place.account, move |account| {
            let folder = account.folder(&name)?.ok_or_else(|| StoreError::NoFolder(told.clone()))?;
            let rights = if shared { rights_of(account, &folder, &who)? } else { Rights::ALL };
            if !rights.has(Rights::LOOKUP) { Err(StoreError::NoFolder(told)) } else { Ok((folder, rights)) }
        })
        .await?;
        let found = Found { account: place.account, owner: place.owner, folder, rights };
        found.must_have(needed)?;
        Ok(found)
    }

    /// The name by which the user knows a folder.
    pub(super) fn told_name(&self, owner: Option<&Address>, name: &FolderName) -> FolderName {
        let Some(owner) = owner else { return name.clone() };
        let full = format!("{SHARED}{SEPARATOR}{owner}{SEPARATOR}{name}");
        // One that is too long with what stands before it is told without.
        FolderName::parse(&full).unwrap_or_else(|_| name.clone())
    }

    /// Who shares something with the user, as far as it was noted.
    pub(super) async fn sharing(&self) -> Result<Vec<Address>, Stop> {
        self.on_store(sharing).await
    }
}

impl Found {
    pub fn must_have(&self, needed: Rights) -> Result<(), Stop> {
        if self.rights.has(needed) {
            return Ok(());
        }
        Err(Stop::No(format!("[NOPERM] this needs the rights {needed}, and you have {}", self.rights)))
    }
}

/// The owner and the folder of a name below `Shared`.
fn in_shared(name: &FolderName) -> Option<(Address, FolderName)> {
    let mut levels = name.as_str().splitn(3, SEPARATOR);
    let (first, owner, rest) = (levels.next()?, levels.next()?, levels.next()?);
    if first != SHARED {
        return None;
    }
    Some((Address::parse(owner).ok()?, FolderName::parse(rest).ok()?))
}

/// Whether a name is kept for what others share.
pub fn is_reserved(name: &FolderName) -> bool {
    let mut levels = name.as_str().split(SEPARATOR);
    levels.next() == Some(SHARED) && levels.next().is_some_and(|owner| owner.contains('@'))
}

/// What somebody may do with another's folder.
pub fn rights_of(account: &Account, folder: &Folder, who: &str) -> Result<Rights, StoreError> {
    let letters = account.acl(folder.id)?.remove(who).unwrap_or_default();
    // Letters that this version does not know give nothing.
    let known: String = letters.chars().filter(|letter| Rights::parse(&letter.to_string()).is_ok()).collect();
    Ok(Rights::parse(&known).unwrap_or_default())
}

pub fn sharing(account: &Account) -> Result<Vec<Address>, StoreError> {
    let noted = account.annotations(None)?.remove(SHARED_BY).unwrap_or_default();
    let text = String::from_utf8_lossy(&noted).into_owned();
    Ok(text.lines().filter_map(|line| Address::parse(line).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_below_shared_lead_to_their_owner() {
        let name = |text: &str| FolderName::parse(text).unwrap();
        let (owner, folder) = in_shared(&name("Shared/bob@example.org/Work/2026")).unwrap();
        assert_eq!((owner.to_string().as_str(), folder.as_str()), ("bob@example.org", "Work/2026"));
        assert!(in_shared(&name("Shared/bob@example.org")).is_none());
        assert!(in_shared(&name("Shared/Photos/2026")).is_none());
        assert!(is_reserved(&name("Shared/bob@example.org")) && !is_reserved(&name("Shared/Photos")));
    }
}
