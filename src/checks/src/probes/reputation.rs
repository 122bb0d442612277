//! How the world sees the box's addresses: their names, blocklists, and whether mail gets out at all.

use super::Family;
use crate::finding::{Finding, Problem};
use crate::names::{self, NamesError};
use crate::talk::Talk;
use crate::world::{World, each};
use base::Domain;
use std::net::{IpAddr, SocketAddr};

fn address(world: &World, family: Family) -> Result<IpAddr, Finding> {
    let found = match family {
        Family::Ipv4 => world.host.ipv4.map(IpAddr::V4),
        Family::Ipv6 => world.host.ipv6.map(IpAddr::V6),
    };
    let kind = if family == Family::Ipv4 { "IPv4" } else { "IPv6" };
    found.ok_or_else(|| Finding::skipped(format!("the box has no public {kind} address")))
}

pub async fn ptr(world: &World, family: Family) -> Finding {
    let address = match address(world, family) {
        Ok(address) => address,
        Err(finding) => return finding,
    };
    let hostname = world.hostname();
    let (reverse, forward) = tokio::join!(
        async { world.names.ask(&names::ptr_name(address), "PTR").await },
        world.names.addresses(hostname)
    );
    match (reverse, forward) {
        (Ok(reverse), Ok(forward)) => judge_ptr(address, &reverse.values, hostname, &forward),
        (Err(error), _) | (_, Err(error)) => Finding::unknown(error.to_string(), hostname),
    }
}

/// The name is forward-confirmed when it leads back to the address (RFC 8601 §2.7.3, “iprev”).
fn judge_ptr(address: IpAddr, names: &[String], hostname: &str, forward: &[IpAddr]) -> Finding {
    let named: Vec<String> = names.iter().map(|name| name.trim_end_matches('.').to_ascii_lowercase()).collect();
    let seen = if named.is_empty() { "no name".to_owned() } else { named.join(", ") };
    let problem = |seen: String| Finding::bad(vec![Problem::new(address.to_string(), seen, hostname)]);
    match () {
        () if named != [hostname] => problem(seen),
        () if !forward.contains(&address) => {
            problem(format!("{hostname}, but that name does not lead back to the address"))
        }
        () => Finding::good(format!("{address} is {hostname} and back"), hostname),
    }
}

/// What a blocklist says of an entry (RFC 5782).
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Absent,
    /// With the codes.
    Listed(String),
    /// It did not look: it refuses this resolver, or the answer is no code at all.
    Refused(String),
}

/// 127.255.255.0/24 are Spamhaus's error codes: a blocked resolver, a mistyped query, a quota. They say nothing of the
/// address. What lies outside 127.0.0.0/8 comes from a resolver that rewrites answers.
fn judge_answers(values: &[String]) -> Entry {
    let codes = values.join(", ");
    let starts = |prefix: &str| values.iter().any(|value| value.starts_with(prefix));
    match () {
        () if values.is_empty() => Entry::Absent,
        () if starts("127.255.255.") => Entry::Refused(format!("the list refuses to answer ({codes})")),
        () if values.iter().all(|value| value.starts_with("127.")) => Entry::Listed(codes),
        () => Entry::Refused(format!("an answer that is no blocklist's ({codes})")),
    }
}

async fn entry(world: &World, query: &str) -> Entry {
    match world.names.ask(query, "A").await {
        Ok(answer) => judge_answers(&answer.values),
        Err(error @ (NamesError::Failed(..) | NamesError::Away(..) | NamesError::Garbled(_) | NamesError::Name(_))) => {
            Entry::Refused(error.to_string())
        }
    }
}

/// Asks each list about each entry: (what, the name to ask, the list).
async fn ask_lists(world: &World, entries: Vec<(String, String, Domain)>) -> Finding {
    let wanted = "on no list";
    let (mut listed, mut refused, asked) = (Vec::new(), Vec::new(), entries.len());
    let answers = each(entries.iter().map(|(_, query, _)| entry(world, query)).collect()).await;
    for ((what, _, list), answer) in entries.into_iter().zip(answers) {
        match answer {
            Entry::Absent => {}
            Entry::Listed(codes) => {
                listed.push(Problem::new(list.as_str(), format!("{what} is listed ({codes})"), wanted).detail(what));
            }
            Entry::Refused(why) => refused.push(format!("{list}: {why}")),
        }
    }
    match () {
        () if !listed.is_empty() => Finding::bad(listed),
        () if !refused.is_empty() => Finding::unknown(refused.join("\n"), wanted),
        () if asked == 0 => Finding::skipped("there is nothing to ask"),
        () => Finding::good(format!("looked up: {asked}, listed: none"), wanted),
    }
}

pub async fn blocklists(world: &World, family: Family) -> Finding {
    let address = match address(world, family) {
        Ok(address) => address,
        Err(finding) => return finding,
    };
    let reversed = names::reversed(address);
    let entry = |list: &Domain| (address.to_string(), format!("{reversed}.{list}"), list.clone());
    let lists = world.config.blocklists.iter().map(|list| &list.zone);
    ask_lists(world, lists.map(entry).collect()).await
}

pub async fn domain_blocklists(world: &World, lists: &[Domain]) -> Finding {
    let mut domains = match world.domains().await {
        Ok(domains) => domains,
        Err(why) => return Finding::unknown(why, "on no list"),
    };
    if !domains.iter().any(|domain| world.config.hostname.is_within(domain)) {
        domains.push(world.config.hostname.clone());
    }
    let entries = lists.iter().flat_map(|list| {
        domains.iter().map(move |domain| (domain.to_string(), format!("{domain}.{list}"), list.clone()))
    });
    ask_lists(world, entries.collect()).await
}

/// The first that answers is enough: a provider that blocks port 25 blocks it to everybody.
pub async fn outbound(world: &World, servers: &[Domain]) -> Finding {
    let wanted = "a mail server of a large provider answers";
    let port = world.endpoints.remote_smtp_port;
    let (mut tried, mut resolved) = (Vec::new(), false);
    for server in servers {
        let address = match world.names.addresses(server.as_str()).await {
            Ok(addresses) => addresses.into_iter().next(),
            // The resolver is away, and would be for the others as well.
            Err(error @ NamesError::Away(..)) => return Finding::unknown(error.to_string(), wanted),
            Err(error) => {
                tried.push(format!("{server}: {error}"));
                continue;
            }
        };
        let Some(address) = address else { continue };
        resolved = true;
        match greeting(SocketAddr::new(address, port)).await {
            Ok(words) => return Finding::good(format!("{server}: {words}"), wanted),
            Err(trouble) => tried.push(format!("{server}: {trouble}")),
        }
    }
    match resolved {
        true => Finding::bad(vec![Problem::new("", tried.join("\n"), wanted)]),
        false => Finding::unknown(format!("none of their names is found\n{}", tried.join("\n")), wanted),
    }
}

async fn greeting(address: SocketAddr) -> Result<String, String> {
    let mut talk = Talk::connect(address).await?;
    let reply = talk.reply().await?;
    let _ = talk.send("QUIT").await;
    // Even a refusal shows that the way is open.
    Ok(reply.text())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Verdict;

    fn values(list: &[&str]) -> Vec<String> {
        list.iter().map(|value| (*value).to_owned()).collect()
    }

    #[test]
    fn a_list_that_refuses_to_answer_is_not_a_listing() {
        assert_eq!(judge_answers(&[]), Entry::Absent);
        assert_eq!(judge_answers(&values(&["127.0.0.2"])), Entry::Listed("127.0.0.2".into()));
        for code in ["127.255.255.252", "127.255.255.254", "127.255.255.255"] {
            assert!(matches!(judge_answers(&values(&[code])), Entry::Refused(_)), "{code}");
        }
        assert!(
            matches!(judge_answers(&values(&["93.184.216.34"])), Entry::Refused(_)),
            "a resolver that rewrites answers"
        );
    }

    #[test]
    fn an_address_has_one_name_that_leads_back() {
        let address: IpAddr = "192.0.2.25".parse().unwrap();
        let judge = |names: &[&str], forward: &[IpAddr]| judge_ptr(address, &values(names), "box.example.org", forward);
        assert_eq!(judge(&["Box.example.org."], &[address]).verdict, Verdict::Good);
        assert!(judge(&[], &[address]).seen.contains("no name"));
        assert!(judge(&["vps-17.provider.example."], &[address]).seen.contains("vps-17"));
        assert!(judge(&["box.example.org."], &[]).seen.contains("does not lead back"));
        assert_eq!(judge(&["box.example.org.", "other.example."], &[address]).verdict, Verdict::Bad);
    }
}
