//! The doors: every request that one process may make of another, and the client and server that carry them.
//!
//! One file per answering role, each a table: a line is a request, its fields, what comes back, and who may ask.
//! Reading `doors/` tells what a broken-into process could do. The server refuses a peer that the table does not
//! name, by the uid that the kernel vouches for.

pub mod client;
pub mod doors;
pub mod frame;
mod kept;
pub mod server;
pub mod status;
#[macro_use]
mod table;
pub mod view;

pub use client::{Client, WireError};
pub use doors::{directory, dns, filter, mailbox, mta};
pub use server::{Answer, Peers, Serve, serve};
pub use table::{Ask, Kind, Refusal};
