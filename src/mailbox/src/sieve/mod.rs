//! Sieve (RFC 5228): the scripts of an account and what they do to a delivery.
//!
//! `scripts` keeps the files, `language` compiles and checks, `run` executes a script and gives a plan (nothing is done
//! while a script runs), `records` remembers what vacation, duplicate and redirect must not forget, `outgoing` makes
//! the messages that scripts send fit to be sent, `complain` tells an owner of a script that failed.
//!
//! Invariants: a script that fails at run time leaves the message in INBOX; what a plan says is done durably before
//! LMTP's 250; nothing is answered, and nothing redirected, for mail that the box holds for junk.

pub mod complain;
pub mod language;
pub mod loops;
pub mod outgoing;
pub mod records;
pub mod run;
pub mod scripts;
