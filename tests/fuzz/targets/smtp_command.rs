//! Lines as SMTP commands.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mta::fuzz::commands(input));
