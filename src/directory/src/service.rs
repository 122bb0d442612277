//! The directory's door: one `match` over its requests.

use crate::database::Database;
use crate::limits::{HASHES_AT_ONCE, HASHES_WAITING};
use crate::password;
use crate::throttle::Throttle;
use base::{Address, Role, Secret};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use wire::directory::{Authenticate, Login, Request};
use wire::doors::Snapshot;
use wire::{Answer, Kind, Refusal, Serve};

/// How long a refused login is kept waiting, so that guessing is slow from its first try.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

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

    /// Queries take microseconds, changes one sync, so the lock is held on the runtime's threads.
    fn database(&self) -> MutexGuard<'_, Database> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn authenticate(&self, ask: &Authenticate) -> Result<Login, Refusal> {
        // A login that is no address at all is looked up, counted and refused like any other.
        let account = Address::parse(ask.login.trim()).ok().map(|address| address.account());
        let name = account.as_ref().map_or_else(|| ask.login.to_ascii_lowercase(), Address::to_string);
        if let Some(wait) = self.throttle().wait(&name, ask.client, Instant::now()) {
            tracing::info!("{:?} login to {name:?} from {} has to wait {wait:?}", ask.service, ask.client);
            return Ok(Login::Throttled { retry_after_seconds: wait.as_secs().max(1) });
        }
        let Ok(_turn) = self.waiting.try_acquire() else {
            return Err(Refusal::new(Kind::Busy, "too many logins at once; try again in a moment"));
        };
        let kept = match &account {
            Some(account) => self.database().hash(account)?,
            None => None,
        };
        let right = self.verify(ask.password.clone(), kept).await?;
        match account.filter(|_| right) {
            Some(account) => self.granted(ask, account),
            None => Ok(self.denied(ask, &name, ask.client).await),
        }
    }

    fn granted(&self, ask: &Authenticate, account: Address) -> Result<Login, Refusal> {
        self.throttle().succeeded(&account.to_string(), ask.client, Instant::now());
        tracing::info!("{account} logged in ({:?}) from {}", ask.service, ask.client);
        let admin = self.database().is_admin(&account)?;
        Ok(Login::Granted { account, admin })
    }

    async fn denied(&self, ask: &Authenticate, name: &str, client: IpAddr) -> Login {
        self.throttle().failed(name, client, Instant::now());
        tracing::info!("{:?} login to {name:?} from {client} refused", ask.service);
        tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
        Login::Denied
    }

    async fn verify(&self, password: Secret, kept: Option<String>) -> Result<bool, Refusal> {
        let _slot = self.hashing.acquire().await.map_err(Refusal::internal)?;
        let verified = tokio::task::spawn_blocking(move || password::verify(&password, kept.as_deref())).await;
        verified.map_err(Refusal::internal)
    }

    async fn hash(&self, password: Secret) -> Result<String, Refusal> {
        let _slot = self.hashing.acquire().await.map_err(Refusal::internal)?;
        tokio::task::spawn_blocking(move || password::hash(&password)).await.map_err(Refusal::internal)?
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

    async fn answer(&self, _peer: Role, request: Request, _body: Vec<u8>) -> Result<Answer, Refusal> {
        match request {
            Request::Resolve(ask) => ask.answer(self.database().resolve(&ask.address)?),
            Request::Authenticate(ask) => ask.answer(self.authenticate(&ask).await?),
            Request::MaySend(ask) => ask.answer(self.database().may_send(&ask.account, &ask.sender)?),
            Request::Domains(ask) => ask.answer(self.database().domains()?.into_iter().collect()),
            Request::Accounts(ask) => ask.answer(self.database().accounts()?),
            Request::AddAccount(ask) => {
                let hash = self.hash(ask.password.clone()).await?;
                ask.answer(self.database().add_account(&ask.address, &hash, ask.admin)?)
            }
            Request::SetPassword(ask) => {
                let hash = self.hash(ask.password.clone()).await?;
                ask.answer(self.database().set_hash(&ask.account, &hash)?)
            }
            Request::RemoveAccount(ask) => ask.answer(self.database().remove_account(&ask.account)?),
            Request::AddAlias(ask) => ask.answer(self.database().add_alias(&ask.address, &ask.targets)?),
            Request::RemoveAlias(ask) => ask.answer(self.database().remove_alias(&ask.address)?),
            Request::Aliases(ask) => ask.answer(self.database().aliases()?),
            Request::TakeSnapshot(ask) => ask.answer(self.snapshot()?),
        }
    }
}
