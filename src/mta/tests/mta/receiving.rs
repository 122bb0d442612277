//! What is remembered of strangers and of the box's own accounts, and what the history tells of a session.

use crate::house::{Client, House, address, eventually, quick};
use base::Domain;
use mta::{Clock, LookupAnswer, Lookups, Tuning};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use wire::mta::{LiftBrake, Queue, Sending, Trace, Traced, What};

/// No client has a name.
#[derive(Debug)]
struct Nameless;

impl Lookups for Nameless {
    fn names_of(&self, _: IpAddr) -> LookupAnswer<'_, Domain> {
        Box::pin(std::future::ready(Some(Vec::new())))
    }
    fn addresses_of<'a>(&'a self, _: &'a Domain, _: IpAddr) -> LookupAnswer<'a, IpAddr> {
        Box::pin(std::future::ready(Some(Vec::new())))
    }
    fn codes_at<'a>(&'a self, _: &'a str) -> LookupAnswer<'a, Ipv4Addr> {
        Box::pin(std::future::ready(Some(Vec::new())))
    }
}

async fn house(tuning: Tuning) -> House {
    let house = House::empty().await;
    house.run(quick(), tuning).await;
    house
}

async fn traced(house: &House, word: &str) -> Vec<Traced> {
    let client = wire::Client::new(house.paths.clone());
    // The history is written a moment later.
    for _ in 0..200 {
        let ask = Trace { words: vec![word.to_owned()], since: None, until: None, limit: 100 };
        let found = client.ask(&ask).await.unwrap();
        if found.iter().any(|it| !it.steps.is_empty()) {
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("nothing is known of {word}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_our_users_does_not_wait_though_its_server_looks_odd() {
    let house = house(Tuning { judge_loopback: true, lookups: Arc::new(Nameless), ..Tuning::default() }).await;
    let mut stranger = house.connect().await.hello().await;
    let text = "Subject: hi\r\n\r\nhi";
    assert!(stranger.mail("joe@example.net", &["ann@example.org"], text).await.starts_with("451 4.7.1"));
    let mut user = house.user().await;
    user.mail("ann@example.org", &["joe@example.net"], "From: ann@example.org\r\n\r\nhello").await;
    assert!(stranger.mail("joe@example.net", &["ann@example.org"], text).await.starts_with("250"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_box_that_comes_by_its_own_public_address_is_no_stranger() {
    let house = House::empty().await;
    std::fs::create_dir_all(house.paths.host_facts().parent().unwrap()).unwrap();
    let facts = r#"{"ipv4": "127.0.0.1", "ipv6": null, "bind": [], "ssh_host_keys": []}"#;
    std::fs::write(house.paths.host_facts(), facts).unwrap();
    house.run(quick(), Tuning { judge_loopback: true, lookups: Arc::new(Nameless), ..Tuning::default() }).await;
    let mut client = house.connect().await.hello().await;
    let reply = client.mail("joe@example.net", &["ann@example.org"], "Subject: hi\r\n\r\nhi").await;
    assert!(reply.starts_with("250"), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_of_a_known_domain_does_not_wait_when_it_is_really_from_there() {
    let house = house(Tuning { judge_loopback: true, lookups: Arc::new(Nameless), ..Tuning::default() }).await;
    let mut user = house.user().await;
    user.mail("ann@example.org", &["joe@example.net"], "From: ann@example.org\r\n\r\nhello").await;
    let mut stranger = house.connect().await.hello().await;
    let text = "From: news@example.net\r\nSubject: hi\r\n\r\nhi";
    assert!(stranger.mail("news@example.net", &["ann@example.org"], text).await.starts_with("451 4.7.1"));
    let signed = text.replace("hi", "AUTHENTIC");
    assert!(stranger.mail("news@example.net", &["ann@example.org"], &signed).await.starts_with("250"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_and_a_delivery_are_told_with_all_that_is_known() {
    let house = House::start().await;
    let mut client = house.connect().await.hello().await;
    client.expect("MAIL FROM:<joe@example.net>", "250").await;
    client.expect("RCPT TO:<nobody@example.org>", "550").await;
    client.expect("RSET", "250").await;
    client.mail("jim@example.net", &["ann@example.org"], "Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n\r\nhi").await;
    client.mail("kim@example.net", &["ann@example.org"], "Subject: SPAM-REFUSE\r\n\r\nhi").await;
    let refused = traced(&house, "nobody@example.org").await.remove(0);
    assert_eq!(
        (refused.arrival.helo.as_deref(), refused.arrival.sender),
        (Some("client.example.net"), Some(address("joe@example.net")))
    );
    let step = &refused.steps[0];
    assert_eq!((step.what, step.code, step.enhanced.as_deref()), (What::Refused, Some(550), Some("5.1.1")));
    let stored = traced(&house, "jim@example.net").await.remove(0);
    assert_eq!(stored.arrival.subject.as_deref(), Some("gr\u{fc}\u{df}e"));
    assert!(stored.arrival.judged.unwrap().authentication.unwrap().contains("spf=none"));
    assert!(stored.steps.iter().any(|step| step.what == What::Stored));
    let spam = traced(&house, "kim@example.net").await.remove(0);
    assert_eq!(spam.steps[0].what, What::Refused);
    assert_eq!(spam.arrival.judged.unwrap().action, "refuse");
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_for_later_and_mail_that_can_be_taken_back_waits() {
    let clock = Clock::default();
    let house = house(Tuning { clock: clock.clone(), ..Tuning::default() }).await;
    let mut user = house.user().await;
    user.expect("MAIL FROM:<ann@example.org> HOLDFOR=3600", "250").await;
    user.expect("RCPT TO:<bob@example.org>", "250").await;
    user.expect("DATA", "354").await;
    user.send("From: ann@example.org\r\nSubject: later\r\n\r\nhi\r\n.\r\n").await;
    assert!(user.reply().await.starts_with("250"));
    let waiting = wire::Client::new(house.paths.clone()).ask(&Queue {}).await.unwrap();
    assert!((3_500..=3_600).contains(&(waiting[0].next_try - waiting[0].queued)), "{waiting:?}");
    assert!(house.messages_for("bob@example.org").is_empty());
    // bob's mail is kept back for two seconds.
    let mut bob = Client::to(house.port + 1).await.hello().await.starttls(&house).await;
    bob.expect("AUTH PLAIN AGJvYkBleGFtcGxlLm9yZwBzZWNyZXQ=", "235").await;
    let begun = std::time::Instant::now();
    bob.mail("bob@example.org", &["ann@example.org"], "From: bob@example.org\r\nSubject: undo\r\n\r\nhi").await;
    house.message_for("ann@example.org").await;
    assert!(begun.elapsed() >= std::time::Duration::from_secs(1));
    clock.turn(3_700);
    // The queue looks again within a minute, or when something comes.
    bob.mail("bob@example.org", &["ann@example.org"], "From: bob@example.org\r\n\r\nhi").await;
    house.message_for("bob@example.org").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_braked_account_is_told_once_and_sends_again_when_it_is_lifted() {
    let house = house(Tuning { messages_per_hour: 1, ..Tuning::default() }).await;
    let client = wire::Client::new(house.paths.clone());
    let mut bob = Client::to(house.port + 1).await.hello().await.starttls(&house).await;
    bob.expect("AUTH PLAIN AGJvYkBleGFtcGxlLm9yZwBzZWNyZXQ=", "235").await;
    let text = "From: bob@example.org\r\nUser-Agent: secret\r\n\r\nhi";
    assert!(bob.mail("bob@example.org", &["ann@example.org"], text).await.starts_with("250"));
    assert!(!house.message_for("ann@example.org").await.contains("secret"));
    for _ in 0..3 {
        bob.expect("MAIL FROM:<bob@example.org>", "250").await;
        bob.expect("RCPT TO:<joe@example.net>", "250").await;
        bob.expect("DATA", "450 4.7.1 more than 1 messages within an hour").await;
        bob.expect("RSET", "250").await;
    }
    let letter = |to: &str| house.messages_for(to).iter().filter(|it| it.contains("is kept from sending mail")).count();
    // The account, and the owner of the box.
    eventually(|| letter("bob@example.org") == 1 && letter("ann@example.org") == 1).await;
    let listed = client.ask(&Sending {}).await.unwrap();
    assert!(listed.iter().any(|it| it.account == address("bob@example.org") && it.brake.is_some()), "{listed:?}");
    assert!(client.ask(&LiftBrake { account: address("bob@example.org") }).await.unwrap());
    assert!(bob.mail("bob@example.org", &["ann@example.org"], text).await.starts_with("250"));
    assert_eq!((letter("bob@example.org"), letter("ann@example.org")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_messages_are_taken_or_refused_by_rule() {
    let house = House::start().await;
    let mut client = house.connect().await.hello().await;
    let many = "X-Line: y\r\n".repeat(100_000) + "\r\n";
    let folded = format!("Subject: x\r\n{}\r\n", " folded\r\n".repeat(60_000));
    let broken = "Subject no colon\r\n: empty name\r\n\r\nbody";
    let deep = (0..5_000)
        .map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n"))
        .collect::<String>();
    for (text, code) in [(many.as_str(), "552 5.3.4"), (&folded, "552 5.3.4"), (broken, "250"), (&deep, "250")] {
        let reply = client.mail("", &["ann@example.org"], text).await;
        assert!(reply.starts_with(code), "{reply}");
    }
}
