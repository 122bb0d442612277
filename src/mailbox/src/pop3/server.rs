//! Port 995: TLS from the first octet.

use super::session::Session;
use crate::login::Logins;
use crate::{front, limits};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, tls: Arc<rustls::ServerConfig>, logins: Arc<Logins>) {
    let acceptor = TlsAcceptor::from(tls);
    let one = |stream, client| one(stream, acceptor.clone(), Arc::clone(&logins), client);
    front::serve(listener, "POP3", Arc::clone(&logins), one).await;
}

async fn one(stream: TcpStream, acceptor: TlsAcceptor, logins: Arc<Logins>, client: IpAddr) {
    match timeout(limits::HANDSHAKE_WITHIN, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let binding = base::sasl::exported(stream.get_ref().1);
            Session::new(stream, logins, client, binding).await.run().await;
        }
        Ok(Err(error)) => tracing::debug!("{client}: no TLS: {error}"),
        Err(_) => tracing::debug!("{client}: the TLS handshake took too long"),
    }
}
