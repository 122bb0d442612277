//! ManageSieve (RFC 5804) on 4190: plain TCP that says nothing of itself until STARTTLS. `proto` (lines to values and
//! back), `session` (the state machine), `server` (sockets).

pub mod proto;
pub(crate) mod server;
pub mod session;
