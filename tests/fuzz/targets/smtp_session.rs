//! A whole SMTP session: a stranger's on port 25, and that of a user who has logged in.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let inbound = [b"EHLO x\r\nMAIL FROM:<eve@example.net>\r\nRCPT TO:<ann@example.org>\r\n", input, b"\r\n"].concat();
    let login = b"EHLO x\r\nAUTH PLAIN AGFubkBleGFtcGxlLm9yZwB4\r\n";
    let submission = [&login[..], input, b"\r\n"].concat();
    fuzz::smtp::with_place(async |place| {
        place.inbound(&inbound).await.expect("the session comes to its end");
        place.submission(&submission).await.expect("the session comes to its end");
    });
});
