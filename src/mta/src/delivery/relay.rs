//! Relays (smart hosts): servers that the owner chose to bring mail further. TLS with a certificate for the relay's
//! name is always demanded: the password goes there.

use super::client::{ClientError, Conversation, Protocol, Transaction};
use super::dial::Dial;
use super::names::{LookupError, Names};
use super::pool::{Idle, Key};
use super::remote::{Remote, idle, no_conversation};
use super::tls::Demand;
use super::{Outcome, Tally, Trouble};
use crate::channel::Channel;
use crate::limits;
use crate::neighbours::Neighbours;
use base::Domain;
use std::net::IpAddr;
use std::time::Instant;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use wire::directory::{Relay, RelayScope, RelayTls};

/// The rules of the directory, asked for again after a moment.
#[derive(Debug)]
pub struct Relays {
    /// `None` in tests: then the rules never change.
    source: Option<Neighbours>,
    known: Mutex<Option<(Instant, Vec<Relay>)>>,
}

/// The relay that was chosen for a message.
#[derive(Debug, Clone)]
pub struct Chosen(pub Relay);

impl Chosen {
    pub fn key(&self, require_tls: bool) -> Key {
        let Relay { host, port, login, .. } = &self.0;
        Key::Relay { host: host.clone(), port: *port, login: login.clone(), require_tls }
    }
}

impl Relays {
    pub fn of(source: Neighbours) -> Self {
        Self { source: Some(source), known: Mutex::default() }
    }

    /// These rules, for good.
    #[cfg(test)]
    pub fn fixed(rules: Vec<Relay>) -> Self {
        Self { source: None, known: Mutex::new(Some((Instant::now(), rules))) }
    }

    /// The relay for mail from a domain to a domain. While the directory is away the last rules hold; before there are
    /// any, mail waits: going around a relay could cost its owner a reputation.
    pub async fn pick(&self, from: Option<&Domain>, to: &Domain) -> Result<Option<Chosen>, String> {
        let mut known = self.known.lock().await;
        let fresh = known.as_ref().is_some_and(|(at, _)| at.elapsed() < limits::RELAYS_FRESH);
        if let Some(source) = self.source.as_ref().filter(|_| !fresh) {
            match source.relays().await {
                Ok(rules) => *known = Some((Instant::now(), rules)),
                Err(error) if known.is_none() => {
                    return Err(format!("whether a relay is to be used is not known: {error}"));
                }
                Err(error) => tracing::warn!("the rules for relays may be old: {error}"),
            }
        }
        let rules = known.as_ref().map(|(_, rules)| rules.as_slice()).unwrap_or_default();
        Ok(choose(rules, from, to).cloned().map(Chosen))
    }
}

/// The destination's rule, else the sender's, else the box's.
fn choose<'a>(rules: &'a [Relay], from: Option<&Domain>, to: &Domain) -> Option<&'a Relay> {
    let of = |wanted: RelayScope| rules.iter().find(|rule| rule.scope == wanted);
    of(RelayScope::To(to.clone()))
        .or_else(|| from.and_then(|from| of(RelayScope::From(from.clone()))))
        .or_else(|| of(RelayScope::Everything))
}

impl<N: Names> Remote<N> {
    /// Sends through a relay.
    pub(super) async fn by_relay(
        &self,
        it: &Chosen,
        key: &Key,
        mail: &Transaction<'_>,
    ) -> Result<Vec<Outcome>, Outcome> {
        let mut tally = Tally::default();
        let addresses = self.relay_addresses(&it.0).await?;
        let mut dial = Dial::new(&self.awake(&addresses, &mut tally, limits::ADDRESSES), it.0.port);
        loop {
            let mut failures = Vec::new();
            let connected = dial.next(&mut failures).await;
            for (address, error) in failures {
                tally.add(self.unreachable(&it.0.host, address, &error.into()));
            }
            let Some((address, stream)) = connected else { break };
            match self.enter(&it.0, address, stream).await {
                Ok(idle) => match self.send(key, idle, mail).await {
                    Ok(outcomes) => return Ok(outcomes),
                    Err(error) => tally.add(no_conversation(&it.0.host, address, &error)),
                },
                Err(trouble) => tally.add(Outcome::Deferred(trouble)),
            }
        }
        Err(tally.end(|| Trouble::new("4.4.1", format!("the relay {} cannot be reached", it.0.host)).of_place()))
    }

    async fn relay_addresses(&self, relay: &Relay) -> Result<Vec<IpAddr>, Outcome> {
        let trouble = |words: String| Outcome::Deferred(Trouble::new("4.4.3", words).of_place());
        let found = match self.names.addresses(&relay.host).await {
            Ok(found) => found,
            Err(LookupError::NoSuchName) => Vec::new(),
            Err(error) => return Err(trouble(format!("the relay {}: {error}", relay.host))),
        };
        // The owner chose it, so it may well be in the same network. It knows who we are: IPv6 needs no name.
        if found.is_empty() {
            Err(trouble(format!("the relay {} has no address in the DNS", relay.host)))
        } else {
            Ok(found)
        }
    }

    /// Greeting, TLS, login. Whatever fails is the owner's to mend, so mail waits.
    async fn enter(&self, relay: &Relay, address: IpAddr, stream: TcpStream) -> Result<Idle, Trouble> {
        let server = format!("{} [{address}]", relay.host);
        let trouble = |status: &str, what: &str, error: &dyn std::fmt::Display| {
            let words = format!("the relay {server}: {what}: {error}");
            Trouble { server: Some(server.clone()), ..Trouble::new(status, words).of_place() }
        };
        let open = |channel| Conversation::open(channel, Protocol::Smtp, &server, &self.own);
        let greeting = |error: ClientError| trouble("4.4.2", "it does not greet", &error);
        let (mut conversation, version) = match relay.tls {
            RelayTls::Implicit => {
                let secured = self.tls.handshake(&relay.host, &Demand::Trusted, stream).await;
                let secured = secured.map_err(|error| trouble("4.7.5", "TLS fails", &error))?;
                (open(Channel::new(secured.stream)).await.map_err(greeting)?, secured.version)
            }
            RelayTls::Starttls => {
                let plain = open(Channel::new(stream)).await.map_err(greeting)?;
                if !plain.offer().starttls {
                    return Err(trouble("4.7.10", "TLS fails", &"it offers no STARTTLS"));
                }
                let stream = plain.starttls().await.map_err(|error| trouble("4.7.10", "STARTTLS fails", &error))?;
                let secured = self.tls.handshake(&relay.host, &Demand::Trusted, stream.into_stream()).await;
                let secured = secured.map_err(|error| trouble("4.7.5", "TLS fails", &error))?;
                let resumed = Conversation::resume(Channel::new(secured.stream), &server, &self.own).await;
                (resumed.map_err(greeting)?, secured.version)
            }
        };
        if let (Some(login), Some(password)) = (&relay.login, &relay.password) {
            let logged_in = conversation.log_in(login, password).await;
            logged_in.map_err(|error| trouble("4.7.8", "it does not take the login", &error))?;
        }
        Ok(idle(conversation, &format!("{version}, certificate verified, by relay")))
    }

    /// Connects, speaks TLS, logs in, and leaves.
    pub async fn try_relay(&self, relay: &Relay) -> Result<(), String> {
        let words = |outcome: Outcome| outcome.words().to_owned();
        let addresses = self.relay_addresses(relay).await.map_err(words)?;
        let (mut dial, mut failures) = (Dial::new(&addresses, relay.port), Vec::new());
        match dial.next(&mut failures).await {
            Some((address, stream)) => {
                let entered = self.enter(relay, address, stream).await.map_err(|trouble| trouble.words)?;
                entered.conversation.quit().await;
                Ok(())
            }
            None => {
                let why = failures.last().map_or_else(|| "no answer".to_owned(), |(_, error)| error.to_string());
                Err(format!("the relay {} cannot be reached on port {}: {why}", relay.host, relay.port))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(name: &str) -> Domain {
        Domain::parse(name).unwrap()
    }

    fn rule(scope: RelayScope, host: &str) -> Relay {
        Relay { scope, host: domain(host), port: 465, tls: RelayTls::Implicit, login: None, password: None, spf: None }
    }

    #[test]
    fn the_most_particular_rule_counts() {
        let rules = [
            rule(RelayScope::Everything, "all.example"),
            rule(RelayScope::From(domain("ann.example")), "from.example"),
            rule(RelayScope::To(domain("bob.example")), "to.example"),
        ];
        let host = |from: Option<&str>, to: &str| {
            let from = from.map(domain);
            choose(&rules, from.as_ref(), &domain(to)).map(|relay| relay.host.to_string())
        };
        assert_eq!(host(Some("ann.example"), "bob.example").as_deref(), Some("to.example"));
        assert_eq!(host(Some("ann.example"), "else.example").as_deref(), Some("from.example"));
        assert_eq!(host(None, "else.example").as_deref(), Some("all.example"));
        assert!(choose(&rules[1..], None, &domain("else.example")).is_none());
    }
}
