//! What becomes of mail for elsewhere.

use crate::house::{House, eventually};
use crate::peer::Peer;
use mail_parser::MessageParser;
use wire::mta::{Way, What};

const HELLO: &str = "From: ann@example.org\r\nSubject: to be returned\r\n\r\nsecret text";

#[tokio::test]
async fn a_refused_recipient_is_reported_and_the_other_gets_the_mail() {
    let house = House::start().await;
    let peer = Peer::start(house.remote_port).await;
    let mut user = house.user().await;
    user.mail("ann@example.org", &["refused@example.net", "joe@example.net"], HELLO).await;
    peer.message_for("joe@example.net").await;
    let report = house.message_for("ann@example.org").await;
    let parsed = MessageParser::default().parse(report.as_bytes()).unwrap();
    assert_eq!(parsed.content_type().unwrap().attribute("report-type"), Some("delivery-status"));
    assert_eq!(parsed.from().unwrap().first().unwrap().address(), Some("postmaster@example.org"));
    for line in [
        "X-Mailstead-Verdict: accept",
        "Final-Recipient: rfc822; refused@example.net\r\nAction: failed\r\nStatus: 5.1.1\r\n",
        "Remote-MTA: dns; mx.example.net\r\n",
        "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n",
        "Subject: to be returned\r\n",
        "Reporting-MTA: dns; box.example.org\r\n",
    ] {
        assert!(report.contains(line), "{line} is not in {report}");
    }
    assert!(!report.contains("secret text"));
    assert_eq!(house.messages_for("ann@example.org").len(), 1);
    let told = house.told(&["ann@example.org", "could not be delivered"], What::Stored).await;
    assert_eq!((told.arrival.way, told.arrival.sender), (Way::Own, None));
}

#[tokio::test]
async fn mail_that_is_put_off_again_and_again_is_reported_in_the_end() {
    let house = House::start().await;
    let peer = Peer::start(house.remote_port).await;
    let mut user = house.user().await;
    user.mail("ann@example.org", &["later@example.net"], HELLO).await;
    let report = house.message_for("ann@example.org").await;
    assert!(report.contains("Status: 5.2.1\r\n") && report.contains("450 4.2.1 not now"), "{report}");
    let heard = peer.heard.lock().unwrap();
    assert!(heard.iter().filter(|command| command.starts_with("RCPT")).count() >= 3, "{heard:?}");
}

#[tokio::test]
async fn a_domain_that_takes_no_mail_or_does_not_exist_is_reported_at_once() {
    let house = House::start().await;
    let mut user = house.user().await;
    user.mail("ann@example.org", &["a@nomail.example", "b@missing.example"], HELLO).await;
    eventually(|| house.messages_for("ann@example.org").len() == 2).await;
    let reports = house.messages_for("ann@example.org").join("\n");
    assert!(reports.contains("Status: 5.1.10\r\n") && reports.contains("Status: 5.1.2\r\n"), "{reports}");
}

#[tokio::test]
async fn a_report_that_cannot_be_delivered_is_not_reported_in_turn() {
    let house = House::start().await;
    let peer = Peer::start(house.remote_port).await;
    let mut user = house.user().await;
    user.mail("", &["refused@example.net"], HELLO).await;
    eventually(|| peer.heard.lock().unwrap().iter().any(|command| command.starts_with("RCPT"))).await;
    house.await_empty_queue().await;
    assert!(house.mail.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_server_whose_tls_is_broken_gets_its_mail_without() {
    let house = House::start().await;
    let peer = Peer::start(house.remote_port).await;
    let mut user = house.user().await;
    user.mail("ann@example.org", &["joe@example.net"], HELLO).await;
    peer.message_for("joe@example.net").await;
    let heard = peer.heard.lock().unwrap().join("\n");
    let commands: Vec<_> = heard.lines().map(|line| line.split(['=', ' ']).next().unwrap_or_default()).collect();
    assert_eq!(commands[..6], ["EHLO", "STARTTLS", "EHLO", "MAIL", "RCPT", "DATA"], "{heard}");
}

#[tokio::test]
async fn mail_travels_in_tls_where_it_is_offered_even_if_nobody_vouches_for_the_certificate() {
    let house = House::start().await;
    let peer = Peer::with_tls(&house).await;
    let mut user = house.user().await;
    user.mail("ann@example.org", &["joe@example.net"], HELLO).await;
    peer.message_for("joe@example.net").await;
    let heard = peer.heard.lock().unwrap().join("\n");
    let commands: Vec<_> = heard.lines().map(|line| line.split(['=', ' ']).next().unwrap_or_default()).collect();
    assert_eq!(commands[..4], ["EHLO", "STARTTLS", "EHLO", "MAIL"], "{heard}");
}

#[tokio::test]
async fn a_domain_that_asks_is_told_the_next_day_how_tls_went() {
    let clock = mta::Clock::default();
    let house = House::start_by(crate::house::quick(), clock.clone()).await;
    let peer = Peer::with_tls(&house).await;
    let mut user = house.user().await;
    user.mail("ann@example.org", &["joe@reported.example", "joe@example.net"], HELLO).await;
    peer.message_for("joe@reported.example").await;
    // The results are written behind.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    clock.turn(86_400 + 4 * 3_600);
    let mail = peer.message_for("tls@reported.example").await;
    assert!(mail.contains("From: \"Mail reports\" <postmaster@example.org>\r\n"), "{mail}");
    assert!(mail.contains("DKIM-Signature:") && mail.contains("TLS-Report-Domain: reported.example"), "{mail}");
    let Ok(reports::Report::Tls(report)) = reports::read(mail.as_bytes()) else { panic!("{mail}") };
    assert_eq!(report.totals(), (1, 0));
    assert_eq!(report.policies[0].policy.policy_type, "no-policy-found");
}
