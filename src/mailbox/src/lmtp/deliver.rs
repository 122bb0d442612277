//! One message into one mailbox: the box's own rule, the owner's script, and what they decide done before the 250.
//!
//! What goes elsewhere (redirects) goes first: a failure then puts the whole delivery off and nothing is stored yet.
//! Then the copies are stored and the script's records written, and then answers are sent, which a failure only loses.

use super::message::{is_junk, kept};
use super::recipients::Recipients;
use crate::accounts::Accounts;
use crate::quota::{Over, Quotas};
use crate::sieve::complain;
use crate::sieve::records::{Kind, Record, Records};
use crate::sieve::run::{self, Bytes, Copy, Fault, Outgoing, Plan};
use crate::sieve::scripts::Scripts;
use crate::{blocking, limits};
use base::Address;
use sieve::Runtime;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::mime::{fields, unfold};
use store::{Account, Flags, FolderName, Keywords, New, SpecialUse, StoreError};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use wire::mta::{Automatic, SendAs};
use wire::{Kind as RefusalKind, WireError};

/// What every session needs.
pub struct Context {
    pub hostname: String,
    pub accounts: Arc<Accounts>,
    /// For every neighbour's door.
    pub directory: wire::Client,
    pub recipients: Recipients,
    pub memory: Arc<Semaphore>,
    pub sieve: Arc<Runtime>,
    pub quotas: Arc<Quotas>,
    /// Accounts whose script has not come to its end in time.
    pub late: Arc<Mutex<HashSet<Address>>>,
}

/// A message for one account.
#[derive(Clone)]
pub struct Incoming {
    pub account: Address,
    /// The address that it was sent to.
    pub recipient: Address,
    /// The reverse-path; empty for reports.
    pub sender: String,
    pub message: Arc<Vec<u8>>,
}

/// What is to be done, and how the script failed if it did.
struct Decision {
    plan: Plan,
    fault: Option<Fault>,
}

/// What is left to do when the copies are stored.
struct Stored {
    places: Vec<String>,
    /// What the script sends, where that could be noted down: it might be sent again and again otherwise.
    notices: Vec<Outgoing>,
    fault: Option<Fault>,
}

/// How far one visit to the account's thread came.
enum Step {
    /// Something is to be passed on or refused first.
    Decided(Decision),
    Stored(Stored),
}

impl Context {
    /// Which bound keeps an account from taking so many octets more. One that cannot be opened is met at its delivery.
    pub async fn over(&self, address: &Address, octets: u64) -> Option<Over> {
        match self.quotas.standing(address).await {
            Ok(standing) => standing.room_for(octets).err(),
            Err(why) => {
                tracing::error!("how much {address} keeps cannot be told: {why}");
                None
            }
        }
    }

    /// Delivers; returns the reply.
    pub async fn deliver(&self, incoming: Incoming) -> String {
        let address = incoming.account.clone();
        match self.try_deliver(incoming).await {
            Ok(reply) => reply,
            Err(why) => refusal(&address, &why),
        }
    }

    async fn try_deliver(&self, incoming: Incoming) -> Result<String, StoreError> {
        let account = self.accounts.get(&incoming.account).await?;
        if let Some(over) = self.over(&incoming.account, incoming.message.len() as u64).await {
            return Ok(format!("552 5.2.2 {}: this message does not fit", over.words(&incoming.account)));
        }
        let stored = match self.decide(&account, &incoming).await? {
            Step::Stored(stored) => stored,
            Step::Decided(decision) => match self.pass_on(&incoming, decision).await {
                Ok(decision) => {
                    let own = incoming.clone();
                    blocking::on(&account, move |account| carry_out(account, &own, decision)).await?
                }
                Err(reply) => return Ok(reply),
            },
        };
        Ok(self.follow_up(&account, incoming, stored).await)
    }

    /// Decides, and where nothing has to leave the box first, stores at once. A script that comes to no end is given up.
    async fn decide(&self, account: &Arc<Account>, incoming: &Incoming) -> Result<Step, StoreError> {
        if self.late().contains(&incoming.account) && !is_junk(&incoming.message) {
            return Ok(Step::Decided(failed("it still works on an earlier message")));
        }
        // Whoever sets it first decides: the script, or the end of our patience.
        let decided = Arc::new(AtomicBool::new(false));
        let (runtime, hostname, own) = (Arc::clone(&self.sieve), self.hostname.clone(), incoming.clone());
        let (open, claim) = (Arc::clone(account), Arc::clone(&decided));
        let mut visit = tokio::task::spawn_blocking(move || {
            let decision = decide(&open, &own, &runtime, &hostname)?;
            if claim.swap(true, Ordering::SeqCst) {
                return Ok(None);
            }
            if decision.plan.refusal.is_some() || !decision.plan.redirects.is_empty() {
                return Ok(Some(Step::Decided(decision)));
            }
            carry_out(&open, &own, decision).map(|stored| Some(Step::Stored(stored)))
        });
        let joined = match timeout(limits::SIEVE_WITHIN, &mut visit).await {
            Ok(joined) => joined,
            Err(_) if decided.swap(true, Ordering::SeqCst) => visit.await,
            Err(_) => {
                self.wait_for_the_late(incoming.account.clone(), visit);
                return Ok(Step::Decided(failed("it took too long")));
            }
        };
        let lost = |why| StoreError::Io { path: account.dir().to_owned(), source: std::io::Error::other(why) };
        match joined {
            Ok(step) => step.map(|step| step.unwrap_or_else(|| Step::Decided(failed("it took too long")))),
            Err(why) => Err(lost(why)),
        }
    }

    fn late(&self) -> MutexGuard<'_, HashSet<Address>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A script cannot be stopped within a pattern. What it will decide is not wanted any more, and until it has come to
    /// its end no other run of that account begins; so an account takes one thread at most.
    fn wait_for_the_late(&self, account: Address, visit: JoinHandle<Result<Option<Step>, StoreError>>) {
        self.late().insert(account.clone());
        let late = Arc::clone(&self.late);
        tokio::spawn(async move {
            let _ = visit.await;
            late.lock().unwrap_or_else(PoisonError::into_inner).remove(&account);
        });
    }

    /// Does what comes before storing: refusals, which are the reply, and redirects.
    async fn pass_on(&self, incoming: &Incoming, mut decision: Decision) -> Result<Decision, String> {
        if let Some(reason) = &decision.plan.refusal {
            tracing::info!("a script of {} refused a message", incoming.account);
            return Err(format!("550 5.7.1 {}", one_line(reason)));
        }
        for redirect in std::mem::take(&mut decision.plan.redirects) {
            match self.redirect(incoming, &redirect).await {
                Ok(()) => {}
                Err(WireError::Refused(why)) if why.kind == RefusalKind::Invalid => {
                    let script = "the active one".to_owned();
                    return Ok(Decision { plan: Plan::keep(), fault: Some(Fault { script, words: why.message }) });
                }
                Err(why) => {
                    tracing::warn!("a message of {} could not be redirected: {why}", incoming.account);
                    return Err("451 4.3.0 the mail cannot be passed on just now".into());
                }
            }
        }
        Ok(decision)
    }

    /// Passes a message on, marked so that it is known again if it comes back.
    async fn redirect(&self, incoming: &Incoming, redirect: &Outgoing) -> Result<(), WireError> {
        let mut bytes = format!("Delivered-To: {}\r\n", incoming.account).into_bytes();
        bytes.extend_from_slice(content(&redirect.bytes, &incoming.message));
        let what = Automatic::Redirect { is_report: incoming.sender.is_empty() };
        let request = SendAs { account: incoming.account.clone(), to: redirect.to.clone(), what };
        self.directory.ask_with_body(&request, &bytes).await?;
        tracing::info!("a message for {} was redirected to {:?}", incoming.account, redirect.to);
        Ok(())
    }

    /// Sends what the script sends, tells the owner what went wrong, and gives the reply.
    async fn follow_up(&self, account: &Arc<Account>, incoming: Incoming, stored: Stored) -> String {
        self.answer(&incoming, &stored.notices).await;
        if let Some(fault) = stored.fault {
            self.complain(account, &incoming, fault).await;
        }
        self.quotas.arrived(&incoming.account).await;
        let places = stored.places;
        let place = if places.is_empty() { "not stored, as its script wants it".into() } else { places.join(", ") };
        tracing::info!("delivered to {}: {place}", incoming.account);
        format!("250 2.0.0 <{}> {place}", incoming.account)
    }

    async fn answer(&self, incoming: &Incoming, notices: &[Outgoing]) {
        for notice in notices {
            let request = SendAs { account: incoming.account.clone(), to: notice.to.clone(), what: Automatic::Answer };
            match self.directory.ask_with_body(&request, content(&notice.bytes, &incoming.message)).await {
                Ok(_) => tracing::info!("a script of {} answered {:?}", incoming.account, notice.to),
                Err(why) => tracing::warn!("an answer of {}'s script was not sent: {why}", incoming.account),
            }
        }
    }

    /// Tells the owner, once a day, that a script failed. The letter goes straight into the inbox.
    async fn complain(&self, account: &Arc<Account>, incoming: &Incoming, fault: Fault) {
        tracing::warn!("a script of {} failed: {}", incoming.account, fault.words);
        let (hostname, incoming) = (self.hostname.clone(), incoming.clone());
        let told = blocking::on(account, move |account| {
            let now = base::time::now_unix();
            let dir = Scripts::of(account).dir().to_owned();
            let failed =
                |why: rusqlite::Error| StoreError::Io { path: dir.clone(), source: std::io::Error::other(why) };
            let mut records = Records::open(&dir).map_err(failed)?;
            if records.is_known(Kind::Complaint, "", now).map_err(failed)? {
                return Ok(());
            }
            let subject = fields(&incoming.message).find(|field| field.is("Subject"));
            let subject = subject.map(|field| String::from_utf8_lossy(&unfold(field.value)).into_owned());
            let id = format!("{now:x}.{:016x}", rand::random::<u64>());
            let letter = complain::letter(&incoming.account, &hostname, &fault, subject.as_deref(), &id, now);
            let new = New { bytes: &letter, flags: Flags::NONE, keywords: Keywords::default(), received: now };
            account.deliver(&FolderName::inbox(), &new)?;
            let record = Record { kind: Kind::Complaint, id: String::new(), until: now + 86_400, renew: true };
            records.remember(&[record], now).map_err(failed)
        });
        if let Err(why) = told.await {
            tracing::error!("the owner was not told of the script that failed: {why}");
        }
    }
}

/// A script that failed without a name: the message stays in the inbox.
fn failed(words: &str) -> Decision {
    let fault = Fault { script: "the active one".into(), words: words.to_owned() };
    Decision { plan: Plan::keep(), fault: Some(fault) }
}

fn content<'a>(bytes: &'a Bytes, original: &'a [u8]) -> &'a [u8] {
    match bytes {
        Bytes::Original => original,
        Bytes::Made(made) => made,
    }
}

/// What the box's own rule and the owner's script want.
fn decide(account: &Account, incoming: &Incoming, runtime: &Runtime, host: &str) -> Result<Decision, StoreError> {
    // The box's own rule comes first.
    if is_junk(&incoming.message) {
        let mut plan = Plan::keep();
        if let Some(junk) = account.special(SpecialUse::Junk)? {
            plan.copies.iter_mut().for_each(|copy| copy.folder = junk.name.clone());
        }
        return Ok(Decision { plan, fault: None });
    }
    let delivery = run::Delivery {
        account: &incoming.account,
        recipient: &incoming.recipient,
        sender: &incoming.sender,
        message: &incoming.message,
        hostname: host,
        now: base::time::now_unix(),
    };
    // An interpreter that fails on its own account is a script that failed; mail must not stand still over it.
    let ran = catch_unwind(AssertUnwindSafe(|| run::active(runtime, account, &delivery)));
    let crashed = || Fault { script: "the active one".into(), words: "the interpreter itself failed".into() };
    Ok(match ran.unwrap_or_else(|_| Ok(Err(crashed())))? {
        Ok(plan) => Decision { plan, fault: None },
        Err(fault) => Decision { plan: Plan::keep(), fault: Some(fault) },
    })
}

/// Stores the copies and then writes what the script must remember.
fn carry_out(account: &Account, incoming: &Incoming, decision: Decision) -> Result<Stored, StoreError> {
    let Decision { plan, fault } = decision;
    let places = plan.copies.iter().map(|copy| store(account, incoming, copy)).collect::<Result<Vec<_>, _>>()?;
    let notices = if write_records(account, &plan.remember) { plan.notices } else { Vec::new() };
    Ok(Stored { places, notices, fault })
}

/// Stores a copy; tells where.
fn store(account: &Account, incoming: &Incoming, copy: &Copy) -> Result<String, StoreError> {
    if copy.create {
        match account.create_folder(&copy.folder) {
            Ok(_) => account.subscribe(&copy.folder, true)?,
            Err(StoreError::FolderExists(_)) => {}
            Err(why) => return Err(why),
        }
    }
    let bytes = kept(content(&copy.bytes, &incoming.message), &incoming.sender, &incoming.account);
    let received = base::time::now_unix();
    let new = New { bytes: &bytes, flags: copy.flags, keywords: copy.keywords.clone(), received };
    let stored = account.deliver(&copy.folder, &new)?;
    tracing::debug!("{}: {}, UID {}", incoming.account, copy.folder, stored.uid.0);
    Ok(format!("stored in {}", copy.folder.to_wire()))
}

/// Whether what a script must remember was written. The message is stored by then, so a failure does not stop it.
fn write_records(account: &Account, records: &[Record]) -> bool {
    if records.is_empty() {
        return true;
    }
    let written =
        Records::open(Scripts::of(account).dir()).and_then(|mut known| known.remember(records, base::time::now_unix()));
    if let Err(why) = &written {
        tracing::error!("what a script should remember was not written: {why}");
    }
    written.is_ok()
}

/// The reason of a refusal as one reply line in ASCII.
fn one_line(reason: &str) -> String {
    let words = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    let ascii = words.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' });
    ascii.take(limits::SIEVE_REASON).collect()
}

/// Every failure of the store is passing: the MTA keeps the message and tries again.
fn refusal(address: &Address, why: &StoreError) -> String {
    tracing::error!("a message for {address} was not stored: {why}");
    match why.is_full() {
        true => "452 4.3.1 the server's disk is full".into(),
        false => "451 4.3.0 the mailbox cannot be written just now".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_of_bounded_length() {
        assert_eq!(one_line("Go\r\n  away,  Jürgen\0"), "Go away, J?rgen?");
        assert_eq!(one_line(&"x".repeat(5_000)).len(), limits::SIEVE_REASON);
    }
}
