//! What DANE promises is kept; what nobody promises is taken as it comes.

use super::peer::{Manners, Peer};
use super::*;

/// A secure DNS with these records for `mx.example.net`.
fn promising(records: Result<Vec<Tlsa>, LookupError>) -> Table {
    let table = Table { secure: true, ..Table::default() };
    table.tlsa.lock().unwrap().insert("mx.example.net".into(), records);
    table
}

fn sender(names: Table, peer: &Peer) -> Sender {
    Sender::new(Made { names, port: peer.port, https: 1, trusts: None, relays: Vec::new() })
}

#[tokio::test]
async fn a_key_that_the_dns_names_is_good_whatever_its_certificate_says() {
    let chain = Authority::new().sign_until("another.example", 2001);
    let peer = Peer::start(Manners::with(&chain)).await;
    let outcome = sender(promising(Ok(vec![tlsa(3, &chain.der[0])])), &peer).send("joe@example.net").await;
    assert_eq!(security(&outcome), "TLS 1.3, verified by DANE");
    assert!(!peer.saw_plain_text());
}

#[tokio::test]
async fn an_authority_that_the_dns_names_must_have_signed_for_the_right_name_and_time() {
    let (named, other) = (Authority::new(), Authority::new());
    let chains = [
        (named.sign("mx.example.net"), true),
        (named.sign("example.net"), true),
        (named.sign("mx.example.com"), false),
        (named.sign_until("mx.example.net", 2001), false),
        (other.sign("mx.example.net"), false),
    ];
    for (at, (chain, good)) in chains.into_iter().enumerate() {
        let peer = Peer::start(Manners::with(&chain)).await;
        let sender = sender(promising(Ok(vec![tlsa(2, named.certificate.der())])), &peer);
        let outcome = sender.send("joe@example.net").await;
        assert_eq!(status(&outcome), if good { "2.0.0" } else { "4.7.5" }, "chain {at}: {}", outcome.words());
        assert!(!peer.saw_plain_text());
    }
}

#[tokio::test]
async fn another_key_defers_and_nothing_is_said_in_the_clear() {
    let (right, wrong) = (Authority::new().sign("mx.example.net"), Authority::new().sign("mx.example.net"));
    let peer = Peer::start(Manners::with(&wrong)).await;
    let sender = sender(promising(Ok(vec![tlsa(3, &right.der[0])])), &peer);
    let outcome = sender.send("joe@example.net").await;
    assert!(is_of_place(&outcome) && status(&outcome) == "4.7.5", "{outcome:?}");
    assert!(peer.said("MAIL").is_empty());
    let day = sender.clock.now() / 86_400;
    let results = sender.remote.results.take_day(day).await.unwrap();
    assert_eq!(results.len(), 1);
    assert_eq!(results[0].result.policy.as_str(), "tlsa");
    assert_eq!(results[0].result.failure.as_ref().unwrap().kind.as_str(), "validation-failure");
}

#[tokio::test]
async fn starttls_that_was_taken_out_on_the_way_gains_nothing() {
    let chain = Authority::new().sign("mx.example.net");
    for records in [vec![tlsa(3, &chain.der[0])], vec![tlsa(1, &chain.der[0])]] {
        let peer = Peer::start(Manners::plain()).await;
        let outcome = sender(promising(Ok(records)), &peer).send("joe@example.net").await;
        assert!(is_of_place(&outcome) && status(&outcome) == "4.7.10", "{outcome:?}");
        assert!(!peer.saw_plain_text());
    }
}

#[tokio::test]
async fn records_that_cannot_be_used_ask_for_tls_all_the_same() {
    let chain = Authority::new().sign("another.example");
    let peer = Peer::start(Manners::with(&chain)).await;
    let outcome = sender(promising(Ok(vec![tlsa(1, &chain.der[0])])), &peer).send("joe@example.net").await;
    assert_eq!(security(&outcome), "TLS 1.3, certificate not verified");
}

#[tokio::test]
async fn a_server_whose_records_are_forged_is_passed_over_for_the_next() {
    let chain = Authority::new().sign("mx.example.net");
    let peer = Peer::start(Manners::with(&chain)).await;
    let bogus = || promising(Err(LookupError::Passing("SERVFAIL".into())));
    let outcome = sender(bogus(), &peer).send("joe@example.net").await;
    assert!(is_of_place(&outcome) && status(&outcome) == "4.7.5", "{outcome:?}");
    assert_eq!(peer.connections(), 0);
    let mut two = bogus();
    two.mx.insert("example.net".into(), vec!["mx.example.net", "second.example.net"]);
    assert_eq!(status(&sender(two, &peer).send("joe@example.net").await), "2.0.0");
}

#[tokio::test]
async fn records_that_nobody_signed_promise_nothing() {
    let chain = Authority::new().sign("mx.example.net");
    let peer = Peer::start(Manners::plain()).await;
    let names = Table { secure: false, ..promising(Ok(vec![tlsa(3, &chain.der[0])])) };
    assert_eq!(security(&sender(names, &peer).send("joe@example.net").await), "without TLS");
}

#[tokio::test]
async fn a_server_that_spoke_tls_yesterday_is_not_sent_plain_text_at_once() {
    let manners = Manners::with(&Authority::new().sign("mx.example.net"));
    let stripped = Arc::clone(&manners.stripped);
    let peer = Peer::start(Manners { closes_after: 1, ..manners }).await;
    let sender = sender(Table::default(), &peer);
    assert_eq!(security(&sender.send("joe@example.net").await), "TLS 1.3, certificate not verified");
    *stripped.lock().unwrap() = true;
    assert_eq!(status(&sender.send("joe@example.net").await), "4.7.10");
    assert!(!peer.saw_plain_text());
    sender.clock.turn(86_400);
    assert_eq!(security(&sender.send("joe@example.net").await), "without TLS");
}

#[tokio::test]
async fn a_message_that_requires_tls_goes_only_where_it_is_promised_further() {
    let authority = Authority::new();
    let chain = authority.sign("mx.example.net");
    let needs = Needs { require_tls: true, ..Needs::default() };
    let trusting = |peer: &Peer| {
        Sender::new(Made {
            names: Table::default(),
            port: peer.port,
            https: 1,
            trusts: Some(&authority),
            relays: vec![],
        })
    };
    let good = Peer::start(Manners { offers: "250-REQUIRETLS\r\n", ..Manners::with(&chain) }).await;
    let outcome = trusting(&good).send_needing("joe@example.net", needs).await;
    assert_eq!(security(&outcome), "TLS 1.3, certificate verified");
    assert_eq!(good.said("MAIL"), ["MAIL FROM:<ann@example.org> REQUIRETLS"]);
    let silent = Peer::start(Manners::with(&chain)).await;
    let plain = Peer::start(Manners { offers: "250-REQUIRETLS\r\n", ..Manners::plain() }).await;
    let stranger = Authority::new().sign("mx.example.net");
    let unknown = Peer::start(Manners { offers: "250-REQUIRETLS\r\n", ..Manners::with(&stranger) }).await;
    for peer in [silent, plain, unknown] {
        let outcome = trusting(&peer).send_needing("joe@example.net", needs).await;
        assert!(matches!(outcome, Outcome::Failed(_)) && status(&outcome) == "5.7.30", "{outcome:?}");
        assert!(peer.said("MAIL").is_empty());
    }
}
