//! Any octets as a DMARC or TLS report: a message, an archive, XML, JSON.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| reports::fuzz::report(input));
