//! Any octets as a message, by DATA and by BDAT.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mta::fuzz::messages(input));
