//! LMTP (RFC 2033) on a Unix socket, heard from the MTA alone: `proto` (lines to values), `session` (the state
//! machine), `deliver` (one message into one mailbox), `quota` (whether it has room), `server` (the socket).

mod deliver;
mod message;
mod proto;
pub(crate) mod quota;
pub(crate) mod server;
mod session;
