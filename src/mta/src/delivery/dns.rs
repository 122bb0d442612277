//! The box's own resolver on loopback. It validates DNSSEC, says so by the AD bit, and answers SERVFAIL to what is
//! forged. That bit counts because nobody sits between us and loopback (RFC 7672 §2.1.1).

use super::dane::Tlsa;
use super::names::{Answer, LookupError, Mx, Names};
use crate::limits;
use base::Domain;
use domain::base::iana::Rcode;
use domain::base::{Message, MessageBuilder, Name, ParsedName, Rtype};
use domain::net::client::protocol::{TcpConnect, UdpConnect};
use domain::net::client::request::{RequestMessage, SendRequest};
use domain::net::client::{dgram, dgram_stream, multi_stream, stream};
use domain::rdata::AllRecordData;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How long one try may take; there are two of them within [`limits::LOOKUP_WITHIN`].
const TRY_WITHIN: Duration = Duration::from_secs(8);

type Data<'a> = AllRecordData<&'a [u8], ParsedName<&'a [u8]>>;

/// The box's view of the DNS.
#[derive(Debug, Clone)]
pub struct Dns {
    server: SocketAddr,
    resolver: TokioResolver,
}

impl Dns {
    pub fn new(server: SocketAddr) -> Result<Self, NetError> {
        let connection = |mut connection: ConnectionConfig| {
            connection.port = server.port();
            connection
        };
        let connections = vec![connection(ConnectionConfig::udp()), connection(ConnectionConfig::tcp())];
        let name_server = NameServerConfig::new(server.ip(), true, connections);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![name_server]);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        // Names come from the DNS alone, not from what a provider wrote into /etc/hosts.
        options.use_hosts_file = ResolveHosts::Never;
        // The resolver on loopback caches; a second cache would only keep old answers longer.
        options.cache_size = 0;
        options.timeout = TRY_WITHIN;
        options.attempts = 2;
        Ok(Self { server, resolver: builder.build()? })
    }

    /// The same resolver for questions that need no word on DNSSEC (PTR, blocklists).
    pub fn resolver(&self) -> &TokioResolver {
        &self.resolver
    }

    /// Asks, over UDP and, where the answer is too long, TCP. `pick` takes the records of the kind that was asked for.
    async fn ask<T>(
        &self,
        name: &str,
        kind: Rtype,
        pick: impl Fn(&Data<'_>) -> Option<T>,
    ) -> Result<Answer<T>, LookupError> {
        let reply = tokio::time::timeout(limits::LOOKUP_WITHIN, self.reply(name, kind)).await;
        let reply = reply.map_err(|_| LookupError::Passing("no answer in time".into()))?;
        read(&reply.map_err(LookupError::Passing)?, pick)
    }

    async fn reply(&self, name: &str, kind: Rtype) -> Result<Vec<u8>, String> {
        let words = |error: &dyn std::fmt::Display| error.to_string();
        let mut message = MessageBuilder::new_vec();
        message.header_mut().set_rd(true);
        // RFC 6840 §5.7: AD in a question asks for AD in the answer.
        message.header_mut().set_ad(true);
        let mut question = message.question();
        let owner: Name<Vec<u8>> = Name::vec_from_str(name).map_err(|error| words(&error))?;
        question.push((owner, kind)).map_err(|error| words(&error))?;
        let request = RequestMessage::new(question).map_err(|error| words(&error))?;
        let mut datagrams = dgram::Config::new();
        datagrams.set_read_timeout(TRY_WITHIN);
        datagrams.set_max_retries(1);
        // The size that fits every path (DNS flag day 2020).
        datagrams.set_udp_payload_size(Some(1232));
        let mut streams = stream::Config::new();
        streams.set_response_timeout(TRY_WITHIN);
        let config = dgram_stream::Config::from_parts(datagrams, multi_stream::Config::from(streams));
        let (udp, tcp) = (UdpConnect::new(self.server), TcpConnect::new(self.server));
        let (connection, transport) = dgram_stream::Connection::with_config(udp, tcp, config);
        let running = AbortOnDrop(tokio::spawn(transport.run()));
        let reply = connection.send_request(request).get_response().await;
        drop(running);
        reply.map(|reply| reply.as_slice().to_vec()).map_err(|error| words(&error))
    }
}

/// Ends a connection's task also when its question is given up.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn read<T>(bytes: &[u8], pick: impl Fn(&Data<'_>) -> Option<T>) -> Result<Answer<T>, LookupError> {
    let garbled = || LookupError::Passing("an answer that makes no sense".into());
    let message = Message::from_octets(bytes).map_err(|_| garbled())?;
    let header = message.header();
    match header.rcode() {
        Rcode::NOERROR => {}
        Rcode::NXDOMAIN => return Err(LookupError::NoSuchName),
        other => return Err(LookupError::Passing(other.to_string())),
    }
    let mut answer = Answer { records: Vec::new(), secure: header.ad(), canonical: None };
    for record in message.answer().map_err(|_| garbled())?.limit_to::<Data<'_>>() {
        let record = record.map_err(|_| garbled())?;
        if let AllRecordData::Cname(cname) = record.data() {
            answer.canonical = host(cname.cname());
        }
        answer.records.extend(pick(record.data()));
    }
    Ok(answer)
}

/// A name as a host, when it can be one.
fn host(name: &impl std::fmt::Display) -> Option<Domain> {
    Domain::parse(&name.to_string()).ok()
}

fn text(name: &impl std::fmt::Display) -> String {
    name.to_string().trim_end_matches('.').to_ascii_lowercase()
}

/// A name that does not exist has no records either; without a word on DNSSEC, since nobody builds on its absence.
fn or_none<T>(answer: Result<Answer<T>, LookupError>) -> Result<Answer<T>, LookupError> {
    match answer {
        Err(LookupError::NoSuchName) => Ok(Answer::insecure(Vec::new())),
        other => other,
    }
}

impl Names for Dns {
    async fn mx(&self, domain: &Domain) -> Result<Vec<Mx>, LookupError> {
        Ok(self.mx_answer(domain).await?.records)
    }

    async fn addresses(&self, host: &Domain) -> Result<Vec<IpAddr>, LookupError> {
        Ok(self.address_answer(host).await?.records)
    }

    async fn mx_answer(&self, domain: &Domain) -> Result<Answer<Mx>, LookupError> {
        let pick = |data: &Data<'_>| match data {
            AllRecordData::Mx(mx) => Some(Mx { preference: mx.preference(), exchange: text(mx.exchange()) }),
            _ => None,
        };
        self.ask(domain.as_str(), Rtype::MX, pick).await
    }

    async fn address_answer(&self, host: &Domain) -> Result<Answer<IpAddr>, LookupError> {
        let pick = |data: &Data<'_>| match data {
            AllRecordData::A(a) => Some(IpAddr::V4(a.addr())),
            AllRecordData::Aaaa(aaaa) => Some(IpAddr::V6(aaaa.addr())),
            _ => None,
        };
        let (six, four) =
            tokio::join!(self.ask(host.as_str(), Rtype::AAAA, pick), self.ask(host.as_str(), Rtype::A, pick));
        match (six, four) {
            (Ok(mut all), Ok(four)) => {
                all.records.extend(four.records);
                all.secure &= four.secure;
                all.canonical = all.canonical.or(four.canonical);
                Ok(all)
            }
            // One family's failure does not hide the other's addresses.
            (Ok(some), Err(error)) | (Err(error), Ok(some)) => {
                if some.records.is_empty() {
                    Err(error)
                } else {
                    Ok(some)
                }
            }
            (Err(error), Err(_)) => Err(error),
        }
    }

    async fn alias(&self, host: &Domain) -> Result<Answer<Domain>, LookupError> {
        let pick = |data: &Data<'_>| match data {
            AllRecordData::Cname(cname) => self::host(cname.cname()),
            _ => None,
        };
        or_none(self.ask(host.as_str(), Rtype::CNAME, pick).await)
    }

    async fn tlsa(&self, host: &Domain, port: u16) -> Result<Answer<Tlsa>, LookupError> {
        let pick = |data: &Data<'_>| match data {
            AllRecordData::Tlsa(tlsa) => Some(Tlsa {
                usage: tlsa.usage().to_int(),
                selector: tlsa.selector().to_int(),
                matching: tlsa.matching_type().to_int(),
                data: tlsa.data().to_vec(),
            }),
            _ => None,
        };
        or_none(self.ask(&format!("_{port}._tcp.{host}"), Rtype::TLSA, pick).await)
    }

    async fn txt(&self, name: &str) -> Result<Vec<String>, LookupError> {
        let pick = |data: &Data<'_>| match data {
            AllRecordData::Txt(txt) => Some(String::from_utf8_lossy(&txt.text::<Vec<u8>>()).into_owned()),
            _ => None,
        };
        Ok(or_none(self.ask(name, Rtype::TXT, pick).await)?.records)
    }

    async fn pointers(&self, address: IpAddr) -> Result<Vec<Domain>, LookupError> {
        let pick = |data: &Data<'_>| match data {
            AllRecordData::Ptr(ptr) => host(ptr.ptrdname()),
            _ => None,
        };
        Ok(or_none(self.ask(&pointer_name(address), Rtype::PTR, pick).await)?.records)
    }
}

/// The name of an address's PTR record (RFC 1035 §3.5, RFC 3596 §2.5).
fn pointer_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let nibbles = v6.octets().into_iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa"
        }
    }
}
