//! The wire format of IMAP (RFC 9051 §9, RFC 3501 §9): commands to values, values to response bytes. No I/O.

mod access;
mod append;
mod command;
mod fetch;
mod list;
mod literal;
mod mailboxes;
mod notify;
#[cfg(test)]
mod oracle;
mod parser;
mod search;
mod select;
mod set;
mod sort;
mod write;

pub use access::{Depth, GetMetadata, RightsChange};
pub use append::{Append, Appended, CatPart, Data};
pub use command::{Command, Line, StoreCommand, parse};
pub use fetch::{Fetch, Item, Partial, Section, Text, section};
pub use list::{ListCommand, StatusItem};
pub use literal::{Announced, announced};
pub use mailboxes::Mailboxes;
pub use notify::{Event, Group, Notify};
pub use parser::{Parser, tag_of};
pub use search::{Charset, Key, Returns, Search};
pub use select::{Resync, Select};
pub use set::{Num, Set, compact};
pub use sort::{Algorithm, Multisearch, Sort, SortKey, Thread};
pub use store::mime::body;
pub use write::{astring, date_time, flag_list, mailbox_name, put_flags};
