//! ACL (RFC 4314): who else may do what with a folder. Folders are shared with accounts of this server, by address;
//! the owner has all rights and keeps them.

use super::place::{Found, SHARED_BY, sharing};
use super::rights::Rights;
use super::{Done, Session, Stop};
use crate::blocking;
use crate::imap::proto::{RightsChange, astring};
use base::Address;
use store::FolderName;
use tokio::io::{AsyncRead, AsyncWrite};
use wire::directory::{Resolution, Resolve};

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn get_acl(&mut self, mailbox: &[u8]) -> Done {
        let found = self.found(mailbox, Rights::ADMINISTER).await?;
        let id = found.folder.id;
        let acl = blocking::on(&found.account, move |account| account.acl(id)).await?;
        let mut line = format!("* ACL {} {} {}", self.shown_found(&found), self.owner_of(&found)?, Rights::ALL);
        for (who, rights) in acl {
            line.push_str(&format!(" {} {rights}", quoted(&who)));
        }
        self.say(&line);
        Ok("done".into())
    }

    pub(super) async fn set_acl(&mut self, mailbox: &[u8], who: &str, change: RightsChange, letters: &str) -> Done {
        let change_by = Rights::parse(letters).map_err(|odd| Stop::Bad(format!("there is no right {odd:?}")))?;
        let found = self.found(mailbox, Rights::ADMINISTER).await?;
        let who = self.somebody(&found, who).await?;
        self.check_account(&who).await?;
        let (id, key) = (found.folder.id, who.to_string());
        blocking::on(&found.account, move |account| {
            let letters = account.acl(id)?.remove(&key).unwrap_or_default();
            let now = Rights::parse(&letters).unwrap_or_default();
            let rights = match change {
                RightsChange::Replace => change_by,
                RightsChange::Add => now.with(change_by),
                RightsChange::Remove => now.without(change_by),
            };
            account.set_acl(id, &key, &rights.to_string())
        })
        .await?;
        self.note_sharing(&found, &who).await?;
        Ok("done".into())
    }

    pub(super) async fn delete_acl(&mut self, mailbox: &[u8], who: &str) -> Done {
        let found = self.found(mailbox, Rights::ADMINISTER).await?;
        let who = self.somebody(&found, who).await?;
        let (id, key) = (found.folder.id, who.to_string());
        blocking::on(&found.account, move |account| account.set_acl(id, &key, "")).await?;
        self.note_sharing(&found, &who).await?;
        Ok("done".into())
    }

    pub(super) async fn list_rights(&mut self, mailbox: &[u8], who: &str) -> Done {
        let found = self.found(mailbox, Rights::ADMINISTER).await?;
        let is_owner =
            Address::parse(who).ok().is_some_and(|who| self.owner_of(&found).is_ok_and(|owner| owner == who));
        let name = self.shown_found(&found);
        let rights = match is_owner {
            // What is always granted stands alone.
            true => Rights::ALL.to_string(),
            false => {
                let each: Vec<String> = Rights::ALL.to_string().chars().map(String::from).collect();
                format!("\"\" {}", each.join(" "))
            }
        };
        self.say(&format!("* LISTRIGHTS {name} {} {rights}", quoted(who)));
        Ok("done".into())
    }

    pub(super) async fn my_rights(&mut self, mailbox: &[u8]) -> Done {
        let found = self.found(mailbox, Rights::LOOKUP).await?;
        let name = self.shown_found(&found);
        self.say(&format!("* MYRIGHTS {name} {}", found.rights));
        Ok("done".into())
    }

    /// For LIST … RETURN (MYRIGHTS) (RFC 8440); a folder that has gone meanwhile is passed over.
    pub(super) async fn tell_my_rights(&mut self, name: FolderName) -> Result<(), Stop> {
        let shown = super::folders::shown(&name, self.modes.utf8());
        let place = self.place_of(name).await?;
        if let Ok(found) = self.found_at(place, Rights::LOOKUP).await {
            self.say(&format!("* MYRIGHTS {shown} {}", found.rights));
        }
        Ok(())
    }

    fn shown_found(&self, found: &Found) -> String {
        let name = self.told_name(found.owner.as_ref(), &found.folder.name);
        super::folders::shown(&name, self.modes.utf8())
    }

    fn owner_of(&self, found: &Found) -> Result<Address, Stop> {
        Ok(found.owner.clone().unwrap_or(self.user()?.address.clone()))
    }

    /// An identifier as the address of somebody but the owner.
    async fn somebody(&self, found: &Found, who: &str) -> Result<Address, Stop> {
        let who = Address::parse(who).map_err(|_| {
            Stop::No("[CANNOT] folders are shared with accounts of this server, each by its address".into())
        })?;
        if who == self.owner_of(found)? {
            return Err(Stop::No("[CANNOT] the owner has all rights and keeps them".into()));
        }
        Ok(who)
    }

    async fn check_account(&self, who: &Address) -> Result<(), Stop> {
        match self.shared.logins.directory.ask(&Resolve { address: who.clone() }).await {
            Ok(Resolution::Accounts(accounts)) if accounts == [who.clone()] => Ok(()),
            Ok(_) => Err(Stop::No(format!("[CANNOT] {who} is no account of this server"))),
            Err(why) => {
                tracing::error!("{who} could not be looked up: {why}");
                Err(Stop::No("[UNAVAILABLE] accounts cannot be looked up just now; try again".into()))
            }
        }
    }

    /// Notes with somebody whose folders they may look up, so that LIST need not ask every account.
    async fn note_sharing(&self, found: &Found, who: &Address) -> Result<(), Stop> {
        let key = who.to_string();
        let shares = blocking::on(&found.account, move |account| {
            Ok(account.shared()?.iter().any(|(_, other, _)| *other == key))
        })
        .await?;
        let owner = self.owner_of(found)?;
        let account = self.shared.logins.accounts.get(who).await?;
        blocking::on(&account, move |account| {
            let mut all = sharing(account)?;
            all.retain(|other| *other != owner);
            if shares {
                all.push(owner);
            }
            let lines: Vec<String> = all.iter().map(Address::to_string).collect();
            let value = (!lines.is_empty()).then(|| lines.join("\n").into_bytes());
            account.annotate(None, &[(SHARED_BY.to_owned(), value)])
        })
        .await?;
        Ok(())
    }
}

fn quoted(who: &str) -> String {
    String::from_utf8_lossy(&astring(who.as_bytes())).into_owned()
}
