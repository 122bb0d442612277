//! Mail through a relay.

use super::peer::{Manners, Peer};
use super::*;
use wire::directory::{Relay, RelayScope, RelayTls};

fn relay(peer: &Peer, tls: RelayTls, password: &str) -> Relay {
    Relay {
        scope: RelayScope::Everything,
        host: domain("smtp.relay.example"),
        port: peer.port,
        tls,
        login: Some("ann".into()),
        password: Some(base::Secret::new(password)),
        spf: None,
    }
}

fn sender(authority: &Authority, relays: Vec<Relay>) -> Sender {
    Sender::new(Made { names: Table::default(), port: 1, https: 1, trusts: Some(authority), relays })
}

#[tokio::test]
async fn mail_goes_through_the_relay_logged_in_and_shares_its_connection() {
    let authority = Authority::new();
    for tls in [RelayTls::Implicit, RelayTls::Starttls] {
        let implicit = tls == RelayTls::Implicit;
        let manners = Manners::with(&authority.sign("smtp.relay.example"));
        let peer = Peer::start(Manners { implicit, offers: "250-AUTH PLAIN\r\n", ..manners }).await;
        let sender = sender(&authority, vec![relay(&peer, tls, "hunter2")]);
        assert_eq!(sender.remote.try_relay(&relay(&peer, tls, "hunter2")).await, Ok(()));
        for to in ["a@example.net", "b@example.com"] {
            let outcome = sender.send(to).await;
            assert_eq!(security(&outcome), "TLS 1.3, certificate verified, by relay");
        }
        assert_eq!((peer.connections(), peer.said("AUTH").len(), peer.said("DATA").len()), (2, 2, 2));
        assert!(!peer.saw_plain_text());
    }
}

#[tokio::test]
async fn a_relay_that_cannot_be_used_is_told_and_never_gone_around() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let auth = "250-AUTH PLAIN\r\n";
    let good = Manners { offers: auth, ..Manners::with(&authority.sign("smtp.relay.example")) };
    let impostor = Manners { offers: auth, ..Manners::with(&stranger.sign("smtp.relay.example")) };
    let plain = Manners { offers: auth, ..Manners::plain() };
    for (manners, password, status_wanted, words) in [
        (good, "wrong", "4.7.8", "it does not take the login"),
        (impostor, "hunter2", "4.7.5", "TLS fails"),
        (plain, "hunter2", "4.7.10", "it offers no STARTTLS"),
    ] {
        let peer = Peer::start(manners).await;
        let relay = relay(&peer, RelayTls::Starttls, password);
        let sender = sender(&authority, vec![relay.clone()]);
        let outcome = sender.send("a@example.net").await;
        assert!(is_of_place(&outcome) && status(&outcome) == status_wanted, "{outcome:?}");
        let why = sender.remote.try_relay(&relay).await.unwrap_err();
        assert!(why.contains(words) && !why.contains("hunter2"), "{why}");
        assert!(!peer.saw_plain_text() && peer.said("MAIL").is_empty());
    }
    let nobody = Relay { port: 1, ..relay(&Peer::start(Manners::plain()).await, RelayTls::Implicit, "x") };
    assert!(sender(&authority, vec![]).remote.try_relay(&nobody).await.unwrap_err().contains("port 1"));
}
