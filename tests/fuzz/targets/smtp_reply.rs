//! Lines as another server's replies.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mta::fuzz::replies(input));
