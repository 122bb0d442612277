//! SMTP as bytes and values, both ways (RFC 5321). No I/O; every parser is bounded and never panics.

pub mod command;
pub mod delivery_status;
pub mod dot;
pub mod envelope;
pub mod line;
pub mod path;
pub mod reply;
pub mod xtext;

pub use command::{Command, CommandError};
pub use reply::Reply;
