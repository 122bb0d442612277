//! A whole LMTP session.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    mailbox::fuzz::lines(input);
    let mut text = b"LHLO x\r\n".to_vec();
    text.extend_from_slice(input);
    text.extend_from_slice(b"\r\n");
    fuzz::with_place(async |place| place.lmtp(&text).await).expect("the session comes to its end");
});
