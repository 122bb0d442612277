//! What the owner adds: records, names whose addresses change, secondaries.

use super::{Dns, refusal};
use crate::{custom, dynamic, secondaries};
use base::{DnsMode, Domain, Secret};
use std::net::IpAddr;
use std::sync::PoisonError;
use wire::dns::{CustomChange, CustomRecord, DynamicName, DynamicOutcome, Secondary, SetDynamicAddress, TsigKey};
use wire::{Kind, Refusal};

impl Dns {
    fn must_serve(&self) -> Result<(), Refusal> {
        match self.config.dns {
            DnsMode::Box => Ok(()),
            DnsMode::External => Err(Refusal::new(
                Kind::Invalid,
                "the DNS of this box is kept elsewhere (dns: external); change it there",
            )),
        }
    }

    pub(super) async fn change_custom(&self, change: CustomChange) -> Result<Vec<CustomRecord>, Refusal> {
        self.must_serve()?;
        let facts = self.facts().await.map_err(refusal)?;
        let _one = self.publishing.lock().await;
        let kept = custom::load(&self.paths).map_err(refusal)?;
        let dynamic = dynamic::load(&self.paths).map_err(refusal)?;
        let changed = custom::changed(&kept, change, &facts).map_err(invalid)?;
        if let Some(taken) =
            changed.iter().find(|one| dynamic.iter().any(|name| name.shown.name == one.name && is_address(&one.kind)))
        {
            let words = format!(
                "{} has a token by which its address changes; remove that first: mailstead dns token remove {0}",
                taken.name
            );
            return Err(Refusal::new(Kind::Conflict, words));
        }
        custom::save(&self.paths, &changed).map_err(refusal)?;
        Ok(changed)
    }

    pub(super) fn dynamic_names(&self) -> Result<Vec<DynamicName>, Refusal> {
        let kept = dynamic::load(&self.paths).map_err(refusal)?;
        Ok(kept.into_iter().map(|one| one.shown).collect())
    }

    pub(super) async fn add_dynamic(&self, name: &str) -> Result<Secret, Refusal> {
        self.must_serve()?;
        let facts = self.facts().await.map_err(refusal)?;
        let _one = self.publishing.lock().await;
        let name = name.trim().trim_end_matches('.').to_ascii_lowercase();
        let kept = dynamic::load(&self.paths).map_err(refusal)?;
        if !kept.iter().any(|one| one.shown.name == name) {
            // It must be a name that addresses could be added to.
            let added = custom::load(&self.paths).map_err(refusal)?;
            if added.iter().any(|one| one.name == name && is_address(&one.kind)) {
                let words =
                    format!("{name} has addresses that you added; remove them first: mailstead dns remove {name}");
                return Err(Refusal::new(Kind::Conflict, words));
            }
            for (kind, value) in [("A", "192.0.2.1"), ("AAAA", "2001:db8::1")] {
                let (name, kind, value) = (name.clone(), kind.to_owned(), value.to_owned());
                let trial = CustomRecord { name, kind, value, ttl: 60, replace: false };
                custom::changed(&added, CustomChange::Add(trial), &facts).map_err(invalid)?;
            }
        }
        let (kept, token) = dynamic::added(kept, &name).map_err(invalid)?;
        dynamic::save(&self.paths, &kept).map_err(refusal)?;
        Ok(token)
    }

    pub(super) async fn remove_dynamic(&self, name: &str) -> Result<(), Refusal> {
        let _one = self.publishing.lock().await;
        let name = name.trim().trim_end_matches('.').to_ascii_lowercase();
        let mut kept = dynamic::load(&self.paths).map_err(refusal)?;
        let before = kept.len();
        kept.retain(|one| one.shown.name != name);
        if kept.len() == before {
            return Err(Refusal::new(Kind::NotFound, format!("{name} has no token; see: mailstead dns token list")));
        }
        dynamic::save(&self.paths, &kept).map_err(refusal)
    }

    pub(super) async fn set_dynamic(&self, ask: &SetDynamicAddress) -> Result<DynamicOutcome, Refusal> {
        if !dynamic::is_host(ask.address) {
            return Err(invalid(format!("{} is not an address of a host", ask.address)));
        }
        let name = ask.name.trim().trim_end_matches('.').to_ascii_lowercase();
        let outcome = {
            let _one = self.publishing.lock().await;
            let mut kept = dynamic::load(&self.paths).map_err(refusal)?;
            let now = base::time::now_unix();
            let outcome = {
                let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
                throttle.decide(&mut kept, &name, &ask.token, ask.address, now)
            };
            if outcome == DynamicOutcome::Good {
                dynamic::save(&self.paths, &kept).map_err(refusal)?;
            }
            outcome
        };
        if outcome == DynamicOutcome::Good {
            tracing::info!("{name} leads to {} now", ask.address);
            // The address is safe on the disk; what cannot be published now is by the next look.
            if let Err(error) = self.publish(false).await {
                tracing::warn!("the zones wait: {error}");
            }
        }
        Ok(outcome)
    }

    pub(super) fn secondaries(&self) -> Result<Vec<Secondary>, Refusal> {
        Ok(secondaries::load(&self.paths).map_err(refusal)?.into_iter().map(|kept| kept.shown).collect())
    }

    pub(super) fn secondary_key(&self, server: &Domain) -> Result<TsigKey, Refusal> {
        let kept = secondaries::load(&self.paths).map_err(refusal)?;
        let found = kept.iter().find(|kept| kept.shown.server == *server);
        found.map(secondaries::Kept::key).ok_or_else(|| unknown(server))
    }

    pub(super) async fn add_secondary(&self, server: &Domain, addresses: &[IpAddr]) -> Result<TsigKey, Refusal> {
        self.must_serve()?;
        let _one = self.publishing.lock().await;
        let kept = secondaries::load(&self.paths).map_err(refusal)?;
        let kept = secondaries::added(kept, server.clone(), addresses.to_vec(), &self.config.hostname);
        secondaries::save(&self.paths, &kept.map_err(invalid)?).map_err(refusal)?;
        self.secondary_key(server)
    }

    pub(super) async fn remove_secondary(&self, server: &Domain) -> Result<(), Refusal> {
        let _one = self.publishing.lock().await;
        let mut kept = secondaries::load(&self.paths).map_err(refusal)?;
        let before = kept.len();
        kept.retain(|one| one.shown.server != *server);
        if kept.len() == before {
            return Err(unknown(server));
        }
        secondaries::save(&self.paths, &kept).map_err(refusal)
    }
}

fn is_address(kind: &str) -> bool {
    matches!(kind, "A" | "AAAA")
}

fn invalid(why: String) -> Refusal {
    Refusal::new(Kind::Invalid, why)
}

fn unknown(server: &Domain) -> Refusal {
    Refusal::new(Kind::NotFound, format!("{server} is no secondary of this box; see: mailstead dns secondary list"))
}
