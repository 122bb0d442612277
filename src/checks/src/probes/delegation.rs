//! What stands in the parent zones: the name servers with their glue, and the DS records.

use crate::finding::{Finding, Problem};
use crate::limits::MAX_PARENT_SERVERS;
use crate::names::{self, Answer, NamesError, canonical};
use crate::world::{World, each};
use base::Domain;
use std::net::{IpAddr, SocketAddr};
use wire::dns::{DelegationSigners, DkimStage, DkimStages, Ds, ZoneKeys};

/// Asks the parent's own servers, since only they know what the registrar entered.
async fn referral(world: &World, zone: &Domain) -> Result<Answer, String> {
    let mut parent = zone.as_str();
    let servers = loop {
        parent = parent.split_once('.').map_or("", |(_, rest)| rest);
        let asked = if parent.is_empty() { "." } else { parent };
        let servers = world.names.ask(asked, "NS").await.map_err(|error| error.to_string())?.values;
        if !servers.is_empty() || parent.is_empty() {
            break servers;
        }
    };
    let mut last = format!("the name servers above {zone} are not found");
    for server in servers.iter().take(MAX_PARENT_SERVERS) {
        let Ok(addresses) = world.names.addresses(server.trim_end_matches('.')).await else { continue };
        for address in addresses.into_iter().take(2) {
            match names::ask(SocketAddr::new(address, 53), zone.as_str(), "NS", false).await {
                Ok(answer) => return Ok(answer),
                Err(error) => last = error.to_string(),
            }
        }
    }
    Err(last)
}

pub async fn name_servers(world: &World) -> Finding {
    let wanted = "this box's name servers, with their addresses";
    let (zones, records) = match (world.zones().await, world.records().await) {
        (Ok(zones), Ok(records)) => (zones, records),
        (Err(why), _) | (_, Err(why)) => return Finding::unknown(why, wanted),
    };
    let addresses: Vec<IpAddr> = world.host.addresses().collect();
    let mut problems = Vec::new();
    // A zone within another of ours is delegated by ourselves.
    let is_inner = |zone: &&Domain| zones.iter().any(|other| other != *zone && zone.is_within(other));
    let outer: Vec<&Domain> = zones.iter().filter(|zone| !is_inner(zone)).collect();
    let referrals = each(outer.iter().map(|zone| referral(world, zone)).collect()).await;
    for (zone, referral) in outer.into_iter().zip(referrals) {
        let servers: Vec<String> = records
            .iter()
            .filter(|record| record.kind == "NS" && record.name == zone.as_str())
            .map(|record| record.value.trim_end_matches('.').to_ascii_lowercase())
            .collect();
        match referral {
            Ok(answer) => problems.extend(judge_referral(zone, &answer, &servers, &addresses)),
            Err(why) => return Finding::unknown(why, wanted),
        }
    }
    Finding::judge(problems, format!("led to this box: {}", listed(&zones)), wanted)
}

/// A referral has the NS records in the authority section; a server that holds both zones answers itself.
fn judge_referral(zone: &Domain, answer: &Answer, servers: &[String], addresses: &[IpAddr]) -> Vec<Problem> {
    let beside = |kind: &str, name: &str| -> Vec<String> {
        let found = answer.beside.iter().filter(|found| found.kind == kind && found.name == name);
        found.map(|found| found.value.trim_end_matches('.').to_ascii_lowercase()).collect()
    };
    let mut named = beside("NS", zone.as_str());
    named.extend(answer.values.iter().map(|value| value.trim_end_matches('.').to_ascii_lowercase()));
    let glue_words = |server: &str| {
        let list: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        format!("{server} with {}", list.join(" and "))
    };
    let detail = servers.iter().map(|server| glue_words(server)).collect::<Vec<_>>().join("; ");
    if servers.iter().any(|server| !named.contains(server)) || named.iter().any(|server| !servers.contains(server)) {
        let seen = if named.is_empty() { "the domain is not delegated".to_owned() } else { named.join(", ") };
        return vec![Problem::new(zone.as_str(), seen, servers.join(", ")).detail(detail)];
    }
    let wrong_glue = servers.iter().filter_map(|server| {
        let found: Vec<String> = beside("A", server).into_iter().chain(beside("AAAA", server)).collect();
        // Glue is only given for servers below the parent's own zone.
        let wrong: Vec<&String> =
            found.iter().filter(|value| !value.parse().is_ok_and(|address| addresses.contains(&address))).collect();
        let seen = wrong.iter().map(|value| value.as_str()).collect::<Vec<_>>().join(", ");
        (!wrong.is_empty()).then(|| Problem::new(server, format!("glue {seen}"), glue_words(server)).detail(&detail))
    });
    wrong_glue.collect()
}

pub async fn dnssec(world: &World) -> Finding {
    let wanted = "answers that a validating resolver vouches for (AD)";
    let zones = match world.zones().await {
        Ok(zones) => zones,
        Err(why) => return Finding::unknown(why, wanted),
    };
    let mut problems = Vec::new();
    let answers = each(zones.iter().map(|zone| is_vouched_for(world, zone)).collect()).await;
    for (zone, answer) in zones.iter().zip(answers) {
        match answer {
            Ok(true) => {}
            Ok(false) => problems.push(Problem::new(zone.as_str(), "not signed, as far as the world can tell", wanted)),
            Err(error @ NamesError::Failed(..)) => {
                let seen = format!("{error}: signatures and DS do not match, or the zone is not reached");
                problems.push(Problem::new(zone.as_str(), seen, wanted));
            }
            Err(error) => return Finding::unknown(error.to_string(), wanted),
        }
    }
    Finding::judge(problems, format!("validated: {}", listed(&zones)), wanted)
}

/// Whether the resolver vouches for a zone. What it heard before the DS was entered, it takes for unsigned until it forgets
/// it, an hour later; a name that nobody asked for yet it has to judge by what the parent says now.
async fn is_vouched_for(world: &World, zone: &Domain) -> Result<bool, NamesError> {
    if world.names.ask(zone.as_str(), "SOA").await?.authenticated {
        return Ok(true);
    }
    let unheard = format!("{:08x}.{zone}", rand::random::<u32>());
    Ok(world.names.ask(&unheard, "A").await?.authenticated)
}

pub async fn delegation_signer(world: &World) -> Finding {
    let wanted = "the DS record of every zone in its parent";
    let zones = match world.zones().await {
        Ok(zones) => zones,
        Err(why) => return Finding::unknown(why, wanted),
    };
    let mut problems = Vec::new();
    let answers = each(zones.iter().map(|zone| world.names.ask(zone.as_str(), "DS")).collect()).await;
    for (zone, answer) in zones.iter().zip(answers) {
        let asked = world.client.ask(&DelegationSigners { domain: zone.clone() }).await;
        let ours = match asked {
            Ok(ours) => ours,
            Err(error) => return Finding::unknown(error.to_string(), wanted),
        };
        match answer {
            Ok(answer) => problems.extend(judge_ds(zone, &ours, &answer.values)),
            Err(error) => return Finding::unknown(error.to_string(), wanted),
        }
    }
    Finding::judge(problems, format!("in place for {}", listed(&zones)), wanted)
}

/// A new key of a zone waits for its DS at the registrar.
pub async fn rollover(world: &World) -> Finding {
    let wanted = "the registrar has the DS of the key that comes next";
    let zones = match world.zones().await {
        Ok(zones) => zones,
        Err(why) => return Finding::unknown(why, wanted),
    };
    let mut problems = Vec::new();
    for zone in zones {
        let asked = world.client.ask(&ZoneKeys { domain: zone.clone() }).await;
        let keys = match asked {
            Ok(keys) => keys,
            Err(error) => return Finding::unknown(error.to_string(), wanted),
        };
        if !keys.registrar {
            continue;
        }
        // The next key's come first.
        let ds = world.client.ask(&DelegationSigners { domain: zone.clone() }).await.unwrap_or_default();
        let first = ds.first().map(|ds| format!("{} {} {} {}", ds.key_tag, ds.algorithm, ds.digest_type, ds.digest));
        problems.push(Problem::new(zone.as_str(), keys.next, wanted).detail(first.unwrap_or_default()));
    }
    Finding::judge(problems, "no rollover waits for it", wanted)
}

/// The DKIM keys change twice a year by themselves; one that stays for longer is stuck.
pub async fn dkim_age(world: &World, oldest_days: u64) -> Finding {
    let wanted = format!("keys that sign for less than {oldest_days} days");
    match world.client.ask(&DkimStages {}).await {
        Ok(stages) => judge_dkim_age(&stages, world.now, oldest_days, &wanted),
        Err(error) => Finding::unknown(error.to_string(), wanted),
    }
}

fn judge_dkim_age(stages: &[DkimStage], now: u64, oldest_days: u64, wanted: &str) -> Finding {
    let days = |stage: &DkimStage| now.saturating_sub(stage.since) / 86_400;
    let old = stages.iter().filter(|stage| days(stage) >= oldest_days);
    let problems = old.map(|stage| {
        let seen = format!("{} sign for {} days. {}", stage.signing.join(", "), days(stage), stage.words);
        Problem::new(stage.domain.as_str(), seen, wanted).detail(stage.domain.as_str())
    });
    let oldest = stages.iter().map(days).max().unwrap_or(0);
    Finding::judge(problems.collect(), format!("the oldest signs for {oldest} days"), wanted)
}

fn listed(zones: &[Domain]) -> String {
    zones.iter().map(Domain::as_str).collect::<Vec<_>>().join(", ")
}

fn written(ds: &Ds) -> String {
    format!("{} {} {} {}", ds.key_tag, ds.algorithm, ds.digest_type, ds.digest)
}

/// One of ours in the parent is enough; others beside it belong to keys that are no more, and do no harm.
fn judge_ds(zone: &Domain, ours: &[Ds], public: &[String]) -> Option<Problem> {
    let public_ds: Vec<String> = public.iter().map(|value| canonical("DS", value)).collect();
    if ours.iter().any(|ds| public_ds.contains(&canonical("DS", &written(ds)))) {
        return None;
    }
    let seen = if public.is_empty() { "no DS record".to_owned() } else { public.join("; ") };
    let wanted = ours.iter().map(written).collect::<Vec<_>>().join("; ");
    let parts = ours.iter().map(|ds| {
        format!(
            "key tag {}, algorithm {}, digest type {}, digest {} (if asked for the key instead: flags {}, protocol 3, algorithm {}, key {})",
            ds.key_tag, ds.algorithm, ds.digest_type, ds.digest, ds.flags, ds.algorithm, ds.public_key
        )
    });
    Some(Problem::new(zone.as_str(), seen, wanted).detail(parts.collect::<Vec<_>>().join("; or ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Found;

    fn zone() -> Domain {
        Domain::parse("example.org").unwrap()
    }

    fn found(name: &str, kind: &str, value: &str) -> Found {
        Found { name: name.into(), kind: kind.into(), value: value.into() }
    }

    fn judge(beside: Vec<Found>) -> Vec<Problem> {
        let servers = ["ns1.box.example.org".to_owned(), "ns2.box.example.org".to_owned()];
        let answer = Answer { beside, ..Answer::default() };
        judge_referral(&zone(), &answer, &servers, &["192.0.2.25".parse().unwrap()])
    }

    #[test]
    fn the_parent_has_to_name_our_servers_with_our_address() {
        let named = || {
            vec![found("example.org", "NS", "ns1.box.example.org."), found("example.org", "NS", "NS2.box.example.org.")]
        };
        let mut right = named();
        right.push(found("ns1.box.example.org", "A", "192.0.2.25"));
        assert!(judge(right).is_empty());
        let mut old = named();
        old.push(found("ns1.box.example.org", "A", "198.51.100.9"));
        assert!(judge(old)[0].seen.contains("198.51.100.9"));
        let registrar = judge(vec![found("example.org", "NS", "ns.registrar.example.")]);
        assert_eq!(registrar[0].seen, "ns.registrar.example");
        assert!(registrar[0].detail.contains("ns1.box.example.org with 192.0.2.25"));
        assert!(judge(vec![])[0].seen.contains("not delegated"));
        assert_eq!(judge(named()[..1].to_vec()).len(), 1, "one of two servers is missing");
    }

    #[test]
    fn a_dkim_key_that_stays_for_too_long_is_told_of() {
        let stage = DkimStage {
            domain: Domain::parse("example.org").unwrap(),
            signing: vec!["ms1r".into()],
            since: 0,
            next: Vec::new(),
            former: Vec::new(),
            words: "It waits.".into(),
            by_hand: false,
        };
        let judge = |days: u64| judge_dkim_age(std::slice::from_ref(&stage), days * 86_400, 230, "");
        assert!(judge(229).problems.is_empty());
        assert_eq!(judge(230).seen, "example.org: ms1r sign for 230 days. It waits.");
    }

    #[test]
    fn the_parents_ds_has_to_be_that_of_our_key() {
        let ds = Ds {
            domain: zone(),
            key_tag: 4711,
            algorithm: 13,
            digest_type: 2,
            digest: "ABCD".into(),
            public_key: "key=".into(),
            flags: 257,
        };
        assert_eq!(judge_ds(&zone(), std::slice::from_ref(&ds), &["4711 13 2 abcd".into()]), None);
        let missing = judge_ds(&zone(), std::slice::from_ref(&ds), &[]).unwrap();
        assert!(missing.seen.contains("no DS") && missing.detail.contains("key tag 4711"));
        assert!(judge_ds(&zone(), &[ds], &["1 13 2 abcd".into()]).unwrap().seen.contains("1 13 2"));
    }
}
