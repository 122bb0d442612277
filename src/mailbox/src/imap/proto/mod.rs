//! The wire format of IMAP4rev1 (RFC 3501 §9): commands to values, values to response bytes. No I/O.

mod command;
mod fetch;
mod literal;
mod parser;
mod search;
mod set;
mod write;

pub use command::{Append, Command, Line, ListCommand, StatusItem, StoreCommand, parse};
pub use fetch::{Fetch, Item, Partial, Section, Text};
pub use literal::{Announced, announced};
pub use parser::tag_of;
pub use search::{Key, Return, Search};
pub use set::{Set, compact};
pub use store::mime::{body, envelope};
pub use write::{astring, date_time, flag_list};
