//! The accounts at the authorities: made on first use, kept in `certs/`, their URIs told in `tls/account-uri`.

use crate::http::{Client, RetryAfter};
use crate::order::Trouble;
use crate::{CertsError, pair};
use base::acme::{Authority, ExternalAccount};
use base::{BoxConfig, Paths, durable};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use instant_acme::{Account, AccountBuilder, ExternalAccountKey, NewAccount};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::PathBuf;

/// An account that may be used now.
pub struct Session {
    pub authority: Authority,
    pub account: Account,
    pub retry_after: RetryAfter,
}

/// The account as it is kept, with the directory that it belongs to.
#[derive(Serialize, Deserialize)]
struct Kept {
    directory: String,
    credentials: serde_json::Value,
}

/// Logs on, or registers an account.
pub async fn open(paths: &Paths, config: &BoxConfig, authority: &Authority) -> Result<Session, Trouble> {
    let retry_after = RetryAfter::default();
    let builder = || -> Result<AccountBuilder, CertsError> {
        let client = Client::new(authority.ca_file.as_deref(), retry_after.clone())?;
        Ok(Account::builder_with_http(Box::new(client)))
    };
    if let Some(kept) = kept(paths, authority)?
        && let Ok(credentials) = serde_json::from_value(kept.credentials)
    {
        let account = builder()?.from_credentials(credentials).await;
        let account = account.map_err(|error| Trouble::of(error, &retry_after))?;
        tell(paths, config)?;
        return Ok(Session { authority: authority.clone(), account, retry_after });
    }
    let external = authority.eab.as_ref().map(external_account).transpose()?;
    let contact = format!("mailto:{}", config.email);
    let new = NewAccount { contact: &[&contact], terms_of_service_agreed: true, only_return_existing: false };
    let made = builder()?.create(&new, authority.directory.clone(), external.as_ref()).await;
    let (account, credentials) = made.map_err(|error| Trouble::of(error, &retry_after))?;
    let file = file(paths, authority);
    let bad = |error: serde_json::Error| CertsError::file(&file, error.into());
    let credentials = serde_json::to_value(&credentials).map_err(bad)?;
    let kept = Kept { directory: authority.directory.clone(), credentials };
    let text = serde_json::to_string(&kept).map_err(bad)?;
    durable::create_dir_all(&paths.certs(), 0o700).map_err(|error| CertsError::file(&paths.certs(), error))?;
    pair::write(&file, &text, 0o600)?;
    tracing::info!("registered an account at {}", authority.directory);
    tell(paths, config)?;
    Ok(Session { authority: authority.clone(), account, retry_after })
}

/// Forgets an account that the authority does not know any more.
pub fn forget(paths: &Paths, authority: &Authority) -> Result<(), CertsError> {
    pair::remove(&file(paths, authority))?;
    pair::remove(&paths.certs().join("account.json"))
}

fn file(paths: &Paths, authority: &Authority) -> PathBuf {
    let digest = hex::encode(Sha256::digest(authority.directory.as_bytes()));
    paths.certs().join(format!("account-{}.json", digest.get(..16).unwrap_or_default()))
}

fn kept(paths: &Paths, authority: &Authority) -> Result<Option<Kept>, CertsError> {
    // An earlier release kept one account alone.
    for file in [file(paths, authority), paths.certs().join("account.json")] {
        let kept = pair::read(&file)?.and_then(|text| serde_json::from_str::<Kept>(&text).ok());
        if let Some(kept) = kept.filter(|kept| kept.directory == authority.directory) {
            return Ok(Some(kept));
        }
    }
    Ok(None)
}

/// Writes the URIs of the accounts that there are, for CAA records that allow these alone (RFC 8657 §3).
fn tell(paths: &Paths, config: &BoxConfig) -> Result<(), CertsError> {
    let mut text = String::new();
    for authority in config.acme.authorities() {
        let kept = kept(paths, &authority)?;
        if let Some(id) = kept.as_ref().and_then(|kept| kept.credentials.get("id")?.as_str()) {
            text.push_str(&format!("{id}\n"));
        }
    }
    if pair::read(&paths.account_uri())?.as_ref() != Some(&text) {
        pair::write(&paths.account_uri(), &text, 0o644)?;
    }
    Ok(())
}

fn external_account(given: &ExternalAccount) -> Result<ExternalAccountKey, CertsError> {
    let file = &given.hmac_file;
    let text = std::fs::read_to_string(file).map_err(|error| CertsError::file(file, error))?;
    let key = BASE64_URL_SAFE_NO_PAD.decode(text.trim().trim_end_matches('=')).map_err(|_| {
        CertsError::Unreadable(file.clone(), "it is to hold the HMAC key in base64url, in one line".to_owned())
    })?;
    Ok(ExternalAccountKey::new(given.kid.clone(), &key))
}
