//! The front of a listening port: how many may come in, from where, and who is turned away.

use crate::limits;
use crate::login::Logins;
use crate::slots::Counts;
use base::endpoints::canonical;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Accepts until the process ends; each connection is served by `one` in a task of its own.
pub async fn serve<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    name: &'static str,
    logins: Arc<Logins>,
    one: impl Fn(TcpStream, IpAddr) -> F,
) {
    let places = Arc::new(Semaphore::new(limits::SESSIONS));
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely; they come back as sessions end.
                tracing::error!("{name} cannot accept: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let client = canonical(peer.ip());
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!("{client} is turned away: there are {} {name} sessions already", limits::SESSIONS);
            continue;
        };
        let Some(slot) = Counts::enter(&logins.per_address, client, limits::SESSIONS_PER_ADDRESS) else {
            tracing::warn!("{client} is turned away: it has {} sessions already", limits::SESSIONS_PER_ADDRESS);
            continue;
        };
        // Replies are small and awaited; Nagle would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("{client}: {error}");
        }
        let served = one(stream, client);
        tokio::spawn(async move {
            served.await;
            drop((slot, place));
        });
    }
}
