//! The MTA through its sockets, with neighbours that answer as the real ones do: a directory and a filter at their
//! doors, a mailbox that speaks LMTP, and other people's servers.

mod crash;
mod delivery;
mod forwarding;
mod house;
mod inbound;
mod lists;
mod names;
mod peer;
mod queue;
mod receiving;
mod scram;
mod submission;
mod transcript;
