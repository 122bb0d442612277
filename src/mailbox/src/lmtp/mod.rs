//! LMTP (RFC 2033) on a Unix socket, heard from the MTA alone: `proto` (lines to values), `session` (the state
//! machine), `deliver` (one message into one mailbox), `server` (the socket).

mod deliver;
mod message;
pub mod proto;
pub(crate) mod recipients;
pub(crate) mod server;
pub mod session;
