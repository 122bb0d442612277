//! Deliveries, the control door, and what the filter is told.

mod common;

use common::{FakeFilter, Imap, Lmtp, address, running};
use std::collections::HashSet;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use wire::mailbox::{AccountUsage, Retire, TakeSnapshot};

#[tokio::test(flavor = "multi_thread")]
async fn mail_is_delivered_to_each_recipient_with_a_reply_of_its_own() {
    let running = running().await;
    let mut lmtp = Lmtp::connect(&running.paths).await.unwrap();
    assert!(lmtp.command("RCPT TO:<ann@example.org>").await.unwrap().starts_with("503"));
    let to = ["Ann+shop@example.org", "nobody@example.org", "both@example.org"];
    let replies = lmtp.deliver(&to, "Subject: x\r\n\r\n..dots\r\nend").await.unwrap();
    assert!(replies[0].starts_with("250") && replies[1].starts_with("550 5.1.1") && replies[2].starts_with("250"));
    for user in ["ann@example.org", "bob@example.org"] {
        let mut imap = Imap::login(&running, user).await;
        assert!(imap.ok("SELECT INBOX").await.contains(&"* 1 EXISTS".to_owned()));
        let lines = imap.ok("FETCH 1 BODY[]").await;
        assert_eq!(lines[1..3], ["Return-Path: <eve@example.net>".to_owned(), format!("Delivered-To: {user}")]);
        assert_eq!(lines[3..7], ["Subject: x", "", ".dots", "end"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_that_leads_to_other_servers_too_is_delivered_to_its_accounts() {
    let running = running().await;
    let mut lmtp = Lmtp::connect(&running.paths).await.unwrap();
    let to = ["Mixed+x@example.org", "out@example.org"];
    let replies = lmtp.deliver(&to, "Subject: x\r\n\r\nhi").await.unwrap();
    assert!(replies[0].starts_with("250") && replies[1].starts_with("550 5.1.1"), "{replies:?}");
    let mut imap = Imap::login(&running, "bob@example.org").await;
    assert!(imap.ok("SELECT INBOX").await.contains(&"* 1 EXISTS".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn junk_goes_to_junk_and_moving_it_teaches_the_filter() {
    let running = running().await;
    let filter = Arc::new(FakeFilter::default());
    let (paths, service) = (running.paths.clone(), Arc::clone(&filter));
    tokio::spawn(async move { wire::serve(&paths, service).await.unwrap() });
    let mut lmtp = Lmtp::connect(&running.paths).await.unwrap();
    let junk = "X-Mailstead-Verdict: junk; score=7.1\r\nSubject: buy\r\n\r\nbuy";
    assert!(lmtp.deliver(&["ann@example.org"], junk).await.unwrap()[0].ends_with("in Junk"));
    let good = "X-Mailstead-Verdict: accept; score=0.3\r\nX-Mailstead-Verdict: junk\r\nSubject: hi\r\n\r\nhi";
    assert!(lmtp.deliver(&["ann@example.org"], good).await.unwrap()[0].ends_with("in INBOX"));

    let mut imap = Imap::login(&running, "ann@example.org").await;
    imap.ok("SELECT Junk").await;
    imap.ok("COPY 1 Trash").await;
    imap.ok("MOVE 1 INBOX").await;
    imap.ok("SELECT INBOX").await;
    imap.ok("MOVE 1 Junk").await;
    for _ in 0..200 {
        if filter.learned.lock().unwrap().len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let learned = filter.learned.lock().unwrap();
    let told: Vec<bool> = learned.iter().map(|(spam, _)| *spam).collect();
    assert_eq!(told, [false, true]);
    assert!(String::from_utf8_lossy(&learned[0].1).contains("Subject: buy"));
    assert!(String::from_utf8_lossy(&learned[1].1).contains("Subject: hi"));
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_snapshot_and_retirement_are_had_at_the_door() {
    let running = running().await;
    let client = wire::Client::new(running.paths.clone());
    let mut lmtp = Lmtp::connect(&running.paths).await.unwrap();
    lmtp.deliver(&["ann@example.org"], "Subject: x\r\n\r\nx").await.unwrap();
    let usage = client.ask(&AccountUsage {}).await.unwrap();
    assert_eq!((usage[0].messages, usage[1].messages), (1, 0));
    assert!(usage[0].bytes > 0);
    let ann = address("ann@example.org");
    let snapshot = client.ask(&TakeSnapshot { account: ann.clone() }).await.unwrap();
    assert!(snapshot.file.ends_with("example.org/ann/index.db.snapshot") && snapshot.file.exists());

    let mut imap = Imap::login(&running, "ann@example.org").await;
    imap.ok("SELECT INBOX").await;
    client.ask(&Retire { account: ann.clone() }).await.unwrap();
    assert!(imap.rest().await.contains("* BYE this account was removed"));
    let retired: Vec<_> = std::fs::read_dir(running.paths.mail().join(".retired/example.org")).unwrap().collect();
    assert_eq!(retired.len(), 1);
    let mut imap = Imap::login(&running, "ann@example.org").await;
    assert!(imap.ok("SELECT INBOX").await.contains(&"* 0 EXISTS".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_put_off_while_the_directory_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let paths = common::furnish(dir.path(), common::base_port());
    let own = paths.clone();
    tokio::spawn(async move { mailbox::run(own).await.unwrap() });
    let mut lmtp = loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if let Ok(lmtp) = Lmtp::connect(&paths).await {
            break lmtp;
        }
    };
    let replies = lmtp.deliver(&["ann@example.org"], "Subject: x\r\n\r\nx").await.unwrap();
    assert!(replies[0].starts_with("451"), "{replies:?}");
}

/// Not a test of its own: the process that the next one kills.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by a_kill_while_mail_arrives_moves_and_is_flagged_loses_nothing_that_was_acknowledged"]
async fn child_that_serves_until_killed() {
    let dir = std::env::var("MAILSTEAD_TEST_DIR").unwrap();
    common::start(&base::Paths::under(dir));
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_mail_arrives_moves_and_is_flagged_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let port = common::base_port();
    let paths = common::furnish(dir.path(), port);
    let labelled = Arc::new(std::sync::Mutex::new(HashSet::new()));
    let acknowledged = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut seen_uids = HashSet::new();
    for round in 0..4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "child_that_serves_until_killed"])
            .env("MAILSTEAD_TEST_DIR", dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        common::until_ready(&paths).await;
        let senders: Vec<_> = (0..5)
            .map(|sender| {
                let (paths, acknowledged) = (paths.clone(), Arc::clone(&acknowledged));
                tokio::spawn(async move {
                    let Ok(mut lmtp) = Lmtp::connect(&paths).await else { return };
                    for count in 0.. {
                        let id = format!("<{round}.{sender}.{count}@test>");
                        let message = format!("Message-ID: {id}\r\nSubject: x\r\n\r\n{}", "text\r\n".repeat(500));
                        match lmtp.deliver(&["ann@example.org"], &message).await {
                            Ok(replies) if replies[0].starts_with("250") => acknowledged.lock().unwrap().push(id),
                            _ => return,
                        }
                    }
                })
            })
            .collect();
        let reader = tokio::spawn(work_over_imap(paths.clone(), port + 3, Arc::clone(&labelled)));
        tokio::time::sleep(Duration::from_millis(500 + 170 * round)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        for sender in senders {
            sender.await.unwrap();
        }
        reader.await.unwrap();
        check_after_kill(&paths, &acknowledged.lock().unwrap(), &labelled.lock().unwrap(), &mut seen_uids);
    }
    assert!(acknowledged.lock().unwrap().len() > 20);
    assert!(labelled.lock().unwrap().len() > 5);
}

/// Flags, moves, copies and removes what arrives, until the server is gone. Notes which messages were given a keyword,
/// and told so.
async fn work_over_imap(paths: base::Paths, port: u16, labelled: Arc<std::sync::Mutex<HashSet<String>>>) {
    let Some(mut imap) = Imap::until_gone(&paths, port).await else { return };
    loop {
        let work = async {
            imap.try_command("SELECT INBOX").await?;
            imap.try_command("STORE * +FLAGS (\\Seen Blue)").await?;
            imap.try_command("MOVE * Archive").await?;
            imap.try_command("STORE * +FLAGS (\\Flagged)").await?;
            imap.try_command("SELECT Archive").await?;
            label_and_move_on(&mut imap, &labelled).await?;
            imap.try_command("APPEND Trash {3+}\r\nx:y").await?;
            imap.try_command("SELECT Trash").await?;
            imap.try_command("STORE 1:* +FLAGS (\\Deleted)").await?;
            imap.try_command("EXPUNGE").await
        };
        if work.await.is_none() {
            return;
        }
    }
}

/// Labels the last message, which nobody else touches, and moves it on.
async fn label_and_move_on(imap: &mut Imap, labelled: &std::sync::Mutex<HashSet<String>>) -> Option<()> {
    let lines = imap.try_command("FETCH * (UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])").await?;
    let id = lines.iter().find_map(|line| line.strip_prefix("Message-ID: ")).map(str::to_owned);
    let lines = imap.try_command("STORE * +FLAGS (Green)").await?;
    if let Some(id) = id.filter(|_| lines.last().is_some_and(|line| line.starts_with("OK"))) {
        labelled.lock().unwrap().insert(id);
    }
    imap.try_command("MOVE * Sent").await.map(|_| ())
}

/// Every acknowledged message is there, once; no UID that was ever seen belongs to another message now; what was told to
/// have a keyword has it.
fn check_after_kill(
    paths: &base::Paths,
    acknowledged: &[String],
    labelled: &HashSet<String>,
    seen: &mut HashSet<(u32, u32, String)>,
) {
    let account = store::Account::open(&paths.account(&address("ann@example.org"))).unwrap();
    assert_eq!(account.fsck(false).unwrap(), []);
    let mut kept: HashSet<String> = HashSet::new();
    for folder in account.folders().unwrap() {
        let validity = folder.validity.0;
        let rows: Vec<_> = account.select(folder.id, false).unwrap().image.rows().cloned().collect();
        for (row, parsed) in rows.iter().zip(account.parsed(folder.id, &rows).unwrap()) {
            let Some(id) = parsed.unwrap().envelope.message_id.clone() else { continue };
            let id = String::from_utf8(id).unwrap();
            assert!(kept.insert(id.clone()), "{id} is there twice");
            let before = seen.iter().find(|(other, uid, _)| (*other, *uid) == (validity, row.uid.0));
            assert!(before.is_none_or(|(_, _, other)| *other == id), "UID {} was handed out twice", row.uid.0);
            assert!(!labelled.contains(&id) || row.keywords.contains("Green"), "{id} has lost its keyword");
            seen.insert((validity, row.uid.0, id));
        }
    }
    assert_eq!(account.fsck(false).unwrap(), []);
    let lost: Vec<_> = acknowledged.iter().filter(|id| !kept.contains(*id)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
}
