//! A Sieve script, and after a NUL the message that it is run on.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|byte| *byte == 0).unwrap_or(input.len());
    let (script, message) = input.split_at(end);
    fuzz::with_place(async |place| {
        let account = place.account(&fuzz::ann()).await.expect("the account");
        place.sieve(&account, script, message.get(1..).unwrap_or_default()).await;
    });
});
