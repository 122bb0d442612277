//! LMTP (RFC 2033) on a Unix socket, heard from the MTA alone: `proto` (lines to values), `session` (the state
//! machine), `server` (the socket).

mod message;
mod proto;
pub(crate) mod server;
mod session;
