//! Where the box reaches, and where its mail would go: over IPv6, over HTTPS, from its own address, to other servers that
//! aliases and backups lead to.

use super::Family;
use crate::finding::{Finding, Problem};
use crate::names::{self, NamesError};
use crate::talk::Talk;
use crate::world::{World, each};
use base::{Address, Domain};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tokio::net::UdpSocket;
use wire::directory::{Alias, Aliases, BackupMx, BackupMxs};

/// Most domains that aliases lead to and that are looked up in one run.
const MOST_DOMAINS: usize = 100;

/// Other mail servers are reached over IPv6, where the box has a public address.
pub async fn over_ipv6(world: &World, servers: &[Domain]) -> Finding {
    let wanted = "a mail server of a large provider answers over IPv6";
    if world.host.ipv6.is_none() {
        return Finding::skipped("the box has no public IPv6 address");
    }
    let found = match addresses(world, servers, Family::Ipv6).await {
        Ok(found) => found,
        Err(why) => return Finding::unknown(why, wanted),
    };
    let port = world.endpoints.remote_smtp_port;
    // All at once: where the way is closed, each waits for as long as it may.
    let tried = each(found.iter().map(|(_, there)| Talk::connect(SocketAddr::new(*there, port))).collect()).await;
    let mut troubles = Vec::new();
    for ((server, _), tried) in found.iter().zip(tried) {
        match tried {
            Ok(_) => return Finding::good(format!("{server} takes a connection"), wanted),
            Err(trouble) => troubles.push(format!("{server}: {trouble}")),
        }
    }
    match troubles.is_empty() {
        true => Finding::unknown("none of them has an IPv6 address", wanted),
        false => Finding::bad(vec![Problem::new("", troubles.join("\n"), wanted)]),
    }
}

/// The first address of each server that has one of this family. An error only when the resolver itself is away.
async fn addresses<'a>(
    world: &World,
    servers: &'a [Domain],
    family: Family,
) -> Result<Vec<(&'a Domain, IpAddr)>, String> {
    let kind = if family == Family::Ipv4 { "A" } else { "AAAA" };
    let asked = each(servers.iter().map(|server| world.names.ask(server.as_str(), kind)).collect()).await;
    let mut found = Vec::new();
    for (server, answer) in servers.iter().zip(asked) {
        match answer {
            Ok(answer) => {
                let first = answer.values.iter().find_map(|value| value.parse().ok());
                found.extend(first.map(|address| (server, address)));
            }
            Err(error @ NamesError::Away(..)) => return Err(error.to_string()),
            // The others will do.
            Err(_) => {}
        }
    }
    Ok(found)
}

/// Every port answers at the box's public address too, and not on loopback alone.
pub async fn public_ports(world: &World, family: Family, ports: &[u16]) -> Finding {
    let wanted = "a connection at every port";
    let public = world.host.addresses().find(|address| address.is_ipv4() == (family == Family::Ipv4));
    let Some(public) = public else { return Finding::skipped("the box has no such address") };
    if !world.host.bind.contains(&public) {
        return Finding::skipped(format!(
            "{public} is not an address of this machine itself, so it cannot be tried from here"
        ));
    }
    let tried = each(ports.iter().map(|port| only_inside(public, *port)).collect()).await;
    let problems = ports.iter().zip(tried).filter_map(|(port, trouble)| {
        Some(Problem::new(format!("port {port} at {public}"), trouble?, wanted).detail(port.to_string()))
    });
    Finding::judge(problems.collect(), format!("ports that answer at {public}: {}", ports.len()), wanted)
}

/// What stands in the way to a port of a public address, where the same port answers on loopback. One that does not has a
/// check of its own.
async fn only_inside(public: IpAddr, port: u16) -> Option<String> {
    let trouble = Talk::connect(SocketAddr::new(public, port)).await.err()?;
    Talk::connect((Ipv4Addr::LOCALHOST, port).into()).await.ok().map(|_| trouble)
}

/// The certificate authority is reached.
pub async fn authority(world: &World) -> Finding {
    let wanted = "the certificate authority takes connections";
    let directory = &world.config.acme.directory;
    let Ok(url) = reqwest::Url::parse(directory) else {
        return Finding::bad(vec![Problem::new("", format!("“{directory}” is no address"), wanted)]);
    };
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Finding::bad(vec![Problem::new("", format!("“{directory}” names no host"), wanted)]);
    };
    let addresses = match world.names.addresses(host).await {
        Ok(addresses) => addresses,
        Err(error) => return Finding::unknown(error.to_string(), wanted),
    };
    let tried = each(addresses.iter().map(|there| Talk::connect(SocketAddr::new(*there, port))).collect()).await;
    match tried.into_iter().reduce(Result::or) {
        Some(Ok(_)) => Finding::good(format!("{host} does"), wanted),
        Some(Err(trouble)) => Finding::bad(vec![Problem::new(host, trouble, wanted)]),
        None => Finding::bad(vec![Problem::new(host, "it has no address", wanted)]),
    }
}

/// Mail leaves from the address that the box is known by.
pub async fn own_address(world: &World, family: Family, servers: &[Domain]) -> Finding {
    let ours: Vec<IpAddr> =
        world.host.bind.iter().copied().filter(|address| address.is_ipv4() == (family == Family::Ipv4)).collect();
    if ours.is_empty() {
        return Finding::skipped("the box has no such address");
    }
    let list = ours.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
    let there = match addresses(world, servers, family).await {
        Ok(found) => found.into_iter().next().map(|(_, address)| address),
        Err(why) => return Finding::unknown(why, list),
    };
    let Some(there) = there else { return Finding::unknown("none of the servers has an address", list) };
    match source(there).await {
        Ok(source) if ours.contains(&source) => Finding::good(source.to_string(), list),
        Ok(source) => Finding::bad(vec![Problem::new("", source.to_string(), list)]),
        Err(why) => Finding::unknown(why.to_string(), list),
    }
}

/// From where the kernel would send to an address. Nothing is sent.
async fn source(there: IpAddr) -> std::io::Result<IpAddr> {
    let any: SocketAddr = if there.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(SocketAddr::new(there, 25)).await?;
    Ok(socket.local_addr()?.ip())
}

/// Every domain that this box is backup for names it, and its own server exists.
pub async fn backup_mx(world: &World) -> Finding {
    let wanted = "an MX record for this box, beside one for the domain's own server";
    let domains = match world.client.ask(&BackupMxs {}).await {
        Ok(domains) if domains.is_empty() => return Finding::skipped("this box is nobody's backup"),
        Ok(domains) => domains,
        Err(error) => return Finding::unknown(error.to_string(), wanted),
    };
    let mut problems = Vec::new();
    let asked = each(domains.iter().map(|backup| world.names.ask(backup.domain.as_str(), "MX")).collect()).await;
    for (BackupMx { domain, primary }, answer) in domains.iter().zip(asked) {
        match answer {
            Ok(answer) => problems.extend(judge_backup(domain, primary, &answer.values, world.hostname())),
            Err(error) => return Finding::unknown(error.to_string(), wanted),
        }
    }
    Finding::judge(problems, format!("domains: {}", domains.len()), wanted)
}

fn judge_backup(domain: &Domain, primary: &Domain, values: &[String], hostname: &str) -> Option<Problem> {
    let exchangers = names::exchangers(values);
    let preference = |name: &str| exchangers.iter().find(|(_, host)| host == name).map(|(preference, _)| *preference);
    let wrong = match (preference(hostname), preference(primary.as_str())) {
        (None, _) => "its MX records do not name this box".to_owned(),
        (_, None) => format!("its MX records do not name {primary}"),
        (Some(ours), Some(theirs)) if ours <= theirs => "its MX records have this box come first".to_owned(),
        _ => return None,
    };
    let wanted = format!("10 {primary}. and 20 {hostname}.");
    Some(Problem::new(domain.as_str(), wrong, wanted))
}

/// Aliases that lead to other servers lead to domains that take mail.
pub async fn alias_targets(world: &World) -> Finding {
    let wanted = "domains that take mail";
    let (aliases, own) = match (world.client.ask(&Aliases {}).await, world.domains().await) {
        (Ok(aliases), Ok(own)) => (aliases, own),
        (Err(error), _) => return Finding::unknown(error.to_string(), wanted),
        (_, Err(why)) => return Finding::unknown(why, wanted),
    };
    let domains = outside(&aliases, &own);
    let mut problems = Vec::new();
    let asked: Vec<&Domain> = domains.iter().copied().take(MOST_DOMAINS).collect();
    let taken = each(asked.iter().map(|domain| takes_mail(world, domain)).collect()).await;
    for (domain, taken) in asked.into_iter().zip(taken) {
        match taken {
            Ok(true) => {}
            Ok(false) => problems.extend(leading_to(&aliases, domain, wanted)),
            Err(why) => return Finding::unknown(why, wanted),
        }
    }
    Finding::judge(problems, format!("other domains that aliases lead to: {}", domains.len()), wanted)
}

fn outside<'a>(aliases: &'a [Alias], own: &[Domain]) -> BTreeSet<&'a Domain> {
    let targets = aliases.iter().filter(|alias| !alias.ended).flat_map(|alias| &alias.targets);
    targets.map(Address::domain).filter(|domain| !own.contains(domain)).collect()
}

/// RFC 5321 §5.1, and RFC 7505 for the null MX.
async fn takes_mail(world: &World, domain: &Domain) -> Result<bool, String> {
    let mx = world.names.ask(domain.as_str(), "MX").await.map_err(|error| error.to_string())?;
    if !mx.values.is_empty() {
        return Ok(!names::exchangers(&mx.values).is_empty());
    }
    Ok(!world.names.addresses(domain.as_str()).await.map_err(|error| error.to_string())?.is_empty())
}

fn leading_to(aliases: &[Alias], domain: &Domain, wanted: &str) -> Vec<Problem> {
    let leads = |alias: &&Alias| alias.targets.iter().any(|target| target.domain() == domain);
    let problem = |alias: &Alias| {
        let name = alias.address.to_string();
        Problem::new(&name, format!("{domain} takes no mail"), wanted).detail(&name)
    };
    aliases.iter().filter(leads).map(problem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(name: &str) -> Domain {
        Domain::parse(name).unwrap()
    }

    #[test]
    fn a_backup_comes_after_the_domains_own_server() {
        let judge = |values: &[&str]| {
            let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
            judge_backup(&domain("example.net"), &domain("mx.example.net"), &values, "box.example.org")
        };
        assert!(judge(&["10 mx.example.net.", "20 box.example.org."]).is_none());
        assert!(judge(&["10 mx.example.net."]).unwrap().seen.contains("do not name this box"));
        assert!(judge(&["20 box.example.org."]).unwrap().seen.contains("do not name mx.example.net"));
        assert!(judge(&["10 mx.example.net.", "10 box.example.org."]).unwrap().seen.contains("come first"));
    }

    #[test]
    fn only_other_domains_of_aliases_that_still_hold_are_looked_up() {
        let alias = |targets: &[&str], ended| Alias {
            address: "sales@example.org".parse().unwrap(),
            targets: targets.iter().map(|target| Address::parse(target).unwrap()).collect(),
            required: false,
            rules: wire::directory::AliasRules::default(),
            ended,
        };
        let aliases = [alias(&["ann@example.org", "bob@example.net"], false), alias(&["old@example.com"], true)];
        let found: Vec<_> = outside(&aliases, &[domain("example.org")]).into_iter().cloned().collect();
        assert_eq!(found, [domain("example.net")]);
        assert_eq!(leading_to(&aliases, &domain("example.net"), "").len(), 1);
    }

    #[tokio::test]
    async fn the_kernel_says_from_where_it_would_send() {
        assert_eq!(source("127.0.0.1".parse().unwrap()).await.unwrap(), "127.0.0.1".parse::<IpAddr>().unwrap());
    }
}
