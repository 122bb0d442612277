//! How a zone's keys follow one another (RFC 6781 §4.1, RFC 7583). Pure: the keys, the time, and what the world was seen
//! to show give what happens next.
//!
//! Two sorts of keys. The key signing key signs the zone's set of keys, and the parent zone vouches for it (DS); it is
//! rolled when the owner wants it, by double signatures, and only as far as the parent's servers were seen to follow. The
//! zone signing key signs everything else and is rolled by itself, published before it is used.
//!
//! Invariants, which hold for every resolver whatever it has cached:
//! - Nothing moves while what was decided last is not served: `since` is when a key's phase was first seen served.
//! - A signature is only served by a key that has been in the set for longer than any cache keeps the set.
//! - A key leaves the set only when no cache holds a signature, and no cache a DS, that needs it.
//! - One key signing key of those that sign the set has its DS in every parent server and every cache.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

const DAY: u64 = 86_400;
/// How long a zone signing key signs.
pub const ZSK_LIFE: u64 = 90 * DAY;
/// How long a key whose rollover was called off stays at least: a parent that follows CDS by itself may be about to take
/// its DS (RFC 7344 §6 has parents look daily or weekly).
pub const WITHDRAWN: u64 = 14 * DAY;
/// A DS set is taken to be cached for at least a day, whatever its TTL is when it is seen: it may have been longer.
const DS_AT_LEAST: u64 = DAY;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Key signing key, flags 257: signs the set of keys.
    Ksk,
    /// Zone signing key, flags 256.
    Zsk,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// In the set; nothing relies on it yet.
    Published,
    /// A key signing key that everybody knows: its DS may go into the parent, and CDS says so.
    Ready,
    Active,
    /// Signs no more of the zone (a key signing key goes on signing the set), and stays until nobody needs it.
    Retired,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// The name of its files in `dns/`, without ending.
    pub file: String,
    pub kind: Kind,
    pub phase: Phase,
    /// When it was made.
    pub made: u64,
    /// When the phase was first seen served.
    pub since: Option<u64>,
    /// Since when every parent server was seen with its DS, during a rollover; of a key whose rollover was called off, since
    /// when none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<u64>,
}

/// A zone's keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyset {
    pub keys: Vec<Key>,
    /// The longest TTL of the DS set that was seen during this rollover.
    #[serde(default)]
    pub ds_ttl: u64,
}

/// How long things last, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// The TTL of the set of keys.
    pub keys_ttl: u64,
    /// The longest TTL in the zone.
    pub zone_ttl: u64,
    /// How long it takes at most until every server of the zone has what this box has.
    pub spread: u64,
}

/// What the servers of the parent zone show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parent {
    /// The keys (by file) whose DS every server shows, and those whose DS any shows.
    pub everywhere: BTreeSet<String>,
    pub anywhere: BTreeSet<String>,
    /// The longest TTL.
    pub ttl: u64,
}

/// What is to be done beside signing the zone with the keys as they are now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A key is to be made, and given to [`Keyset::publish`].
    Make(Kind),
    /// The owner is to be told this key's DS: the parent can take it now.
    TellDs(String),
    /// The parent vouches for this key alone; the former one has gone.
    Rolled(String),
    /// The key is in the set no more; its private half can be removed when this is on the disk.
    Dropped(String),
}

impl Keyset {
    /// The first keys of a zone that nobody has seen: both at work at once.
    pub fn begin(ksk: String, zsk: String, now: u64) -> Self {
        let key = |file, kind| Key { file, kind, phase: Phase::Active, made: now, since: None, seen: None };
        Self { keys: vec![key(ksk, Kind::Ksk), key(zsk, Kind::Zsk)], ds_ttl: 0 }
    }

    /// A zone that one key has signed alone since `since`: it stays the key signing key.
    pub fn adopt(file: String, since: u64) -> Self {
        let key = Key { file, kind: Kind::Ksk, phase: Phase::Active, made: since, since: Some(since), seen: None };
        Self { keys: vec![key], ds_ttl: 0 }
    }

    /// What is served now is what was decided last.
    pub fn confirm(&mut self, now: u64) {
        for key in &mut self.keys {
            key.since.get_or_insert(now);
        }
    }

    pub fn is_confirmed(&self) -> bool {
        self.keys.iter().all(|key| key.since.is_some())
    }

    /// Whether the parent has to be asked before the next step.
    pub fn needs_parent(&self) -> bool {
        self.keys.iter().any(|key| key.kind == Kind::Ksk && matches!(key.phase, Phase::Ready | Phase::Retired))
    }

    /// A key that was made goes into the set.
    pub fn publish(&mut self, file: String, kind: Kind, now: u64) {
        self.keys.push(Key { file, kind, phase: Phase::Published, made: now, since: None, seen: None });
    }

    /// The keys that sign the zone's records: a zone signing key, and in a zone that has none yet the other.
    pub fn zone_signers(&self) -> Vec<&Key> {
        let signing = |kind| self.keys.iter().filter(move |key| key.kind == kind && key.phase == Phase::Active);
        let zsk: Vec<&Key> = signing(Kind::Zsk).collect();
        if zsk.is_empty() { signing(Kind::Ksk).collect() } else { zsk }
    }

    /// The keys that sign the set: every key signing key in it.
    pub fn set_signers(&self) -> Vec<&Key> {
        self.keys.iter().filter(|key| key.kind == Kind::Ksk).collect()
    }

    /// The key whose DS the parent is to have, alone.
    pub fn wanted(&self) -> Option<&Key> {
        self.ksk(Phase::Ready).or_else(|| self.ksk(Phase::Active))
    }

    pub fn ksk(&self, phase: Phase) -> Option<&Key> {
        self.keys.iter().find(|key| key.kind == Kind::Ksk && key.phase == phase)
    }

    fn find(&mut self, kind: Kind, phase: Phase) -> Option<&mut Key> {
        self.keys.iter_mut().find(|key| key.kind == kind && key.phase == phase)
    }

    /// Lets time pass. One step at most for each sort of key; the next only when this one is served.
    pub fn pass(&mut self, now: u64, parent: Option<&Parent>, timing: &Timing) -> Vec<Event> {
        if !self.is_confirmed() {
            return Vec::new();
        }
        let mut events = self.pass_zsk(now, timing);
        events.extend(self.pass_ksk(now, parent, timing));
        events
    }

    fn pass_zsk(&mut self, now: u64, timing: &Timing) -> Vec<Event> {
        if let Some(old) = self.find(Kind::Zsk, Phase::Retired) {
            // Signatures of the old key are cached for as long as the records.
            if !old.is_past(now, timing.zone_ttl.saturating_add(timing.spread)) {
                return Vec::new();
            }
            let file = old.file.clone();
            return self.drop_key(file);
        }
        if let Some(new) = self.find(Kind::Zsk, Phase::Published) {
            if new.is_past(now, timing.keys_ttl.saturating_add(timing.spread)) {
                if let Some(old) = self.find(Kind::Zsk, Phase::Active) {
                    old.enter(Phase::Retired);
                }
                if let Some(new) = self.find(Kind::Zsk, Phase::Published) {
                    new.enter(Phase::Active);
                }
            }
            return Vec::new();
        }
        match self.find(Kind::Zsk, Phase::Active) {
            Some(active) if !active.is_past(now, ZSK_LIFE) => Vec::new(),
            _ => vec![Event::Make(Kind::Zsk)],
        }
    }

    fn pass_ksk(&mut self, now: u64, parent: Option<&Parent>, timing: &Timing) -> Vec<Event> {
        if let Some(new) = self.find(Kind::Ksk, Phase::Published) {
            if !new.is_past(now, timing.keys_ttl.saturating_add(timing.spread)) {
                return Vec::new();
            }
            new.enter(Phase::Ready);
            let file = new.file.clone();
            return vec![Event::TellDs(file)];
        }
        if self.ksk(Phase::Ready).is_some() {
            return parent.map(|parent| self.follow(now, parent, timing)).unwrap_or_default();
        }
        parent.map(|parent| self.forget(now, parent, timing)).unwrap_or_default()
    }

    /// A key whose rollover was called off goes when the parent has been without its DS for longer than any cache keeps it.
    fn forget(&mut self, now: u64, parent: &Parent, timing: &Timing) -> Vec<Event> {
        self.ds_ttl = self.ds_ttl.max(parent.ttl);
        let wait = self.ds_ttl.max(DS_AT_LEAST).saturating_add(timing.spread);
        let active = self.ksk(Phase::Active).map(|key| key.file.clone()).unwrap_or_default();
        let Some(withdrawn) = self.find(Kind::Ksk, Phase::Retired) else { return Vec::new() };
        let others = parent.everywhere.contains(&active) || parent.anywhere.is_empty();
        if parent.anywhere.contains(&withdrawn.file) || !others {
            withdrawn.seen = None;
            return Vec::new();
        }
        let without = *withdrawn.seen.get_or_insert(now);
        let is_late = withdrawn.is_past(now, WITHDRAWN.saturating_add(timing.spread));
        if !is_late || now < without.saturating_add(wait) {
            return Vec::new();
        }
        let file = withdrawn.file.clone();
        self.ds_ttl = 0;
        self.drop_key(file)
    }

    /// Goes on with a rollover when every parent server has had the new DS for longer than any cache keeps the old one.
    fn follow(&mut self, now: u64, parent: &Parent, timing: &Timing) -> Vec<Event> {
        self.ds_ttl = self.ds_ttl.max(parent.ttl);
        let wait = self.ds_ttl.max(DS_AT_LEAST).saturating_add(timing.spread);
        // While one key signed everything, its signatures on the zone are cached as well.
        let zsk_known = self
            .find(Kind::Zsk, Phase::Active)
            .is_some_and(|zsk| zsk.is_past(now, timing.zone_ttl.saturating_add(timing.spread)));
        let Some(new) = self.find(Kind::Ksk, Phase::Ready) else { return Vec::new() };
        if !parent.everywhere.contains(&new.file) {
            new.seen = None;
            return Vec::new();
        }
        let vouched = *new.seen.get_or_insert(now);
        if now < vouched.saturating_add(wait) || !zsk_known {
            return Vec::new();
        }
        new.enter(Phase::Active);
        new.seen = None;
        let new = new.file.clone();
        self.ds_ttl = 0;
        let old = self.keys.iter().find(|key| key.kind == Kind::Ksk && key.phase == Phase::Active && key.file != new);
        let mut events = vec![Event::Rolled(new)];
        if let Some(old) = old.map(|key| key.file.clone()) {
            events.extend(self.drop_key(old));
        }
        events
    }

    fn drop_key(&mut self, file: String) -> Vec<Event> {
        self.keys.retain(|key| key.file != file);
        vec![Event::Dropped(file)]
    }

    /// Whether the owner may begin a rollover of the key signing key; else why not.
    pub fn may_start(&self) -> Result<(), &'static str> {
        let ksks = self.keys.iter().filter(|key| key.kind == Kind::Ksk).count();
        if ksks > 1 {
            return Err("a rollover of its key is under way");
        }
        if !self.keys.iter().any(|key| key.kind == Kind::Zsk && key.phase == Phase::Active) {
            return Err("its zone signing key is being introduced, which takes about a day; try again then");
        }
        if !self.is_confirmed() {
            return Err("its latest version is not served yet; try again in some minutes");
        }
        Ok(())
    }

    /// Calls a rollover off. Possible until the parent shows the new DS.
    pub fn cancel(&mut self, parent: Option<&Parent>) -> Result<Vec<Event>, &'static str> {
        if let Some(new) = self.find(Kind::Ksk, Phase::Published) {
            let file = new.file.clone();
            return Ok(self.drop_key(file));
        }
        let Some(new) = self.find(Kind::Ksk, Phase::Ready) else { return Err("no rollover of its key is under way") };
        let Some(parent) = parent else {
            return Err(
                "the servers of its parent zone do not answer, and they may show the new key already; try again later",
            );
        };
        if parent.anywhere.contains(&new.file) {
            return Err(
                "its parent zone shows the new key already; let the rollover come to its end, and start another",
            );
        }
        new.enter(Phase::Retired);
        new.seen = None;
        Ok(Vec::new())
    }
}

impl Key {
    fn enter(&mut self, phase: Phase) {
        (self.phase, self.since) = (phase, None);
    }

    /// Whether the phase has been served for that long.
    fn is_past(&self, now: u64, wait: u64) -> bool {
        self.since.is_some_and(|since| now >= since.saturating_add(wait))
    }
}

#[cfg(test)]
mod tests;
