//! What an MTA-STS policy asks for is kept, also when its server is gone.

use super::peer::{Manners, Peer, acceptor};
use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A policy's server; while the text is empty it answers 500.
async fn policy_server(authority: &Authority, text: &Arc<Mutex<String>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tls, text) = (acceptor(&authority.sign("mta-sts.example.net")), Arc::clone(text));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = tls.accept(stream).await else { continue };
            let mut request = vec![0; 4_096];
            let _ = stream.read(&mut request).await;
            let body = text.lock().unwrap().clone();
            let status = if body.is_empty() { "500 no" } else { "200 OK" };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    port
}

fn policy(mode: &str, mx: &str) -> Arc<Mutex<String>> {
    Arc::new(Mutex::new(format!("version: STSv1\r\nmode: {mode}\r\nmx: {mx}\r\nmax_age: 604800\r\n")))
}

fn announcing() -> Table {
    let table = Table::default();
    table.txt.lock().unwrap().insert("_mta-sts.example.net".into(), "v=STSv1; id=1;".into());
    table
}

fn sender(authority: &Authority, https: u16, peer: &Peer) -> Sender {
    Sender::new(Made { names: announcing(), port: peer.port, https, trusts: Some(authority), relays: Vec::new() })
}

#[tokio::test]
async fn an_enforced_policy_wants_a_trusted_certificate_for_the_name() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let https = policy_server(&authority, &policy("enforce", "*.example.net")).await;
    let good = Peer::start(Manners::with(&authority.sign("mx.example.net"))).await;
    let outcome = sender(&authority, https, &good).send("joe@example.net").await;
    assert_eq!(security(&outcome), "TLS 1.3, verified by MTA-STS");
    for manners in [
        Manners::with(&stranger.sign("mx.example.net")),
        Manners::with(&authority.sign("mx.example.com")),
        Manners::with(&authority.sign_until("mx.example.net", 2001)),
        Manners::plain(),
    ] {
        let peer = Peer::start(manners).await;
        let sender = sender(&authority, https, &peer);
        let outcome = sender.send("joe@example.net").await;
        assert!(is_of_place(&outcome) && status(&outcome).starts_with("4.7."), "{outcome:?}");
        assert!(!peer.saw_plain_text() && peer.said("MAIL").is_empty());
        let results = sender.remote.results.take_day(sender.clock.now() / 86_400).await.unwrap();
        assert_eq!(results[0].result.policy.as_str(), "sts");
        assert_eq!(results[0].result.patterns, ["*.example.net"]);
    }
}

#[tokio::test]
async fn an_exchanger_that_the_policy_does_not_name_gets_nothing() {
    let authority = Authority::new();
    let https = policy_server(&authority, &policy("enforce", "mail.example.net")).await;
    let peer = Peer::start(Manners::with(&authority.sign("mx.example.net"))).await;
    let outcome = sender(&authority, https, &peer).send("joe@example.net").await;
    assert!(status(&outcome) == "4.7.5" && outcome.words().contains("does not name"), "{outcome:?}");
    assert_eq!(peer.connections(), 0);
}

#[tokio::test]
async fn a_policy_in_testing_refuses_nothing_and_is_reported_on() {
    let authority = Authority::new();
    let https = policy_server(&authority, &policy("testing", "mail.example.net")).await;
    let peer = Peer::start(Manners::with(&authority.sign("mx.example.com"))).await;
    let sender = sender(&authority, https, &peer);
    assert_eq!(status(&sender.send("joe@example.net").await), "2.0.0");
    let results = sender.remote.results.take_day(sender.clock.now() / 86_400).await.unwrap();
    assert_eq!(results[0].result.failure.as_ref().unwrap().kind.as_str(), "validation-failure");
}

#[tokio::test]
async fn a_policy_that_was_seen_holds_when_its_server_and_its_record_are_gone() {
    let authority = Authority::new();
    let text = policy("enforce", "mx.example.net");
    let https = policy_server(&authority, &text).await;
    let manners = Manners::with(&authority.sign("mx.example.net"));
    let stripped = Arc::clone(&manners.stripped);
    let peer = Peer::start(Manners { closes_after: 1, ..manners }).await;
    let sender = sender(&authority, https, &peer);
    assert_eq!(status(&sender.send("joe@example.net").await), "2.0.0");
    assert!(sender.dir.path().join("mta-sts/example.net.json").exists());
    *stripped.lock().unwrap() = true;
    text.lock().unwrap().clear();
    for txt in [Some("v=STSv1; id=2;"), None] {
        let names = &sender.remote.names;
        names.txt.lock().unwrap().clear();
        names.txt.lock().unwrap().extend(txt.map(|txt| ("_mta-sts.example.net".into(), txt.into())));
        assert_eq!(status(&sender.send("joe@example.net").await), "4.7.10");
        sender.clock.turn(2 * 86_400);
    }
    assert!(!peer.saw_plain_text());
    // Only its own age ends it.
    sender.clock.turn(604_800);
    assert_eq!(security(&sender.send("joe@example.net").await), "without TLS");
}

#[tokio::test]
async fn a_policy_survives_the_process() {
    let authority = Authority::new();
    let https = policy_server(&authority, &policy("enforce", "mx.example.net")).await;
    let peer = Peer::start(Manners::with(&authority.sign("mx.example.net"))).await;
    let first = sender(&authority, https, &peer);
    assert_eq!(status(&first.send("joe@example.net").await), "2.0.0");
    let fetcher = super::super::sts::fetch::Fetcher { tls: first.remote.tls.clone(), port: 1 };
    let again = super::super::sts::Sts::new(first.dir.path().join("mta-sts"), fetcher);
    let now = first.clock.now();
    assert!(again.find(&Table::default(), &domain("example.net"), now).await.policy.is_some());
    again.tidy(now);
    assert!(first.dir.path().join("mta-sts/example.net.json").exists());
    again.tidy(now + 604_801);
    assert!(!first.dir.path().join("mta-sts/example.net.json").exists());
}
