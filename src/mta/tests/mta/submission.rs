//! The box's own users on 587 and 465.

use crate::house::{Client, House, address};
use crate::peer::Peer;
use base::Role;

const HELLO: &str = "From: Ann <ann@example.org>\r\nBcc: x@example.net\r\nSubject: hello\r\n\r\nhi";

#[tokio::test]
async fn nothing_is_sent_without_tls_and_a_login() {
    let house = House::start().await;
    let mut client = Client::to(house.port + 1).await.hello().await;
    client.expect("MAIL FROM:<ann@example.org>", "530 5.7.0").await;
    client.expect("AUTH PLAIN AGFubkBleGFtcGxlLm9yZwBzZWNyZXQ=", "538").await;
    let mut client = client.starttls(&house).await;
    client.expect("MAIL FROM:<ann@example.org>", "530 5.7.0").await;
    client.expect("AUTH CRAM-MD5", "504").await;
    client.expect("AUTH PLAIN AG1hbnlAZXhhbXBsZS5vcmcAeA==", "454 4.7.0").await;
    client.expect("AUTH LOGIN", "334 VXNlcm5hbWU6").await;
    client.expect("*", "501").await;
    client.expect("AUTH PLAIN AGFubkBleGFtcGxlLm9yZwB3cm9uZw==", "535 5.7.8").await;
    client.expect("AUTH LOGIN", "334").await;
    client.expect("YW5uQGV4YW1wbGUub3Jn", "334 UGFzc3dvcmQ6").await;
    client.expect("c2VjcmV0", "235").await;
    client.expect("MAIL FROM:<ann+shop@example.org>", "250").await;
}

#[tokio::test]
async fn nobody_sends_in_the_name_of_another() {
    let house = House::start().await;
    let mut user = house.user().await;
    user.expect("MAIL FROM:<bob@example.org>", "553 5.7.1").await;
    for head in [
        "From: bob@example.org",
        "From: ann@example.org, bob@example.org",
        "From: ann@example.org\r\nSender: bob@example.org",
        "From: ann@example.org\r\nFrom: bob@example.org",
        "Subject: nobody",
    ] {
        let reply = user.mail("ann@example.org", &["bob@example.org"], &format!("{head}\r\n\r\nhi")).await;
        assert!(reply.starts_with("550 5.7.1"), "{head}: {reply}");
    }
    let away = "From: ann@example.org\r\nSubject: FILTER-AWAY\r\n\r\n";
    assert!(user.mail("ann@example.org", &["bob@example.org"], away).await.starts_with("451"));
}

#[tokio::test]
async fn a_users_mail_is_completed_signed_and_brought_to_mailboxes_and_other_servers() {
    let house = House::start().await;
    let peer = Peer::start(house.remote_port).await;
    // TLS from the first byte.
    let mut user = Client::silent(house.port + 2).await.secure(&house).await;
    assert!(user.reply().await.starts_with("220"));
    let mut user = user.hello().await;
    user.expect("AUTH PLAIN AGFubkBleGFtcGxlLm9yZwBzZWNyZXQ=", "235").await;
    user.expect("MAIL FROM:<ann@example.org>", "250").await;
    user.expect("RCPT TO:<nobody@example.org>", "550 5.1.1").await;
    user.expect("RSET", "250").await;
    let to = ["bob@example.org", "joe@example.net", "jim@example.net", "kim@other.example"];
    let reply = user.mail("ann@example.org", &to, HELLO).await;
    assert!(reply.starts_with("250 2.0.0 queued as"), "{reply}");
    let here = house.message_for("bob@example.org").await;
    let there = peer.message_for("joe@example.net").await;
    peer.message_for("kim@other.example").await;
    assert_eq!(peer.transactions(), 2, "one per domain");
    assert!(here.starts_with("X-Mailstead-Verdict: accept; score=0.0\r\nReceived: "), "{here}");
    assert!(there.starts_with("Received: by box.example.org (Mailstead) with ESMTPSA id "), "{there}");
    assert!(there.contains("\r\nDKIM-Signature: v=1; d=example.org\r\n"), "{there}");
    assert!(there.contains("\r\nDate: ") && there.contains("\r\nMessage-ID: <"), "{there}");
    assert!(!there.contains("127.0.0.1") && !there.contains("Bcc") && !there.contains("client.example"), "{there}");
    assert!(there.ends_with("\r\n\r\nhi\r\n"), "{there}");
}

#[tokio::test]
async fn the_boxs_own_mail_is_signed_and_delivered_and_the_queue_can_be_looked_at() {
    let house = House::start().await;
    let client = wire::Client::new(house.paths.clone());
    let body = b"From: ann@example.org\nTo: bob@example.org\nDate: x\nSubject: report\n\nall well\n";
    let send = wire::mta::Send { from: address("ann@example.org"), to: address("bob@example.org") };
    client.ask_with_body(&send, body).await.unwrap();
    let message = house.message_for("bob@example.org").await;
    assert!(message.contains("DKIM-Signature: v=1; d=example.org\r\n") && message.ends_with("\r\n\r\nall well\r\n"));
    // Nobody listens at the peer's port, so this waits.
    let send = wire::mta::Send { from: address("ann@example.org"), to: address("joe@example.net") };
    client.ask_with_body(&send, body).await.unwrap();
    let waiting = loop {
        let waiting = client.ask(&wire::mta::Queue {}).await.unwrap();
        match waiting.first() {
            Some(one) if one.tries > 0 => break waiting,
            _ => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    };
    assert_eq!(waiting[0].recipient, address("joe@example.net"));
    assert!(waiting[0].last.as_ref().unwrap().contains("mx.example.net [127.0.0.1]"), "{waiting:?}");
    assert!(house.paths.socket(Role::Mta, "mta").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_redirects_mail_as_it_is_but_for_a_trace() {
    let house = House::start().await;
    let client = wire::Client::new(house.paths.clone());
    let body = b"Delivered-To: ann@example.org\r\nX-Mailstead-Verdict: accept; score=1.0\r\nFrom: eve@example.net\r\n\
        Subject: hi\r\n\r\nall well\r\n";
    let send = |to: &str, what| wire::mta::SendAs { account: address("ann@example.org"), to: vec![address(to)], what };
    let redirect = wire::mta::Automatic::Redirect { is_report: false };
    client.ask_with_body(&send("bob@example.org", redirect), body).await.unwrap();
    let message = house.message_for("bob@example.org").await;
    assert!(message.contains("\r\nReceived: by box.example.org (Mailstead) with LMTP id "), "{message}");
    let rest = "Delivered-To: ann@example.org\r\nFrom: eve@example.net\r\nSubject: hi\r\n\r\nall well\r\n";
    assert!(message.ends_with(rest) && !message.contains("score=1.0") && !message.contains("DKIM"), "{message}");
    // Nobody listens at the peer's port, so these wait: one will be reported to the account, the other to nobody.
    client.ask_with_body(&send("joe@example.net", redirect), body).await.unwrap();
    let report = wire::mta::Automatic::Redirect { is_report: true };
    client.ask_with_body(&send("moe@example.net", report), body).await.unwrap();
    let waiting = client.ask(&wire::mta::Queue {}).await.unwrap();
    let sender = |to: &str| waiting.iter().find(|one| one.recipient == address(to)).unwrap().sender.clone();
    assert_eq!(sender("joe@example.net"), Some(address("ann@example.org")));
    assert_eq!(sender("moe@example.net"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_answers_in_its_owners_name_alone() {
    let house = House::start().await;
    let client = wire::Client::new(house.paths.clone());
    let what = wire::mta::Automatic::Answer;
    let send = wire::mta::SendAs { account: address("ann@example.org"), to: vec![address("bob@example.org")], what };
    let forged = b"From: bob@example.org\r\nSubject: x\r\n\r\nx\r\n";
    assert!(client.ask_with_body(&send, forged).await.unwrap_err().to_string().contains("may not send as"));
    let own = b"From: ann+tag@example.org\r\nTo: bob@example.org\r\nAuto-Submitted: auto-replied\r\n\r\nx\r\n";
    client.ask_with_body(&send, own).await.unwrap();
    let message = house.message_for("bob@example.org").await;
    assert!(
        message.contains("DKIM-Signature: v=1; d=example.org\r\n") && message.contains("Auto-Submitted"),
        "{message}"
    );
    let nobody = wire::mta::SendAs { to: Vec::new(), ..send };
    assert!(client.ask_with_body(&nobody, own).await.is_err());
}
