//! A whole IMAP session of somebody who has logged in and selected a folder.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let mut text = b"a LOGIN ann@example.org x\r\nb SELECT INBOX\r\n".to_vec();
    text.extend_from_slice(input);
    text.extend_from_slice(b"\r\n");
    let said = fuzz::with_place(async |place| place.imap(&text).await);
    let said = said.expect("the session comes to its end");
    assert!(said.windows(4).any(|at| at == b"b OK"), "{}", String::from_utf8_lossy(&said));
});
