//! The panel: the owner's login and the status page, behind nginx, on a Unix socket; the way out of mailing lists; and the
//! look at a peer's ports, the one thing for which it speaks to the network (`peer`).
//!
//! No page needs JavaScript. The status page has a script, `assets/status.js`, that keeps it up to date; everywhere else the
//! content policy forbids any. Only administrators get into the panel; what mail programs and people ask in order to set up
//! an account is answered to everybody (`clients`).

mod attempts;
mod board;
mod clients;
mod dynamic;
mod error;
mod limits;
mod lists;
mod pages;
mod peer;
mod server;
mod sessions;
mod status;
mod stream;

pub use error::WebError;

use base::{BoxConfig, Paths, Role};
use std::sync::Arc;

/// Serves the panel until the process ends.
pub async fn run(paths: Paths) -> Result<(), WebError> {
    let config = BoxConfig::load(&paths)?;
    let panel = Arc::new(server::Panel::new(&paths, config.hostname.to_string())?);
    // Anyone on the machine may connect, as with every door; there is nothing secret here without a login.
    let listener = wire::server::bind(&paths, Role::Web, "web").map_err(WebError::Socket)?;
    tracing::info!("ready: the panel of {}", config.hostname);
    let app = server::router(panel).merge(clients::router(&config.hostname)?).merge(peer::router(&paths, &config));
    axum::serve(listener, app).await.map_err(WebError::Socket)
}
