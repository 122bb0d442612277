//! The HTTP client under the ACME library: with a limit on how long a request may take, and an ear for `Retry-After`.

use crate::CertsError;
use crate::limits::REQUEST_WITHIN;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// When the authority wants to be left alone until, in seconds since 1970; 0 when it said nothing.
#[derive(Debug, Clone, Default)]
pub struct RetryAfter(Arc<AtomicU64>);

impl RetryAfter {
    pub fn get(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }

    /// A refusal that says when to come again (RFC 8555 §6.6).
    fn take_in(&self, status: StatusCode, headers: &HeaderMap) {
        if status != StatusCode::TOO_MANY_REQUESTS && status != StatusCode::SERVICE_UNAVAILABLE {
            return;
        }
        let value = headers.get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        if let Some(at) = value.and_then(|value| moment(value.trim(), base::time::now_unix())) {
            self.0.store(at, Ordering::Relaxed);
        }
    }
}

/// Seconds from now, or a date (RFC 9110 §10.2.3).
fn moment(value: &str, now: u64) -> Option<u64> {
    match value.parse::<u64>() {
        Ok(seconds) => Some(now.saturating_add(seconds)),
        Err(_) => base::time::from_http_date(value),
    }
}

pub struct Client {
    http: reqwest::Client,
    retry_after: RetryAfter,
}

impl Client {
    /// A client that trusts what the system trusts, or only the authority in a file.
    pub fn new(ca_file: Option<&Path>, retry_after: RetryAfter) -> Result<Self, CertsError> {
        let mut builder = reqwest::Client::builder().timeout(REQUEST_WITHIN).https_only(true);
        if let Some(file) = ca_file {
            let pem = std::fs::read(file).map_err(|error| CertsError::file(file, error))?;
            let roots = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|error| CertsError::Unreadable(file.to_owned(), error.to_string()))?;
            builder = builder.tls_certs_only(roots);
        }
        let http = builder.build().map_err(|error| CertsError::Refused(error.to_string()))?;
        Ok(Self { http, retry_after })
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let (http, retry_after) = (self.http.clone(), self.retry_after.clone());
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let request = Request::from_parts(parts, reqwest::Body::wrap(body));
            let request = reqwest::Request::try_from(request).map_err(other)?;
            let response: Response<reqwest::Body> = http.execute(request).await.map_err(other)?.into();
            retry_after.take_in(response.status(), response.headers());
            Ok(BytesResponse::from(response))
        })
    }
}

/// An error with all of its causes in one line: the outermost alone says “error sending request”.
fn other(error: reqwest::Error) -> Error {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        words.push_str(&format!(": {error}"));
        cause = error.source();
    }
    Error::Other(words.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_says_when_to_come_again_in_seconds_or_as_a_date() {
        assert_eq!(moment("120", 1_000), Some(1_120));
        assert_eq!(moment("Sat, 21 Nov 2026 08:00:00 GMT", 0), Some(1_795_248_000));
        assert_eq!(moment("soon", 0), None);
        let (heard, mut headers) = (RetryAfter::default(), HeaderMap::new());
        headers.insert("retry-after", "60".parse().unwrap());
        heard.take_in(StatusCode::OK, &headers);
        assert_eq!(heard.get(), None, "how often to poll is not a refusal");
        heard.take_in(StatusCode::TOO_MANY_REQUESTS, &headers);
        assert!(heard.get().is_some_and(|at| at >= base::time::now_unix() + 59));
    }
}
