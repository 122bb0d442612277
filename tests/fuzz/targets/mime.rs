//! Any bytes as a message: its structure, its envelope, its text.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let parsed = store::mime::Parsed::of(input);
    assert_eq!(parsed, store::mime::Parsed::of(input), "the same bytes are parsed the same");
});
