//! Scripts at delivery: what they store, send and refuse, through LMTP and the MTA's door.

mod common;

use common::{Imap, Lmtp, Running, address, running};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wire::mta::Automatic;
use wire::{Answer, Kind, Refusal, Serve};

/// What the MTA was asked to send.
#[derive(Default)]
struct FakeMta {
    sent: Mutex<Vec<(wire::mta::SendAs, String)>>,
    refuse: Mutex<Option<Kind>>,
}

impl Serve for FakeMta {
    type Request = wire::mta::Request;

    async fn answer(&self, _: base::Role, request: Self::Request, body: Vec<u8>) -> Result<Answer, Refusal> {
        if let Some(kind) = *self.refuse.lock().unwrap() {
            return Err(Refusal::new(kind, "not so"));
        }
        match request {
            wire::mta::Request::SendAs(ask) => {
                self.sent.lock().unwrap().push((ask.clone(), String::from_utf8(body).unwrap()));
                ask.answer(())
            }
            other => Err(Refusal::new(Kind::Invalid, wire::server::Request::name(&other))),
        }
    }
}

struct House {
    running: Running,
    mta: Arc<FakeMta>,
}

async fn house(script: &str) -> House {
    let running = running().await;
    let mta = Arc::new(FakeMta::default());
    let (paths, service) = (running.paths.clone(), Arc::clone(&mta));
    tokio::spawn(async move { wire::serve(&paths, service).await.unwrap() });
    for _ in 0..500 {
        if tokio::net::UnixStream::connect(running.paths.socket(base::Role::Mta, "mta")).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let dir = running.paths.account(&address("ann@example.org")).join("sieve");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("main.sieve"), script).unwrap();
    std::fs::write(dir.join("active"), "main\n").unwrap();
    House { running, mta }
}

const MAIL: &str =
    "From: Eve <eve@example.net>\r\nTo: ann@example.org\r\nSubject: Hello\r\nMessage-ID: <1@example.net>\r\n\r\nHi\r\n";

impl House {
    async fn deliver(&self, message: &str) -> String {
        let mut lmtp = Lmtp::connect(&self.running.paths).await.unwrap();
        lmtp.deliver(&["ann+shop@example.org"], message).await.unwrap().remove(0)
    }

    /// The messages of a folder.
    async fn mail(&self, folder: &str) -> Vec<String> {
        let mut imap = Imap::login(&self.running, "ann@example.org").await;
        if imap.command(&format!("EXAMINE {folder}")).await.last().unwrap().starts_with("NO") {
            return Vec::new();
        }
        let lines = imap.ok("UID FETCH 1:* (FLAGS BODY.PEEK[])").await;
        let text = lines[..lines.len() - 1].join("\n");
        text.split("* ").filter(|part| part.contains("FETCH")).map(str::to_owned).collect()
    }

    fn sent(&self) -> Vec<(wire::mta::SendAs, String)> {
        self.mta.sent.lock().unwrap().clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_files_mail_into_a_new_folder_with_flags() {
    let house = house("require [\"fileinto\", \"mailbox\", \"imap4flags\", \"copy\"];\r\nfileinto :copy :create :flags [\"\\\\Flagged\", \"$Label1\"] \"Lists/Rust\";").await;
    let reply = house.deliver(MAIL).await;
    assert!(reply.starts_with("250 ") && reply.contains("Lists/Rust") && reply.contains("INBOX"), "{reply}");
    let filed = house.mail("Lists/Rust").await;
    assert!(filed.len() == 1 && filed[0].contains("\\Flagged") && filed[0].contains("$Label1"), "{filed:?}");
    assert!(filed[0].contains("Return-Path: <eve@example.net>\nDelivered-To: ann@example.org\n"));
    let mut imap = Imap::login(&house.running, "ann@example.org").await;
    let subscribed = imap.ok("LSUB \"\" *").await;
    assert!(subscribed.iter().any(|line| line.contains("Lists/Rust")), "{subscribed:?}");
    assert_eq!(house.mail("INBOX").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn junk_goes_to_junk_before_any_script() {
    let house = house("require \"vacation\";\r\nvacation \"away\";\r\nredirect \"x@example.com\";").await;
    let reply = house.deliver(&format!("X-Mailstead-Verdict: junk; score=9\r\n{MAIL}")).await;
    assert!(reply.ends_with("in Junk"), "{reply}");
    assert!(house.sent().is_empty());
    let mut imap = Imap::login(&house.running, "ann@example.org").await;
    imap.ok("DELETE Junk").await;
    let reply = house.deliver(&format!("X-Mailstead-Verdict: junk; score=9\r\n{MAIL}")).await;
    assert!(reply.ends_with("in INBOX") && house.sent().is_empty(), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_is_redirected_before_it_is_acknowledged_and_marked_against_loops() {
    let house = house("redirect \"ann@example.com\";").await;
    assert!(house.deliver(MAIL).await.starts_with("250 "));
    let (request, body) = house.sent().remove(0);
    assert_eq!(request.account, address("ann@example.org"));
    assert_eq!(request.to, [address("ann@example.com")]);
    assert_eq!(request.what, Automatic::Redirect { is_report: false });
    assert!(body.starts_with("Delivered-To: ann@example.org\r\nFrom: Eve"), "{body}");
    assert!(house.mail("INBOX").await.is_empty());
    let reply = house.deliver(&body).await;
    assert!(reply.ends_with("in INBOX"), "{reply}");
    assert_eq!(house.sent().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_that_cannot_be_sent_now_puts_the_delivery_off_and_a_wrong_one_keeps_the_mail() {
    let house = house("redirect \"ann@example.com\";").await;
    *house.mta.refuse.lock().unwrap() = Some(Kind::Busy);
    assert!(house.deliver(MAIL).await.starts_with("451 "));
    assert!(house.mail("INBOX").await.is_empty());
    *house.mta.refuse.lock().unwrap() = Some(Kind::Invalid);
    assert!(house.deliver(MAIL).await.starts_with("250 "));
    let inbox = house.mail("INBOX").await;
    assert!(inbox.len() == 2 && inbox[1].contains("Subject: Your Sieve script failed"), "{inbox:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vacation_notice_goes_out_once_to_each_sender() {
    let house = house("require \"vacation\";\r\nvacation :subject \"Away\" \"Back in May.\";").await;
    assert!(house.deliver(MAIL).await.starts_with("250 "));
    assert!(house.deliver(MAIL).await.starts_with("250 "));
    let sent = house.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].0.to.clone(), sent[0].0.what), (vec![address("eve@example.net")], Automatic::Answer));
    assert!(sent[0].1.contains("Subject: Away\r\n") && sent[0].1.contains("Back in May."), "{}", sent[0].1);
    assert_eq!(house.mail("INBOX").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_message_is_answered_with_the_owners_words() {
    let house = house("require \"ereject\";\r\nereject \"No more\r\nof this.\";").await;
    assert_eq!(house.deliver(MAIL).await, "550 5.7.1 No more of this.");
    assert!(house.mail("INBOX").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_fails_leaves_the_mail_in_the_inbox_and_the_owner_is_told_once_a_day() {
    let house = house("require [\"fileinto\", \"ihave\"];\r\n\r\nif true { fileinto \"Nowhere\"; }").await;
    for _ in 0..3 {
        assert!(house.deliver(MAIL).await.starts_with("250 "));
    }
    let inbox = house.mail("INBOX").await;
    let complaints: Vec<_> = inbox.iter().filter(|mail| mail.contains("Your Sieve script failed")).collect();
    assert_eq!((inbox.len(), complaints.len()), (4, 1));
    assert!(complaints[0].contains("there is no folder “Nowhere”") && complaints[0].contains("“Hello”"), "{inbox:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_file_that_is_no_sieve_is_told_with_its_line() {
    let house = house("keep;\r\nthis is no sieve\r\n").await;
    assert!(house.deliver(MAIL).await.starts_with("250 "));
    let inbox = house.mail("INBOX").await;
    assert!(inbox.len() == 2 && inbox[1].contains("line 2"), "{inbox:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_size_that_was_announced_too_small_is_noticed() {
    let house = house("keep;").await;
    let mut lmtp = Lmtp::connect(&house.running.paths).await.unwrap();
    assert!(lmtp.command("MAIL FROM:<eve@example.net> SIZE=99999999").await.unwrap().starts_with("552"));
    assert!(lmtp.command("MAIL FROM:<eve@example.net> SIZE=10").await.unwrap().starts_with("250"));
    assert!(lmtp.command("RCPT TO:<ann@example.org>").await.unwrap().starts_with("250"));
    assert!(lmtp.command("DATA").await.unwrap().starts_with("354"));
    let text = "0123456789\r\n".repeat(10_000);
    lmtp.send(&format!("{text}.\r\n")).await.unwrap();
    assert!(lmtp.reply().await.unwrap().starts_with("552 5.3.4"));
}

/// Not a test of its own: the process that the next one kills.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by a_kill_loses_nothing_that_a_script_filed_and_passed_on"]
async fn child_that_serves_until_killed() {
    common::start(&base::Paths::under(std::env::var("MAILSTEAD_TEST_DIR").unwrap()));
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_nothing_that_a_script_filed_and_passed_on() {
    let dir = tempfile::tempdir().unwrap();
    let paths = common::furnish(dir.path(), common::base_port());
    let mta = Arc::new(FakeMta::default());
    let (own, service) = (paths.clone(), Arc::clone(&mta));
    tokio::spawn(async move { wire::serve(&own, service).await.unwrap() });
    let sieve = paths.account(&address("ann@example.org")).join("sieve");
    std::fs::create_dir_all(&sieve).unwrap();
    let script = "require [\"copy\", \"fileinto\", \"duplicate\"];\r\nredirect :copy \"a@example.com\";\r\n\
        if duplicate { discard; stop; }\r\nfileinto \"Archive\";";
    std::fs::write(sieve.join("main.sieve"), script).unwrap();
    std::fs::write(sieve.join("active"), "main\n").unwrap();
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..4u64 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "child_that_serves_until_killed"])
            .env("MAILSTEAD_TEST_DIR", dir.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        common::until_ready(&paths).await;
        let own = paths.clone();
        let sender = tokio::spawn(async move {
            let mut taken = Vec::new();
            let Ok(mut lmtp) = Lmtp::connect(&own).await else { return taken };
            // Fewer in all than an account may redirect in a day.
            for count in 0..100 {
                let id = format!("<{round}.{count}@test>");
                let message = format!("Message-ID: {id}\r\nSubject: x\r\n\r\ntext");
                match lmtp.deliver(&["ann@example.org"], &message).await {
                    Ok(replies) if replies[0].starts_with("250") => taken.push(id),
                    _ => break,
                }
            }
            taken
        });
        tokio::time::sleep(Duration::from_millis(250 + 130 * round)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged.extend(sender.await.unwrap());
    }
    assert!(acknowledged.len() > 10, "only {} were taken", acknowledged.len());
    let account = store::Account::open(&paths.account(&address("ann@example.org"))).unwrap();
    let archive = account.folder(&store::FolderName::parse("Archive").unwrap()).unwrap().unwrap();
    let image = account.select(archive.id, false).unwrap().image;
    let read = |row: &store::Row| String::from_utf8(account.read(archive.id, row.uid).unwrap()).unwrap();
    let filed: Vec<String> = image.rows().map(read).collect();
    let sent: Vec<String> = mta.sent.lock().unwrap().iter().map(|(_, body)| body.clone()).collect();
    for id in &acknowledged {
        let count = |all: &[String]| all.iter().filter(|mail| mail.contains(id.as_str())).count();
        assert_eq!((count(&filed), count(&sent)), (1, 1), "{id}");
    }
}
