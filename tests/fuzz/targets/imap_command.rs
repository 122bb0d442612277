//! One IMAP command, with what stands in its literals.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mailbox::fuzz::imap_command(input));
