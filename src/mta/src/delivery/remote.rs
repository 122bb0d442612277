//! Delivery to other people's servers: find them, connect, TLS as far as it is offered or promised, send; or hand the
//! mail to a relay.

use super::client::{ClientError, Conversation, Protocol, Stage, Transaction};
use super::dial::{self, Dial};
use super::health::{Health, TlsPast};
use super::names::Names;
use super::place::{Place, Report, Source};
use super::pool::{Idle, Key, Pool};
use super::relay::Relays;
use super::results::{FailureKind, TlsResults};
use super::sts::Sts;
use super::tls::{Demand, Outbound, Proof};
use super::{Outcome, Tally, Trouble, all, ipv6, route};
use crate::channel::Channel;
use crate::limits;
use crate::queue::clock::Clock;
use base::{Address, Domain};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Sends to other people's servers.
#[derive(Debug)]
pub struct Remote<N> {
    pub names: Arc<N>,
    pub tls: Outbound,
    /// The name that we give ourselves.
    pub own: Domain,
    /// The addresses that are ours: mail is never sent there, it would come back.
    pub own_addresses: Vec<IpAddr>,
    /// Whether peers may be on loopback, as in a demo. In the world an MX that points there is a mistake or a trick.
    pub loopback: bool,
    pub port: u16,
    pub ipv6: ipv6::Gate,
    pub clock: Clock,
    pub relays: Relays,
    /// How TLS went, for the daily reports.
    pub results: TlsResults,
    pub sts: Sts,
    pub(super) pool: Pool,
    pub(super) health: Health,
    pub(super) past: TlsPast,
}

/// What a [`Remote`] is made of.
pub struct Setup<'a, N> {
    pub names: Arc<N>,
    pub tls: Outbound,
    pub own: Domain,
    pub own_addresses: Vec<IpAddr>,
    pub loopback: bool,
    pub port: u16,
    pub relays: Relays,
    /// `queue/`, where policies and results are kept.
    pub folder: &'a Path,
    /// The port of policies' servers: 443 but in tests.
    pub https: u16,
    /// How long an address rests after its first failure; no longer than mail waits itself.
    pub rest: Duration,
    pub clock: Clock,
}

/// How a conversation is protected, in words: `TLS 1.3, verified by DANE`.
#[derive(Debug, Clone)]
pub struct Security(pub String);

impl<N: Names> Remote<N> {
    pub fn new(setup: Setup<'_, N>) -> Self {
        let fetcher = super::sts::fetch::Fetcher { tls: setup.tls.clone(), port: setup.https };
        Self {
            sts: Sts::new(setup.folder.join("mta-sts"), fetcher),
            results: TlsResults::open(setup.folder),
            health: Health::new(setup.rest.min(limits::HOST_REST)),
            clock: setup.clock,
            names: setup.names,
            tls: setup.tls,
            own: setup.own,
            own_addresses: setup.own_addresses,
            loopback: setup.loopback,
            port: setup.port,
            relays: setup.relays,
            ipv6: ipv6::Gate::default(),
            pool: Pool::default(),
            past: TlsPast::default(),
        }
    }

    /// Forgets which servers were in trouble: their owner wants all tried now.
    pub fn wake(&self) {
        self.health.forget();
    }

    /// Delivers one message to recipients of one domain. One server's answer is final for this try; the next server is
    /// asked only when one could not be talked to, or may not be trusted.
    pub async fn deliver(&self, domain: &Domain, it: &Transaction<'_>) -> Vec<(Address, Outcome)> {
        let relay = match self.relays.pick(it.sender.map(Address::domain), domain).await {
            Ok(relay) => relay,
            Err(words) => return all(it.recipients, &Outcome::Deferred(Trouble::new("4.3.5", words).of_place())),
        };
        let require_tls = it.needs.require_tls;
        let key = match &relay {
            Some(relay) => relay.key(require_tls),
            None => Key::Domain { domain: domain.clone(), require_tls },
        };
        while let Some(idle) = self.pool.take(&key) {
            // One that was closed in the meantime is replaced without a word.
            if let Ok(outcomes) = self.send(&key, idle, it).await {
                return each(it, outcomes);
            }
        }
        let outcomes = match relay {
            Some(relay) => self.by_relay(&relay, &key, it).await,
            None => self.by_exchangers(domain, &key, it).await,
        };
        match outcomes {
            Ok(outcomes) => each(it, outcomes),
            Err(outcome) => all(it.recipients, &outcome),
        }
    }

    async fn by_exchangers(&self, domain: &Domain, key: &Key, it: &Transaction<'_>) -> Result<Vec<Outcome>, Outcome> {
        let found = route::find(self.names.as_ref(), domain, &self.own).await?;
        let policy = self.sts.find(self.names.as_ref(), domain, self.clock.now()).await;
        if let Some(error) = &policy.trouble {
            self.note_fetch(domain, error);
        }
        let (mut tally, mut tries) = (Tally::default(), limits::ADDRESSES);
        for host in &found.hosts {
            let place = self.place(domain, host, found.secure, policy.policy.as_ref(), it.needs.require_tls).await;
            match place {
                Ok(place) => match self.at_place(&place, key, it, &mut tally, &mut tries).await {
                    Some(outcomes) => return Ok(outcomes),
                    None if tries == 0 => break,
                    None => {}
                },
                Err(outcome) => tally.add(outcome),
            }
        }
        let nobody = || Trouble::new("4.4.1", format!("no server of {domain} could be reached")).of_place();
        Err(tally.end(nobody))
    }

    /// Tries a place's addresses; what each came to is added to the tally.
    async fn at_place(
        &self,
        place: &Place,
        key: &Key,
        it: &Transaction<'_>,
        tally: &mut Tally,
        tries: &mut usize,
    ) -> Option<Vec<Outcome>> {
        let mut dial = Dial::new(&self.awake(&place.addresses, tally, *tries), self.port);
        loop {
            let mut failures = Vec::new();
            let connected = dial.next(&mut failures).await;
            *tries = tries.saturating_sub(failures.len() + usize::from(connected.is_some()));
            for (address, error) in failures {
                tally.add(self.unreachable(&place.host, address, &error.into()));
            }
            let (address, stream) = connected?;
            let opened = self.open(place, address, stream).await;
            let idle = match opened {
                Ok(idle) => idle,
                Err(outcome) => {
                    tally.add(outcome);
                    continue;
                }
            };
            if it.needs.require_tls && !idle.conversation.offer().require_tls {
                let unfit = idle.conversation.offer().unfit(it, Protocol::Smtp, idle.conversation.server());
                tally.add(Outcome::Failed(unfit?));
                tokio::spawn(idle.conversation.quit());
                continue;
            }
            match self.send(key, idle, it).await {
                Ok(outcomes) => return Some(outcomes),
                Err(error) => tally.add(no_conversation(&place.host, address, &error)),
            }
        }
    }

    /// The addresses that do not rest, no more than may be tried.
    pub(super) fn awake(&self, addresses: &[IpAddr], tally: &mut Tally, most: usize) -> Vec<IpAddr> {
        let now = self.clock.now();
        let mut awake = Vec::new();
        for address in addresses {
            match self.health.resting(*address, now) {
                Some(trouble) => tally.add(Outcome::Deferred(trouble)),
                None if awake.len() < most => awake.push(*address),
                None => {}
            }
        }
        awake
    }

    /// Remembers that an address is in trouble, and says so.
    pub(super) fn unreachable(&self, host: &Domain, address: IpAddr, error: &ClientError) -> Outcome {
        let outcome = no_conversation(host, address, error);
        if let Outcome::Deferred(trouble) | Outcome::Failed(trouble) = &outcome {
            self.health.failed(address, trouble.clone().of_place(), self.clock.now());
        }
        match outcome {
            Outcome::Deferred(trouble) => Outcome::Deferred(trouble.of_place()),
            other => other,
        }
    }

    /// A conversation that is as protected as the place demands.
    async fn open(&self, place: &Place, address: IpAddr, stream: TcpStream) -> Result<Idle, Outcome> {
        let server = format!("{} [{address}]", place.host);
        let greeted = Conversation::open(Channel::new(stream), Protocol::Smtp, &server, &self.own).await;
        let plain = greeted.map_err(|error| self.unreachable(&place.host, address, &error))?;
        self.health.good(address);
        if !plain.offer().starttls {
            self.without_tls(place, address, FailureKind::StarttlsNotSupported, "it offers no TLS")
                .map_err(|no| *no)?;
            return Ok(idle(plain, "without TLS"));
        }
        match self.encrypt(plain, place, &server).await {
            Ok((conversation, words)) => Ok(idle(conversation, &words)),
            Err((kind, why)) => {
                self.without_tls(place, address, kind, &why).map_err(|no| *no)?;
                // Opportunistic: a server whose TLS does not work still gets its mail, on a new connection.
                tracing::info!("TLS with {server} failed ({why}); sending without");
                let again = dial::connect(address, self.port).await.1.map_err(ClientError::from);
                let again = match again {
                    Ok(stream) => Conversation::open(Channel::new(stream), Protocol::Smtp, &server, &self.own).await,
                    Err(error) => Err(error),
                };
                let again = again.map_err(|error| self.unreachable(&place.host, address, &error))?;
                Ok(idle(again, "without TLS"))
            }
        }
    }

    /// Whether plain text may be sent to a place where TLS does not work; the one spot where that is decided.
    fn without_tls(&self, place: &Place, address: IpAddr, kind: FailureKind, why: &str) -> Result<(), Box<Outcome>> {
        self.note(&place.report, kind, Some(&place.host), Some(address), why);
        let server = format!("{} [{address}]", place.host);
        let status = if kind == FailureKind::StarttlsNotSupported { "7.10" } else { "7.5" };
        match (&place.demand, place.source) {
            (Demand::Nothing, _) if self.past.failed(&place.host, self.clock.now()) => Ok(()),
            (Demand::Nothing, _) => {
                let words =
                    format!("{server} spoke TLS until lately and does not now ({why}); mail for it waits a day");
                Err(Outcome::Deferred(Trouble::new(&format!("4.{status}"), words).of_place()).into())
            }
            (_, Source::Message) => {
                let words = format!("the message may travel by verified TLS only (REQUIRETLS): {server}: {why}");
                Err(Outcome::Failed(Trouble::new("5.7.30", words)).into())
            }
            (_, source) => {
                let words = format!("TLS with {server} is asked for by {} and fails: {why}", source.words());
                Err(Outcome::Deferred(Trouble::new(&format!("4.{status}"), words).of_place()).into())
            }
        }
    }

    /// STARTTLS, the handshake, and EHLO again (RFC 3207 §4.2); says also how it is encrypted.
    async fn encrypt(
        &self,
        plain: Conversation,
        place: &Place,
        server: &str,
    ) -> Result<(Conversation, String), (FailureKind, String)> {
        let failed = |error: ClientError| (FailureKind::ValidationFailure, error.to_string());
        let stream = match plain.starttls().await {
            Ok(channel) => channel.into_stream(),
            Err(error @ ClientError::Refused(_)) => return Err((FailureKind::StarttlsNotSupported, error.to_string())),
            Err(error) => return Err(failed(error)),
        };
        let secured = self.tls.handshake(&place.host, &place.demand, stream).await;
        let secured = secured.map_err(|error| (FailureKind::of_handshake(&error), error.to_string()))?;
        let words = format!("{}, {}", secured.version, proof_in_words(secured.proof, place.source));
        let channel = Channel::new(secured.stream);
        let conversation = Conversation::resume(channel, server, &self.own).await.map_err(failed)?;
        self.past.good(&place.host, self.clock.now());
        self.note_session(&place.report, &place.host, secured.proof);
        Ok((conversation, words))
    }

    fn note_session(&self, report: &Report, host: &Domain, proof: Proof) {
        match (report.testing, report.named, proof) {
            (true, false, _) => {
                self.note(report, FailureKind::ValidationFailure, Some(host), None, "the policy does not name it");
            }
            (true, true, Proof::None) => {
                let why = "its certificate is not trusted";
                self.note(report, FailureKind::CertificateNotTrusted, Some(host), None, why);
            }
            _ => self.results.note(report.result(None), self.clock.now()),
        }
    }

    /// One transaction. `Err` when nothing is delivered and another server may be asked.
    pub(super) async fn send(
        &self,
        key: &Key,
        mut idle: Idle,
        it: &Transaction<'_>,
    ) -> Result<Vec<Outcome>, ClientError> {
        let mut outcomes = match idle.conversation.send(it).await {
            Ok(outcomes) => outcomes,
            Err(error) if idle.conversation.stage() == Stage::Dotted => {
                let server = idle.conversation.server();
                let words =
                    format!("{server}: {error} after it had the message; it may have arrived, and is sent again");
                let lost = Trouble { server: Some(server.to_owned()), ..Trouble::new("4.4.2", words) };
                return Ok(vec![Outcome::Deferred(lost); it.recipients.len()]);
            }
            Err(error) => return Err(error),
        };
        for outcome in &mut outcomes {
            if let Outcome::Delivered(delivery) = outcome {
                delivery.words.push_str(&format!(" ({})", idle.security.0));
                delivery.security = Some(idle.security.0.clone());
            }
        }
        idle.used += 1;
        self.pool.park(key.clone(), idle);
        Ok(outcomes)
    }
}

fn each(it: &Transaction<'_>, outcomes: Vec<Outcome>) -> Vec<(Address, Outcome)> {
    it.recipients.iter().map(|to| to.address.clone()).zip(outcomes).collect()
}

/// A fresh conversation.
pub(super) fn idle(conversation: Conversation, words: &str) -> Idle {
    Idle { conversation, security: Security(words.to_owned()), used: 0, opened: Instant::now() }
}

fn proof_in_words(proof: Proof, source: Source) -> &'static str {
    match (proof, source) {
        (Proof::Dane(_), _) => "verified by DANE",
        (Proof::Trusted, Source::Sts) => "verified by MTA-STS",
        (Proof::Trusted, _) => "certificate verified",
        (Proof::None, _) => "certificate not verified",
    }
}

/// A server that could not be talked to defers, but for one that says that it never takes mail from us.
pub(super) fn no_conversation(host: &Domain, address: IpAddr, error: &ClientError) -> Outcome {
    let server = format!("{host} [{address}]");
    match error {
        ClientError::Refused(reply) if !reply.is_success() => Outcome::of(reply, &server),
        other => {
            let trouble = Trouble::new("4.4.2", format!("{server}: {other}"));
            Outcome::Deferred(Trouble { server: Some(server), ..trouble })
        }
    }
}
