//! The ports: accepting, bounding, TLS, and carrying lines between sockets and sessions.

mod conversation;
mod slots;

use crate::house::House;
use crate::session::{Kind, replies};
use rustls::ServerConfig;
use slots::Slots;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// How TLS is spoken at a port.
#[derive(Clone)]
pub struct Port {
    pub kind: Kind,
    /// TLS from the first byte (RFC 8314 §3.3) instead of by STARTTLS.
    pub implicit_tls: bool,
    pub tls: Arc<ServerConfig>,
}

/// Serves one port until the process ends.
pub async fn serve(listener: TcpListener, port: Port, house: Arc<House>) {
    let slots = Slots::default();
    loop {
        let (stream, client) = match listener.accept().await {
            Ok((stream, peer)) => (stream, base::endpoints::canonical(peer.ip())),
            Err(error) => {
                // Out of file descriptors, most likely: wait for some to be freed rather than spin.
                tracing::error!("a connection cannot be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (port, house) = (port.clone(), Arc::clone(&house));
        match slots.take(client) {
            Some(slot) => {
                tokio::spawn(async move {
                    conversation::hold(stream, client, port, house).await;
                    drop(slot);
                });
            }
            None => {
                tracing::info!("too many connections; {client} is turned away");
                if !port.implicit_tls {
                    // No waiting for a peer that is too much already: the few octets fit the socket's buffer.
                    let mut reply = Vec::new();
                    replies::TOO_MANY_CONNECTIONS.reply().write(&mut reply);
                    let _ = stream.try_write(&reply);
                }
            }
        }
    }
}
