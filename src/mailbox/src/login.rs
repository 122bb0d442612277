//! Logging in, for every protocol: what the directory is asked, how many sessions an account may have, and what a
//! client is told. The words for the wire are the protocol's own.

use crate::accounts::Accounts;
use crate::limits;
use crate::slots::{Counts, Slot};
use base::sasl::{Exchange, Fault, Mechanism, Offer, Step};
use base::{Address, Secret};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use store::{Account, StoreError};
use wire::directory::{Authenticate, Login, ScramChallenge, ScramLogin, ScramOffered, ScramVerify, Service};

/// What all sessions share for logging in.
pub struct Logins {
    pub accounts: Arc<Accounts>,
    pub directory: wire::Client,
    per_account: Arc<Counts<Address>>,
    pub per_address: Arc<Counts<IpAddr>>,
    /// Whether SCRAM can be offered, and when the directory said so.
    scram: Mutex<Option<(Instant, bool)>>,
    /// Held while scripts are changed.
    pub scripts: Mutex<()>,
}

/// Somebody who is logged in.
pub struct User {
    pub address: Address,
    pub account: Arc<Account>,
    /// The place among the account's sessions.
    _slot: Slot,
}

/// Who asks, for the audit log and the throttle.
#[derive(Debug, Clone, Copy)]
pub struct Asker {
    pub service: Service,
    pub client: IpAddr,
}

/// Why somebody is not let in. The sentence is for the client.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("the name or the password is wrong")]
    Denied,
    #[error("too many failed logins; try again in {0} seconds")]
    Throttled(u64),
    #[error("logins cannot be checked just now; try again")]
    Unavailable,
    #[error("this account has too many sessions already")]
    TooManySessions,
    #[error("{0}")]
    Exchange(#[from] Fault),
}

/// What came of a step of a SASL exchange.
pub enum Progress {
    /// Send this and bring the answer.
    Challenge(Vec<u8>),
    /// Logged in. SCRAM has last words that the client wants to see first.
    In(Box<User>, Option<Vec<u8>>),
    Refused(Refused),
}

impl Logins {
    pub fn new(accounts: Arc<Accounts>, directory: wire::Client) -> Self {
        Self {
            accounts,
            directory,
            per_account: Arc::default(),
            per_address: Arc::default(),
            scram: Mutex::default(),
            scripts: Mutex::default(),
        }
    }

    /// What a connection offers. `binding` is its `tls-exporter` value, if it has one.
    ///
    /// SCRAM works with app passwords alone, and many clients prefer it to PLAIN once it is named; so it is named only
    /// when there is an app password at all.
    pub async fn offer(&self, binding: Option<Vec<u8>>) -> Offer {
        let known = *self.scram.lock().unwrap_or_else(PoisonError::into_inner);
        let scram = match known {
            Some((at, offered)) if at.elapsed() < limits::SCRAM_OFFER_KEPT => offered,
            _ => {
                // A directory that does not answer is met again at the login.
                let offered = self.directory.ask(&ScramOffered {}).await.unwrap_or(false);
                *self.scram.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), offered));
                offered
            }
        };
        Offer { scram, binding }
    }

    /// Begins an exchange; `None` when the mechanism is not offered.
    pub fn begin(&self, mechanism: &str, offer: &Offer) -> Option<Exchange> {
        Exchange::begin(Mechanism::named(mechanism)?, offer, base::sasl::nonce())
    }

    /// Takes a step of an exchange, asking the directory what it asks.
    pub async fn advance(&self, exchange: &mut Exchange, response: Option<&[u8]>, asker: Asker) -> Progress {
        match exchange.receive(response) {
            Step::Challenge(challenge) => Progress::Challenge(challenge),
            Step::Password { login, password } => match self.password(login, password, asker).await {
                Ok(user) => Progress::In(Box::new(user), None),
                Err(refused) => Progress::Refused(refused),
            },
            Step::Salt { login } => {
                let request = ScramChallenge { login, client: asker.client };
                match self.directory.ask(&request).await {
                    Ok(it) => Progress::Challenge(exchange.salted(&it.salt, it.iterations)),
                    Err(why) => Progress::Refused(away(&why)),
                }
            }
            Step::Proof { login, auth_message, client_proof } => {
                let Asker { service, client } = asker;
                let request = ScramVerify { login, auth_message, client_proof, service, client };
                match self.directory.ask(&request).await {
                    Ok(ScramLogin::Granted { account, server_signature, .. }) => match self.enter(account, asker).await
                    {
                        Ok(user) => Progress::In(Box::new(user), Some(exchange.signed(&server_signature))),
                        Err(refused) => Progress::Refused(refused),
                    },
                    Ok(ScramLogin::Denied) => Progress::Refused(Refused::Denied),
                    Ok(ScramLogin::Throttled { retry_after_seconds }) => {
                        Progress::Refused(Refused::Throttled(retry_after_seconds))
                    }
                    Err(why) => Progress::Refused(away(&why)),
                }
            }
            Step::Failed(fault) => Progress::Refused(Refused::Exchange(fault)),
        }
    }

    /// Logs in by name and password.
    pub async fn password(&self, login: String, password: Secret, asker: Asker) -> Result<User, Refused> {
        let request = Authenticate { login, password, service: asker.service, client: asker.client };
        match self.directory.ask(&request).await {
            Ok(Login::Granted { account, .. }) => self.enter(account, asker).await,
            Ok(Login::Denied) => Err(Refused::Denied),
            Ok(Login::Throttled { retry_after_seconds }) => Err(Refused::Throttled(retry_after_seconds)),
            Err(why) => Err(away(&why)),
        }
    }

    async fn enter(&self, address: Address, asker: Asker) -> Result<User, Refused> {
        let slot = Counts::enter(&self.per_account, address.clone(), limits::SESSIONS_PER_ACCOUNT);
        let slot = slot.ok_or(Refused::TooManySessions)?;
        let account = self.accounts.get(&address).await.map_err(|why| store_failed(&address, &why))?;
        tracing::info!("{address} logged in from {} ({:?})", asker.client, asker.service);
        Ok(User { address, account, _slot: slot })
    }
}

fn away(why: &wire::WireError) -> Refused {
    tracing::error!("a login could not be checked: {why}");
    Refused::Unavailable
}

fn store_failed(address: &Address, why: &StoreError) -> Refused {
    tracing::error!("the mail of {address} cannot be opened: {why}");
    Refused::Unavailable
}
