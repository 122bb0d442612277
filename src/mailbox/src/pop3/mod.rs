//! POP3 over implicit TLS (RFC 1939, RFC 2449, RFC 5034): `proto` (lines to values), `session` (the state machine),
//! `maildrop` (the inbox as it stood at the login), `server` (sockets).
//!
//! Decisions where the RFCs leave one, as Dovecot's defaults have them: no lock, several sessions may be open; messages
//! flagged \Deleted over IMAP are shown until they are expunged; RETR marks \Seen, at QUIT.

mod maildrop;
pub mod proto;
pub(crate) mod server;
pub mod session;
