//! Getting a certificate by ACME (RFC 8555) with HTTP-01, answered by nginx from a folder.

use crate::CertsError;
use crate::local::{key, write};
use base::{BoxConfig, Paths, durable};
use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::CertificateParams;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// How long the authority may take to validate and to issue. Let's Encrypt takes seconds; it may be busy.
const ISSUED_WITHIN: Duration = Duration::from_secs(180);

/// The account as it is kept, with the directory that it belongs to.
#[derive(Serialize, Deserialize)]
struct Kept {
    directory: String,
    credentials: serde_json::Value,
}

/// Orders a certificate for these names and puts it into service.
pub async fn issue(paths: &Paths, config: &BoxConfig, names: &[String]) -> Result<(), CertsError> {
    let account = account(paths, config).await?;
    let identifiers: Vec<Identifier> = names.iter().map(|name| Identifier::Dns(name.clone())).collect();
    let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
    let mut answers = Vec::new();
    let chain = complete(paths, names, &mut order, &mut answers).await;
    for answer in answers {
        // An answer left behind does no harm, and the next one has another name.
        let _ = std::fs::remove_file(answer);
    }
    write(&paths.tls().join("chain.pem"), &chain?, 0o644)
}

async fn complete(
    paths: &Paths,
    names: &[String],
    order: &mut Order,
    answers: &mut Vec<PathBuf>,
) -> Result<String, CertsError> {
    answer_challenges(paths, order, answers).await?;
    let patience = RetryPolicy::new().timeout(ISSUED_WITHIN);
    let status = order.poll_ready(&patience).await?;
    if !matches!(status, OrderStatus::Ready | OrderStatus::Valid) {
        return Err(CertsError::Refused(why_invalid(order).await));
    }
    let request = CertificateParams::new(names.to_vec())?.serialize_request(&key(paths)?)?;
    order.finalize_csr(request.der()).await?;
    Ok(order.poll_certificate(&patience).await?)
}

async fn answer_challenges(paths: &Paths, order: &mut Order, answers: &mut Vec<PathBuf>) -> Result<(), CertsError> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let Some(mut challenge) = authorization.challenge(ChallengeType::Http01) else {
            return Err(CertsError::Refused("the authority does not offer HTTP-01".to_owned()));
        };
        // The token comes from the authority and becomes a file name: base64url only (RFC 8555 §8.3).
        let token = challenge.token.clone();
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return Err(CertsError::Refused("the authority sent a token that is not one".to_owned()));
        }
        let file = paths.acme_challenges().join(token);
        let text = challenge.key_authorization().as_str().to_owned();
        write(&file, &text, 0o644)?;
        answers.push(file);
        challenge.set_ready().await?;
    }
    Ok(())
}

/// What the authority says of the names that it could not validate.
async fn why_invalid(order: &mut Order) -> String {
    let mut words = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(authorization)) = authorizations.next().await {
        let name = authorization.identifier().to_string();
        for challenge in &authorization.challenges {
            if let Some(error) = &challenge.error {
                words.push(format!("{name}: {error}"));
            }
        }
    }
    if words.is_empty() { "the authority refused without saying why".to_owned() } else { words.join("; ") }
}

async fn account(paths: &Paths, config: &BoxConfig) -> Result<Account, CertsError> {
    let file = paths.certs().join("account.json");
    let directory = &config.acme.directory;
    let builder = || match &config.acme.ca_file {
        Some(root) => Account::builder_with_root(root),
        None => Account::builder(),
    };
    let kept = std::fs::read(&file).ok().and_then(|text| serde_json::from_slice::<Kept>(&text).ok());
    if let Some(kept) = kept.filter(|kept| kept.directory == *directory)
        && let Ok(credentials) = serde_json::from_value(kept.credentials)
    {
        return Ok(builder()?.from_credentials(credentials).await?);
    }
    let contact = format!("mailto:{}", config.email);
    let new = NewAccount { contact: &[&contact], terms_of_service_agreed: true, only_return_existing: false };
    let (account, credentials) = builder()?.create(&new, directory.clone(), None).await?;
    let bad = |error: serde_json::Error| CertsError::file(&file, error.into());
    let credentials = serde_json::to_value(&credentials).map_err(bad)?;
    let text = serde_json::to_vec(&Kept { directory: directory.clone(), credentials }).map_err(bad)?;
    durable::create_dir_all(&paths.certs(), 0o700).map_err(|error| CertsError::file(&paths.certs(), error))?;
    durable::write(&file, &text, 0o600).map_err(|error| CertsError::file(&file, error))?;
    tracing::info!("registered an account at {directory}");
    Ok(account)
}
