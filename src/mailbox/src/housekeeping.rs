//! What is done now and then: memory that nobody uses is given back, and removed mail whose time has come is deleted for
//! good. Only accounts that the directory knows are touched.

use crate::accounts::Accounts;
use crate::{blocking, limits};
use std::sync::Arc;
use wire::directory::Accounts as ListAccounts;

/// Runs until the process ends.
pub async fn run(accounts: Arc<Accounts>, directory: wire::Client) {
    let mut purged = None;
    loop {
        tokio::time::sleep(limits::TIDY_EVERY).await;
        accounts.tidy().await;
        let today = base::time::now_unix() / (24 * 3600);
        if purged != Some(today) {
            purge(&accounts, &directory).await;
            purged = Some(today);
        }
    }
}

async fn purge(accounts: &Arc<Accounts>, directory: &wire::Client) {
    let now = base::time::now_unix();
    match directory.ask(&ListAccounts {}).await {
        Ok(known) => {
            for one in known {
                if let Err(why) = purge_one(accounts, &one.address, now).await {
                    tracing::error!("removed mail of {} was not purged: {why}", one.address);
                }
            }
        }
        Err(why) => tracing::warn!("removed mail is not purged today: {why}"),
    }
    if let Err(why) = accounts.purge_retired(now).await {
        tracing::error!("the mail of removed accounts was not purged: {why}");
    }
}

async fn purge_one(accounts: &Accounts, address: &base::Address, now: u64) -> Result<(), store::StoreError> {
    // An account that was never used has nothing to purge, and asking must not make it.
    if !accounts.path(address).join("index.db").exists() {
        return Ok(());
    }
    let account = accounts.get(address).await?;
    let count = blocking::on(&account, move |account| {
        let count = account.purge_removed(now)?;
        account.forget_gone()?;
        account.tidy_text().map(|()| count)
    })
    .await?;
    if count > 0 {
        tracing::info!("{count} removed messages of {address} were deleted for good");
    }
    Ok(())
}
