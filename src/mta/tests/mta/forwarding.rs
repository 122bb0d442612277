//! Aliases that lead to other servers, and the way back.

use crate::house::{House, address, eventually};
use crate::peer::Peer;

const HELLO: &str = "From: joe@example.net\r\nSubject: hello\r\n\r\nhi";

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_passes_mail_on_sealed_with_a_sender_of_ours_and_keeps_a_copy_here() {
    let house = House::start().await;
    let peer = Peer::start(house.remote_port).await;
    let mut client = house.connect().await.hello().await;
    let reply = client.mail("joe@example.net", &["Both+tag@example.org"], HELLO).await;
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(house.messages_for("Both+tag@example.org").len(), 1, "it is stored before the 250");
    let message = peer.message_for("friend@example.net").await;
    assert!(
        message.starts_with("ARC-Seal: i=1; d=example.org; was=0\r\nDelivered-To: both@example.org\r\nReceived: "),
        "{message}"
    );
    assert!(
        message.contains("\r\nAuthentication-Results: box.example.org") && message.ends_with("\r\nhi\r\n"),
        "{message}"
    );
    assert!(!message.contains("X-Mailstead-"), "{message}");
    let sender = peer.sender_for("friend@example.net");
    assert!(sender.starts_with("SRS0=") && sender.ends_with("=example.net=joe@example.org"), "{sender}");
    assert!(!house.messages_for("Both+tag@example.org")[0].contains("Delivered-To"), "the copy here is as it came");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounce_of_forwarded_mail_goes_back_to_its_writer_and_a_forged_one_nowhere() {
    let house = House::start().await;
    let peer = Peer::start(house.remote_port).await;
    let mut client = house.connect().await.hello().await;
    client.mail("joe@first.example", &["out@example.org"], HELLO).await;
    peer.message_for("friend@example.net").await;
    let rewritten = peer.sender_for("friend@example.net");
    let bounce = "From: mailer-daemon@example.net\r\nSubject: returned\r\n\r\nno such user";
    assert!(client.mail("", &[&rewritten], bounce).await.starts_with("250"));
    let returned = peer.message_for("joe@first.example").await;
    assert!(returned.contains("Subject: returned"), "{returned}");
    assert_eq!(peer.sender_for("joe@first.example"), "");
    client.expect("MAIL FROM:<>", "250").await;
    let forged = rewritten.replace("joe", "jim");
    client
        .expect(&format!("RCPT TO:<{forged}>"), "550 5.1.1 this forwarding address was not made by this server")
        .await;
    client.expect("RCPT TO:<SRS0=x@example.org>", "550 5.1.1 this is not a whole").await;
    client.expect("RCPT TO:<SRS0=aaaa=AA=example.net=joe@elsewhere.example>", "550 5.7.1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_on_forwarded_mail_that_is_refused_reaches_its_writer() {
    let house = House::start().await;
    let peer = Peer::start(house.remote_port).await;
    let mut client = house.connect().await.hello().await;
    client.mail("joe@first.example", &["out@example.org"], HELLO).await;
    peer.message_for("friend@example.net").await;
    let rewritten = peer.sender_for("friend@example.net");
    // Sent once more under that sender, as a script would, to somebody who is refused there.
    let send = wire::mta::SendAs {
        account: address("ann@example.org"),
        to: vec![address("refused@example.net")],
        what: wire::mta::Automatic::Redirect { is_report: false },
    };
    let body = "Return-Path: <eve@second.example>\r\nFrom: eve@second.example\r\nSubject: hi\r\n\r\nall well\r\n";
    wire::Client::new(house.paths.clone()).ask_with_body(&send, body.as_bytes()).await.unwrap();
    let report = peer.message_for("eve@second.example").await;
    assert!(report.contains("Final-Recipient: rfc822; refused@example.net"), "{report}");
    let heard = peer.heard.lock().unwrap().join("\n");
    assert!(heard.contains("=second.example=eve@example.org>"), "a script's redirect is rewritten too: {heard}");
    assert_ne!(rewritten, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn junk_is_not_passed_on() {
    let house = House::start().await;
    let peer = Peer::start(house.remote_port).await;
    let mut client = house.connect().await.hello().await;
    let junk = "Subject: SPAM-JUNK\r\n\r\nbuy";
    let reply = client.mail("joe@example.net", &["out@example.org"], junk).await;
    assert!(reply.starts_with("550 5.7.1 this looks like spam"), "{reply}");
    let reply = client.mail("joe@example.net", &["ann@example.org", "out@example.org"], junk).await;
    assert!(reply.starts_with("550 5.7.1"), "{reply}");
    assert!(house.messages_for("ann@example.org").is_empty());
    assert!(client.mail("joe@example.net", &["both@example.org"], junk).await.starts_with("250"));
    assert_eq!(house.messages_for("both@example.org").len(), 1);
    client.mail("joe@example.net", &["out@example.org"], HELLO).await;
    peer.message_for("friend@example.net").await;
    assert_eq!(peer.transactions(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_of_forwarders_is_stopped() {
    let house = House::start().await;
    let peer = Peer::start(house.remote_port).await;
    let mut client = house.connect().await.hello().await;
    client.mail("joe@example.net", &["out@example.org"], HELLO).await;
    let passed_on = peer.message_for("friend@example.net").await;
    let again = client.mail("joe@example.net", &["out@example.org"], passed_on.trim_end()).await;
    assert!(again.starts_with("554 5.4.6 this message has been at out@example.org before"), "{again}");
    let other = client.mail("joe@example.net", &["both@example.org"], passed_on.trim_end()).await;
    assert!(other.starts_with("250"), "another alias may follow: {other}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_mailbox_or_the_filter_cannot_take_is_not_passed_on_either() {
    let house = House::start().await;
    let peer = Peer::start(house.remote_port).await;
    let mut client = house.connect().await.hello().await;
    let away = "From: joe@example.net\r\nSubject: SEAL-AWAY\r\n\r\nhi";
    assert!(client.mail("joe@example.net", &["both@example.org"], away).await.starts_with("451 4.3.2"));
    assert!(house.messages_for("both@example.org").is_empty(), "nothing is stored when it is not all accepted");
    let full = client.mail("joe@example.net", &["full@example.org", "out@example.org"], HELLO).await;
    assert!(full.starts_with("552 5.2.2"), "{full}");
    assert!(client.mail("joe@example.net", &["ann@example.org", "out@example.org"], HELLO).await.starts_with("250"));
    peer.message_for("friend@example.net").await;
    assert_eq!((peer.transactions(), house.messages_for("ann@example.org").len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_takes_mail_from_whom_its_owner_named() {
    let house = House::start().await;
    let peer = Peer::start(house.remote_port).await;
    let mut client = house.connect().await.hello().await;
    client.expect("MAIL FROM:<eve@example.net>", "250").await;
    client.expect("RCPT TO:<staff@example.org>", "550 5.7.2 staff@example.org takes no mail from you").await;
    client.expect("RCPT TO:<press@example.org>", "550 5.7.2").await;
    client.expect("RSET", "250").await;
    let unproved = client.mail("joe@example.net", &["press@example.org"], HELLO).await;
    assert!(unproved.starts_with("550 5.7.2 press@example.org takes mail from a few only"), "{unproved}");
    let shown = "From: joe@example.net\r\nSubject: AUTHENTIC\r\n\r\nhi";
    assert!(client.mail("joe@example.net", &["press@example.org"], shown).await.starts_with("250"));
    peer.message_for("friend@example.net").await;
    let mut user = house.user().await;
    let own = "From: ann@example.org\r\nSubject: to all\r\n\r\nhi";
    assert!(user.mail("ann@example.org", &["staff@example.org"], own).await.starts_with("250"));
    house.message_for("staff@example.org").await;
    eventually(|| peer.transactions() == 2).await;
    assert_eq!(peer.sender_for("friend@example.net").split('=').next(), Some("SRS0"));
    let heard = peer.heard.lock().unwrap().join("\n");
    assert!(heard.contains("MAIL FROM:<ann@example.org>"), "a sender of ours fits as it is: {heard}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_takes_mail_for_those_that_the_primary_knows_and_brings_it_there() {
    let house = House::start().await;
    let mut client = house.connect().await.hello().await;
    client.expect("MAIL FROM:<joe@example.net>", "250").await;
    client.expect("RCPT TO:<amy@friend.example>", "450 4.4.1 mx.friend.example is away").await;
    let peer = Peer::start(house.remote_port).await;
    client.expect("RCPT TO:<refused@friend.example>", "550 5.1.1").await;
    client.expect("RCPT TO:<later@friend.example>", "450 4.4.1").await;
    client.expect("RCPT TO:<amy@friend.example>", "250").await;
    client.expect("DATA", "354").await;
    assert!(client.ask(&format!("{HELLO}\r\n.")).await.starts_with("250"));
    let message = peer.message_for("amy@friend.example").await;
    assert!(message.starts_with("Received: from client.example.net") && !message.contains("X-Mailstead"), "{message}");
    let heard = peer.heard.lock().unwrap().join("\n");
    assert!(heard.contains("MAIL FROM:<>") && heard.contains("MAIL FROM:<joe@example.net>"), "{heard}");
    let known = std::fs::read_to_string(house.paths.queue().join(".backup/known.json")).unwrap();
    assert!(known.contains("amy@friend.example") && !known.contains("refused"), "{known}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_primary_is_away_only_those_are_taken_that_it_has_named_lately() {
    let house = House::empty().await;
    let now = base::time::now_unix();
    let folder = house.paths.queue().join(".backup");
    std::fs::create_dir_all(&folder).unwrap();
    let known = format!("{{\"amy@friend.example\":{},\"old@friend.example\":{}}}", now - 86_400, now - 40 * 86_400);
    std::fs::write(folder.join("known.json"), known).unwrap();
    house.run_by(crate::house::quick(), mta::Clock::default()).await;
    let mut client = house.connect().await.hello().await;
    client.expect("MAIL FROM:<joe@example.net>", "250").await;
    client.expect("RCPT TO:<amy@friend.example>", "250").await;
    client.expect("RCPT TO:<old@friend.example>", "450 4.4.1").await;
    client.expect("RCPT TO:<zoe@friend.example>", "450 4.4.1").await;
}
