//! One order at one authority (RFC 8555 §7.4), and what went wrong with it: whose fault it is decides what is done next.

use crate::CertsError;
use crate::answers::Answers;
use crate::authority::Session;
use crate::http::RetryAfter;
use crate::ledger::Method;
use crate::limits::ISSUED_WITHIN;
use crate::names::Name;
use base::{BoxConfig, Paths};
use instant_acme::{
    AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier, NewOrder, Order, OrderStatus,
    Problem, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use std::collections::BTreeMap;

/// Why there is no certificate.
#[derive(Debug)]
pub enum Trouble {
    /// Names that cannot be had, each with why; without them it may go.
    Names(BTreeMap<String, String>),
    /// The order as a whole was refused, without naming names.
    Order(String),
    /// The authority is away, busy, or wants to be left alone; until when, if it said so.
    Authority { why: String, until: Option<u64> },
    /// The authority liked none of the nonces that the library sent, each fresh from its last answer: chance, mostly.
    Nonce(String),
    /// The authority does not know the account any more.
    Account,
    /// This box's own fault.
    Own(CertsError),
}

/// A name, and how control over it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    pub name: Name,
    pub method: Method,
}

/// How far an order goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Until the authority is satisfied: shows whether the names can be had, and uses up no certificate.
    Ready,
    Issued,
}

/// What an order is made with.
pub struct Desk<'a> {
    pub paths: &'a Paths,
    pub config: &'a BoxConfig,
    pub session: &'a Session,
    pub key: &'a KeyPair,
    /// The certificate that this one replaces, for the authority to know (RFC 9773 §5).
    pub replaces: Option<CertificateIdentifier<'static>>,
}

impl Trouble {
    /// What an error of the library means.
    pub fn of(error: Error, retry_after: &RetryAfter) -> Self {
        match error {
            Error::Api(problem) => Self::of_problem(problem, retry_after),
            error => Self::Authority { why: error.to_string(), until: retry_after.get() },
        }
    }

    fn of_problem(problem: Problem, retry_after: &RetryAfter) -> Self {
        let words = words(&problem);
        let named: BTreeMap<String, String> = problem.subproblems.iter().filter_map(blame).collect();
        let kind = problem.r#type.as_deref().unwrap_or_default();
        // RFC 8555 §6.7.
        match kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or_default() {
            "accountDoesNotExist" => Self::Account,
            "badNonce" => Self::Nonce(words),
            "rateLimited" | "serverInternal" | "userActionRequired" | "externalAccountRequired" => {
                Self::Authority { why: words, until: retry_after.get() }
            }
            _ if !named.is_empty() => Self::Names(named),
            _ if problem.status.is_some_and(|status| status >= 500) => {
                Self::Authority { why: words, until: retry_after.get() }
            }
            _ => Self::Order(words),
        }
    }
}

fn words(problem: &Problem) -> String {
    problem.detail.clone().or_else(|| problem.r#type.clone()).unwrap_or_else(|| "it did not say why".to_owned())
}

fn blame(problem: &instant_acme::Subproblem) -> Option<(String, String)> {
    let Some(Identifier::Dns(name)) = &problem.identifier else { return None };
    let why = problem.detail.clone().or_else(|| problem.r#type.clone());
    Some((name.to_ascii_lowercase(), why.unwrap_or_else(|| "the authority did not say why".to_owned())))
}

impl Desk<'_> {
    fn trouble(&self, error: Error) -> Trouble {
        Trouble::of(error, &self.session.retry_after)
    }

    /// Orders a certificate for these names; returns the chain, empty for an order that was to become ready only.
    pub async fn order(&self, names: &[Planned], depth: Depth) -> Result<String, Trouble> {
        let mut order = self.new_order(names).await?;
        let mut answers = Answers::new(self.paths, self.config);
        let done = self.complete(names, &mut order, &mut answers, depth).await;
        answers.clear().await;
        done
    }

    async fn new_order(&self, names: &[Planned]) -> Result<Order, Trouble> {
        let identifiers: Vec<Identifier> = names.iter().map(|name| Identifier::Dns(name.name.name.clone())).collect();
        if let Some(replaces) = &self.replaces {
            let new = NewOrder::new(&identifiers).replaces(replaces.clone());
            match self.session.account.new_order(&new).await {
                Ok(order) => return Ok(order),
                Err(error) => match self.trouble(error) {
                    // It wants to be left alone for a while, does not know this box, or has not looked at the order.
                    trouble @ (Trouble::Account | Trouble::Nonce(_) | Trouble::Authority { until: Some(_), .. }) => {
                        return Err(trouble);
                    }
                    // Already replaced, another authority's, or not understood: an order as any other.
                    trouble => tracing::debug!("the order does not say what it replaces: {trouble:?}"),
                },
            }
        }
        let order = self.session.account.new_order(&NewOrder::new(&identifiers)).await;
        order.map_err(|error| self.trouble(error))
    }

    async fn complete(
        &self,
        names: &[Planned],
        order: &mut Order,
        answers: &mut Answers<'_>,
        depth: Depth,
    ) -> Result<String, Trouble> {
        self.prepare(names, order, answers).await?;
        answers.publish().await?;
        self.say_ready(names, order).await?;
        let patience = RetryPolicy::new().timeout(ISSUED_WITHIN);
        match order.poll_ready(&patience).await {
            Ok(OrderStatus::Ready | OrderStatus::Valid) => {}
            Ok(_) => return Err(self.why_invalid(order).await),
            Err(error @ Error::Timeout(_)) => return Err(self.trouble(error)),
            Err(error) => {
                return Err(match self.why_invalid(order).await {
                    Trouble::Names(names) => Trouble::Names(names),
                    _ => self.trouble(error),
                });
            }
        }
        if depth == Depth::Ready {
            return Ok(String::new());
        }
        let names: Vec<String> = names.iter().map(|name| name.name.name.clone()).collect();
        let mut request = CertificateParams::new(names).map_err(CertsError::from)?;
        request.distinguished_name = DistinguishedName::new();
        let request = request.serialize_request(self.key).map_err(CertsError::from)?;
        order.finalize_csr(request.der()).await.map_err(|error| self.trouble(error))?;
        order.poll_certificate(&patience).await.map_err(|error| self.trouble(error))
    }

    /// Makes an answer for every name that the authority wants shown.
    async fn prepare(&self, names: &[Planned], order: &mut Order, answers: &mut Answers<'_>) -> Result<(), Trouble> {
        let mut missing = BTreeMap::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| self.trouble(error))?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let Some(planned) = planned(names, &authorization.identifier().to_string()) else { continue };
            let Some(challenge) = authorization.challenge(kind(planned.method)) else {
                let why = format!("the authority does not offer {}", method_name(planned.method));
                missing.insert(planned.name.name.clone(), why);
                continue;
            };
            let proof = challenge.key_authorization();
            match (planned.method, &planned.name.zone) {
                (Method::Http, _) => answers.file(&challenge.token, proof.as_str())?,
                (Method::Dns, Some(zone)) => answers.record(&planned.name, zone.as_str(), proof.dns_value()),
                (Method::Dns, None) => {
                    missing.insert(planned.name.name.clone(), "the box does not serve its zone".to_owned());
                }
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(Trouble::Names(missing)) }
    }

    /// Tells the authority that it may look.
    async fn say_ready(&self, names: &[Planned], order: &mut Order) -> Result<(), Trouble> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| self.trouble(error))?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let Some(planned) = planned(names, &authorization.identifier().to_string()) else { continue };
            if let Some(mut challenge) = authorization.challenge(kind(planned.method)) {
                challenge.set_ready().await.map_err(|error| self.trouble(error))?;
            }
        }
        Ok(())
    }

    /// What the authority says of the names that it could not validate.
    async fn why_invalid(&self, order: &mut Order) -> Trouble {
        let mut blamed = BTreeMap::new();
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            // What is known of it is from before the validation.
            let Ok(state) = authorization.refresh().await else { continue };
            if state.status != AuthorizationStatus::Invalid {
                continue;
            }
            let why = state.challenges.iter().find_map(|challenge| challenge.error.as_ref()).map(words);
            let why = why.unwrap_or_else(|| "the authority could not validate it".to_owned());
            blamed.insert(state.identifier().to_string(), why);
        }
        if blamed.is_empty() {
            Trouble::Order("the authority refused without saying why".to_owned())
        } else {
            Trouble::Names(blamed)
        }
    }
}

fn planned<'a>(names: &'a [Planned], identifier: &str) -> Option<&'a Planned> {
    names.iter().find(|planned| planned.name.name.eq_ignore_ascii_case(identifier))
}

fn kind(method: Method) -> ChallengeType {
    match method {
        Method::Http => ChallengeType::Http01,
        Method::Dns => ChallengeType::Dns01,
    }
}

pub fn method_name(method: Method) -> &'static str {
    match method {
        Method::Http => "http-01",
        Method::Dns => "dns-01",
    }
}
