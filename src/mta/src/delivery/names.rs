//! The DNS questions that delivery asks.

use crate::limits;
use base::Domain;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// One MX record. The null MX's exchange is the root, written as an empty name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mx {
    pub preference: u16,
    pub exchange: String,
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// NXDOMAIN: nothing of that name exists.
    #[error("there is no domain of that name")]
    NoSuchName,
    /// The resolver failed, or DNSSEC did not validate.
    #[error("the DNS did not answer: {0}")]
    Passing(String),
}

/// Answers to the questions, empty where the name exists and has no such record.
pub trait Names: Send + Sync + 'static {
    fn mx(&self, domain: &Domain) -> impl Future<Output = Result<Vec<Mx>, LookupError>> + Send;
    fn addresses(&self, host: &Domain) -> impl Future<Output = Result<Vec<IpAddr>, LookupError>> + Send;
}

/// The box's own resolver. It validates DNSSEC itself and answers SERVFAIL to what is forged.
#[derive(Debug, Clone)]
pub struct Dns {
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
        options.timeout = Duration::from_secs(8);
        options.attempts = 2;
        Ok(Self { resolver: builder.build()? })
    }

    async fn records(&self, name: &Domain, kind: RecordType) -> Result<Vec<RData>, LookupError> {
        let question = self.resolver.lookup(format!("{name}."), kind);
        let answer = tokio::time::timeout(limits::LOOKUP_WITHIN, question)
            .await
            .map_err(|_| LookupError::Passing("no answer in time".into()))?;
        match answer {
            Ok(lookup) => Ok(lookup.answers().iter().map(|record| record.data.clone()).collect()),
            Err(error) if error.is_nx_domain() => Err(LookupError::NoSuchName),
            Err(error) if error.is_no_records_found() && !is_failure(&error) => Ok(Vec::new()),
            Err(error) => Err(LookupError::Passing(error.to_string())),
        }
    }
}

/// Whether "no records" hides a response code that says that the question was not answered.
fn is_failure(error: &NetError) -> bool {
    use hickory_resolver::net::DnsError;
    use hickory_resolver::proto::op::ResponseCode;
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => none.response_code != ResponseCode::NoError,
        _ => true,
    }
}

impl Names for Dns {
    async fn mx(&self, domain: &Domain) -> Result<Vec<Mx>, LookupError> {
        let records = self.records(domain, RecordType::MX).await?;
        let mx = records.into_iter().filter_map(|data| match data {
            RData::MX(mx) => Some(Mx {
                preference: mx.preference,
                exchange: mx.exchange.to_ascii().trim_end_matches('.').to_ascii_lowercase(),
            }),
            _ => None,
        });
        Ok(mx.collect())
    }

    async fn addresses(&self, host: &Domain) -> Result<Vec<IpAddr>, LookupError> {
        let (six, four) = tokio::join!(self.records(host, RecordType::AAAA), self.records(host, RecordType::A));
        match (six, four) {
            // One family's failure does not hide the other's addresses.
            (Ok(mut six), Ok(four)) => {
                six.extend(four);
                Ok(six.iter().filter_map(RData::ip_addr).collect())
            }
            (Ok(some), Err(error)) | (Err(error), Ok(some)) => {
                let found: Vec<_> = some.iter().filter_map(RData::ip_addr).collect();
                if found.is_empty() { Err(error) } else { Ok(found) }
            }
            (Err(error), Err(_)) => Err(error),
        }
    }
}
