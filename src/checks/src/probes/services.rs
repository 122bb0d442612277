//! The parts of the box: does each of them answer?

use crate::finding::{Finding, Problem};
use crate::limits::ROLE_WITHIN;
use crate::names;
use crate::talk::Talk;
use crate::world::{World, each};
use base::{Domain, HostFacts, Role};
use std::net::SocketAddr;
use tokio::net::UnixStream;
use wire::{directory, dns, mailbox, mta};

pub fn configuration(world: &World) -> Finding {
    let wanted = "box.yaml and host.json can be read";
    match HostFacts::load(&world.paths) {
        Ok(_) => Finding::good("both can be read", wanted),
        Err(error) => {
            let file = world.paths.host_facts().display().to_string();
            Finding::bad(vec![Problem::new(file, error.to_string(), "a file that set-up wrote")])
        }
    }
}

pub async fn role(world: &World, role: Role) -> Finding {
    match ask(world, role).await {
        Ok(seen) => Finding::good(seen, "an answer"),
        Err(why) => Finding::bad(vec![Problem::new(format!("mailstead-{role}"), why, "an answer").detail(role.name())]),
    }
}

/// Asks a question that the table of doors lets the checks ask; roles without one are connected to.
async fn ask(world: &World, role: Role) -> Result<String, String> {
    let client = &world.client;
    let asked = async {
        match role {
            Role::Directory => {
                client.ask(&directory::Domains {}).await.map(|found| format!("domains: {}", found.len()))
            }
            Role::Mailbox => {
                client.ask(&mailbox::AccountUsage {}).await.map(|found| format!("mailboxes: {}", found.len()))
            }
            Role::Mta => client.ask(&mta::Queue {}).await.map(|found| format!("waiting in the queue: {}", found.len())),
            Role::Dns => client.ask(&dns::Records {}).await.map(|found| format!("records: {}", found.len())),
            Role::Web => return panel(world).await,
            role => return connects(world, role).await,
        }
        .map_err(|error| error.to_string())
    };
    match tokio::time::timeout(ROLE_WITHIN, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} seconds", ROLE_WITHIN.as_secs())),
    }
}

async fn connects(world: &World, role: Role) -> Result<String, String> {
    let socket = world.paths.socket(role, role.name());
    match UnixStream::connect(&socket).await {
        Ok(_) => Ok("it takes connections".to_owned()),
        Err(error) => Err(format!("{}: {error}", socket.display())),
    }
}

async fn panel(world: &World) -> Result<String, String> {
    let socket = world.paths.socket(Role::Web, "web");
    let stream = UnixStream::connect(&socket).await.map_err(|error| format!("{}: {error}", socket.display()))?;
    match Talk::over(stream).get(world.hostname(), "/admin/login").await? {
        (200, _) => Ok("its login page".to_owned()),
        (code, _) => Err(format!("its login page answers {code}")),
    }
}

pub async fn http(world: &World) -> Finding {
    let address = world.endpoints.http.local();
    let wanted = "HTTP that leads to HTTPS";
    let got = async { Talk::connect(address).await?.get(world.hostname(), "/").await }.await;
    let seen = match got {
        Ok((code @ (301 | 302 | 308), _)) => return Finding::good(format!("{code}, a redirect"), wanted),
        Ok((code, _)) => format!("it answers {code}"),
        Err(trouble) => trouble,
    };
    Finding::bad(vec![Problem::new(format!("port {}", address.port()), seen, wanted).detail("nginx")])
}

pub async fn resolver(world: &World) -> Finding {
    let subject = world.names.resolver().to_string();
    let wanted = "answers, checked by DNSSEC";
    if world.is_demo() {
        // The demo's resolver knows the demo's zone and has no trust anchor.
        let name = world.config.email.domain().as_str();
        return match world.names.ask(name, "SOA").await {
            Ok(answer) => Finding::good(format!("SOA records of {name}: {}", answer.values.len()), "answers"),
            Err(error) => Finding::skipped(format!("a demo needs no resolver of its own ({error})")),
        };
    }
    match world.names.ask(".", "NS").await {
        Ok(answer) if answer.authenticated => Finding::good("the root's name servers, authenticated", wanted),
        Ok(_) => Finding::bad(vec![Problem::new(subject, "answers that are not checked (no AD bit)", wanted)]),
        Err(error) => Finding::bad(vec![Problem::new(subject, error.to_string(), wanted)]),
    }
}

/// The machine itself asks the box's resolver, so that whatever it runs is protected by DNSSEC and asks no stranger.
pub fn system_resolver(world: &World) -> Finding {
    let wanted = format!("nameserver {}", world.names.resolver().ip());
    if world.is_demo() {
        return Finding::skipped("a demo leaves the machine's resolver alone");
    }
    let file = world.paths.on_host("/etc/resolv.conf");
    match std::fs::read_to_string(&file) {
        Ok(text) => judge_resolver(&text, &wanted),
        Err(error) => Finding::bad(vec![Problem::new(file.display().to_string(), error.to_string(), wanted)]),
    }
}

/// resolv.conf(5): the servers are asked in their order, so that one beside the box's own answers when that is slow.
fn judge_resolver(text: &str, wanted: &str) -> Finding {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let servers: Vec<String> = text.lines().map(words).filter(|line| line.starts_with("nameserver ")).collect();
    match !servers.is_empty() && servers.iter().all(|server| server == wanted) {
        true => Finding::good(wanted, wanted),
        false => Finding::bad(vec![Problem::new("/etc/resolv.conf", servers.join(", "), wanted)]),
    }
}

/// Where NSD listens: on the machine's own addresses, since port 53 of loopback is the resolver's.
pub(super) fn authoritative(world: &World) -> Vec<SocketAddr> {
    if world.is_demo() {
        return vec![world.endpoints.dns.local()];
    }
    world.host.bind.iter().map(|address| SocketAddr::new(*address, world.endpoints.dns.port)).collect()
}

/// What is wrong with the zones at one of its addresses.
async fn at_server(server: SocketAddr, zones: &[Domain]) -> Vec<Problem> {
    // One that takes no connection does not run: waiting for an answer to every zone would take longer than a probe may.
    if let Err(trouble) = Talk::connect(server).await {
        let subject = format!("TCP to {}", server.ip());
        return vec![Problem::new(subject, trouble, "a connection; long answers need it")];
    }
    let mut problems = Vec::new();
    let answers = each(zones.iter().map(|zone| names::ask(server, zone.as_str(), "SOA", false)).collect()).await;
    for (zone, answer) in zones.iter().zip(answers) {
        let wrong = match answer {
            Ok(answer) if answer.authoritative && !answer.values.is_empty() => continue,
            Ok(_) => "it does not know the zone".to_owned(),
            Err(error) => error.to_string(),
        };
        problems.push(Problem::new(format!("{zone} at {}", server.ip()), wrong, "an authoritative answer"));
    }
    problems
}

pub async fn name_server(world: &World) -> Finding {
    let zones = match world.zones().await {
        Ok(zones) => zones,
        Err(why) => return Finding::unknown(why, "an authoritative answer for every zone"),
    };
    if world.is_demo() && tokio::net::TcpStream::connect(world.endpoints.dns.local()).await.is_err() {
        return Finding::skipped("NSD does not run in this demo");
    }
    let servers = authoritative(world);
    let problems: Vec<Problem> = each(servers.into_iter().map(|server| at_server(server, &zones)).collect())
        .await
        .into_iter()
        .flatten()
        .collect();
    Finding::judge(
        problems,
        format!("zones that NSD answers for: {}", zones.len()),
        "an authoritative answer for every zone",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Verdict;

    #[test]
    fn a_server_beside_the_boxs_own_is_told_of() {
        let judge = |text: &str| judge_resolver(text, "nameserver 127.0.0.1").verdict;
        assert_eq!(judge("# by Mailstead\nnameserver  127.0.0.1\noptions edns0\n"), Verdict::Good);
        for wrong in ["", "nameserver 9.9.9.9\n", "nameserver 127.0.0.1\nnameserver 9.9.9.9\n"] {
            assert_eq!(judge(wrong), Verdict::Bad, "{wrong}");
        }
    }
}
