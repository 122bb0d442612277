//! The ports: accepting, bounding, TLS, and carrying lines between sockets and sessions.

pub(crate) mod conversation;
mod slots;

use crate::house::House;
use crate::policy::Place;
use crate::session::Kind;
use rustls::ServerConfig;
use slots::Slots;
use std::sync::Arc;
use std::time::{Duration, Instant};
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
        let slot = slots.take(client);
        let place = match &slot {
            None => Place::Taken,
            Some(_) if house.is_stranger(client) && !house.arrivals.count(client, Instant::now()) => Place::TooFast,
            Some(_) => Place::Free,
        };
        tokio::spawn(async move {
            conversation::hold(stream, client, place, port, house).await;
            drop(slot);
        });
    }
}
