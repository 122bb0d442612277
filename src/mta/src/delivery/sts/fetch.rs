//! Fetching a policy (RFC 8461 §3.3): HTTPS with a certificate for the name, no redirects, plain text, bounded.

use super::policy::{Policy, PolicyError};
use crate::delivery::names::{LookupError, Names};
use crate::delivery::tls::Outbound;
use crate::limits;
use base::Domain;
use std::net::SocketAddr;

/// Why there is no policy; a part of a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    #[error("{0}")]
    Names(LookupError),
    #[error("its server has no address")]
    NoAddress,
    /// The certificate of the policy's server is not trusted (RFC 8460: sts-webpki-invalid).
    #[error("its server's certificate is not good: {0}")]
    Certificate(String),
    #[error("{0}")]
    Web(String),
    #[error("{0}")]
    Policy(#[from] PolicyError),
}

/// Fetches policies.
#[derive(Debug)]
pub struct Fetcher {
    pub tls: Outbound,
    /// 443 but in tests.
    pub port: u16,
}

impl Fetcher {
    pub async fn fetch(&self, names: &impl Names, domain: &Domain) -> Result<Policy, FetchError> {
        let web = |error: String| FetchError::Web(error);
        let host = domain.prefixed("mta-sts").map_err(|error| web(error.to_string()))?;
        let addresses = names.addresses(&host).await.map_err(FetchError::Names)?;
        let addresses: Vec<_> = addresses.iter().map(|address| SocketAddr::new(*address, self.port)).collect();
        if addresses.is_empty() {
            return Err(FetchError::NoAddress);
        }
        let tls = self.tls.web().map_err(|error| web(error.to_string()))?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(limits::STS_FETCH_WITHIN)
            .resolve_to_addrs(host.as_str(), &addresses)
            .build()
            .map_err(in_words)?;
        let url = format!("https://{host}:{}/.well-known/mta-sts.txt", self.port);
        let mut answer = client.get(url).send().await.map_err(in_words)?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(web(format!("its server answers {}", answer.status())));
        }
        let kind = answer.headers().get(reqwest::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if kind != "text/plain" {
            return Err(web(format!("its media type is “{kind}” instead of text/plain")));
        }
        let mut text = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(in_words)? {
            text.extend_from_slice(&piece);
            if text.len() > limits::STS_POLICY {
                return Err(web(format!("it is longer than {} octets", limits::STS_POLICY)));
            }
        }
        let text = String::from_utf8(text).map_err(|_| web("it is not text".to_owned()))?;
        Ok(Policy::parse(&text)?)
    }
}

/// The innermost cause: a refused certificate is what matters, not “error sending request”.
fn in_words(error: reqwest::Error) -> FetchError {
    let mut cause: &dyn std::error::Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let words = cause.to_string();
    if words.contains("certificate") { FetchError::Certificate(words) } else { FetchError::Web(words) }
}
