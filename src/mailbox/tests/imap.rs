//! What a mail client sees, as transcripts over TLS.

mod common;

use common::{Imap, Lmtp, PASSWORD, running};

const MULTIPART: &str = "From: Eve <eve@example.net>\r\nTo: ann@example.org\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\
Date: Sat, 21 Nov 2026 08:00:00 +0100\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nHello Ann\r\n--b\r\n\
Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>sch=C3=B6n</p>\r\n--b--\r\n";

fn has(lines: &[String], text: &str) -> bool {
    lines.iter().any(|line| line.contains(text))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_denied_and_too_many_end_the_session() {
    let running = running().await;
    let mut imap = Imap::connect(&running).await;
    assert!(imap.command("SELECT INBOX").await[0].starts_with("BAD log in first"));
    assert!(imap.command("LOGIN ann@example.org wrong").await[0].starts_with("NO [AUTHENTICATIONFAILED]"));
    assert!(imap.command("LOGIN throttled@example.org x").await[0].contains("60 seconds"));
    assert!(imap.command("LOGIN ann@example.org wrong").await[0].starts_with("NO"));
    imap.send("x LOGIN ann@example.org wrong\r\n").await;
    assert!(imap.rest().await.contains("* BYE too many wrong passwords"));

    let mut imap = Imap::connect(&running).await;
    // base64 of NUL ann@example.org NUL correct horse
    imap.send("p AUTHENTICATE PLAIN\r\n").await;
    assert_eq!(imap.line().await, "+ ");
    imap.send("AGFubkBleGFtcGxlLm9yZwBjb3JyZWN0IGhvcnNl\r\n").await;
    let welcome = imap.reply("p").await;
    assert!(welcome[0].contains("CONDSTORE") && !welcome[0].contains("AUTH="), "{welcome:?}");
    assert!(imap.command(&format!("LOGIN a \"{PASSWORD}\"")).await[0].starts_with("BAD"));
    let bye = imap.ok("LOGOUT").await;
    assert!(bye[0].starts_with("* BYE"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folders_of_a_new_account_say_what_they_are_for() {
    let running = running().await;
    let mut imap = Imap::login(&running, "ann@example.org").await;
    let list = imap.ok("LIST \"\" *").await;
    assert!(list.contains(&"* LIST (\\HasNoChildren \\Junk) \"/\" Junk".to_owned()), "{list:#?}");
    assert_eq!(list.len(), 7);
    imap.ok("CREATE Work/2026/").await;
    imap.ok("CREATE \"Entw&APw-rfe\"").await;
    assert!(imap.command("CREATE Work").await[0].starts_with("NO [ALREADYEXISTS]"));
    assert!(has(&imap.ok("LIST \"\" %").await, "* LIST (\\HasChildren) \"/\" Work"));
    assert!(has(&imap.ok("LIST \"\" \"Entw*\"").await, "Entw&APw-rfe"));
    imap.ok("SUBSCRIBE Work/2026").await;
    assert!(has(&imap.ok("LSUB \"\" %").await, "* LSUB (\\Noselect) \"/\" Work"));
    let extended = imap.ok("LIST (SUBSCRIBED) \"\" * RETURN (CHILDREN SPECIAL-USE STATUS (MESSAGES))").await;
    assert!(has(&extended, "\\Subscribed) \"/\" Work/2026") && has(&extended, "* STATUS Trash (MESSAGES 0)"));
    imap.ok("RENAME Work Play").await;
    imap.ok("STATUS Play/2026 (UIDVALIDITY UIDNEXT UNSEEN)").await;
    imap.ok("DELETE Play").await;
    assert!(has(&imap.ok("LIST \"\" Play").await, "\\NonExistent"));
    assert!(imap.command("SELECT Play").await[0].starts_with("NO [NONEXISTENT]"));
    assert!(imap.command("DELETE INBOX").await[0].starts_with("NO [CANNOT]"));
    assert!(imap.command("CREATE a//b").await[0].starts_with("NO [CANNOT]"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_can_be_fetched_whole_and_in_parts_byte_for_byte() {
    let running = running().await;
    let mut imap = Imap::login(&running, "ann@example.org").await;
    assert!(imap.append("INBOX", MULTIPART).await[0].contains("[APPENDUID"));
    let select = imap.ok("SELECT inbox").await;
    assert!(has(&select, "* 1 EXISTS") && has(&select, "* 1 RECENT") && has(&select, "[UNSEEN 1]"), "{select:#?}");
    let whole = imap.ok("FETCH 1 (UID RFC822.SIZE BODY.PEEK[])").await;
    assert!(whole[0].contains(&format!("RFC822.SIZE {} BODY[] {{{}}}", MULTIPART.len(), MULTIPART.len())));
    assert_eq!(format!("{}\r\n", whole[1..whole.len() - 2].join("\r\n")), MULTIPART);
    let part = imap.ok("UID FETCH 1:* BODY[2]<0.5>").await;
    assert_eq!(part[0], "* 1 FETCH (UID 1 BODY[2]<0> {5}");
    assert_eq!(part[1], "<p>sc FLAGS (\\Seen \\Recent))");
    let envelope = imap.ok("FETCH 1 (ENVELOPE BODYSTRUCTURE)").await;
    assert!(envelope[0].contains(r#""=?utf-8?q?Gr=C3=BC=C3=9Fe?=" (("Eve" NIL "eve" "example.net"))"#), "{envelope:?}");
    assert!(
        envelope[0].contains(r#"("text" "html" ("charset" "utf-8") NIL NIL "quoted-printable" 17 0 NIL NIL NIL NIL)"#)
    );
    let header = imap.ok("FETCH 1 BODY[HEADER.FIELDS (date X-None)]").await;
    assert_eq!(header[1], "Date: Sat, 21 Nov 2026 08:00:00 +0100");
    assert!(imap.command("FETCH 2 FLAGS").await[0].starts_with("BAD"));
    assert!(imap.command("UID FETCH 99 FLAGS").await[0].starts_with("OK"));
    assert!(imap.command("FETCH 1 BODY[").await[0].starts_with("BAD expected"));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_found_by_what_their_reader_sees() {
    let running = running().await;
    let mut imap = Imap::login(&running, "ann@example.org").await;
    imap.append("INBOX (\\Flagged $Work) \"01-Feb-2020 12:00:00 +0000\"", MULTIPART).await;
    imap.append("INBOX (\\Seen)", "Subject: plain\r\nX-Note: abc\r\n\r\nsmall\r\n").await;
    imap.ok("SELECT INBOX").await;
    for (keys, found) in [
        ("ALL", " 1 2"),
        ("CHARSET UTF-8 SUBJECT {8+}\r\ngr\u{fc}\u{df}e!", ""),
        ("CHARSET UTF-8 SUBJECT {7+}\r\ngr\u{fc}\u{df}e", " 1"),
        ("BODY {6+}\r\nsch\u{f6}n", " 1"),
        ("TEXT eve@example.net", " 1"),
        ("UNSEEN", " 1"),
        ("KEYWORD $work", " 1"),
        ("SENTON 21-Nov-2026 BEFORE 2-Feb-2020", " 1"),
        ("OR FLAGGED SEEN NOT LARGER 100", " 2"),
        ("HEADER X-Note \"\"", " 2"),
        ("UID 2:* 1:2", " 2"),
        ("NOT (FROM eve SINCE 1-Jan-2020)", " 2"),
        ("ON 1-Feb-2020", " 1"),
        ("RECENT DELETED", ""),
    ] {
        let lines = imap.ok(&format!("SEARCH {keys}")).await;
        assert_eq!(lines[0], format!("* SEARCH{found}"), "{keys}");
    }
    let lines = imap.ok("UID SEARCH RETURN (MIN MAX COUNT ALL) ALL").await;
    assert!(lines[0].ends_with("UID MIN 1 MAX 2 COUNT 2 ALL 1:2"), "{lines:?}");
    assert!(imap.command("SEARCH FROB").await[0].contains("FROB"));
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_copies_moves_and_removals_do_what_they_say() {
    let running = running().await;
    let mut imap = Imap::login(&running, "ann@example.org").await;
    for subject in ["one", "two", "three"] {
        imap.append("INBOX", &format!("Subject: {subject}\r\n\r\n{subject}\r\n")).await;
    }
    imap.ok("SELECT INBOX").await;
    let stored = imap.ok("STORE 1,3 +FLAGS (\\Seen $Later)").await;
    assert_eq!(stored[1], "* 3 FETCH (FLAGS (\\Seen \\Recent $Later))");
    assert_eq!(imap.ok("STORE 2 FLAGS.SILENT \\Answered").await.len(), 1);
    let copied = imap.ok("COPY 1:2 Archive").await;
    assert!(copied[0].contains(" 1:2 1:2]"), "{copied:?}");
    assert!(imap.command("COPY 1 Nowhere").await[0].starts_with("NO [TRYCREATE]"));
    let moved = imap.ok("UID MOVE 2 Trash").await;
    assert!(moved[0].contains("COPYUID") && moved[1] == "* 2 EXPUNGE", "{moved:?}");
    imap.ok("STORE 1:2 +FLAGS.SILENT (\\Deleted)").await;
    assert_eq!(imap.ok("UID EXPUNGE 3").await[0], "* 2 EXPUNGE");
    imap.ok("CLOSE").await;
    let status = imap.ok("STATUS INBOX (MESSAGES)").await;
    assert_eq!(status[0], "* STATUS INBOX (MESSAGES 0)");
    imap.ok("EXAMINE Archive").await;
    assert!(imap.command("STORE 1 +FLAGS (\\Deleted)").await[0].starts_with("NO [READ-ONLY]"));
    let fetched = imap.ok("FETCH 1 (FLAGS BODY[TEXT])").await;
    assert!(fetched[0].contains("FLAGS (\\Seen \\Recent $Later)"), "{fetched:?}");
    assert_eq!(fetched[1], "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_based_on_old_knowledge_is_refused_when_the_client_asks_so() {
    let running = running().await;
    let mut imap = Imap::login(&running, "ann@example.org").await;
    imap.append("INBOX", "Subject: x\r\n\r\nx\r\n").await;
    imap.ok("SELECT INBOX (CONDSTORE)").await;
    let fetched = imap.ok("FETCH 1 (MODSEQ)").await;
    let modseq: u64 = fetched[0].split(['(', ')']).nth(2).unwrap().parse().unwrap();
    let stored = imap.ok(&format!("STORE 1 (UNCHANGEDSINCE {modseq}) +FLAGS (\\Seen)")).await;
    assert!(stored[0].contains("MODSEQ"));
    let stale = imap.ok(&format!("STORE 1 (UNCHANGEDSINCE {modseq}) +FLAGS (\\Deleted)")).await;
    assert!(stale[0].contains("[MODIFIED 1]"), "{stale:?}");
    assert_eq!(imap.ok(&format!("FETCH 1:* (FLAGS) (CHANGEDSINCE {modseq})")).await.len(), 2);
    assert_eq!(imap.ok(&format!("FETCH 1:* (FLAGS) (CHANGEDSINCE {})", modseq + 1)).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idling_client_hears_at_once_of_new_mail_flags_and_removals() {
    let running = running().await;
    let mut idle = Imap::login(&running, "ann@example.org").await;
    let mut other = Imap::login(&running, "ann@example.org").await;
    idle.ok("SELECT INBOX").await;
    other.ok("SELECT INBOX").await;
    idle.send("i IDLE\r\n").await;
    assert_eq!(idle.line().await, "+ idling");
    let mut lmtp = Lmtp::connect(&running.paths).await.unwrap();
    assert!(lmtp.deliver(&["ann@example.org"], "Subject: x\r\n\r\nx").await.unwrap()[0].starts_with("250"));
    assert_eq!(idle.line().await, "* 1 EXISTS");
    assert!(idle.line().await.ends_with("RECENT"));
    assert!(has(&other.ok("NOOP").await, "* 1 EXISTS"));
    other.ok("STORE 1 +FLAGS (\\Deleted)").await;
    assert!(idle.line().await.contains("FLAGS (\\Deleted"));
    other.ok("EXPUNGE").await;
    assert_eq!(idle.line().await, "* 1 EXPUNGE");
    idle.send("DONE\r\n").await;
    assert_eq!(idle.reply("i").await, ["OK done"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn message_numbers_do_not_shift_under_a_fetch_while_another_session_expunges() {
    let running = running().await;
    let mut one = Imap::login(&running, "ann@example.org").await;
    let mut two = Imap::login(&running, "ann@example.org").await;
    for subject in ["one", "two"] {
        one.append("INBOX", &format!("Subject: {subject}\r\n\r\n{subject}\r\n")).await;
    }
    one.ok("SELECT INBOX").await;
    two.ok("SELECT INBOX").await;
    two.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    two.ok("EXPUNGE").await;
    let fetched = one.ok("FETCH 1:2 (UID BODY.PEEK[TEXT])").await;
    assert!(!has(&fetched, "EXPUNGE".to_owned().as_str()) || fetched.last().unwrap().contains("EXPUNGEISSUED"));
    assert!(has(&fetched, "* 2 FETCH (UID 2") && fetched.last().unwrap().contains("[EXPUNGEISSUED]"), "{fetched:?}");
    assert_eq!(one.ok("NOOP").await[0], "* 1 EXPUNGE");
    assert!(has(&one.ok("FETCH 1 (UID)").await, "UID 2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_or_malformed_is_refused_before_it_is_read() {
    let running = running().await;
    let mut imap = Imap::connect(&running).await;
    assert!(imap.command("APPEND INBOX {100000}").await[0].starts_with("BAD the literal is larger"));
    imap.ok(&format!("LOGIN {{15}}\r\nann@example.org \"{PASSWORD}\"")).await;
    assert!(imap.command("APPEND INBOX {99999999999}").await[0].starts_with("NO [TOOBIG]"));
    imap.send("no-tag-here\r\n* x\r\n").await;
    assert!(imap.line().await.starts_with("no-tag-here BAD"));
    assert!(imap.line().await.starts_with("* BAD"));
    imap.send("x APPEND INBOX {99999999999+}\r\n").await;
    assert!(imap.rest().await.contains("* BYE the literal is larger"));

    let mut imap = Imap::connect(&running).await;
    imap.send(&"x".repeat(70_000)).await;
    assert!(imap.rest().await.contains("* BYE the line is too long"));
}

/// # Shows: AUTH=SCRAM-SHA-256, AUTH=SCRAM-SHA-256-PLUS
#[tokio::test(flavor = "multi_thread")]
async fn an_app_password_logs_in_by_scram_with_and_without_channel_binding() {
    use common::scram::APP_PASSWORD;
    let running = running().await;
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"] {
        let mut imap = Imap::connect(&running).await;
        let offered = imap.ok("CAPABILITY").await;
        assert!(has(&offered, &format!("AUTH={mechanism} ")), "{offered:?}");
        let refused = imap.scram(mechanism, "ann@example.org", "another password").await;
        assert!(refused.starts_with("s NO [AUTHENTICATIONFAILED]"), "{refused}");
        let welcome = imap.scram(mechanism, "ann@example.org", APP_PASSWORD).await;
        assert!(welcome.starts_with("s OK [CAPABILITY "), "{welcome}");
        imap.ok("SELECT INBOX").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn imap_codec_understands_what_this_server_answers() {
    use imap_codec::ResponseCodec;
    use imap_codec::decode::Decoder;
    let running = running().await;
    let mut imap = Imap::login(&running, "ann@example.org").await;
    imap.append("INBOX (\\Flagged $Work)", MULTIPART).await;
    imap.append("INBOX", "Subject: \"quoted\" \\ and \u{fc}\r\nFrom: group: a@b.c, \"D\" <d@e.f>;\r\n\r\nx\r\n").await;
    let commands = [
        "CAPABILITY",
        "NOOP",
        "LIST \"\" *",
        "LSUB \"\" *",
        "CREATE \"a b&APw-\"",
        "LIST \"\" a*",
        "STATUS INBOX (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN)",
        "SELECT INBOX",
        "FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE)",
        "FETCH 1:* (BODY.PEEK[] BODY.PEEK[1] BODY.PEEK[HEADER.FIELDS (Subject)] BODY.PEEK[TEXT]<0.1>)",
        "SEARCH ALL",
        "SEARCH DELETED",
        "STORE 1 +FLAGS (\\Deleted)",
        "COPY 1 Trash",
        "GETQUOTAROOT INBOX",
        "EXPUNGE",
        "ENABLE CONDSTORE",
        "CLOSE",
        "SELECT Nowhere",
        "FROB",
    ];
    for command in commands {
        let lines = imap.command(command).await;
        let mut raw = lines[..lines.len() - 1].join("\r\n");
        if lines.len() > 1 {
            raw.push_str("\r\n");
        }
        raw.push_str(&format!("tag {}\r\n", lines[lines.len() - 1]));
        let mut rest = raw.as_bytes();
        while !rest.is_empty() {
            match ResponseCodec::default().decode(rest) {
                Ok((after, _)) => rest = after,
                Err(why) => panic!("{command}: {why:?} at {}", String::from_utf8_lossy(rest)),
            }
        }
    }
}
