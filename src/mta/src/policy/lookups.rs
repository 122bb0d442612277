//! The DNS questions about a client. Boxed, so that a session needs no type for where the answers come from.

use base::Domain;
use hickory_resolver::TokioResolver;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};
use std::fmt::Debug;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;

/// `None`: the DNS did not answer, so nothing may be concluded. Empty: there is no such record.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Option<Vec<T>>> + Send + 'a>>;

/// Who answers.
pub trait Lookups: Debug + Send + Sync + 'static {
    /// The names that an address says it has (PTR).
    fn names_of(&self, address: IpAddr) -> Answer<'_, Domain>;
    /// The addresses of a name, of the family of `like`: that the other family has an answer says nothing of this one.
    fn addresses_of<'a>(&'a self, name: &'a Domain, like: IpAddr) -> Answer<'a, IpAddr>;
    /// The codes at a name in a blocklist.
    fn codes_at<'a>(&'a self, name: &'a str) -> Answer<'a, Ipv4Addr>;
}

/// Nobody: every question stays open, and every client passes.
#[derive(Debug)]
pub struct Silence;

impl Lookups for Silence {
    fn names_of(&self, _: IpAddr) -> Answer<'_, Domain> {
        Box::pin(std::future::ready(None))
    }
    fn addresses_of<'a>(&'a self, _: &'a Domain, _: IpAddr) -> Answer<'a, IpAddr> {
        Box::pin(std::future::ready(None))
    }
    fn codes_at<'a>(&'a self, _: &'a str) -> Answer<'a, Ipv4Addr> {
        Box::pin(std::future::ready(None))
    }
}

/// The box's own resolver.
#[derive(Debug)]
pub struct Resolver(TokioResolver);

impl Resolver {
    pub fn new(server: SocketAddr) -> Result<Self, NetError> {
        base::names::resolver(server).map(Self)
    }
}

/// Records of an answer; none where the name has none.
fn found<T>(answer: Result<Vec<T>, NetError>) -> Option<Vec<T>> {
    match answer {
        Ok(records) => Some(records),
        Err(error) if error.is_nx_domain() => Some(Vec::new()),
        // "No records" may hide a code that says that the question was not answered.
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) if none.response_code == ResponseCode::NoError => {
            Some(Vec::new())
        }
        Err(error) => {
            tracing::debug!("a question about a client has no answer: {error}");
            None
        }
    }
}

impl Lookups for Resolver {
    fn names_of(&self, address: IpAddr) -> Answer<'_, Domain> {
        Box::pin(async move {
            let name = |data: &RData| match data {
                RData::PTR(name) => Domain::parse(&name.0.to_ascii()).ok(),
                _ => None,
            };
            let answer = self.0.reverse_lookup(address).await;
            found(answer.map(|it| it.answers().iter().filter_map(|record| name(&record.data)).collect()))
        })
    }

    fn addresses_of<'a>(&'a self, name: &'a Domain, like: IpAddr) -> Answer<'a, IpAddr> {
        Box::pin(async move {
            let address = |data: &RData| match data {
                RData::A(address) => Some(IpAddr::V4(address.0)),
                RData::AAAA(address) => Some(IpAddr::V6(address.0)),
                _ => None,
            };
            let kind = if like.is_ipv4() { RecordType::A } else { RecordType::AAAA };
            let answer = self.0.lookup(format!("{name}."), kind).await;
            found(answer.map(|it| it.answers().iter().filter_map(|record| address(&record.data)).collect()))
        })
    }

    fn codes_at<'a>(&'a self, name: &'a str) -> Answer<'a, Ipv4Addr> {
        Box::pin(async move {
            let answer = self.0.ipv4_lookup(format!("{name}.")).await;
            let code = |data: &RData| match data {
                RData::A(code) => Some(code.0),
                _ => None,
            };
            found(answer.map(|it| it.answers().iter().filter_map(|record| code(&record.data)).collect()))
        })
    }
}
