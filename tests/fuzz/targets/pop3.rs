//! A whole POP3 session of somebody who has logged in.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    mailbox::fuzz::lines(input);
    let mut text = b"USER ann@example.org\r\nPASS x\r\n".to_vec();
    text.extend_from_slice(input);
    text.extend_from_slice(b"\r\n");
    fuzz::with_place(async |place| place.pop3(&text).await).expect("the session comes to its end");
});
