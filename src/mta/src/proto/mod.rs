//! SMTP as bytes and values, both ways (RFC 5321). No I/O; every parser is bounded and never panics.

pub mod auth;
pub mod command;
pub mod delivery_status;
pub mod dot;
pub mod line;
pub mod path;
pub mod reply;

pub use command::{Command, CommandError};
pub use reply::Reply;
