//! Any octets as a bounce to a mailing list (RFC 3464).
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mta::fuzz::bounces(input));
