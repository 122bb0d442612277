//! The mailbox role: every account's mail, read over IMAPS and delivered over LMTP.
//!
//! It knows the store and the doors, and no other room: who exists and whose password is right, it asks the directory.
//! A message that LMTP or APPEND acknowledged is on the disk. When the directory is away, logins and deliveries are
//! refused for now; sessions that are open go on.

mod accounts;
mod blocking;
mod door;
mod housekeeping;
mod imap;
mod learn;
pub mod limits;
mod lmtp;
mod quota;
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
    let imaps = Endpoints::of(&config).imaps;
    let tls = base::tls::server(&paths, base::tls::Tickets::Yes)?;
    let bind_failed = |what: String| move |source| MailboxError::Bind { what, source };
    let imap_listener = imaps
        .bind()
        .and_then(tokio::net::TcpListener::from_std)
        .map_err(bind_failed(format!("port {} (IMAPS)", imaps.port)))?;
    let lmtp_listener =
        wire::server::bind(&paths, Role::Mailbox, "lmtp").map_err(bind_failed("the LMTP socket".into()))?;

    let directory = wire::Client::new(paths.clone());
    let accounts = Arc::new(accounts::Accounts::new(paths.clone()));
    let learner = learn::Learner::start(directory.clone());
    let quotas = Arc::new(quota::Quotas::new(config.hostname.to_string(), directory.clone(), Arc::clone(&accounts)));
    let shared = imap::server::Shared::new(Arc::clone(&accounts), directory.clone(), learner, Arc::clone(&quotas));
    let shared = Arc::new(shared);
    let context = Arc::new(lmtp::server::LmtpContext {
        hostname: config.hostname.to_string(),
        accounts: Arc::clone(&accounts),
        directory: directory.clone(),
        memory: Arc::clone(&shared.memory),
    });
    let closing = Closing(Arc::clone(&accounts));
    tokio::spawn(housekeeping::run(Arc::clone(&accounts), directory.clone()));
    let door = Arc::new(door::Door { paths: paths.clone(), accounts, directory, quotas });
    let peers = wire::Peers::of(&paths);
    tracing::info!("ready: IMAPS on port {}, LMTP on {}", imaps.port, paths.socket(Role::Mailbox, "lmtp").display());
    let ended = tokio::select! {
        () = imap::server::serve(imap_listener, tls, shared) => Ok(()),
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
