//! The DNS questions that delivery asks, and what answers look like. [`super::dns`] asks them of a real resolver.

use super::dane::Tlsa;
use base::Domain;
use std::future::Future;
use std::net::IpAddr;

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

/// Records with what is known of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// Empty where the name exists and has no such record.
    pub records: Vec<T>,
    /// Whether the resolver vouches for all of it by DNSSEC (the AD bit), the absence of records included.
    pub secure: bool,
    /// Where a chain of CNAMEs ended, when the name was an alias.
    pub canonical: Option<Domain>,
}

impl<T> Answer<T> {
    /// An answer that nobody vouches for.
    pub fn insecure(records: Vec<T>) -> Self {
        Self { records, secure: false, canonical: None }
    }

    pub fn secure(records: Vec<T>) -> Self {
        Self { records, secure: true, canonical: None }
    }
}

/// Answers to the questions. What only some sources know has an answer that promises nothing.
pub trait Names: Send + Sync + 'static {
    fn mx(&self, domain: &Domain) -> impl Future<Output = Result<Vec<Mx>, LookupError>> + Send;
    fn addresses(&self, host: &Domain) -> impl Future<Output = Result<Vec<IpAddr>, LookupError>> + Send;

    /// [`Names::mx`], with whether it is secure.
    fn mx_answer(&self, domain: &Domain) -> impl Future<Output = Result<Answer<Mx>, LookupError>> + Send {
        async move { Ok(Answer::insecure(self.mx(domain).await?)) }
    }

    /// [`Names::addresses`], with whether they are secure and where an alias led.
    fn address_answer(&self, host: &Domain) -> impl Future<Output = Result<Answer<IpAddr>, LookupError>> + Send {
        async move { Ok(Answer::insecure(self.addresses(host).await?)) }
    }

    /// The name that a CNAME record at exactly this name gives. Asked to learn whether an insecure address comes from
    /// a secure alias (RFC 7672 §2.2.2).
    fn alias(&self, _host: &Domain) -> impl Future<Output = Result<Answer<Domain>, LookupError>> + Send {
        async { Ok(Answer::insecure(Vec::new())) }
    }

    /// The TLSA records of a port over TCP: `_25._tcp.mx.example.net`. That the name does not exist is an empty answer.
    fn tlsa(&self, _host: &Domain, _port: u16) -> impl Future<Output = Result<Answer<Tlsa>, LookupError>> + Send {
        async { Ok(Answer::insecure(Vec::new())) }
    }

    /// TXT records, each in one piece. The name may have labels that no host has, such as `_mta-sts`. That it does not
    /// exist is an empty answer.
    fn txt(&self, _name: &str) -> impl Future<Output = Result<Vec<String>, LookupError>> + Send {
        async { Ok(Vec::new()) }
    }

    /// The names that an address's PTR records give. That there are none is an empty answer.
    fn pointers(&self, _address: IpAddr) -> impl Future<Output = Result<Vec<Domain>, LookupError>> + Send {
        async { Ok(Vec::new()) }
    }
}
