//! The mailbox role: every account's mail, read over IMAPS and POP3S, filtered by the owner's Sieve scripts (managed
//! over ManageSieve) and delivered over LMTP.
//!
//! It knows the store and the doors, and no other room: who exists and whose password is right, it asks the directory.
//! A message that LMTP or APPEND acknowledged is on the disk. When the directory is away, logins and deliveries are
//! refused for now; sessions that are open go on.

mod accounts;
mod blocking;
mod door;
mod front;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
mod housekeeping;
mod imap;
mod indexing;
mod learn;
pub mod limits;
mod lmtp;
mod login;
mod managesieve;
mod pop3;
mod quota;
mod sieve;
mod slots;
mod talk;
mod text;

use base::{BoxConfig, Endpoints, Paths, Role};
use std::sync::Arc;

/// Why the role could not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum MailboxError {
    #[error(transparent)]
    Config(#[from] base::config::ConfigError),
    #[error(transparent)]
    Tls(#[from] base::tls::TlsError),
    #[error("{what} cannot be bound: {source}")]
    Bind { what: String, source: std::io::Error },
    #[error("the control socket failed: {0}")]
    Door(std::io::Error),
}

/// Runs the role until the process ends. Every write is safe against that end at any moment.
pub async fn run(paths: Paths) -> Result<(), MailboxError> {
    let config = BoxConfig::load(&paths)?;
    let Endpoints { imaps, pop3s, managesieve, .. } = Endpoints::of(&config);
    let tls = base::tls::server(&paths, base::tls::Tickets::Yes)?;
    let bind_failed = |what: String| move |source| MailboxError::Bind { what, source };
    let imap_listener = imaps
        .bind()
        .and_then(tokio::net::TcpListener::from_std)
        .map_err(bind_failed(format!("port {} (IMAPS)", imaps.port)))?;
    let open = |listen: base::endpoints::Listen, what: &str| {
        let bound = listen.bind().and_then(tokio::net::TcpListener::from_std);
        bound.map_err(bind_failed(format!("port {} ({what})", listen.port)))
    };
    let (pop3_listener, sieve_listener) = (open(pop3s, "POP3S")?, open(managesieve, "ManageSieve")?);
    let lmtp_listener =
        wire::server::bind(&paths, Role::Mailbox, "lmtp").map_err(bind_failed("the LMTP socket".into()))?;

    let directory = wire::Client::new(paths.clone());
    let accounts = Arc::new(accounts::Accounts::new(paths.clone()));
    let learner = learn::Learner::start(directory.clone());
    let quotas = Arc::new(quota::Quotas::new(config.hostname.to_string(), directory.clone(), Arc::clone(&accounts)));
    let logins = Arc::new(login::Logins::new(Arc::clone(&accounts), directory.clone()));
    let shared = Arc::new(imap::server::Shared::new(Arc::clone(&logins), learner, Arc::clone(&quotas)));
    let context = Arc::new(lmtp::server::LmtpContext {
        hostname: config.hostname.to_string(),
        accounts: Arc::clone(&accounts),
        directory: directory.clone(),
        recipients: lmtp::recipients::Recipients::new(directory.clone()),
        memory: Arc::clone(&shared.memory),
        sieve: Arc::new(sieve::language::runtime().with_local_hostname(config.hostname.to_string())),
        quotas: Arc::clone(&quotas),
        late: Arc::default(),
    });
    let closing = Closing(Arc::clone(&accounts));
    tokio::spawn(housekeeping::run(Arc::clone(&accounts), directory.clone()));
    let door = Arc::new(door::Door { paths: paths.clone(), accounts, directory, quotas });
    let peers = wire::Peers::of(&paths);
    let ports = format!("IMAPS on {}, POP3S on {}, ManageSieve on {}", imaps.port, pop3s.port, managesieve.port);
    tracing::info!("ready: {ports}, LMTP at {}", paths.socket(Role::Mailbox, "lmtp").display());
    let ended = tokio::select! {
        () = imap::server::serve(imap_listener, Arc::clone(&tls), shared) => Ok(()),
        () = pop3::server::serve(pop3_listener, Arc::clone(&tls), Arc::clone(&logins)) => Ok(()),
        () = managesieve::server::serve(sieve_listener, tls, logins) => Ok(()),
        () = lmtp::server::serve(lmtp_listener, peers, context) => Ok(()),
        ended = wire::serve(&paths, door) => ended.map_err(MailboxError::Door),
    };
    drop(closing);
    ended
}

/// Closes the accounts when the role ends, also when it is told to stop in the middle.
struct Closing(Arc<accounts::Accounts>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}
