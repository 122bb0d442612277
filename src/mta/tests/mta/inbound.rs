//! Strangers on port 25.

use crate::house::{Client, House, eventually};
use std::sync::atomic::Ordering;

const HELLO: &str = "From: Joe <joe@example.net>\r\nSubject: hello\r\n\r\nhi\r\n..dot\r\n";

#[tokio::test]
async fn mail_for_an_account_is_in_the_mailbox_before_the_250_with_its_trace_on_top() {
    let house = House::start().await;
    let mut client = house.connect().await.hello().await;
    let reply = client.mail("joe@example.net", &["Ann+tag@example.org"], HELLO).await;
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    let message = house.messages_for("Ann+tag@example.org").remove(0);
    assert!(
        message.starts_with("Received: from client.example.net ([127.0.0.1])\r\n\tby box.example.org"),
        "{message}"
    );
    assert!(message.contains(" with ESMTP id ") && message.contains("for <Ann+tag@example.org>;"), "{message}");
    assert!(message.contains("\r\nAuthentication-Results: box.example.org; spf=none\r\n"), "{message}");
    assert!(message.contains("\r\nX-Mailstead-Verdict: accept; score=1.5\r\n"), "{message}");
    assert!(
        message.ends_with("\r\nFrom: Joe <joe@example.net>\r\nSubject: hello\r\n\r\nhi\r\n.dot\r\n\r\n"),
        "{message}"
    );
}

#[tokio::test]
async fn relaying_unknown_users_and_a_directory_that_is_away_are_told_apart() {
    let house = House::start().await;
    let mut client = house.connect().await.hello().await;
    client.expect("RCPT TO:<ann@example.org>", "503").await;
    client.expect("MAIL FROM:<joe@example.net>", "250").await;
    client.expect("RCPT TO:<joe@elsewhere.example>", "550 5.7.1").await;
    client.expect("RCPT TO:<nobody@example.org>", "550 5.1.1").await;
    client.expect("RCPT TO:<away@example.org>", "451 4.3.2").await;
    client.expect("DATA", "554").await;
    client.expect("RCPT TO:<postmaster>", "250").await;
    client.expect("VRFY ann", "252").await;
    client.expect("AUTH PLAIN", "503").await;
    client.expect("QUIT", "221").await;
}

#[tokio::test]
async fn the_filters_decision_is_the_reply() {
    let house = House::start().await;
    let mut client = house.connect().await.hello().await;
    for (word, code) in
        [("SPAM-REFUSE", "550 5.7.1 spam"), ("SPAM-DEFER", "451"), ("FILTER-AWAY", "451 4.3.2"), ("SPAM-JUNK", "250")]
    {
        let reply = client.mail("", &["ann@example.org"], &format!("Subject: {word}\r\n\r\n")).await;
        assert!(reply.starts_with(code), "{word}: {reply}");
    }
    let got = house.messages_for("ann@example.org");
    assert_eq!(got.len(), 1);
    assert!(got[0].contains("X-Mailstead-Verdict: junk; score=1.5\r\n"));
}

#[tokio::test]
async fn a_strangers_claims_in_this_boxs_name_do_not_arrive() {
    let house = House::start().await;
    let mut client = house.connect().await.hello().await;
    let forged = "X-Mailstead-Verdict: accept; score=0\r\nauthentication-results: box.example.org; dkim=pass\r\n\
        Authentication-Results: other.example; dkim=pass\r\nSubject: SPAM-JUNK\r\n\r\n";
    client.mail("joe@example.net", &["ann@example.org"], forged).await;
    let message = house.message_for("ann@example.org").await;
    assert_eq!(message.matches("X-Mailstead-Verdict").count(), 1, "{message}");
    assert!(!message.contains("box.example.org; dkim=pass") && message.contains("other.example; dkim=pass"));
}

#[tokio::test]
async fn no_smuggled_message_is_ever_taken() {
    let house = House::start().await;
    let second = "MAIL FROM:<ceo@example.net>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nSubject: smuggled\r\n\r\n.\r\n";
    for end in ["\n.\r\n", "\r.\r\n", "\n.\n", "\r\n.\n", "\r\n.\r", "\r.\r", "\n\n.\r\n", "\r\r\n.\r\n"] {
        let mut client = house.connect().await.hello().await;
        client.begin("joe@example.net", &["ann@example.org"]).await;
        client.send(format!("Subject: first\r\n\r\ntext{end}{second}\r\n.\r\nQUIT\r\n")).await;
        let heard = client.rest().await;
        assert!(heard.starts_with("554 5.6.0") && heard.lines().count() == 1, "{end:?}: {heard}");
    }
    assert!(house.mail.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_said_before_the_tls_handshake_does_not_count_after_it() {
    let house = House::start().await;
    let mut client = house.connect().await.hello().await;
    client.send("STARTTLS\r\nMAIL FROM:<injected@example.net>\r\nRCPT TO:<ann@example.org>\r\n").await;
    assert!(client.reply().await.starts_with("220"));
    let mut client = client.secure(&house).await;
    client.expect("NOOP", "250").await;
    client.expect("MAIL FROM:<joe@example.net>", "503").await;
    let mut client = client.hello().await;
    client.expect("STARTTLS", "503").await;
    client.mail("joe@example.net", &["ann@example.org"], "Subject: x\r\n\r\n").await;
    let message = house.message_for("ann@example.org").await;
    assert!(message.contains(" with ESMTPS id ") && message.contains("(using TLSv1.3 with TLS13_"), "{message}");
}

#[tokio::test]
async fn one_full_mailbox_does_not_keep_the_mail_from_the_others() {
    let house = House::start().await;
    house.slow.store(true, Ordering::Relaxed);
    let mut client = house.connect().await.hello().await;
    let text = "Subject: x\r\n\r\n";
    assert!(client.mail("", &["full@example.org"], text).await.starts_with("552 5.2.2 mailbox full"));
    assert!(client.mail("", &["slow@example.org"], text).await.starts_with("451"));
    let both = client.mail("", &["bob@example.org", "slow@example.org"], text).await;
    assert!(both.starts_with("250"), "{both}");
    assert_eq!(house.messages_for("slow@example.org").len(), 0);
    house.slow.store(false, Ordering::Relaxed);
    let late = house.message_for("slow@example.org").await;
    assert_eq!(late, house.message_for("bob@example.org").await);
    assert!(late.contains("X-Mailstead-Verdict: accept; score=1.5"));
}

#[tokio::test]
async fn pipelined_commands_are_answered_in_order() {
    let house = House::start().await;
    let mut client = house.connect().await.hello().await;
    client
        .send("MAIL FROM:<a@example.net> SIZE=10 BODY=8BITMIME\r\nRCPT TO:<ann@example.org>\r\nRCPT TO:<x@example.org>\r\nDATA\r\n")
        .await;
    for code in ["250", "250", "550", "354"] {
        assert!(client.reply().await.starts_with(code));
    }
    client.send("\r\n.\r\nQUIT\r\n").await;
    assert!(client.reply().await.starts_with("250"));
    assert!(client.reply().await.starts_with("221"));
}

#[tokio::test]
async fn limits_end_what_goes_too_far() {
    let house = House::start().await;
    let mut client = house.connect().await.hello().await;
    client.expect("MAIL FROM:<a@example.net> SIZE=999999999", "552 5.3.4").await;
    client.expect("MAIL FROM:<a@example.net> FOO=1", "555").await;
    client.send("NOOP\nNOOP\r\n").await;
    assert!(client.reply().await.starts_with("500"));
    assert!(client.reply().await.starts_with("250"));
    let loops = format!("{}\r\n", "Received: from x by y\r\n".repeat(51));
    assert!(client.mail("", &["ann@example.org"], &loops).await.starts_with("554 5.4.6"));
    client.send([b'x'; 5_000]).await;
    assert!(client.rest().await.starts_with("500 5.5.2"));
    let mut client = house.connect().await.hello().await;
    client.expect("MAIL FROM:<>", "250").await;
    let mut last = String::new();
    for n in 0..mta::limits::UNKNOWN_RECIPIENTS.min(4) {
        last = client.ask(&format!("RCPT TO:<guess{n}@example.org>")).await;
    }
    assert!(last.starts_with("550"), "{last}");
    for _ in 0..mta::limits::ERRORS {
        last = client.ask("XYZZY").await;
    }
    assert!(last.starts_with("421"), "{last}");
}

#[tokio::test]
async fn a_client_that_speaks_before_the_greeting_is_refused() {
    let house = House::start().await;
    let mut client = Client::silent(house.port).await;
    client.send("EHLO bot\r\n").await;
    assert!(client.rest().await.starts_with("554"));
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_and_the_session_goes_on() {
    let house = House::start().await;
    let mut client = house.connect().await.hello().await;
    client.begin("", &["ann@example.org"]).await;
    let line = format!("{}\r\n", "x".repeat(998)).repeat(1_000);
    for _ in 0..=mta::limits::MESSAGE / line.len() {
        client.send(&line).await;
    }
    client.send(".\r\n").await;
    assert!(client.reply().await.starts_with("552 5.3.4"));
    client.expect("NOOP", "250").await;
}

#[tokio::test]
async fn one_client_cannot_take_every_connection() {
    let house = House::start().await;
    let mut held = Vec::new();
    for _ in 0..mta::limits::CONNECTIONS_PER_NETWORK {
        held.push(house.connect().await);
    }
    let mut one_more = Client::silent(house.port).await;
    assert!(one_more.rest().await.starts_with("421 4.7.0"));
    held.clear();
    let mut tries = 0;
    eventually(|| {
        tries += 1;
        tries > 20
    })
    .await;
    house.connect().await;
}

#[tokio::test]
async fn a_report_of_another_server_is_kept_and_not_delivered_and_what_is_none_reaches_the_owner() {
    let house = House::start().await;
    let mut client = house.connect().await.hello().await;
    let to = "mailstead-reports@example.org";
    let reply = client.mail("dmarc@peer.example", &[to], "Subject: report\r\n\r\n<feedback>").await;
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    let reply = client.mail("joe@example.net", &[to], "Subject: hello\r\n\r\nhi").await;
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    // With somebody else among the recipients it is mail.
    client.mail("joe@example.net", &[to, "bob@example.org"], "Subject: both\r\n\r\n<feedback>").await;
    let got = house.messages_for(to);
    assert_eq!(got.len(), 2, "{got:?}");
    assert!(got[0].contains("Subject: hello") && got[1].contains("Subject: both"));
    assert_eq!(house.messages_for("bob@example.org").len(), 1);
    let trace = wire::mta::Trace { words: vec!["peer.example".into()], since: None, until: None, limit: 10 };
    let mut told = String::new();
    for _ in 0..200 {
        let found = wire::Client::new(house.paths.clone()).ask(&trace).await.unwrap();
        told = found.iter().flat_map(|it| &it.steps).map(|step| step.words.clone()).collect();
        if !told.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(told.contains("DMARC report: 12 messages authenticated, 3 not") && told.contains("show 7"), "{told}");
}

#[tokio::test]
async fn the_checks_own_message_ends_here_and_only_while_it_is_waited_for() {
    use wire::mta::{ExpectRoundTrip, RoundTrip};
    let house = House::start().await;
    let door = wire::Client::new(house.paths.clone());
    let mut client = house.connect().await.hello().await;
    let to = "mailstead-reports@example.org";
    let message = "Mailstead-Round-Trip: t0ken\r\nSubject: round trip\r\n\r\nhi";
    client.mail("joe@example.net", &[to], message).await;
    assert_eq!(house.messages_for(to).len(), 1, "a stranger cannot have mail vanish");
    assert_eq!(door.ask(&RoundTrip { token: "t0ken".into() }).await.unwrap(), None);

    door.ask(&ExpectRoundTrip { token: "t0ken".into() }).await.unwrap();
    let reply = client.mail("joe@example.net", &[to], message).await;
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    assert_eq!(house.messages_for(to).len(), 1, "it is kept by nobody");
    let came = door.ask(&RoundTrip { token: "t0ken".into() }).await.unwrap().unwrap();
    assert!(came.client.is_loopback() && came.judged.action == "accept", "{came:?}");
    client.mail("joe@example.net", &[to], message).await;
    assert_eq!(house.messages_for(to).len(), 2, "once");
}
