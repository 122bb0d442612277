//! A look at a peer's ports from outside: `GET /.well-known/mailstead/ports`, which the status checks of another box ask for.
//!
//! Nobody can have this box knock at a third party's door: what is looked at is the address that asks, as nginx saw it; only
//! while it belongs to a box that the owner names in `peers`; only at the ports that a Mailstead box serves; and only so often.
//! Nothing is sent there but a QUIT.

use crate::board::Source;
use crate::limits::{
    ADDRESSES_FOR, ADDRESSES_WITHIN, GREETED_WITHIN, KNOCK_WITHIN, LOOKS, LOOKS_AT_ONCE, LOOKS_WINDOW, MAX_GREETING,
    TROUBLE_FOR,
};
use crate::server::{client_address, guard};
use axum::extract::{Query, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use base::{BoxConfig, Domain, Endpoints, Paths};
use futures_util::future::join_all;
use lookup::{Names, NamesError};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use wire::view::{PATH, PORTS, Reached, View};

const SMTP: u16 = 25;
/// The check that tells whether this box reaches anybody's port 25.
const OUTBOUND: &str = "outbound-25";

/// What the answers follow from.
struct Lookout {
    peers: Vec<Domain>,
    names: Names,
    /// Where other people's port 25 is: elsewhere in a demo.
    smtp_port: u16,
    results: Source,
    addresses: tokio::sync::Mutex<Option<Addresses>>,
    turns: Mutex<Turns>,
    under_way: Semaphore,
}

/// The route.
pub fn router(paths: &Paths, config: &BoxConfig) -> Router {
    let endpoints = Endpoints::of(config);
    let lookout = Lookout {
        peers: config.peers.clone(),
        names: Names::new(endpoints.resolver),
        smtp_port: endpoints.remote_smtp_port,
        results: Source::new(paths),
        addresses: tokio::sync::Mutex::default(),
        turns: Mutex::default(),
        under_way: Semaphore::new(LOOKS_AT_ONCE),
    };
    Router::new().route(PATH, get(answer)).layer(from_fn(guard)).with_state(Arc::new(lookout))
}

#[derive(Deserialize)]
struct Asked {
    ports: Option<String>,
}

async fn answer(State(lookout): State<Arc<Lookout>>, headers: HeaderMap, Query(asked): Query<Asked>) -> Response {
    match lookout.view(client_address(&headers), asked.ports.as_deref()).await {
        Ok(view) => Json(view).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

/// Why nothing is looked at; a sentence for the one that asks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("{0} is not an address of a box that this one names in its peers")]
    Stranger(IpAddr),
    #[error("the ports are to be some of {PORTS:?}, with commas between them")]
    Ports,
    #[error("the addresses of this box's peers cannot be looked up just now")]
    Unresolved,
    #[error("you have asked {LOOKS} times within {} seconds", LOOKS_WINDOW.as_secs())]
    TooOften(Duration),
    #[error("this box looks at others' ports just now")]
    Busy,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, again) = match self {
            Refusal::Stranger(_) => (StatusCode::FORBIDDEN, None),
            Refusal::Ports => (StatusCode::BAD_REQUEST, None),
            Refusal::Unresolved => (StatusCode::SERVICE_UNAVAILABLE, Some(TROUBLE_FOR)),
            Refusal::TooOften(wait) => (StatusCode::TOO_MANY_REQUESTS, Some(wait)),
            Refusal::Busy => (StatusCode::SERVICE_UNAVAILABLE, Some(KNOCK_WITHIN)),
        };
        let mut response = (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{self}\n")).into_response();
        if let Some(again) = again {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(again.as_secs().max(1)));
        }
        response
    }
}

impl Lookout {
    async fn view(&self, client: IpAddr, asked: Option<&str>) -> Result<View, Refusal> {
        let peer = self.peer_at(client).await?;
        let ports = ports(asked)?;
        self.take_turn(peer, client)?;
        let _place = self.under_way.try_acquire().map_err(|_| Refusal::Busy)?;
        let mut view = look(client, &ports, self.smtp_port).await;
        let closed = view.ports.get(&SMTP).is_some_and(|reached| *reached != Reached::Open);
        if closed && self.reaches_nobody().await {
            view.ports.insert(SMTP, Reached::NotFromHere);
        }
        tracing::info!("looked at the ports of {client} for {}", self.peers.get(peer).map_or("", Domain::as_str));
        Ok(view)
    }

    fn take_turn(&self, peer: usize, client: IpAddr) -> Result<(), Refusal> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.take(peer, client, Instant::now()).map_err(Refusal::TooOften)
    }

    /// Which of the peers an address belongs to.
    async fn peer_at(&self, client: IpAddr) -> Result<usize, Refusal> {
        if self.peers.is_empty() {
            return Err(Refusal::Stranger(client));
        }
        // Whoever comes meanwhile waits for the same answers.
        let mut known = self.addresses.lock().await;
        let now = Instant::now();
        let addresses = match known.take().filter(|addresses| addresses.hold_at(now)) {
            Some(addresses) => addresses,
            None => Addresses::ask(&self.names, &self.peers).await,
        };
        known.insert(addresses).owner(client)
    }

    /// Whether this box's own checks have found that its provider lets no mail out.
    async fn reaches_nobody(&self) -> bool {
        let results = self.results.clone();
        let read = tokio::task::spawn_blocking(move || results.read(SystemTime::now())).await;
        let board = read.ok().and_then(Result::ok).unwrap_or_default();
        board.results.iter().any(|result| result.id == OUTBOUND && result.state.is_broken())
    }
}

/// The ports that are asked about: all, or some of those that a box serves.
fn ports(asked: Option<&str>) -> Result<Vec<u16>, Refusal> {
    let Some(asked) = asked else { return Ok(PORTS.to_vec()) };
    let known = |text: &str| text.trim().parse().ok().filter(|port| PORTS.contains(port)).ok_or(Refusal::Ports);
    if asked.split(',').count() > PORTS.len() {
        return Err(Refusal::Ports);
    }
    let mut ports = asked.split(',').map(known).collect::<Result<Vec<u16>, _>>()?;
    ports.sort_unstable();
    ports.dedup();
    Ok(ports)
}

/// The peers' addresses, as the DNS had them a moment ago.
struct Addresses {
    of: Vec<Result<Vec<IpAddr>, NamesError>>,
    found: Instant,
}

async fn ask(names: &Names, peer: &Domain) -> Result<Vec<IpAddr>, NamesError> {
    let late = || NamesError::Away(names.resolver(), "no answer in time".to_owned());
    timeout(ADDRESSES_WITHIN, names.addresses(peer.as_str())).await.unwrap_or_else(|_| Err(late()))
}

impl Addresses {
    async fn ask(names: &Names, peers: &[Domain]) -> Self {
        let asked: Vec<_> = peers.iter().map(|peer| ask(names, peer)).collect();
        let of = join_all(asked).await;
        for error in of.iter().filter_map(|found| found.as_ref().err()) {
            tracing::warn!("a peer cannot be looked up: {error}");
        }
        Self { of, found: Instant::now() }
    }

    fn hold_at(&self, now: Instant) -> bool {
        let whole = self.of.iter().all(Result::is_ok);
        now.saturating_duration_since(self.found) < if whole { ADDRESSES_FOR } else { TROUBLE_FOR }
    }

    /// Who has the address. A name that could not be looked up might, so then nobody is called a stranger.
    fn owner(&self, client: IpAddr) -> Result<usize, Refusal> {
        let has = |found: &Result<Vec<IpAddr>, _>| found.as_ref().is_ok_and(|all| all.contains(&client));
        match self.of.iter().position(has) {
            Some(peer) => Ok(peer),
            None if self.of.iter().any(Result::is_err) => Err(Refusal::Unresolved),
            None => Err(Refusal::Stranger(client)),
        }
    }
}

/// How often each peer has asked over each family since its window began. There are few peers, so these are few.
#[derive(Default)]
struct Turns(HashMap<(usize, bool), (u32, Instant)>);

impl Turns {
    /// Counts a look; an error says how long to wait.
    fn take(&mut self, peer: usize, client: IpAddr, now: Instant) -> Result<(), Duration> {
        let (count, began) = self.0.entry((peer, client.is_ipv4())).or_insert((0, now));
        let passed = now.saturating_duration_since(*began);
        if passed >= LOOKS_WINDOW {
            (*count, *began) = (0, now);
        }
        if *count >= LOOKS {
            return Err(LOOKS_WINDOW.saturating_sub(passed));
        }
        *count += 1;
        Ok(())
    }
}

/// Knocks at all of the ports at once.
async fn look(address: IpAddr, ports: &[u16], smtp_port: u16) -> View {
    let knock = |port: u16| async move {
        let there = if port == SMTP { smtp_port } else { port };
        (port, knock_at(SocketAddr::new(address, there), port == SMTP).await)
    };
    let knocks: Vec<_> = ports.iter().copied().map(knock).collect();
    let mut view = View { address, ports: BTreeMap::new(), greeting: None };
    for (port, knocked) in join_all(knocks).await {
        let reached = match knocked {
            Ok(greeting) => {
                view.greeting = view.greeting.or(greeting);
                Reached::Open
            }
            Err(closed) => closed,
        };
        view.ports.insert(port, reached);
    }
    view
}

/// Connects and hangs up again; where it is to be `greeted`, after the first line that the other side says.
async fn knock_at(there: SocketAddr, greeted: bool) -> Result<Option<String>, Reached> {
    let stream = match timeout(KNOCK_WITHIN, TcpStream::connect(there)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(told(error.kind())),
        Err(_) => return Err(Reached::NoAnswer),
    };
    match greeted {
        true => Ok(greeting(stream).await),
        false => Ok(None),
    }
}

fn told(kind: ErrorKind) -> Reached {
    match kind {
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Reached::Refused,
        ErrorKind::TimedOut => Reached::NoAnswer,
        _ => Reached::Unreachable,
    }
}

/// The first line that a server says, with nothing in it that a terminal would act on.
async fn greeting(stream: TcpStream) -> Option<String> {
    let mut stream = BufReader::new(stream);
    let mut bytes = Vec::new();
    let mut bounded = (&mut stream).take(MAX_GREETING);
    // One that was cut off in the middle of its line has still said something.
    let _ = timeout(GREETED_WITHIN, bounded.read_until(b'\n', &mut bytes)).await;
    // RFC 5321 §4.1.1.10: a client says that it goes. Whether that is heard makes no difference here.
    let _ = timeout(KNOCK_WITHIN, stream.write_all(b"QUIT\r\n")).await;
    let plain = |character: char| if character.is_control() { '\u{fffd}' } else { character };
    let line: String = String::from_utf8_lossy(&bytes).trim().chars().map(plain).collect();
    (!line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn addresses(of: Vec<Result<Vec<IpAddr>, NamesError>>) -> Addresses {
        Addresses { of, found: Instant::now() }
    }

    fn away() -> NamesError {
        NamesError::Away("127.0.0.1:53".parse().unwrap(), "no answer in time".into())
    }

    #[test]
    fn only_ports_that_a_box_serves_can_be_asked_about() {
        assert_eq!(ports(None).unwrap(), PORTS);
        assert_eq!(ports(Some("993, 25,25")).unwrap(), [25, 993]);
        for bad in ["22", "25,8080", "", "25-993", "-25", "65561", &["25"; 10].join(",")] {
            assert_eq!(ports(Some(bad)), Err(Refusal::Ports), "{bad}");
        }
        assert!(Refusal::Ports.to_string().contains("25, 53, 80"));
    }

    #[test]
    fn an_address_of_a_peer_is_no_stranger_and_where_a_name_is_not_known_nobody_is() {
        let known = addresses(vec![Ok(vec![]), Ok(vec![address("192.0.2.25"), address("2001:db8::25")])]);
        assert_eq!(known.owner(address("2001:db8::25")), Ok(1));
        let stranger = address("192.0.2.26");
        assert_eq!(known.owner(stranger), Err(Refusal::Stranger(stranger)));
        let partly = addresses(vec![Err(away()), Ok(vec![address("192.0.2.25")])]);
        assert_eq!(partly.owner(address("192.0.2.25")), Ok(1));
        assert_eq!(partly.owner(stranger), Err(Refusal::Unresolved));
        let later = Instant::now() + TROUBLE_FOR;
        assert!(known.hold_at(later) && !partly.hold_at(later));
        assert!(!known.hold_at(later + ADDRESSES_FOR));
    }

    #[test]
    fn each_peer_has_so_many_looks_over_each_family_and_then_waits() {
        let (mut turns, start) = (Turns::default(), Instant::now());
        for _ in 0..LOOKS {
            turns.take(0, address("192.0.2.25"), start).unwrap();
        }
        assert_eq!(turns.take(0, address("192.0.2.25"), start + LOOKS_WINDOW / 2), Err(LOOKS_WINDOW / 2));
        assert!(turns.take(0, address("2001:db8::25"), start).is_ok());
        assert!(turns.take(1, address("192.0.2.26"), start).is_ok());
        assert!(turns.take(0, address("192.0.2.25"), start + LOOKS_WINDOW).is_ok());
    }

    #[test]
    fn a_refusal_is_a_sentence_and_says_when_to_come_again_where_that_helps() {
        let told = |refusal: Refusal| {
            let response = refusal.into_response();
            let again = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
            (response.status().as_u16(), again)
        };
        assert_eq!(told(Refusal::Stranger(address("192.0.2.26"))), (403, None));
        assert_eq!(told(Refusal::Ports), (400, None));
        assert_eq!(told(Refusal::Unresolved), (503, Some("5".into())));
        assert_eq!(told(Refusal::TooOften(Duration::from_millis(20))), (429, Some("1".into())));
        assert_eq!(told(Refusal::Busy), (503, Some("3".into())));
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_any_more_is_refused() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = silent.local_addr().unwrap();
        assert_eq!(knock_at(there, false).await, Ok(None));
        drop(silent);
        assert_eq!(knock_at(there, false).await, Err(Reached::Refused));
    }

    #[tokio::test]
    async fn a_greeting_is_one_short_clean_line() {
        let chatty = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = chatty.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut first, _) = chatty.accept().await.unwrap();
            first.write_all(b"220 mx.example.org \x1b[31m ESMTP\r\n250 more\r\n").await.unwrap();
            let (mut second, _) = chatty.accept().await.unwrap();
            let _ = second.write_all(&b"x".repeat(100_000)).await;
            let (third, _) = chatty.accept().await.unwrap();
            drop(third);
        });
        assert_eq!(knock_at(there, true).await.unwrap().unwrap(), "220 mx.example.org \u{fffd}[31m ESMTP");
        assert_eq!(knock_at(there, true).await.unwrap().unwrap().len() as u64, MAX_GREETING);
        assert_eq!(knock_at(there, true).await.unwrap(), None);
    }
}
