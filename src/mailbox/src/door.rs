//! What other roles may ask of this one (the table is in `wire::mailbox`).

use crate::accounts::Accounts;
use crate::quota::Quotas;
use crate::{blocking, limits};
use base::{Address, Paths, Role};
use std::sync::Arc;
use store::{Account, FolderName, StoreError, Which};
use wire::directory::Accounts as ListAccounts;
use wire::doors::Snapshot;
use wire::mailbox::{BroughtBack, Finding, RemovedMessage, Request, Room, Usage};
use wire::{Answer, Kind, Refusal, Serve};

pub struct Door {
    pub paths: Paths,
    pub accounts: Arc<Accounts>,
    pub directory: wire::Client,
    pub quotas: Arc<Quotas>,
}

impl Serve for Door {
    type Request = Request;

    async fn answer(&self, _peer: Role, request: Request, _body: Vec<u8>) -> Result<Answer, Refusal> {
        match request {
            Request::AccountUsage(ask) => ask.answer(self.usage().await?),
            Request::TakeSnapshot(ask) => ask.answer(self.snapshot(&ask.account).await?),
            Request::Retire(ask) => {
                self.accounts.retire(&ask.account).await.map_err(Refusal::internal)?;
                tracing::info!("the mail of {} was put aside", ask.account);
                ask.answer(())
            }
            Request::Reinstate(ask) => {
                let moved = self.accounts.reinstate(&ask.account).await.map_err(Refusal::internal)?;
                tracing::info!("the mail of {} was taken back", ask.account);
                ask.answer(moved)
            }
            Request::RoomFor(ask) => ask.answer(self.room(&ask.account, ask.bytes).await?),
            Request::Fsck(ask) => ask.answer(self.fsck(&ask.account, ask.mend).await?),
            Request::Inspect(ask) => ask.answer(self.inspect(&ask.account).await?),
            Request::Removed(ask) => ask.answer(self.on(&ask.account, removed).await?),
            Request::Undelete(ask) => {
                let folder = ask.folder.as_deref().map(FolderName::parse).transpose();
                let folder = folder.map_err(|why| Refusal::new(Kind::Invalid, why.to_string()))?;
                let which = Which { folder, since: ask.since };
                let back = self.on(&ask.account, move |account| account.bring_back(&which)).await?;
                let told = |(folder, count): (FolderName, usize)| BroughtBack {
                    folder: folder.to_string(),
                    messages: count as u64,
                };
                ask.answer(back.into_iter().map(told).collect())
            }
        }
    }
}

impl Door {
    /// Work on the mail of an account that exists and has some.
    async fn on<T: Send + 'static>(
        &self,
        address: &Address,
        work: impl FnOnce(&Account) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Refusal> {
        // Asking about an account that was never used, or is none, must not make one.
        if !self.paths.account(address).join("Maildir").exists() {
            return Err(Refusal::new(Kind::NotFound, format!("{address} has no mail here")));
        }
        let open = self.accounts.get(address).await.map_err(Refusal::internal)?;
        blocking::on(&open, work).await.map_err(Refusal::internal)
    }

    async fn usage(&self) -> Result<Vec<Usage>, Refusal> {
        let busy = |why: wire::WireError| Refusal::new(Kind::Busy, why.to_string());
        let known = self.directory.ask(&ListAccounts {}).await.map_err(busy)?;
        let mut usage = Vec::with_capacity(known.len());
        for known in known {
            let open = self.accounts.get(&known.address).await.map_err(Refusal::internal)?;
            let counted = blocking::on(&open, |account| Ok((account.usage()?, account.removed_usage()?))).await;
            let ((messages, bytes), (removed_messages, removed_bytes)) = counted.map_err(Refusal::internal)?;
            let index_bytes = open.text_bytes();
            usage.push(Usage { account: known.address, messages, bytes, removed_messages, removed_bytes, index_bytes });
        }
        Ok(usage)
    }

    async fn room(&self, address: &Address, bytes: u64) -> Result<Room, Refusal> {
        let standing = self.quotas.standing(address).await.map_err(Refusal::internal)?;
        // What is about to come has some size, whether or not it was told.
        Ok(match standing.room_for(bytes.max(limits::SMALL_MAIL)) {
            Ok(()) => Room::Enough,
            Err(over) => {
                let even_for_small_mail = standing.room_for(limits::SMALL_MAIL).is_err();
                Room::Full { words: over.words(address), even_for_small_mail }
            }
        })
    }

    async fn fsck(&self, address: &Address, mend: bool) -> Result<Vec<Finding>, Refusal> {
        let found = self.on(address, move |account| account.fsck(mend)).await?;
        let told = |one: store::Finding| Finding { place: one.place, problem: one.problem, mended: one.mended };
        Ok(found.into_iter().map(told).collect())
    }

    /// A look that keeps an account's mail waiting for a second at most.
    async fn inspect(&self, address: &Address) -> Result<Vec<Finding>, Refusal> {
        let (messages, _) = self.on(address, Account::usage).await?;
        if messages > limits::INSPECTED {
            return Err(Refusal::new(Kind::Busy, format!("{address} has {messages} messages; that takes too long")));
        }
        self.fsck(address, false).await
    }

    async fn snapshot(&self, address: &Address) -> Result<Snapshot, Refusal> {
        // An account that was never used has no folder, and asking for its snapshot must not make one.
        if !self.paths.account(address).join("index.db").exists() {
            return Err(Refusal::new(Kind::NotFound, format!("{address} has no mail here")));
        }
        let open = self.accounts.get(address).await.map_err(Refusal::internal)?;
        blocking::on(&open, |account| store::snapshot(account.dir())).await.map_err(Refusal::internal)?;
        Ok(Snapshot { file: self.paths.account(address).join(store::SNAPSHOT_NAME) })
    }
}

fn removed(account: &Account) -> Result<Vec<RemovedMessage>, StoreError> {
    let told = |one: store::Removed| RemovedMessage {
        folder: one.folder.to_string(),
        subject: account.removed_subject(&one),
        bytes: u64::from(one.size),
        received: u64::from(one.received),
        removed: u64::from(one.removed),
    };
    Ok(account.removed()?.into_iter().take(limits::REMOVED_TOLD).map(told).collect())
}
