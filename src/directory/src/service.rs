//! The directory's door: one `match` over its requests.

use crate::database::{AppKeys, Database, has_the_form};
use crate::limits::{HASHES_AT_ONCE, HASHES_WAITING, MAX_AUTH_MESSAGE, PURGE_EVERY, SCRAM_ITERATIONS};
use crate::scram::Verifier;
use crate::throttle::Throttle;
use crate::{password, strength};
use base::{Address, Role, Secret};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::{Semaphore, SemaphorePermit};
use wire::directory::{
    Authenticate, EnterPanel, Login, Request, ScramChallenge, ScramLogin, ScramParameters, ScramVerify,
};
use wire::doors::Snapshot;
use wire::{Answer, Kind, Refusal, Serve};

/// Who wants in, from where, to what.
struct Who {
    /// What the login means; one that is no address at all is looked up, counted and refused like any other.
    account: Option<Address>,
    name: String,
    /// What it is for, as the log has it.
    what: &'static str,
    client: IpAddr,
}

impl Who {
    fn of(login: &str, what: &'static str, client: IpAddr) -> Self {
        let account = Address::parse(login.trim()).ok().map(|address| address.account());
        let name = account.as_ref().map_or_else(|| login.to_ascii_lowercase(), Address::to_string);
        Self { account, name, what, client }
    }
}

/// By which password a login was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proved {
    Chosen,
    /// The app password of this number.
    App(i64),
    Nothing,
}

/// The app password that this is. All are compared, whether one fits or not.
fn fitting(password: &Secret, keys: &AppKeys) -> Option<i64> {
    let given = Verifier::of(password.expose(), &keys.salt);
    keys.verifiers.iter().fold(None, |found, (id, kept)| {
        let fits = kept.is_same(&given);
        found.or(fits.then_some(*id))
    })
}

pub struct Directory {
    database: Mutex<Database>,
    throttle: Mutex<Throttle>,
    hashing: Semaphore,
    waiting: Semaphore,
    file: PathBuf,
}

impl Directory {
    pub fn new(database: Database, file: PathBuf) -> Self {
        Self {
            database: Mutex::new(database),
            throttle: Mutex::default(),
            hashing: Semaphore::new(HASHES_AT_ONCE),
            waiting: Semaphore::new(HASHES_WAITING),
            file,
        }
    }

    /// Forgets removed accounts whose time is over: now, and then every day.
    pub async fn purge_daily(&self) {
        loop {
            if let Err(error) = self.database().purge_removed() {
                tracing::error!("removed accounts cannot be purged: {error}");
            }
            tokio::time::sleep(PURGE_EVERY).await;
        }
    }

    /// Queries take microseconds, changes one sync, so the lock is held on the runtime's threads.
    fn database(&self) -> MutexGuard<'_, Database> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn authenticate(&self, ask: &Authenticate) -> Result<Login, Refusal> {
        let who = Who::of(&ask.login, ask.service.name(), ask.client);
        if let Some(retry_after_seconds) = self.has_to_wait(&who) {
            return Ok(Login::Throttled { retry_after_seconds });
        }
        let app_keys = match has_the_form(ask.password.expose()) {
            true => Some(self.database().app_keys(&who.name)?),
            false => None,
        };
        let proved = self.prove(&who, &ask.password, app_keys).await?;
        self.decide(&who, proved).await
    }

    async fn enter_panel(&self, ask: &EnterPanel) -> Result<Login, Refusal> {
        let who = Who::of(&ask.login, "panel", ask.client);
        if let Some(retry_after_seconds) = self.has_to_wait(&who) {
            return Ok(Login::Throttled { retry_after_seconds });
        }
        let mut proved = self.prove(&who, &ask.password, None).await?;
        // A code is used up only by somebody who knows the password.
        if let Some(account) = who.account.as_ref().filter(|_| proved != Proved::Nothing)
            && !self.database().use_code(account, &ask.code, base::time::now_unix())?
        {
            tracing::info!("the password for {account} was right, and the code of the second factor was not");
            proved = Proved::Nothing;
        }
        self.decide(&who, proved).await
    }

    /// Compares a password with what is kept.
    async fn prove(&self, who: &Who, password: &Secret, app_keys: Option<AppKeys>) -> Result<Proved, Refusal> {
        let _turn = self.turn()?;
        let kept = match &who.account {
            Some(account) => self.database().hash(account)?,
            None => None,
        };
        self.verify(password.clone(), kept, app_keys).await
    }

    async fn decide(&self, who: &Who, proved: Proved) -> Result<Login, Refusal> {
        match who.account.as_ref().filter(|_| proved != Proved::Nothing) {
            Some(account) => {
                let admin = self.granted(who, account, proved)?;
                Ok(Login::Granted { account: account.clone(), admin })
            }
            None => {
                self.denied(who).await;
                Ok(Login::Denied)
            }
        }
    }

    fn scram_challenge(&self, ask: &ScramChallenge) -> Result<ScramParameters, Refusal> {
        let who = Who::of(&ask.login, "SCRAM", ask.client);
        let salt = self.database().app_keys(&who.name)?.salt;
        Ok(ScramParameters { salt, iterations: SCRAM_ITERATIONS.get() })
    }

    async fn scram_verify(&self, ask: &ScramVerify) -> Result<ScramLogin, Refusal> {
        let who = Who::of(&ask.login, ask.service.name(), ask.client);
        if let Some(retry_after_seconds) = self.has_to_wait(&who) {
            return Ok(ScramLogin::Throttled { retry_after_seconds });
        }
        let fits = ask.auth_message.len() <= MAX_AUTH_MESSAGE;
        let keys = self.database().app_keys(&who.name)?.verifiers;
        // All are compared, whether one fits or not.
        let proved = keys.iter().fold(None, |found, (id, verifier)| {
            let fits = verifier.is_proved(&ask.auth_message, &ask.client_proof);
            found.or(fits.then_some((*id, verifier)))
        });
        let proved = proved.filter(|_| fits);
        match who.account.as_ref().zip(proved) {
            Some((account, (id, verifier))) => {
                let admin = self.granted(&who, account, Proved::App(id))?;
                let server_signature = verifier.server_signature(&ask.auth_message);
                Ok(ScramLogin::Granted { account: account.clone(), admin, server_signature })
            }
            None => {
                self.denied(&who).await;
                Ok(ScramLogin::Denied)
            }
        }
    }

    /// Seconds until this login may be tried.
    fn has_to_wait(&self, who: &Who) -> Option<u64> {
        let wait = self.throttle().wait(&who.name, who.client, Instant::now())?;
        tracing::info!("{} login to {:?} from {} has to wait {wait:?}", who.what, who.name, who.client);
        Some(wait.as_secs().max(1))
    }

    /// A place in the queue for hashing. It is given up before a failure's pause, so that those who guess take no
    /// place from those who know.
    fn turn(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        let busy = |_| Refusal::new(Kind::Busy, "too many logins at once; try again in a moment");
        self.waiting.try_acquire().map_err(busy)
    }

    /// Notes a success. Returns whether the account is an admin's.
    fn granted(&self, who: &Who, account: &Address, proved: Proved) -> Result<bool, Refusal> {
        self.throttle().succeeded(&who.name, who.client, Instant::now());
        tracing::info!("{account} logged in ({}) from {}", who.what, who.client);
        let database = self.database();
        // A full disk is no reason to keep someone out.
        if let Proved::App(id) = proved
            && let Err(error) = database.app_password_used(id)
        {
            tracing::warn!("the last use of an app password of {account} cannot be noted: {error}");
        }
        database.is_admin(account)
    }

    /// Notes a failure and holds its answer back.
    async fn denied(&self, who: &Who) {
        let pause = self.throttle().failed(&who.name, who.client, Instant::now());
        tracing::info!("{} login to {:?} from {} refused", who.what, who.name, who.client);
        tokio::time::sleep(pause).await;
    }

    async fn verify(
        &self,
        password: Secret,
        kept: Option<String>,
        app_keys: Option<AppKeys>,
    ) -> Result<Proved, Refusal> {
        let _slot = self.hashing.acquire().await.map_err(Refusal::internal)?;
        let verified = tokio::task::spawn_blocking(move || {
            if let Some(id) = app_keys.and_then(|keys| fitting(&password, &keys)) {
                return Proved::App(id);
            }
            if password::verify(&password, kept.as_deref()) { Proved::Chosen } else { Proved::Nothing }
        });
        verified.await.map_err(Refusal::internal)
    }

    /// What is kept of a new password, if it is fit to be one.
    async fn hash(&self, password: Secret, owner: Address) -> Result<String, Refusal> {
        let _slot = self.hashing.acquire().await.map_err(Refusal::internal)?;
        let hashed = tokio::task::spawn_blocking(move || {
            password::fits(&password)?;
            strength::check(&password, &owner)?;
            password::hash(&password)
        });
        hashed.await.map_err(Refusal::internal)?
    }

    fn snapshot(&self) -> Result<Snapshot, Refusal> {
        let file = self.file.with_extension("db.snapshot");
        base::durable::remove(&file).map_err(Refusal::internal)?;
        self.database().copy_to(&file).map_err(Refusal::internal)?;
        Ok(Snapshot { file })
    }
}

impl Serve for Directory {
    type Request = Request;

    async fn answer(&self, peer: Role, request: Request, _body: Vec<u8>) -> Result<Answer, Refusal> {
        match request {
            Request::Resolve(ask) => ask.answer(self.database().resolve(&ask.address)?),
            Request::Authenticate(ask) => ask.answer(self.authenticate(&ask).await?),
            Request::EnterPanel(ask) => ask.answer(self.enter_panel(&ask).await?),
            Request::ScramChallenge(ask) => ask.answer(self.scram_challenge(&ask)?),
            Request::ScramVerify(ask) => ask.answer(self.scram_verify(&ask).await?),
            Request::ScramOffered(ask) => ask.answer(self.database().has_app_passwords()?),
            Request::AddAppPassword(ask) => ask.answer(self.database().add_app_password(&ask.account, &ask.name)?),
            Request::AppPasswords(ask) => ask.answer(self.database().app_passwords(&ask.account)?),
            Request::RemoveAppPassword(ask) => {
                ask.answer(self.database().remove_app_password(&ask.account, &ask.name)?)
            }
            Request::MakeSecondFactor(ask) => ask.answer(self.database().make_second_factor(&ask.account)?),
            Request::ConfirmSecondFactor(ask) => {
                let now = base::time::now_unix();
                ask.answer(self.database().confirm_second_factor(&ask.account, &ask.code, now)?)
            }
            Request::RemoveSecondFactor(ask) => ask.answer(self.database().remove_second_factor(&ask.account)?),
            Request::MaySend(ask) => ask.answer(self.database().may_send(&ask.account, &ask.sender)?),
            Request::SendingOf(ask) => ask.answer(self.database().sending_of(&ask.account)?),
            Request::SetUndoWindow(ask) => ask.answer(self.database().set_undo_window(&ask.account, ask.seconds)?),
            Request::Domains(ask) => ask.answer(self.database().domains()?.into_iter().collect()),
            Request::Accounts(ask) => ask.answer(self.database().accounts()?),
            Request::AddAccount(ask) => {
                let hash = self.hash(ask.password.clone(), ask.address.clone()).await?;
                ask.answer(self.database().add_account(&ask.address, &hash, ask.admin)?)
            }
            Request::SetPassword(ask) => {
                let hash = self.hash(ask.password.clone(), ask.account.clone()).await?;
                ask.answer(self.database().set_hash(&ask.account, &hash)?)
            }
            Request::RemoveAccount(ask) => ask.answer(self.database().remove_account(&ask.account)?),
            Request::RemovedAccounts(ask) => ask.answer(self.database().removed_accounts()?),
            Request::RestoreAccount(ask) => ask.answer(self.database().restore_account(&ask.account)?),
            Request::SetQuota(ask) => ask.answer(self.database().set_quota(&ask.scope, ask.bytes)?),
            Request::Quotas(ask) => ask.answer(self.database().quotas()?),
            Request::QuotaOf(ask) => ask.answer(self.database().quota_of(&ask.account)?),
            Request::AddAlias(ask) => ask.answer(self.database().add_alias(&ask.address, &ask.targets, &ask.rules)?),
            Request::RemoveAlias(ask) => ask.answer(self.database().remove_alias(&ask.address)?),
            Request::Aliases(ask) => ask.answer(self.database().aliases()?),
            Request::AddDomainAlias(ask) => ask.answer(self.database().add_domain_alias(&ask.from, &ask.to)?),
            Request::RemoveDomainAlias(ask) => ask.answer(self.database().remove_domain_alias(&ask.from)?),
            Request::DomainAliases(ask) => ask.answer(self.database().domain_aliases()?),
            Request::SetList(ask) => {
                let set = self.database().set_list(&ask.address, &ask.name, ask.posting, &ask.moderators);
                ask.answer(set?)
            }
            Request::RemoveList(ask) => ask.answer(self.database().remove_list(&ask.address)?),
            Request::Lists(ask) => ask.answer(self.database().lists()?),
            Request::ListOf(ask) => ask.answer(self.database().list_of(&ask.address)?),
            Request::Members(ask) => ask.answer(self.database().members(&ask.list)?),
            Request::Subscribe(ask) => ask.answer(self.database().subscribe(&ask.list, &ask.member)?),
            Request::Unsubscribe(ask) => ask.answer(self.database().unsubscribe(&ask.list, &ask.member)?),
            Request::NoteBounce(ask) => ask.answer(self.database().note_bounce(&ask.list, &ask.member)?),
            Request::AddBackupMx(ask) => ask.answer(self.database().add_backup_mx(&ask.domain, &ask.primary)?),
            Request::RemoveBackupMx(ask) => ask.answer(self.database().remove_backup_mx(&ask.domain)?),
            Request::BackupMxs(ask) => ask.answer(self.database().backup_mxs()?),
            Request::SetRelay(ask) => ask.answer(self.database().set_relay(&ask.relay)?),
            Request::RemoveRelay(ask) => ask.answer(self.database().remove_relay(&ask.scope)?),
            Request::Relays(ask) => {
                let mut relays = self.database().relays()?;
                // The owner can read the file itself; in a demo every role is the owner.
                if !matches!(peer, Role::Mta | Role::Owner) {
                    relays.iter_mut().for_each(|relay| relay.password = None);
                }
                ask.answer(relays)
            }
            Request::TakeSnapshot(ask) => ask.answer(self.snapshot()?),
        }
    }
}
