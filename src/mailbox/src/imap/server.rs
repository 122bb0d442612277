//! Port 993: TLS from the first octet.

use super::connection::{Connection, memory};
use super::prompt::Prompt;
use super::session::Session;
use crate::learn::Learner;
use crate::login::Logins;
use crate::quota::Quotas;
use crate::{front, limits};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// What all sessions share.
pub struct Shared {
    pub logins: Arc<Logins>,
    pub learner: Learner,
    pub quotas: Arc<Quotas>,
    pub memory: Arc<Semaphore>,
}

impl Shared {
    pub fn new(logins: Arc<Logins>, learner: Learner, quotas: Arc<Quotas>) -> Self {
        Self { logins, learner, quotas, memory: memory() }
    }
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, tls: Arc<rustls::ServerConfig>, shared: Arc<Shared>) {
    let acceptor = TlsAcceptor::from(tls);
    let logins = Arc::clone(&shared.logins);
    let one = |stream, client| one(stream, acceptor.clone(), Arc::clone(&shared), client);
    front::serve(listener, "IMAP", logins, one).await;
}

async fn one(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>, client: IpAddr) {
    match timeout(limits::HANDSHAKE_WITHIN, acceptor.accept(Prompt(stream))).await {
        Ok(Ok(stream)) => {
            let binding = base::sasl::exported(stream.get_ref().1);
            let offer = shared.logins.offer(binding).await;
            let conn = Connection::new(stream, Arc::clone(&shared.memory));
            Session::new(conn, shared, client, offer).run().await;
        }
        Ok(Err(error)) => tracing::debug!("{client}: no TLS: {error}"),
        Err(_) => tracing::debug!("{client}: the TLS handshake took too long"),
    }
}
