//! A whole ManageSieve session of somebody who has logged in.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    mailbox::fuzz::lines(input);
    // base64 of NUL ann@example.org NUL x
    let mut text = b"AUTHENTICATE \"PLAIN\" \"AGFubkBleGFtcGxlLm9yZwB4\"\r\n".to_vec();
    text.extend_from_slice(input);
    text.extend_from_slice(b"\r\n");
    fuzz::with_place(async |place| place.managesieve(&text).await).expect("the session comes to its end");
});
