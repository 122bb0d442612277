//! IMAP4rev1 over implicit TLS: `proto` (bytes to values and back), `session` (the state machine), `server` (sockets).

mod connection;
mod prompt;
pub(crate) mod proto;
pub(crate) mod server;
mod session;
