//! Asking name servers: the box's own resolver, or one server directly. Values come back as in a zone file, and
//! [`compare`] tells whether two of them mean the same.

pub mod compare;

pub use compare::canonical;

use domain::base::iana::Rcode;
use domain::base::zonefile_fmt::{DisplayKind, ZonefileFmt};
use domain::base::{Message, MessageBuilder, Name, ParsedName, Record, Rtype};
use domain::net::client::protocol::{TcpConnect, UdpConnect};
use domain::net::client::request::{RequestMessage, SendRequest};
use domain::net::client::{dgram, dgram_stream, multi_stream, stream};
use domain::rdata::AllRecordData;
use domain::rdata::dnssec::Timestamp;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest wait for one answer over UDP, and how often it is asked for again.
pub const TRY_WITHIN: Duration = Duration::from_secs(3);
const RETRIES: u8 = 1;
/// Most name servers of a parent zone that are asked.
const MAX_PARENT_SERVERS: usize = 16;

type Octets<'a> = &'a [u8];
type Data<'a> = AllRecordData<Octets<'a>, ParsedName<Octets<'a>>>;

/// Why there is no answer; a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamesError {
    #[error("“{0}” is not a name that can be looked up")]
    Name(String),
    #[error("the name server {0} does not answer ({1})")]
    Away(SocketAddr, String),
    #[error("the name server {0} answers what cannot be understood")]
    Garbled(SocketAddr),
    #[error("looking up {0} fails ({1})")]
    Failed(String, Rcode),
}

/// One record of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Lower case, without trailing dot.
    pub name: String,
    pub kind: String,
    /// As in a zone file; TXT as plain text in one piece.
    pub value: String,
}

/// An answer that says what is there, or that nothing is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The values of the kind that was asked for.
    pub values: Vec<String>,
    /// Their TTL in seconds; 0 where there are none.
    pub ttl: u32,
    /// Whether the resolver vouches for it by DNSSEC (the AD bit).
    pub authenticated: bool,
    /// Whether the server itself holds the zone (the AA bit).
    pub authoritative: bool,
    /// The authority and additional sections: where a referral has its NS records and glue.
    pub beside: Vec<Found>,
}

/// The box's view of the DNS.
#[derive(Debug, Clone)]
pub struct Names {
    resolver: SocketAddr,
}

impl Names {
    pub fn new(resolver: SocketAddr) -> Self {
        Self { resolver }
    }

    pub fn resolver(&self) -> SocketAddr {
        self.resolver
    }

    /// Asks the resolver. That the name or the record does not exist is an empty answer.
    pub async fn ask(&self, name: &str, kind: &str) -> Result<Answer, NamesError> {
        ask(self.resolver, name, kind, true).await
    }

    /// The addresses of a host, IPv4 first.
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, NamesError> {
        let (v4, v6) = tokio::join!(self.ask(name, "A"), self.ask(name, "AAAA"));
        let found = match (v4, v6) {
            (Ok(v4), Ok(v6)) => v4.values.into_iter().chain(v6.values).collect(),
            (Ok(one), Err(_)) | (Err(_), Ok(one)) if !one.values.is_empty() => one.values,
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        Ok(found.iter().filter_map(|value: &String| value.parse().ok()).collect())
    }

    /// The addresses of the servers of the zone above, one list for each server.
    pub async fn above(&self, zone: &str) -> Result<Vec<Vec<IpAddr>>, NamesError> {
        let mut parent = zone;
        loop {
            parent = parent.split_once('.').map_or("", |(_, rest)| rest);
            let servers = self.ask(if parent.is_empty() { "." } else { parent }, "NS").await?.values;
            if !servers.is_empty() || parent.is_empty() {
                let mut found = Vec::new();
                for server in servers.iter().take(MAX_PARENT_SERVERS) {
                    found.push(self.addresses(server.trim_end_matches('.')).await?);
                }
                return Ok(found);
            }
        }
    }
}

/// Asks one server, over UDP and, where the answer is too long, TCP.
pub async fn ask(server: SocketAddr, name: &str, kind: &str, recursive: bool) -> Result<Answer, NamesError> {
    let bad_name = || NamesError::Name(name.to_owned());
    let rtype = Rtype::from_str(kind).map_err(|_| bad_name())?;
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_rd(recursive);
    message.header_mut().set_ad(recursive);
    let mut question = message.question();
    let owner = Name::vec_from_str(name).map_err(|_| bad_name())?;
    question.push((owner, rtype)).map_err(|_| bad_name())?;
    let request = RequestMessage::new(question).map_err(|_| bad_name())?;

    let mut datagrams = dgram::Config::new();
    datagrams.set_read_timeout(TRY_WITHIN);
    datagrams.set_max_retries(RETRIES);
    // The size that fits every path (DNS flag day 2020).
    datagrams.set_udp_payload_size(Some(1232));
    let mut streams = stream::Config::new();
    streams.set_response_timeout(TRY_WITHIN);
    let config = dgram_stream::Config::from_parts(datagrams, multi_stream::Config::from(streams));
    let (connection, transport) =
        dgram_stream::Connection::with_config(UdpConnect::new(server), TcpConnect::new(server), config);
    let running = tokio::spawn(transport.run());
    let reply = connection.send_request(request).get_response().await;
    running.abort();
    let reply = reply.map_err(|error| NamesError::Away(server, error.to_string()))?;
    read(reply.as_slice(), name, rtype, server)
}

/// Whether a server hands a whole zone to anybody who asks (AXFR without a key, RFC 5936).
pub async fn gives_away(server: SocketAddr, zone: &str) -> Result<bool, NamesError> {
    let bad_name = || NamesError::Name(zone.to_owned());
    let mut question = MessageBuilder::new_vec().question();
    let owner = Name::vec_from_str(zone).map_err(|_| bad_name())?;
    question.push((owner, Rtype::AXFR)).map_err(|_| bad_name())?;
    let asked = question.finish();
    let exchange = async {
        let mut stream = TcpStream::connect(server).await?;
        let length = u16::try_from(asked.len()).map_err(std::io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes()[..], &asked].concat()).await?;
        let mut answer = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = match tokio::time::timeout(TRY_WITHIN, exchange).await {
        Ok(Ok(answer)) => answer,
        // One that closes the connection gives nothing away.
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
        Ok(Err(error)) => return Err(NamesError::Away(server, error.to_string())),
        Err(_) => return Err(NamesError::Away(server, "no answer in time".to_owned())),
    };
    let message = Message::from_octets(answer).map_err(|_| NamesError::Garbled(server))?;
    Ok(message.header().rcode() == Rcode::NOERROR && message.header_counts().ancount() > 0)
}

/// MX values (as in a zone file) by their preference, the first to be tried first; hosts in lower case, without trailing
/// dot. The null MX (RFC 7505) is none.
pub fn exchangers(values: &[String]) -> Vec<(u16, String)> {
    let read = |value: &String| {
        let (preference, host) = value.split_once(' ')?;
        let host = host.trim().trim_end_matches('.').to_ascii_lowercase();
        (!host.is_empty()).then_some((preference.parse().ok()?, host))
    };
    let mut found: Vec<(u16, String)> = values.iter().filter_map(read).collect();
    found.sort();
    found
}

/// The serial with which a server itself answers for a zone; `None` where it does not have the zone.
pub async fn serial(server: SocketAddr, zone: &str) -> Result<Option<u32>, NamesError> {
    let answer = ask(server, zone, "SOA", false).await?;
    let value = answer.values.first().filter(|_| answer.authoritative);
    Ok(value.and_then(|soa| soa.split_whitespace().nth(2)?.parse().ok()))
}

/// What an RRSIG's value (as in a zone file) says: the type that it covers, and until when, in seconds since 1970.
pub fn signature(value: &str) -> Option<(&str, u64)> {
    let mut words = value.split_whitespace();
    let covers = words.next()?;
    let until = Timestamp::from_str(words.nth(3)?).ok()?;
    Some((covers, u64::from(until.into_int())))
}

fn read(bytes: &[u8], name: &str, rtype: Rtype, server: SocketAddr) -> Result<Answer, NamesError> {
    let garbled = |_| NamesError::Garbled(server);
    let message = Message::from_octets(bytes).map_err(|_| NamesError::Garbled(server))?;
    let rcode = message.header().rcode();
    if rcode != Rcode::NOERROR && rcode != Rcode::NXDOMAIN {
        return Err(NamesError::Failed(name.to_owned(), rcode));
    }
    let mut answer =
        Answer { authenticated: message.header().ad(), authoritative: message.header().aa(), ..Answer::default() };
    let (section, authority, additional) = {
        let (_, answer, authority, additional) = message.sections().map_err(garbled)?;
        (answer, authority, additional)
    };
    for record in section.limit_to::<Data<'_>>() {
        let record = record.map_err(garbled)?;
        if record.rtype() == rtype {
            answer.ttl = record.ttl().as_secs();
            answer.values.push(value(&record));
        }
    }
    for record in authority.limit_to::<Data<'_>>().chain(additional.limit_to::<Data<'_>>()) {
        let record = record.map_err(garbled)?;
        let name = record.owner().to_string().to_ascii_lowercase();
        answer.beside.push(Found { name, kind: record.rtype().to_string(), value: value(&record) });
    }
    Ok(answer)
}

fn value(record: &Record<ParsedName<Octets<'_>>, Data<'_>>) -> String {
    match record.data() {
        AllRecordData::Txt(txt) => String::from_utf8_lossy(&txt.text::<Vec<u8>>()).into_owned(),
        data => data.display_zonefile(DisplayKind::Simple).to_string(),
    }
}

/// The name under which a PTR record or a blocklist knows an address: octets or nibbles in reverse order
/// (RFC 1035 §3.5, RFC 3596 §2.5, RFC 5782 §2.4).
pub fn reversed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}")
        }
        IpAddr::V6(v6) => {
            let nibbles = v6.octets().into_iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}")).collect::<Vec<_>>().join(".")
        }
    }
}

/// The name of an address's PTR record.
pub fn ptr_name(address: IpAddr) -> String {
    let zone = if address.is_ipv4() { "in-addr.arpa" } else { "ip6.arpa" };
    format!("{}.{zone}", reversed(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_ipv6_address_is_reversed_nibble_by_nibble() {
        let address = "2001:db8:1:2:3:4:567:89ab".parse().unwrap();
        assert_eq!(reversed(address), "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2");
        assert!(ptr_name(address).ends_with(".1.0.0.2.ip6.arpa"));
    }

    #[test]
    fn an_ipv4_address_is_reversed_octet_by_octet() {
        assert_eq!(ptr_name("192.0.2.25".parse().unwrap()), "25.2.0.192.in-addr.arpa");
    }

    #[test]
    fn exchangers_are_in_their_order_and_the_null_mx_is_none() {
        let values = ["20 B.example.org.", "5 a.example.org.", "0 .", "garbage", "x y."].map(str::to_owned);
        let hosts = [(5, "a.example.org".to_owned()), (20, "b.example.org".to_owned())];
        assert_eq!(exchangers(&values), hosts);
    }

    #[test]
    fn a_signature_says_what_it_covers_and_until_when() {
        let written = "SOA 13 2 3600 20261212080000 20261128080000 12345 example.org. c2ln";
        assert_eq!(signature(written), Some(("SOA", 1_797_062_400)));
        assert_eq!(signature("SOA 13 2 3600 1797062400 0 12345 example.org. c2ln"), Some(("SOA", 1_797_062_400)));
        assert_eq!(signature("SOA 13"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_from_a_name_server_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(&bytes, "example.org", Rtype::MX, "127.0.0.1:53".parse().unwrap());
        }
    }
}
