//! What other roles may ask of this one (the table is in `wire::mailbox`).

use crate::accounts::Accounts;
use crate::blocking;
use base::{Address, Paths, Role};
use std::sync::Arc;
use wire::directory::Accounts as ListAccounts;
use wire::doors::Snapshot;
use wire::mailbox::{Request, Usage};
use wire::{Answer, Kind, Refusal, Serve};

pub struct Door {
    pub paths: Paths,
    pub accounts: Arc<Accounts>,
    pub directory: wire::Client,
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
        }
    }
}

impl Door {
    async fn usage(&self) -> Result<Vec<Usage>, Refusal> {
        let busy = |why: wire::WireError| Refusal::new(Kind::Busy, why.to_string());
        let known = self.directory.ask(&ListAccounts {}).await.map_err(busy)?;
        let mut usage = Vec::with_capacity(known.len());
        for account in known {
            let open = self.accounts.get(&account.address).await.map_err(Refusal::internal)?;
            let (messages, bytes) = blocking::on(&open, store::Account::usage).await.map_err(Refusal::internal)?;
            usage.push(Usage { account: account.address, messages, bytes });
        }
        Ok(usage)
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
