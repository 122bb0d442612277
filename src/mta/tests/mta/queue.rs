//! The queue over days, with a clock that is turned on, and in its owner's hands.

use crate::house::{House, eventually};
use crate::peer::Peer;
use mta::{Clock, Schedule};
use std::time::Duration;
use wire::Client;
use wire::mta::{ChangeQueue, QueueChange, QueueShow, Trace, What, Which};

const HELLO: &str = "From: ann@example.org\r\nSubject: patience\r\n\r\nsecret text";
const HOUR: u64 = 3_600;

/// Turns the clock on in steps, as days that pass; the queue looks after each.
async fn pass(house: &House, clock: &Clock, hours: u64) {
    for _ in 0..hours {
        clock.turn(HOUR);
        // Anything that changes wakes the runner, which sleeps by the clock on the wall.
        change(house, Which::Ids(vec![]), QueueChange::Hold).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

async fn change(house: &House, which: Which, change: QueueChange) -> Vec<String> {
    Client::new(house.paths.clone()).ask(&ChangeQueue { which, change }).await.unwrap()
}

#[tokio::test]
async fn who_is_put_off_for_days_is_told_after_four_hours_and_in_the_end_and_not_else() {
    let clock = Clock::default();
    let house = House::start_by(Schedule::default(), clock.clone()).await;
    let peer = Peer::start(house.remote_port).await;
    house.user().await.mail("ann@example.org", &["later@example.net"], HELLO).await;
    eventually(|| peer.heard.lock().unwrap().iter().any(|command| command.starts_with("RCPT"))).await;
    pass(&house, &clock, 3).await;
    assert_eq!(house.messages_for("ann@example.org").len(), 0);
    pass(&house, &clock, 9).await;
    let delayed = house.message_for("ann@example.org").await;
    assert!(delayed.contains("Subject: Your message is not delivered yet"), "{delayed}");
    assert!(delayed.contains("Action: delayed\r\nStatus: 4.2.1\r\n"), "{delayed}");
    assert!(delayed.contains("Will-Retry-Until: "), "{delayed}");
    pass(&house, &clock, 5 * 24).await;
    eventually(|| house.messages_for("ann@example.org").len() >= 2).await;
    house.await_empty_queue().await;
    let all = house.messages_for("ann@example.org");
    assert_eq!(all.len(), 2);
    assert!(all[1].contains("Action: failed\r\nStatus: 5.2.1\r\n"), "{}", all[1]);
    let tries = peer.heard.lock().unwrap().iter().filter(|command| command.starts_with("RCPT")).count();
    assert!((20..60).contains(&tries), "{tries} tries in five days");
}

/// What the history says of a message, once it has come to `last`: only what changed its fate.
async fn told(house: &House, id: &str, last: What) -> Vec<What> {
    let ask = Trace { words: vec![id.to_owned()], since: None, until: None, limit: 5 };
    for _ in 0..500 {
        let found = Client::new(house.paths.clone()).ask(&ask).await.unwrap();
        let steps: Vec<What> = found.iter().flat_map(|it| &it.steps).map(|step| step.what).collect();
        if steps.contains(&last) {
            return steps.into_iter().filter(|what| !matches!(what, What::Noted | What::Queued)).collect();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the history of {id} has no {last:?}");
}

#[tokio::test]
async fn the_owner_holds_a_message_looks_at_it_lets_it_go_and_takes_another_out() {
    let house = House::start_by(Schedule::default(), Clock::default()).await;
    let mut user = house.user().await;
    // Nobody listens there yet.
    user.mail("ann@example.org", &["joe@example.net"], HELLO).await;
    user.mail("ann@example.org", &["jim@example.com"], HELLO).await;
    let tried = async || house.queue().await.iter().filter(|it| it.tries > 0).count();
    while tried().await < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let held = change(&house, Which::To("joe@example.net".into()), QueueChange::Hold).await;
    assert_eq!(held.len(), 1);
    let client = Client::new(house.paths.clone());
    let (shown, message) = client.ask_with_body(&QueueShow { id: held[0].clone() }, &[]).await.unwrap();
    assert!(shown.held && shown.recipients[0].last.is_some(), "{shown:?}");
    assert!(String::from_utf8_lossy(&message).contains("Subject: patience"));
    assert_eq!(change(&house, Which::To("example.com".into()), QueueChange::Remove).await.len(), 1);
    let peer = Peer::start(house.remote_port).await;
    change(&house, Which::All, QueueChange::Retry).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((peer.transactions(), house.queue().await.len()), (0, 1));
    change(&house, Which::Ids(held.clone()), QueueChange::Release).await;
    change(&house, Which::All, QueueChange::Retry).await;
    peer.message_for("joe@example.net").await;
    house.await_empty_queue().await;
    assert!(house.messages_for("ann@example.org").is_empty());
    assert_eq!(told(&house, &held[0], What::Sent).await, [What::PutOff, What::Held, What::Released, What::Sent]);
}

#[tokio::test]
async fn a_queue_of_the_first_release_is_taken_over() {
    let house = House::empty().await;
    let old = house.paths.queue().join("old-1");
    std::fs::create_dir_all(&old).unwrap();
    std::fs::write(old.join("message"), "Subject: old\r\n\r\nhi\r\n").unwrap();
    let envelope = r#"{"id":"old-1","sender":"ann@example.org","queued":1,"bytes":20,"eight_bit":false,"judged":false,
        "recipients":[{"address":"bob@example.org","local":true,"state":"waiting","tries":1,"next_try":1,"last":"x"}]}"#;
    std::fs::write(old.join("envelope.json"), envelope).unwrap();
    house.run_by(Schedule::default(), Clock::default()).await;
    assert!(house.message_for("bob@example.org").await.contains("Subject: old"));
    assert!(!old.exists());
}
