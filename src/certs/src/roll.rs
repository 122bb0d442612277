//! Changing the key so that senders who check DANE never meet one that they do not expect (RFC 7671 §8.1, RFC 7672 §2.1.2).
//!
//! The next key's TLSA record is published first, beside the present one. When every name server of the zone has shown it
//! for twice its TTL, no resolver holds a set without it: a certificate is ordered for the new key, and chain and key are
//! switched together. The old key's record stays until every listener has long taken the new certificate.
//!
//! Invariants:
//! - What is served is always among `chain.pem`'s key, `next.spki` and `previous.spki`, which are what the dns role publishes,
//!   and has been for two TTLs. An interruption at any point keeps that; [`settle`] goes on from there.
//! - A key that nothing was published for is never served, however urgent.

use crate::limits::{KEY_LIFE, LEAST_TTL, RETIRE_AFTER};
use crate::pair::{self, Pair};
use crate::{Certificate, CertsError, inspect};
use base::{Paths, durable};
use rcgen::KeyPair;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where the key is in its life. Kept in `certs/roll.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roll {
    /// Since when the key is served, in seconds since 1970.
    pub key_since: u64,
    /// Whether the certificate is the owner's own, which no renewal overwrites.
    #[serde(default)]
    pub imported: bool,
    pub stage: Stage,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub enum Stage {
    Steady,
    /// The next key's TLSA record is on its way.
    Announced {
        since: u64,
        /// Since when every name server shows it without a break.
        seen: Option<u64>,
        ttl: u64,
    },
    /// The new key is served, and the old one's record still stands.
    Retiring {
        since: u64,
    },
}

/// What the zone's name servers say of the hostname's TLSA records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The digests that every server has; `None` when there are no TLSA records at all.
    pub pins: Option<Vec<String>>,
    pub ttl: u64,
}

impl Published {
    /// Whether a server with this key suits everybody who asks now: it is among the records, or there are none.
    fn allows(&self, spki: &str) -> bool {
        self.pins.as_ref().is_none_or(|pins| pins.iter().any(|pin| pin.eq_ignore_ascii_case(spki)))
    }
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Rest,
    Announce,
    /// The records are to be looked at, or it is too early.
    Watch,
    Switch,
    Retire,
}

impl Roll {
    pub fn load(paths: &Paths, now: u64) -> Result<Self, CertsError> {
        let file = paths.certs().join("roll.json");
        let Some(text) = pair::read(&file)? else {
            return Ok(Self { key_since: now, imported: false, stage: Stage::Steady });
        };
        serde_json::from_str(&text).map_err(|error| CertsError::file(&file, error.into()))
    }

    pub fn save(&self, paths: &Paths) -> Result<(), CertsError> {
        let file = paths.certs().join("roll.json");
        if pair::read(&file)?.and_then(|text| serde_json::from_str(&text).ok()).as_ref() == Some(self) {
            return Ok(());
        }
        let text = serde_json::to_string_pretty(self).map_err(|error| CertsError::file(&file, error.into()))?;
        make_folder(paths)?;
        pair::write(&file, &text, 0o600)
    }

    fn step(&self, wished: bool, now: u64) -> Step {
        match &self.stage {
            Stage::Steady if wished => Step::Announce,
            Stage::Steady if !self.imported && now.saturating_sub(self.key_since) >= KEY_LIFE => Step::Announce,
            Stage::Steady => Step::Rest,
            Stage::Announced { .. } => Step::Watch,
            Stage::Retiring { since } if now.saturating_sub(*since) >= RETIRE_AFTER => Step::Retire,
            Stage::Retiring { .. } => Step::Rest,
        }
    }

    /// When the switch may be, if the records have been seen.
    pub fn switch_at(&self) -> Option<u64> {
        match self.stage {
            Stage::Announced { seen: Some(seen), ttl, .. } => Some(seen + 2 * ttl),
            _ => None,
        }
    }

    /// Takes in what the name servers said; `None` when they could not be asked, which proves nothing.
    fn look(&mut self, published: Option<&Published>, next: &str, now: u64) -> Step {
        if let (Stage::Announced { seen, ttl, .. }, Some(published)) = (&mut self.stage, published) {
            *ttl = (*ttl).max(published.ttl).max(LEAST_TTL);
            *seen = if published.allows(next) { seen.or(Some(now)) } else { None };
        }
        match self.switch_at() {
            Some(at) if now >= at && published.is_some_and(|published| published.allows(next)) => Step::Switch,
            _ => Step::Watch,
        }
    }
}

fn make_folder(paths: &Paths) -> Result<(), CertsError> {
    durable::create_dir_all(&paths.certs(), 0o700).map_err(|error| CertsError::file(&paths.certs(), error))
}

/// What a change of key needs of others.
pub trait World {
    /// Has the zone follow what lies in `tls/`.
    fn publish(&mut self) -> impl Future<Output = Result<(), CertsError>> + Send;
    /// Asks every name server of the zone.
    fn published(&mut self) -> impl Future<Output = Result<Published, String>> + Send;
    /// Orders a certificate for a key; returns the chain.
    fn order(&mut self, key: &KeyPair) -> impl Future<Output = Result<String, CertsError>> + Send;
}

/// The next key, and its certificate when that was imported.
fn next_key_file(paths: &Paths) -> PathBuf {
    paths.tls().join("next-key.pem")
}

fn next_chain_file(paths: &Paths) -> PathBuf {
    paths.certs().join("next-chain.pem")
}

/// Whether the key that comes next is one that the owner brought.
pub fn next_is_imported(paths: &Paths) -> bool {
    next_chain_file(paths).exists()
}

/// Makes good what an interruption left: a switch that began is finished.
pub fn settle(paths: &Paths, now: u64) -> Result<(), CertsError> {
    pair::settle(paths)?;
    let served = Pair::served(paths)?;
    if served.key.is_empty() {
        return Ok(());
    }
    let mut roll = Roll::load(paths, now)?;
    let announced = matches!(roll.stage, Stage::Announced { .. });
    if announced && pin(&paths.next_spki())? == Some(inspect::spki(&served.key_pair()?)) {
        roll.imported = next_chain_file(paths).exists();
        after_switch(paths, &mut roll, now)?;
    }
    if !announced { forget_next(paths) } else { Ok(()) }
}

/// Removes what belongs to a next key; the digest first, so that none is published without a key.
fn forget_next(paths: &Paths) -> Result<(), CertsError> {
    let files = [paths.next_spki(), next_key_file(paths), next_chain_file(paths)];
    files.iter().filter(|file| file.exists()).try_for_each(|file| pair::remove(file))
}

fn pin(file: &std::path::Path) -> Result<Option<String>, CertsError> {
    Ok(pair::read(file)?.map(|text| text.trim().to_owned()))
}

/// Goes as far as may be gone now, and says in words what was done.
pub async fn advance(
    paths: &Paths,
    world: &mut impl World,
    wished: bool,
    now: u64,
) -> Result<Option<String>, CertsError> {
    settle(paths, now)?;
    let mut roll = Roll::load(paths, now)?;
    // A box of an earlier release, or a first run: the key's age counts from now.
    roll.save(paths)?;
    match roll.step(wished, now) {
        Step::Rest | Step::Switch => Ok(None),
        Step::Announce => {
            stage(paths, &mut roll, None, now)?;
            world.publish().await?;
            Ok(Some("the next key is made, and its TLSA record published ahead of its use".to_owned()))
        }
        Step::Watch => watch(paths, world, roll, now).await,
        Step::Retire => {
            roll.stage = Stage::Steady;
            pair::remove(&paths.previous_spki())?;
            roll.save(paths)?;
            world.publish().await?;
            Ok(Some("the previous key's TLSA record is removed".to_owned()))
        }
    }
}

/// Begins a change of key: to a new one, or to one that the owner brought with its certificate.
pub fn stage(paths: &Paths, roll: &mut Roll, imported: Option<&Pair>, now: u64) -> Result<(), CertsError> {
    let key = match imported {
        Some(pair) => pair.key.clone(),
        None => KeyPair::generate()?.serialize_pem(),
    };
    let spki = match imported {
        Some(pair) => Certificate::first_of(&pair.chain).map_err(CertsError::Refused)?.spki,
        None => inspect::spki(&KeyPair::from_pem(&key)?),
    };
    make_folder(paths)?;
    match imported {
        Some(pair) => pair::write(&next_chain_file(paths), &pair.chain, 0o600)?,
        None => pair::remove(&next_chain_file(paths))?,
    }
    pair::write(&next_key_file(paths), &key, 0o640)?;
    pair::write(&paths.next_spki(), &format!("{spki}\n"), 0o644)?;
    roll.stage = Stage::Announced { since: now, seen: None, ttl: LEAST_TTL };
    roll.save(paths)
}

/// Calls off a change of key that was only announced. The zone follows with its next publication.
pub fn call_off(paths: &Paths, roll: &mut Roll) -> Result<(), CertsError> {
    roll.stage = Stage::Steady;
    roll.save(paths)?;
    forget_next(paths)
}

async fn watch(paths: &Paths, world: &mut impl World, mut roll: Roll, now: u64) -> Result<Option<String>, CertsError> {
    let (Some(key), Some(next)) = (pair::read(&next_key_file(paths))?, pin(&paths.next_spki())?) else {
        // The owner removed it: nothing was served with it, so nothing is lost.
        call_off(paths, &mut roll)?;
        return Ok(Some("the next key is gone, so the change of key is called off".to_owned()));
    };
    let published = world.published().await;
    if let Err(why) = &published {
        tracing::info!("the TLSA records cannot be looked at: {why}");
    }
    let step = roll.look(published.as_ref().ok(), &next, now);
    roll.save(paths)?;
    if step != Step::Switch {
        if published.is_ok_and(|published| !published.allows(&next)) {
            world.publish().await?;
        }
        return Ok(None);
    }
    let imported = pair::read(&next_chain_file(paths))?;
    roll.imported = imported.is_some();
    let chain = match imported {
        Some(chain) => chain,
        None => world.order(&KeyPair::from_pem(&key)?).await?,
    };
    switch(paths, &mut roll, &Pair { chain, key }, now)?;
    // A failure changes nothing: the records that stand cover the new key.
    world.publish().await?;
    Ok(Some("the new key and its certificate are served".to_owned()))
}

/// Puts another key into service at once; for those whose records allow it.
pub fn switch(paths: &Paths, roll: &mut Roll, pair: &Pair, now: u64) -> Result<(), CertsError> {
    let before = inspect::spki(&Pair::served(paths)?.key_pair()?);
    pair::write(&paths.previous_spki(), &format!("{before}\n"), 0o644)?;
    pair.serve(paths)?;
    after_switch(paths, roll, now)
}

fn after_switch(paths: &Paths, roll: &mut Roll, now: u64) -> Result<(), CertsError> {
    roll.key_since = now;
    roll.stage = Stage::Retiring { since: now };
    roll.save(paths)?;
    forget_next(paths)
}

#[cfg(test)]
mod tests;
