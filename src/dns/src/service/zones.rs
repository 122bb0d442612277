//! Publishing, and the keys of the zones.

use super::{Dns, refusal};
use crate::publish::{self, Looks, Published, State};
use crate::records::ZoneFacts;
use crate::rollover::{Event, Keyset, Kind, Phase};
use crate::world::World;
use crate::{DnsError, keys, letters};
use base::{DnsMode, Domain};
use wire::dns::{Ds, KeysOfZone, RolloverStep, ZoneKeyShown};
use wire::{Kind as Why, Refusal};

impl Dns {
    pub(super) async fn publish(&self, dry_run: bool) -> Result<Published, DnsError> {
        let now = base::time::now_unix();
        if !dry_run {
            self.pass_time(now).await?;
        }
        if self.config.dns == DnsMode::External {
            return Ok(Published { is_settled: true, ..Published::default() });
        }
        let _one = self.publishing.lock().await;
        let facts = self.facts().await?;
        let looks = self.looks(&facts).await?;
        let done = publish::publish(&self.paths, &facts, &looks, now, dry_run);
        if !dry_run {
            // Also where it broke off: zones that were written before that are not written again, so nobody else would look.
            self.handed_over.notify_one();
        }
        let done = done?;
        if !dry_run {
            self.tell_of_keys(&facts, &done).await?;
        }
        Ok(done)
    }

    /// What the keys of the zones wait to see.
    async fn looks(&self, facts: &ZoneFacts) -> Result<Looks, DnsError> {
        let world = World::of(&self.config, &facts.host);
        let mut looks = Looks::new();
        for zone in facts.zones() {
            let state = publish::state(&self.paths, &zone)?;
            looks.insert(zone.clone(), world.look(&self.paths.dns(), &zone, &state).await);
        }
        Ok(looks)
    }

    /// Writes to the owner what the registrar has to know, once; and that a rollover has come to its end.
    async fn tell_of_keys(&self, facts: &ZoneFacts, done: &Published) -> Result<(), DnsError> {
        let zones = facts.zones();
        for zone in &zones {
            let mut state = publish::state(&self.paths, zone)?;
            let Some(ready) = state.keys.ksk(Phase::Ready) else { continue };
            let inner = zones.iter().any(|other| other != zone && zone.is_within(other));
            if inner || !state.keys.is_confirmed() || state.told.as_ref() == Some(&ready.file) {
                continue;
            }
            let [sha256, _] = keys::ds(&self.paths.dns(), zone, ready)?;
            let (subject, text) = new_ds(zone, &sha256);
            if letters::tell(&self.config, &self.client, &subject, &text).await {
                state.told = Some(ready.file.clone());
                publish::keep(&self.paths, zone, &state)?;
            }
        }
        for (zone, event) in &done.events {
            if matches!(event, Event::Rolled(_)) {
                let subject = format!("The new key of {zone} is in place");
                let text = format!(
                    "The parent zone has vouched for it alone long enough; the old key is gone. If the registrar still shows\n\
                     the old DS record, remove it.\n\nSee: mailstead dns ds {zone}\n"
                );
                letters::tell(&self.config, &self.client, &subject, &text).await;
            }
        }
        Ok(())
    }

    /// The state of a zone that this box signs, or a sentence.
    async fn zone(&self, domain: &Domain) -> Result<State, Refusal> {
        if self.config.dns == DnsMode::External {
            let words = "the DNS of this box is kept elsewhere (dns: external), so it has no keys and no DS record";
            return Err(Refusal::new(Why::Invalid, words));
        }
        let zones = self.facts().await.map_err(refusal)?.zones();
        if !zones.contains(domain) {
            let list = zones.iter().map(Domain::as_str).collect::<Vec<_>>().join(", ");
            return Err(Refusal::new(Why::NotFound, format!("{domain} is not a zone of this box; it has: {list}")));
        }
        let state = publish::state(&self.paths, domain).map_err(refusal)?;
        if state.keys.keys.is_empty() {
            self.publish(false).await.map_err(refusal)?;
            return publish::state(&self.paths, domain).map_err(refusal);
        }
        Ok(state)
    }

    pub(super) async fn ds(&self, domain: &Domain) -> Result<Vec<Ds>, Refusal> {
        let state = self.zone(domain).await?;
        let wanted = state.keys.wanted();
        let old = state.keys.ksk(Phase::Active).filter(|old| wanted.is_some_and(|wanted| wanted.file != old.file));
        let mut all = Vec::new();
        for key in wanted.into_iter().chain(old) {
            all.extend(keys::ds(&self.paths.dns(), domain, key).map_err(refusal)?);
        }
        Ok(all)
    }

    pub(super) async fn zone_keys(&self, domain: &Domain) -> Result<KeysOfZone, Refusal> {
        let state = self.zone(domain).await?;
        self.shown(domain, &state.keys)
    }

    fn shown(&self, domain: &Domain, keyset: &Keyset) -> Result<KeysOfZone, Refusal> {
        let mut all = Vec::new();
        for key in &keyset.keys {
            let loaded = keys::load(&self.paths.dns(), domain, &key.file, key.kind).map_err(refusal)?;
            all.push(ZoneKeyShown {
                key_tag: loaded.dnskey().key_tag(),
                kind: if key.kind == Kind::Ksk { "ksk" } else { "zsk" }.to_owned(),
                phase: format!("{:?}", key.phase).to_lowercase(),
                since: key.since,
            });
        }
        let registrar = keyset.ksk(Phase::Ready).is_some_and(|ready| ready.seen.is_none() && ready.since.is_some());
        Ok(KeysOfZone { domain: domain.clone(), keys: all, next: next(domain, keyset), registrar })
    }

    pub(super) async fn rollover(&self, domain: &Domain, step: RolloverStep) -> Result<KeysOfZone, Refusal> {
        self.zone(domain).await?;
        // What was decided before may be served by now.
        self.publish(false).await.map_err(refusal)?;
        {
            let _one = self.publishing.lock().await;
            let mut state = publish::state(&self.paths, domain).map_err(refusal)?;
            let dropped = match step {
                RolloverStep::Start => self.start(domain, &mut state.keys)?,
                RolloverStep::Cancel => self.cancel(domain, &mut state.keys).await?,
            };
            publish::keep(&self.paths, domain, &state).map_err(refusal)?;
            for file in dropped {
                keys::remove(&self.paths.dns(), &file).map_err(refusal)?;
            }
        }
        self.publish(false).await.map_err(refusal)?;
        self.zone_keys(domain).await
    }

    fn start(&self, domain: &Domain, keyset: &mut Keyset) -> Result<Vec<String>, Refusal> {
        keyset.may_start().map_err(|why| Refusal::new(Why::Conflict, format!("{domain}: {why}")))?;
        let file = keys::create(&self.paths.dns(), domain, Kind::Ksk).map_err(refusal)?;
        keyset.publish(file, Kind::Ksk, base::time::now_unix());
        Ok(Vec::new())
    }

    /// Gives the files of the key that nobody needs any more, if there is one. The zone that is served has it until the
    /// publication that follows, which needs no private half of it.
    async fn cancel(&self, domain: &Domain, keyset: &mut Keyset) -> Result<Vec<String>, Refusal> {
        let world = World::of(&self.config, &self.host().map_err(refusal)?);
        let parent = match keyset.needs_parent() {
            true => world.parent(&self.paths.dns(), domain, keyset).await.unwrap_or_default(),
            false => None,
        };
        let events = keyset.cancel(parent.as_ref());
        let events = events.map_err(|why| Refusal::new(Why::Conflict, format!("{domain}: {why}")))?;
        let dropped = events.into_iter().filter_map(|event| match event {
            Event::Dropped(file) => Some(file),
            _ => None,
        });
        Ok(dropped.collect())
    }
}

/// What happens next with the keys, in a sentence.
fn next(domain: &Domain, keyset: &Keyset) -> String {
    if let Some(new) = keyset.ksk(Phase::Ready) {
        return match (new.since, new.seen) {
            (None, _) => "The new key is about to be announced to the parent zone.".to_owned(),
            (_, None) => format!(
                "The parent zone is waited for: enter the new DS record at the registrar (mailstead dns ds {domain}) and remove \
                 the old one. Some registrars take it by themselves (CDS)."
            ),
            (_, Some(at)) => format!(
                "The parent zone shows the new DS record since {}; the old key goes when no cache has the old one.",
                base::time::readable(at)
            ),
        };
    }
    if keyset.ksk(Phase::Published).is_some() {
        return "The new key becomes known; in about a day the registrar can be given its DS record, and you are told by mail."
            .to_owned();
    }
    if keyset.ksk(Phase::Retired).is_some() {
        return "The rollover was called off; the key that was to come stays until the parent zone cannot have it any more."
            .to_owned();
    }
    "Nothing has to be done. The key that signs the zone is changed every three months, by itself.".to_owned()
}

/// Subject and text of the letter that brings a new DS record.
fn new_ds(zone: &Domain, ds: &Ds) -> (String, String) {
    let text = format!(
        "The rollover of the key of {zone} that you began has come to the point where the registrar has to be told.\n\
         Enter there, in place of the DS record that it has:\n\n  {zone}. IN DS {}\n\n\
         In parts:\n  key tag      {}\n  algorithm    {} (ECDSA P-256 with SHA-256)\n  digest type  {} (SHA-256)\n  digest       {}\n\n\
         Other forms: mailstead dns ds {zone}\n\n\
         There is no hurry: both keys are good until the box sees the new record at every server of the parent zone, and\n\
         for as long as others may remember the old one. Then the old key goes by itself, and you are told.\n\n\
         Where it stands:  mailstead dns rollover {zone} --status\n\
         To call it off:   mailstead dns rollover {zone} --cancel\n",
        keys::ds_value(ds),
        ds.key_tag,
        ds.algorithm,
        ds.digest_type,
        ds.digest
    );
    (format!("Give the registrar the new DS record of {zone}"), text)
}
