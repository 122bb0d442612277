//! The box's own name server, asked directly: signatures and their time, denial of what is not there, what it keeps to
//! itself, and whether every other server of the zones has the same.

use super::services::authoritative;
use crate::finding::{Finding, Problem};
use crate::names::{self, Answer};
use crate::world::World;
use base::Domain;
use std::net::SocketAddr;
use wire::dns::{DynamicName, DynamicNames, Secondaries, Secondary};

const DAY: u64 = 86_400;

/// The zones, and a server of the box's own that answers for them. Where there is none, another check tells why.
async fn served(world: &World, wanted: &str) -> Result<(Vec<Domain>, SocketAddr), Finding> {
    let zones = world.zones().await.map_err(|why| Finding::unknown(why, wanted))?;
    let server = authoritative(world).into_iter().next();
    let server = server.ok_or_else(|| Finding::skipped("the name server has no address of its own here"))?;
    match tokio::net::TcpStream::connect(server).await {
        Ok(_) => Ok((zones, server)),
        Err(_) => Err(Finding::skipped("NSD does not run, which another check tells")),
    }
}

/// Asks for one kind of record at the apex of every zone.
async fn at_apexes(world: &World, kind: &str, wanted: &str) -> Result<Vec<(Domain, Answer)>, Finding> {
    let (zones, server) = served(world, wanted).await?;
    let mut answers = Vec::with_capacity(zones.len());
    for zone in zones {
        match names::ask(server, zone.as_str(), kind, false).await {
            Ok(answer) => answers.push((zone, answer)),
            Err(error) => return Err(Finding::unknown(error.to_string(), wanted)),
        }
    }
    Ok(answers)
}

/// Signatures are renewed long before they end.
pub async fn signatures(world: &World, least_days: u64) -> Finding {
    let wanted = format!("every signature good for {least_days} days more");
    match at_apexes(world, "RRSIG", &wanted).await {
        Ok(answers) => judge_signatures(&answers, world.now, least_days, &wanted),
        Err(finding) => finding,
    }
}

fn judge_signatures(answers: &[(Domain, Answer)], now: u64, least_days: u64, wanted: &str) -> Finding {
    let (mut problems, mut shortest) = (Vec::new(), u64::MAX);
    for (zone, answer) in answers {
        let ends = answer.values.iter().filter_map(|value| names::signature(value)).map(|(_, until)| until);
        let Some(first) = ends.min() else {
            problems.push(Problem::new(zone.as_str(), "no signatures at all", wanted));
            continue;
        };
        let days = first.saturating_sub(now) / DAY;
        shortest = shortest.min(days);
        if days < least_days {
            let seen = format!("the first ends at {}", base::time::readable(first));
            problems.push(Problem::new(zone.as_str(), seen, wanted));
        }
    }
    Finding::judge(problems, format!("the shortest is good for {shortest} days"), wanted)
}

/// That something is not there is shown without extra rounds of hashing and without salt (RFC 9276 §3.1).
pub async fn denial(world: &World) -> Finding {
    let wanted = "NSEC3 without iterations and salt: 1 0 0 -";
    match at_apexes(world, "NSEC3PARAM", wanted).await {
        Ok(answers) => judge_denial(&answers, wanted),
        Err(finding) => finding,
    }
}

fn judge_denial(answers: &[(Domain, Answer)], wanted: &str) -> Finding {
    let right = |value: &String| value.split_whitespace().collect::<Vec<_>>() == ["1", "0", "0", "-"];
    let wrong = answers.iter().filter(|(_, answer)| answer.values.is_empty() || !answer.values.iter().all(right));
    let problems = wrong.map(|(zone, answer)| {
        let seen = if answer.values.is_empty() { "no NSEC3PARAM".to_owned() } else { answer.values.join("; ") };
        Problem::new(zone.as_str(), seen, wanted)
    });
    Finding::judge(problems.collect(), "1 0 0 - in every zone", wanted)
}

/// The name server looks nothing up for strangers: one that does is used to attack others (RFC 5358).
pub async fn recursion(world: &World) -> Finding {
    let wanted = "a refusal to look up names of others";
    let server = match served(world, wanted).await {
        Ok((_, server)) => server,
        Err(finding) => return finding,
    };
    match names::ask(server, ".", "NS", true).await {
        Ok(answer) if !answer.values.is_empty() => {
            Finding::bad(vec![Problem::new(server.ip().to_string(), "it answers for names of others", wanted)])
        }
        Ok(_) | Err(names::NamesError::Failed(..)) => Finding::good("it refuses", wanted),
        Err(error) => Finding::unknown(error.to_string(), wanted),
    }
}

/// Nobody without a key gets a whole zone.
pub async fn transfers(world: &World) -> Finding {
    let wanted = "zones are handed to secondaries with a key alone";
    let (zones, server) = match served(world, wanted).await {
        Ok(served) => served,
        Err(finding) => return finding,
    };
    let mut problems = Vec::new();
    for zone in &zones {
        match names::gives_away(server, zone.as_str()).await {
            Ok(true) => problems.push(Problem::new(zone.as_str(), "anybody gets the whole zone", wanted)),
            Ok(false) => {}
            Err(error) => return Finding::unknown(error.to_string(), wanted),
        }
    }
    Finding::judge(problems, "transfers without a key are refused", wanted)
}

/// What one server says of a zone.
struct Serial {
    zone: Domain,
    server: String,
    /// Its serial, or what it says in place of one.
    seen: Result<u32, String>,
}

/// Every other server has the zones as they are here.
pub async fn secondaries(world: &World) -> Finding {
    let wanted = "the serial that the box has, of every zone";
    let secondaries = match world.client.ask(&Secondaries {}).await {
        Ok(secondaries) if secondaries.is_empty() => {
            return Finding::skipped("no other servers answer for the zones; see: mailstead dns secondary --help");
        }
        Ok(secondaries) => secondaries,
        Err(error) => return Finding::unknown(error.to_string(), wanted),
    };
    let (zones, own) = match served(world, wanted).await {
        Ok(served) => served,
        Err(finding) => return finding,
    };
    let mut asking = tokio::task::JoinSet::new();
    for zone in &zones {
        for Secondary { server, addresses, .. } in &secondaries {
            for address in addresses {
                let (zone, name, address) = (zone.clone(), server.clone(), SocketAddr::new(*address, 53));
                asking.spawn(async move {
                    let seen = serial(address, &zone).await;
                    Serial { server: format!("{name} ({})", address.ip()), zone, seen }
                });
            }
        }
    }
    let mut here = Vec::with_capacity(zones.len());
    for zone in &zones {
        here.push((zone.clone(), serial(own, zone).await));
    }
    let mut there = asking.join_all().await;
    there.sort_by(|a, b| (&a.zone, &a.server).cmp(&(&b.zone, &b.server)));
    judge_serials(&here, &there, wanted)
}

async fn serial(server: SocketAddr, zone: &Domain) -> Result<u32, String> {
    let found = names::serial(server, zone.as_str()).await.map_err(|error| error.to_string())?;
    found.ok_or_else(|| "it does not have the zone".to_owned())
}

fn judge_serials(here: &[(Domain, Result<u32, String>)], there: &[Serial], wanted: &str) -> Finding {
    let mut problems = Vec::new();
    for Serial { zone, server, seen } in there {
        let own = here.iter().find(|(ours, _)| ours == zone).and_then(|(_, serial)| serial.as_ref().ok());
        let wrong = match (seen, own) {
            (Err(why), _) => why.clone(),
            (Ok(seen), Some(own)) if seen != own => format!("it has {seen}"),
            _ => continue,
        };
        let wanted = own.map_or_else(|| wanted.to_owned(), |own| format!("serial {own}"));
        let name = server.split(' ').next().unwrap_or_default();
        problems.push(Problem::new(format!("{zone} at {server}"), wrong, wanted).detail(name));
    }
    Finding::judge(problems, format!("as here: {} answers", there.len()), wanted)
}

/// Every name with a token has been led somewhere.
pub async fn dynamic(world: &World) -> Finding {
    let wanted = "an address for every name that has a token";
    match world.client.ask(&DynamicNames {}).await {
        Ok(names) => judge_dynamic(&names, wanted),
        Err(error) => Finding::unknown(error.to_string(), wanted),
    }
}

fn judge_dynamic(names: &[DynamicName], wanted: &str) -> Finding {
    let empty = names.iter().filter(|name| name.ipv4.is_none() && name.ipv6.is_none());
    let problems = empty.map(|name| Problem::new(&name.name, "no router has told its address yet", wanted));
    Finding::judge(problems.collect(), format!("names with a token: {}", names.len()), wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Verdict;

    fn zone() -> Domain {
        Domain::parse("example.org").unwrap()
    }

    fn answers(values: &[&str]) -> Vec<(Domain, Answer)> {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        vec![(zone(), Answer { values, ..Answer::default() })]
    }

    #[test]
    fn signatures_that_end_soon_are_told_of() {
        let now = 1_797_062_400 - 3 * DAY - 60;
        let found = answers(&["SOA 13 2 3600 1797062400 0 1 example.org. c2ln", "MX 13 2 3600 1899999999 0 1 a. c2ln"]);
        assert_eq!(judge_signatures(&found, now, 3, "").verdict, Verdict::Good);
        let bad = judge_signatures(&found, now, 4, "");
        assert!(bad.verdict == Verdict::Bad && bad.seen.contains("2026-12-12"), "{bad:?}");
        assert!(judge_signatures(&answers(&[]), now, 4, "").seen.contains("no signatures"));
    }

    #[test]
    fn rounds_of_hashing_and_salt_are_told_of() {
        assert_eq!(judge_denial(&answers(&["1 0 0 -"]), "").verdict, Verdict::Good);
        for wrong in [&["1 0 10 ABCD"][..], &[]] {
            assert_eq!(judge_denial(&answers(wrong), "").verdict, Verdict::Bad);
        }
    }

    #[test]
    fn a_server_that_lags_behind_and_one_without_the_zone_are_named() {
        let at = |seen| Serial { zone: zone(), server: "ns.example.net (192.0.2.1)".into(), seen };
        let here = [(zone(), Ok(7))];
        assert_eq!(judge_serials(&here, &[at(Ok(7))], "").verdict, Verdict::Good);
        let late = judge_serials(&here, &[at(Ok(6))], "");
        assert!(late.seen.contains("it has 6") && late.problems[0].detail == "ns.example.net");
        assert!(judge_serials(&here, &[at(Err("it does not have the zone".into()))], "").verdict == Verdict::Bad);
    }
}
