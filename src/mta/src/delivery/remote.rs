//! Delivery to other people's servers: find them, connect, TLS where it is offered, send.

use super::client::{ClientError, Conversation, Protocol, Transaction};
use super::names::{LookupError, Names};
use super::tls::{self, Outbound};
use super::{Outcome, Trouble, all, route};
use crate::channel::Channel;
use crate::limits;
use base::{Address, Domain};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Sends to other people's servers.
#[derive(Debug)]
pub struct Remote<N> {
    pub names: N,
    pub tls: Outbound,
    /// The name that we give ourselves.
    pub own: Domain,
    /// The addresses that are ours: mail is never sent there, it would come back.
    pub own_addresses: Vec<IpAddr>,
    /// Whether peers may be on loopback, as in a demo. In the world an MX that points there is a mistake or a trick.
    pub loopback: bool,
    pub port: u16,
}

impl<N: Names> Remote<N> {
    /// Delivers one message to recipients of one domain. One server's answer is final for this try; the next server is
    /// asked only when one could not be talked to.
    pub async fn deliver(&self, domain: &Domain, it: &Transaction<'_>) -> Vec<(Address, Outcome)> {
        let hosts = match route::hosts(&self.names, domain, &self.own).await {
            Ok(hosts) => hosts,
            Err(outcome) => return all(it.recipients, &outcome),
        };
        let mut last = Outcome::Deferred(Trouble::new("4.4.1", format!("no server of {domain} could be reached")));
        let mut tried = 0;
        for host in hosts {
            let addresses = match self.usable_addresses(&host).await {
                Ok(addresses) => addresses,
                Err(outcome) => {
                    last = outcome;
                    continue;
                }
            };
            for address in addresses {
                if tried == limits::ADDRESSES {
                    return all(it.recipients, &last);
                }
                tried += 1;
                match self.at_address(&host, address, it).await {
                    Ok(outcomes) => return it.recipients.iter().map(|to| to.address.clone()).zip(outcomes).collect(),
                    Err(error) => last = no_conversation(&host, address, &error),
                }
            }
        }
        all(it.recipients, &last)
    }

    async fn usable_addresses(&self, host: &Domain) -> Result<Vec<IpAddr>, Outcome> {
        let found = match self.names.addresses(host).await {
            Ok(found) => found,
            Err(LookupError::NoSuchName) => Vec::new(),
            Err(error) => return Err(Outcome::Deferred(Trouble::new("4.4.3", format!("{host}: {error}")))),
        };
        if found.is_empty() {
            // A missing address is more often a mistake that gets mended than meant: try for the full time.
            return Err(Outcome::Deferred(Trouble::new("4.4.4", format!("{host} has no address in the DNS"))));
        }
        let usable: Vec<_> = found.into_iter().filter(|address| self.may_connect(*address)).collect();
        if usable.is_empty() {
            let words = format!("{host} has only addresses that lead back to this box or nowhere");
            return Err(Outcome::Failed(Trouble::new("5.4.4", words)));
        }
        Ok(usable)
    }

    fn may_connect(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let nowhere = address.is_unspecified() || address.is_multicast();
        !nowhere && (self.loopback || !address.is_loopback()) && !self.own_addresses.contains(&address)
    }

    async fn at_address(&self, host: &Domain, at: IpAddr, it: &Transaction<'_>) -> Result<Vec<Outcome>, ClientError> {
        let server = format!("{host} [{at}]");
        let plain = Conversation::open(self.connect(at).await?, Protocol::Smtp, &server, &self.own).await?;
        let (mut conversation, how) = if plain.offer().starttls {
            match self.encrypt(plain, host, &server).await {
                Ok(encrypted) => encrypted,
                Err(error) => {
                    // Opportunistic: a server whose TLS does not work still gets its mail, on a new connection.
                    tracing::info!("TLS with {server} failed ({error}); sending without");
                    let again = Conversation::open(self.connect(at).await?, Protocol::Smtp, &server, &self.own).await?;
                    (again, "without TLS".to_owned())
                }
            }
        } else {
            (plain, "without TLS".to_owned())
        };
        let mut outcomes = conversation.send(it).await?;
        conversation.quit().await;
        for outcome in &mut outcomes {
            if let Outcome::Delivered(delivery) = outcome {
                delivery.words.push_str(&format!(" ({how})"));
                delivery.security = Some(how.clone());
            }
        }
        Ok(outcomes)
    }

    async fn connect(&self, address: IpAddr) -> Result<Channel, ClientError> {
        let connecting = TcpStream::connect(SocketAddr::new(address, self.port));
        let stream = timeout(limits::CONNECT_WITHIN, connecting)
            .await
            .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
        // Commands are small and each waits for its answer.
        stream.set_nodelay(true)?;
        Ok(Channel::new(stream))
    }

    /// STARTTLS, the handshake, and EHLO again (RFC 3207 §4.2); says also how it is encrypted.
    async fn encrypt(
        &self,
        plain: Conversation,
        host: &Domain,
        server: &str,
    ) -> Result<(Conversation, String), ClientError> {
        let invalid = |error: rustls::Error| std::io::Error::other(error);
        let name = tls::server_name(host).ok_or(ClientError::Garbled)?;
        let stream = plain.starttls().await?.into_stream();
        let (config, verified) = self.tls.connection().map_err(invalid)?;
        let handshake = tokio_rustls::TlsConnector::from(config).connect(name, stream);
        let stream = timeout(limits::HANDSHAKE_WITHIN, handshake)
            .await
            .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
        let version = stream
            .get_ref()
            .1
            .protocol_version()
            .and_then(|version| version.as_str())
            .map(|version| version.replace('_', "."));
        let verified = if verified.load(Ordering::Relaxed) { "verified" } else { "not verified" };
        let how = format!("{}, certificate {verified}", version.unwrap_or_else(|| "TLS".into()));
        Ok((Conversation::resume(Channel::new(stream), server, &self.own).await?, how))
    }
}

/// A server that could not be talked to defers, but for one that says that it never takes mail (RFC 7504).
fn no_conversation(host: &Domain, address: IpAddr, error: &ClientError) -> Outcome {
    let server = format!("{host} [{address}]");
    match error {
        ClientError::Refused(reply) if reply.is_permanent() => Outcome::of(reply, &server),
        ClientError::Refused(reply) if !reply.is_success() => Outcome::of(reply, &server),
        other => Outcome::Deferred(Trouble::new("4.4.2", format!("{server}: {other}"))),
    }
}
