//! Connections are used again, and servers in trouble are left alone.

use super::peer::{Manners, Peer};
use super::*;

fn sender(names: Table, port: u16) -> Sender {
    Sender::new(Made { names, port, https: 1, trusts: None, relays: Vec::new() })
}

#[tokio::test]
async fn messages_for_one_destination_share_a_connection_and_another_has_its_own() {
    let peer = Peer::start(Manners::with(&Authority::new().sign("mx.example.net"))).await;
    let sender = sender(Table::default(), peer.port);
    for to in ["a@example.net", "refused@example.net", "b@example.net"] {
        sender.send(to).await;
    }
    assert_eq!((peer.connections(), peer.said("DATA").len()), (1, 2));
    // Only what was refused leaves something to clear.
    assert_eq!(peer.said("RSET").len(), 1);
    assert_eq!(*sender.remote.names.asked.lock().unwrap(), 1);
    sender.send("a@example.com").await;
    assert_eq!(peer.connections(), 2);
    tokio::time::sleep(crate::limits::CONNECTION_IDLE + Duration::from_millis(500)).await;
    assert_eq!(peer.said("QUIT").len(), 2);
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_replaced_without_a_word() {
    let peer = Peer::start(Manners { closes_after: 2, ..Manners::plain() }).await;
    let sender = sender(Table::default(), peer.port);
    for _ in 0..6 {
        assert_eq!(status(&sender.send("a@example.net").await), "2.0.0");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((peer.connections(), peer.said("DATA").len()), (3, 6));
}

#[tokio::test]
async fn a_connection_lost_after_the_final_dot_is_told_as_it_is_and_no_other_server_gets_the_message_too() {
    let peer = Peer::start(Manners { last: "", ..Manners::plain() }).await;
    let mut names = Table::default();
    names.mx.insert("example.net".into(), vec!["mx.example.net", "second.example.net"]);
    let outcome = sender(names, peer.port).send("a@example.net").await;
    assert!(matches!(outcome, Outcome::Deferred(_)) && outcome.words().contains("may have arrived"), "{outcome:?}");
    assert_eq!(peer.connections(), 1);
}

#[tokio::test]
async fn a_server_that_closes_at_once_rests_for_all_domains_that_use_it() {
    let peer = Peer::start(Manners { greeting: "421 4.3.2 too busy", ..Manners::plain() }).await;
    let mut names = Table::default();
    names.mx.insert("example.net".into(), vec!["shared.example"]);
    names.mx.insert("example.com".into(), vec!["shared.example"]);
    let sender = sender(names, peer.port);
    for to in ["a@example.net", "a@example.com", "b@example.net"] {
        let outcome = sender.send(to).await;
        assert!(is_of_place(&outcome) && outcome.words().contains("too busy"), "{outcome:?}");
    }
    assert_eq!(peer.connections(), 1);
    sender.clock.turn(61);
    sender.send("a@example.com").await;
    assert_eq!(peer.connections(), 2);
    sender.remote.wake();
    sender.send("a@example.com").await;
    assert_eq!(peer.connections(), 3);
}

#[tokio::test]
async fn the_next_address_and_the_next_server_are_tried_when_one_is_down() {
    let peer = Peer::at(IpAddr::from([127, 0, 0, 9]), 0, Manners::plain()).await;
    let mut names = Table::default();
    names.mx.insert("example.net".into(), vec!["down.example", "up.example"]);
    names.addresses.insert("up.example".into(), vec![IpAddr::from([127, 0, 0, 8]), IpAddr::from([127, 0, 0, 9])]);
    let outcome = sender(names, peer.port).send("a@example.net").await;
    let Outcome::Delivered(delivery) = outcome else { panic!("{outcome:?}") };
    assert_eq!(delivery.server.as_deref(), Some("up.example [127.0.0.9]"));
}

#[tokio::test]
async fn without_a_name_for_its_own_ipv6_the_box_uses_none() {
    let mut names = Table::default();
    names.addresses.insert("mx.example.net".into(), vec!["2001:db8::1".parse().unwrap()]);
    let outcome = sender(names, 1).send("a@example.net").await;
    assert!(is_of_place(&outcome) && outcome.words().contains("only IPv6"), "{outcome:?}");
}
