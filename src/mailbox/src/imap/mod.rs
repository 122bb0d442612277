//! IMAP4rev2 and IMAP4rev1 over implicit TLS: `proto` (bytes to values and back), `order` (sorting and threading),
//! `session` (the state machine), `server` (sockets). What is offered stands in `capability`.

mod capability;
mod compress;
pub mod connection;
mod order;
mod prompt;
pub(crate) mod proto;
pub(crate) mod server;
pub mod session;
