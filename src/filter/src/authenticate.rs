//! Who a message is really from: SPF (RFC 7208), DKIM (RFC 6376), DMARC (RFC 7489), ARC (RFC 8617) and reverse DNS
//! (RFC 8601 §2.7.3).

use crate::limits::DNS_WITHIN;
use crate::reports::{Asked, asked};
use base::Domain;
use mail_auth::dkim::VerifySignature;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::headers::HeaderWriter;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{
    ArcOutput, AuthenticatedMessage, AuthenticationResults, DkimResult, DmarcResult, IprevResult, MessageAuthenticator,
    SpfResult, dmarc::Policy,
};
use std::net::IpAddr;
use wire::filter::Judge;

/// What came of authentication, reduced to what rules ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub spf: SpfResult,
    pub dkim_passed: bool,
    pub dkim_signed: bool,
    /// Whether DMARC's own question has an answer: SPF or DKIM passed for the domain in From.
    pub aligned: bool,
    /// What the domain in From asks to be done with mail that is not aligned; `None` when it asks nothing.
    pub policy: Option<Policy>,
    /// DNS did not answer, so nothing may be concluded.
    pub unsure: bool,
    pub reverse_dns: ReverseDns,
    /// The server that vouches, by a whole ARC chain, that the message was its author's when it got it; only one of
    /// those whose word counts here.
    pub vouched: Option<String>,
    /// The domain of the author.
    pub from: Option<Domain>,
    /// What is to be reported of it, where the author's domain asks for reports.
    pub asked: Option<Box<Asked>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReverseDns {
    Confirmed,
    /// There is none, or it does not lead back.
    Missing,
    /// Not asked (loopback) or not answered.
    Unknown,
}

impl Identity {
    /// A message about which nothing could be found out.
    pub fn unknown(from: Option<Domain>) -> Self {
        Self {
            spf: SpfResult::TempError,
            dkim_passed: false,
            dkim_signed: false,
            aligned: false,
            policy: None,
            unsure: true,
            reverse_dns: ReverseDns::Unknown,
            vouched: None,
            from,
            asked: None,
        }
    }
}

/// Authenticates a message; returns the Authentication-Results field (RFC 8601) beside the findings.
pub async fn authenticate(
    authenticator: &MessageAuthenticator,
    hostname: &Domain,
    ask: &Judge,
    message: &AuthenticatedMessage<'_>,
) -> (Identity, String) {
    let from = from_domain(message);
    match tokio::time::timeout(DNS_WITHIN, look_up(authenticator, hostname, ask, message)).await {
        Ok(found) => found,
        Err(_) => {
            tracing::warn!("DNS did not answer in time about a message from {}", ask.client);
            (Identity::unknown(from), format!("Authentication-Results: {hostname}; none\r\n"))
        }
    }
}

async fn look_up(
    authenticator: &MessageAuthenticator,
    hostname: &Domain,
    ask: &Judge,
    message: &AuthenticatedMessage<'_>,
) -> (Identity, String) {
    let sender = ask.sender.as_ref().map_or(String::new(), ToString::to_string);
    let parameters = match &ask.sender {
        Some(_) => SpfParameters::mail_from(ask.client, &ask.helo, hostname.as_str(), &sender),
        None => SpfParameters::helo(ask.client, &ask.helo, hostname.as_str()),
    };
    let spf_domain = ask.sender.as_ref().map_or(ask.helo.as_str(), |sender| sender.domain().as_str());
    let (spf, dkim, arc, reverse) = tokio::join!(
        authenticator.verify_spf(parameters),
        authenticator.verify_dkim(message),
        authenticator.verify_arc(message),
        reverse_dns(authenticator, ask.client),
    );
    let dmarc = authenticator.verify_dmarc(DmarcParameters::new(message, &dkim, spf_domain, &spf)).await;
    let mut field = AuthenticationResults::new(hostname.as_str())
        .with_spf_result(&spf, &parameters)
        .with_dkim_results(&dkim, message.first_from_address())
        .with_dmarc_result(&dmarc);
    if *arc.result() != DkimResult::None {
        field.set_arc_result(&arc, ask.client);
    }
    let field = field.to_header();
    let passes = |result: &DmarcResult| matches!(result, DmarcResult::Pass);
    let stalls = |result: &DmarcResult| matches!(result, DmarcResult::TempError(_));
    let has_record = dmarc.record().is_some();
    let asked = asked(authenticator, ask, spf_domain, &spf, &dkim, &dmarc).await;
    let identity = Identity {
        spf: spf.result(),
        dkim_passed: dkim.iter().any(|output| matches!(output.result(), DkimResult::Pass)),
        dkim_signed: !dkim.is_empty(),
        aligned: passes(dmarc.dkim_result())
            || passes(dmarc.spf_result())
            || aligned_without_record(message, &dkim, &spf),
        policy: has_record.then(|| dmarc.policy()),
        unsure: stalls(dmarc.dkim_result()) || stalls(dmarc.spf_result()) || spf.result() == SpfResult::TempError,
        reverse_dns: reverse,
        vouched: vouched(&arc),
        from: from_domain(message),
        asked: asked.map(Box::new),
    };
    (identity, field)
}

/// Large mail hosts that people have their mail forwarded from, and that seal what they found. A chain says only what
/// its sealers claim, so the word of an unknown one counts nothing (RFC 8617 §9.2).
const KNOWN_SEALERS: [&str; 8] = [
    "google.com",
    "microsoft.com",
    "messagingengine.com",
    "icloud.com",
    "yahoo.com",
    "zohomail.com",
    "mailbox.org",
    "posteo.de",
];

/// Who vouches for the message: every sealer is known, and the first one found the author authenticated.
fn vouched(arc: &ArcOutput<'_>) -> Option<String> {
    let (first, last) = (arc.chain().first()?, arc.chain().last()?);
    let known = |domain: &str| {
        let of = |known: &str| domain.strip_suffix(known).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        KNOWN_SEALERS.iter().any(|known| of(known))
    };
    let all_known = arc.chain().iter().all(|set| known(&set.seal.header.domain().to_ascii_lowercase()));
    let found = String::from_utf8_lossy(first.results.value).to_ascii_lowercase();
    let authentic = found.contains("dmarc=pass") && *arc.result() == DkimResult::Pass;
    (all_known && authentic).then(|| last.seal.header.domain().to_owned())
}

/// For a domain without a DMARC record: whether a pass names exactly the author's domain.
fn aligned_without_record(
    message: &AuthenticatedMessage<'_>,
    dkim: &[mail_auth::DkimOutput<'_>],
    spf: &mail_auth::SpfOutput,
) -> bool {
    let Some(from) = from_domain(message) else { return false };
    let spf_aligned = spf.result() == SpfResult::Pass && spf.domain().trim_end_matches('.') == from.as_str();
    let signed_by = |output: &mail_auth::DkimOutput<'_>| {
        matches!(output.result(), DkimResult::Pass)
            && output.signature().is_some_and(|signature| signature.domain().eq_ignore_ascii_case(from.as_str()))
    };
    spf_aligned || dkim.iter().any(signed_by)
}

fn from_domain(message: &AuthenticatedMessage<'_>) -> Option<Domain> {
    let (_, domain) = message.first_from_address().rsplit_once('@')?;
    Domain::parse(domain).ok()
}

async fn reverse_dns(authenticator: &MessageAuthenticator, client: IpAddr) -> ReverseDns {
    if client.is_loopback() {
        return ReverseDns::Unknown;
    }
    match authenticator.verify_iprev(client).await.result {
        IprevResult::Pass => ReverseDns::Confirmed,
        IprevResult::Fail(_) | IprevResult::PermError(_) => ReverseDns::Missing,
        IprevResult::TempError(_) | IprevResult::None => ReverseDns::Unknown,
    }
}
