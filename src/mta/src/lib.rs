//! SMTP sessions, queue, delivery, transport security.
//!
//! In: port 25 takes strangers' mail for this box, has the filter judge it, and has it in the mailboxes (by LMTP)
//! before the 250. Out: ports 465 and 587 take users' mail, have it signed, and have it in the queue before the 250;
//! the runner delivers from there. This room knows neither the store nor the filter nor the directory but through
//! their doors, and never sees a password hash or a signing key.
//!
//! `proto` is bytes and values without I/O, `session` the state machine, `server` the sockets, `queue` what waits,
//! `delivery` how it gets where it goes, `dsn` what is said when it does not, `limits` every bound.

mod callout;
mod channel;
mod delivery;
mod door;
mod dsn;
pub mod explain;
mod forward;
#[cfg(any(test, feature = "fuzz"))]
#[cfg_attr(not(feature = "fuzz"), allow(dead_code))]
pub mod fuzz;
mod history;
mod house;
pub mod limits;
mod list;
mod memory;
mod message;
mod neighbours;
mod policy;
mod proto;
mod queue;
mod rates;
mod round_trips;
mod secret_file;
mod server;
mod session;
mod snapshot;
mod srs;
mod tlsrpt;
mod tuning;

pub use delivery::dane::Tlsa;
pub use delivery::dns::Dns;
pub use delivery::names::{Answer, LookupError, Mx, Names};
pub use delivery::results::{Counted, Failure, FailureKind, PolicyKind, TlsResult, TlsResults};
pub use policy::lookups::{Answer as LookupAnswer, Lookups, Resolver, Silence};
pub use queue::clock::Clock;
pub use queue::schedule::Schedule;
pub use tuning::Tuning;

use base::tls::Tickets;
use base::{BoxConfig, Endpoints, HostFacts, Paths};
use std::io;
use std::sync::Arc;

/// Why the MTA cannot run.
#[derive(Debug, thiserror::Error)]
pub enum MtaError {
    #[error(transparent)]
    Config(#[from] base::config::ConfigError),
    #[error(transparent)]
    Tls(#[from] base::tls::TlsError),
    #[error("port {port} cannot be opened: {source}. See which program has it: ss -ltnp 'sport = :{port}'")]
    Bind { port: u16, source: io::Error },
    #[error("the queue in {path} cannot be opened: {source}")]
    Queue { path: std::path::PathBuf, source: io::Error },
    #[error("the history in {path} cannot be opened: {source}")]
    History { path: std::path::PathBuf, source: rusqlite::Error },
    #[error("the key in {path} cannot be used: {source}")]
    Key { path: std::path::PathBuf, source: io::Error },
    #[error("the resolver at {address} cannot be used: {why}")]
    Resolver { address: std::net::SocketAddr, why: String },
    #[error("the mta door cannot be opened: {0}")]
    Door(io::Error),
}

/// Runs the role until the process ends. Every write is crash-safe, so ending it at any point loses nothing.
pub async fn run(paths: Paths) -> Result<(), MtaError> {
    let config = BoxConfig::load(&paths)?;
    let address = Endpoints::of(&config).resolver;
    let names = Dns::new(address).map_err(|error| MtaError::Resolver { address, why: error.to_string() })?;
    let mut schedule = Schedule::default();
    if let Some(seconds) = config.demo.and_then(|demo| demo.retry_seconds) {
        schedule.first = std::time::Duration::from_secs(seconds.into());
    }
    let lookups = Resolver::new(address).map_err(|error| MtaError::Resolver { address, why: error.to_string() })?;
    run_tuned(paths, names, schedule, Tuning { lookups: Arc::new(lookups), ..Tuning::default() }).await
}

/// Runs the role with other sources of names and other waits; tests do. Nothing is asked about clients.
pub async fn run_with<N: Names>(paths: Paths, names: N, schedule: Schedule) -> Result<(), MtaError> {
    run_tuned(paths, names, schedule, Tuning::default()).await
}

/// The same with a clock for the queue that can be turned on.
pub async fn run_by<N: Names>(paths: Paths, names: N, schedule: Schedule, clock: Clock) -> Result<(), MtaError> {
    run_tuned(paths, names, schedule, Tuning { clock, ..Tuning::default() }).await
}

/// The same with everything that can be turned.
pub async fn run_tuned<N: Names>(paths: Paths, names: N, schedule: Schedule, tuning: Tuning) -> Result<(), MtaError> {
    let config = BoxConfig::load(&paths)?;
    let endpoints = Endpoints::of(&config);
    let queue = queue::Queue::open(paths.queue(), tuning.clock.clone(), schedule.rests());
    let queue = queue.map_err(|source| MtaError::Queue { path: paths.queue(), source })?;
    let history = history::History::open(&paths.queue());
    let history = history.map_err(|source| MtaError::History { path: paths.queue(), source })?;
    let key = paths.queue().join(".keys/srs");
    let srs = srs::Srs::open(&key).map_err(|source| MtaError::Key { path: key, source })?;
    let key = paths.queue().join(".keys/lists");
    let tokens = list::Tokens::open(&key).map_err(|source| MtaError::Key { path: key, source })?;
    let lists = list::Shelves::open(&paths);
    let lists = lists.map_err(|source| MtaError::Queue { path: paths.queue(), source })?;
    let home = config.email.domain().clone();
    let house = Arc::new(house::House {
        paths: paths.clone(),
        mailboxes: Arc::new(delivery::mailboxes::Mailboxes::new(paths.clone(), config.hostname.clone())),
        hostname: config.hostname.clone(),
        site: endpoints.site(&config.hostname),
        home: home.clone(),
        neighbours: neighbours::Neighbours::new(&paths, srs, tokens),
        lists,
        callout: callout::Callout::open(
            paths.queue().join(".backup/known.json"),
            config.hostname.clone(),
            endpoints.remote_smtp_port,
        ),
        queue: Arc::clone(&queue),
        history: history.clone(),
        memory: memory::Memory::of(tuning.memory),
        owner: config.email.clone(),
        own_addresses: HostFacts::load(&paths).unwrap_or_default().addresses().collect(),
        blocklists: config.blocklists.clone().into(),
        known: house::known(&paths),
        arrivals: policy::network::Arrivals::default(),
        tuning,
        automatic: rates::Rates::default(),
        round_trips: round_trips::RoundTrips::default(),
    });
    tokio::spawn(Arc::clone(&house).forget_old());
    tokio::spawn(Arc::clone(&house.mailboxes).end_old());
    list::resume(&house);
    open_ports(&paths, &endpoints, &house)?;
    let remote = remote(&paths, &config, &endpoints, names, &house, (schedule.first, house.tuning.clock.clone()));
    let reporter = tlsrpt::Reporter { house: Arc::clone(&house), remote: Arc::clone(&remote) };
    tokio::spawn(reporter.run());
    let runner = queue::runner::Runner {
        queue,
        history,
        remote: Arc::clone(&remote),
        neighbours: house.neighbours.clone(),
        memory: memory::Memory::of(limits::DELIVERY_MEMORY),
        mailboxes: Arc::clone(&house.mailboxes),
        hostname: config.hostname,
        home,
        schedule,
        places: queue::places::Places::default(),
    };
    let runner = Arc::new(runner);
    let names = Arc::clone(&runner);
    house.callout.look_up_by(Box::new(move |host| {
        let names = Arc::clone(&names);
        Box::pin(async move { names.remote.names.addresses(&host).await.unwrap_or_default() })
    }));
    tokio::spawn(runner.run());
    tracing::info!("ready");
    wire::serve(&paths, Arc::new(door::Door { house, remote })).await.map_err(MtaError::Door)
}

/// Delivery to elsewhere, with what it keeps an eye on in the background.
fn remote<N: Names>(
    paths: &Paths,
    config: &BoxConfig,
    endpoints: &Endpoints,
    names: N,
    house: &house::House,
    (rest, clock): (std::time::Duration, Clock),
) -> Arc<delivery::remote::Remote<N>> {
    let facts = HostFacts::load(paths).unwrap_or_default();
    // A demo's peers have certificates of its own authority.
    let authority = config.demo.as_ref().and(config.acme.ca_file.as_deref());
    let remote = Arc::new(delivery::remote::Remote::new(delivery::remote::Setup {
        names: Arc::new(names),
        tls: delivery::tls::Outbound::new(authority),
        own: config.hostname.clone(),
        own_addresses: facts.addresses().chain(facts.bind.iter().copied()).collect(),
        loopback: config.demo.is_some(),
        port: endpoints.remote_smtp_port,
        relays: delivery::relay::Relays::of(house.neighbours.clone()),
        folder: &paths.queue(),
        https: 443,
        rest,
        clock,
    }));
    let gate = remote.ipv6.clone();
    tokio::spawn(gate.watch(Arc::clone(&remote.names), facts.ipv6, config.hostname.clone()));
    let tidying = Arc::clone(&remote);
    tokio::spawn(async move {
        loop {
            let remote = Arc::clone(&tidying);
            let _ = tokio::task::spawn_blocking(move || remote.sts.tidy(base::time::now_unix())).await;
            tokio::time::sleep(limits::STS_REFRESH).await;
        }
    });
    remote
}

fn open_ports(paths: &Paths, endpoints: &Endpoints, house: &Arc<house::House>) -> Result<(), MtaError> {
    use session::Kind::{Inbound, Submission};
    let (strangers, users) = (base::tls::server(paths, Tickets::No)?, base::tls::server(paths, Tickets::Yes)?);
    let ports = [
        (endpoints.smtp, server::Port { kind: Inbound, implicit_tls: false, tls: strangers }),
        (endpoints.submission, server::Port { kind: Submission, implicit_tls: false, tls: Arc::clone(&users) }),
        (endpoints.submissions, server::Port { kind: Submission, implicit_tls: true, tls: users }),
    ];
    let mut opened = Vec::new();
    for (listen, port) in ports {
        let bound = listen.bind().and_then(tokio::net::TcpListener::from_std);
        opened.push((bound.map_err(|source| MtaError::Bind { port: listen.port, source })?, port));
    }
    // Nothing is accepted before everything is open.
    for (listener, port) in opened {
        tokio::spawn(server::serve(listener, port, Arc::clone(house)));
    }
    Ok(())
}
