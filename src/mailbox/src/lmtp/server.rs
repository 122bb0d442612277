//! The LMTP socket: who may connect, and how many at once.

use super::deliver::Context;
use super::session::Session;
use crate::limits;
use base::Role;
use std::sync::Arc;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use wire::Peers;

pub use super::deliver::Context as LmtpContext;

/// Serves until the process ends.
pub async fn serve(listener: UnixListener, peers: Peers, context: Arc<Context>) {
    let places = Arc::new(Semaphore::new(limits::LMTP_SESSIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::error!("LMTP cannot accept: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        if !may_deliver(&stream, &peers) {
            continue;
        }
        let context = Arc::clone(&context);
        tokio::spawn(async move {
            let (read, write) = stream.into_split();
            if let Err(error) = Session::new(read, write, context).run().await {
                tracing::debug!("an LMTP client went away: {error}");
            }
            drop(place);
        });
    }
}

/// Mail comes from the MTA; the owner may try by hand.
fn may_deliver(stream: &UnixStream, peers: &Peers) -> bool {
    let role = stream.peer_cred().ok().and_then(|peer| peers.role(peer.uid()));
    let may = matches!(role, Some(Role::Mta | Role::Owner));
    if !may {
        tracing::warn!("a peer that is not the MTA ({role:?}) tried to deliver mail");
    }
    may
}
