//! Before anything is touched: is this a machine that can become a box?
//!
//! What is fatal stops set-up with its remedy; what is not is told, and becomes a status check.

use crate::discover;
use crate::host::capture;
use base::{BoxConfig, Domain, HostFacts};
use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::Duration;

/// 512 MB machines show a little less than they are sold as.
const MIN_MEMORY: u64 = 480_000_000;
/// The packages, the program, logs, and room for the first mail.
const MIN_DISK: u64 = 2_000_000_000;
/// A clock before this release was made is wrong (2026-11-01).
const EARLIEST: u64 = 1_793_491_200;
/// And after 2100 as well.
const LATEST: u64 = 4_102_444_800;
const NETWORK_WITHIN: Duration = Duration::from_secs(6);

/// The ports that a box listens on.
const PORTS: [u16; 9] = [25, 80, 443, 465, 587, 993, 995, 4190, 53];

/// Packages that want the same ports, with what to call them.
const OTHERS: [(&str, &str); 14] = [
    ("postfix", "the mail server Postfix"),
    ("exim4-base", "the mail server Exim"),
    ("sendmail-bin", "the mail server Sendmail"),
    ("opensmtpd", "the mail server OpenSMTPD"),
    ("courier-mta", "the mail server Courier"),
    ("dovecot-core", "the mailbox server Dovecot"),
    ("cyrus-imapd", "the mailbox server Cyrus"),
    ("apache2", "the web server Apache"),
    ("lighttpd", "the web server lighttpd"),
    ("caddy", "the web server Caddy"),
    ("bind9", "the name server BIND"),
    ("pdns-server", "the name server PowerDNS"),
    ("dnsmasq", "dnsmasq"),
    ("docker-ce", "Docker"),
];

/// Port 25 of large providers: if one answers, the way out is open.
const OUTBOUND: [&str; 3] = ["gmail-smtp-in.l.google.com", "smtp.google.com", "aspmx.l.google.com"];

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub fatal: bool,
    /// What was seen and what to do, in a sentence or two.
    pub words: String,
}

fn fatal(words: impl Into<String>) -> Finding {
    Finding { fatal: true, words: words.into() }
}

fn notice(words: impl Into<String>) -> Finding {
    Finding { fatal: false, words: words.into() }
}

/// Everything that can be told without the network. `first` is whether the machine is not a box yet.
pub fn machine(host: &HostFacts, first: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !nix::unistd::geteuid().is_root() {
        return vec![fatal("set-up has to run as root: sudo mailstead setup")];
    }
    if !std::path::Path::new("/run/systemd/system").is_dir() {
        findings
            .push(fatal("this machine does not run systemd; take an ordinary server, not an application container"));
    }
    let (id, version) = discover::distribution();
    findings.extend(distribution(&id, &version));
    if !["x86_64", "aarch64"].contains(&std::env::consts::ARCH) {
        findings.push(fatal(format!("the architecture {} is not supported", std::env::consts::ARCH)));
    }
    findings.extend(size());
    findings.extend(clock(base::time::now_unix()));
    findings.extend(addresses(host));
    if first {
        findings.extend(other_servers());
        findings.extend(ports(host));
    }
    findings
}

/// Ubuntu LTS, and the Debian releases that the tests run on.
fn distribution(id: &str, version: &str) -> Option<Finding> {
    let supported = [("ubuntu", "24.04"), ("ubuntu", "26.04"), ("debian", "12"), ("debian", "13")];
    if supported.contains(&(id, version)) {
        return None;
    }
    let words = format!("{id} {version} is not supported; install Ubuntu 24.04 or 26.04 LTS (or Debian 12 or 13)");
    Some(fatal(words))
}

fn size() -> Vec<Finding> {
    let mut findings = Vec::new();
    match sysinfo::System::new() {
        Ok(mut system) => {
            system.refresh_memory();
            if system.total_memory() < MIN_MEMORY {
                let seen = system.total_memory() / 1_000_000;
                findings.push(fatal(format!("the machine has {seen} MB of memory; a box needs 512")));
            }
        }
        Err(error) => findings.push(notice(format!("the memory of this machine cannot be told: {error}"))),
    }
    if let Ok(disk) = nix::sys::statvfs::statvfs("/var") {
        let free = disk.blocks_available().saturating_mul(disk.fragment_size());
        if free < MIN_DISK {
            let words = format!(
                "only {:.1} GB of disk are free for /var and a box needs 2; make room or take a larger disk",
                free as f64 / 1e9
            );
            findings.push(fatal(words));
        }
    }
    findings
}

fn clock(now: u64) -> Option<Finding> {
    let wrong = !(EARLIEST..LATEST).contains(&now);
    let shown = base::time::readable(now);
    wrong
        .then(|| fatal(format!("the clock says {shown}; set it right (timedatectl set-ntp true) and run set-up again")))
}

fn addresses(host: &HostFacts) -> Option<Finding> {
    if host.ipv4.is_none() && host.ipv6.is_none() {
        let words = "no public address was found on this machine; behind NAT give it with --ipv4 ADDRESS";
        return Some(fatal(words));
    }
    if host.ipv4.is_none() {
        return Some(notice("the machine has no public IPv4 address; much of the world's mail cannot reach it"));
    }
    None
}

fn other_servers() -> Vec<Finding> {
    let names: Vec<String> = OTHERS.iter().map(|(package, _)| (*package).to_owned()).collect();
    let installed = crate::packages::installed(&names).unwrap_or_default();
    let found = OTHERS.iter().filter(|(package, _)| installed.contains(*package));
    found
        .map(|(package, name)| {
            fatal(format!(
                "{name} is installed; Mailstead needs the machine to itself: take a fresh server, or remove it (apt-get \
                 purge {package})"
            ))
        })
        .collect()
}

fn ports(host: &HostFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for port in PORTS {
        // Port 53 is bound address by address: a stub on 127.0.0.53 is in nobody's way.
        let addresses: Vec<IpAddr> = match port {
            53 => {
                host.bind.iter().copied().chain(["127.0.0.1".parse().unwrap_or(IpAddr::from([127, 0, 0, 1]))]).collect()
            }
            _ => vec![IpAddr::from([0, 0, 0, 0]), IpAddr::from([0; 16])],
        };
        let taken = addresses.iter().any(|address| {
            let bound = std::net::TcpListener::bind(SocketAddr::new(*address, port));
            matches!(bound, Err(error) if error.kind() == std::io::ErrorKind::AddrInUse)
        });
        if taken {
            let who = listener(port).map_or_else(String::new, |who| format!(" by {who}"));
            let words =
                format!("port {port} is in use{who}; stop and remove what listens there, or take a fresh server");
            findings.push(fatal(words));
        }
    }
    findings
}

/// The program that listens on a port, as `ss` tells it.
fn listener(port: u16) -> Option<String> {
    let mut command = Command::new("ss");
    command.args(["--tcp", "--listening", "--numeric", "--processes", "--no-header"]).arg(format!("sport = :{port}"));
    let output = capture(&mut command).ok()?;
    let (_, rest) = output.split_once("((\"")?;
    rest.split_once('"').map(|(name, _)| name.to_owned())
}

/// What the network tells: the way out on port 25, blocklists, PTR. None of it stops set-up.
pub async fn network(config: &BoxConfig, host: &HostFacts) -> Vec<Finding> {
    let resolver = TokioResolver::builder_tokio().and_then(|builder| builder.build());
    let Ok(resolver) = resolver else {
        return vec![notice("the machine's resolver (/etc/resolv.conf) cannot be read")];
    };
    let (outbound, listed, pointers) = tokio::join!(
        tokio::time::timeout(NETWORK_WITHIN * 2, outbound(&resolver)),
        tokio::time::timeout(NETWORK_WITHIN * 2, blocklists(&resolver, config, host)),
        tokio::time::timeout(NETWORK_WITHIN * 2, pointers(&resolver, config, host)),
    );
    let outbound = outbound.unwrap_or_else(|_| outbound_closed());
    let unasked = |what: &str| vec![notice(format!("{what} could not be asked: DNS does not answer in time"))];
    let listed = listed.unwrap_or_else(|_| unasked("the blocklists"));
    let pointers = pointers.unwrap_or_else(|_| unasked("reverse DNS"));
    outbound.into_iter().chain(listed).chain(pointers).collect()
}

fn outbound_closed() -> Option<Finding> {
    Some(notice(
        "outbound port 25 is closed, so no mail can be sent yet; most VPS providers open it when asked: open a ticket",
    ))
}

async fn outbound(resolver: &TokioResolver) -> Option<Finding> {
    for name in OUTBOUND {
        let Ok(found) = resolver.lookup_ip(format!("{name}.")).await else { continue };
        for address in found.iter().take(2) {
            let connect = tokio::net::TcpStream::connect(SocketAddr::new(address, 25));
            if let Ok(Ok(_)) = tokio::time::timeout(NETWORK_WITHIN / 2, connect).await {
                return None;
            }
        }
    }
    outbound_closed()
}

async fn blocklists(resolver: &TokioResolver, config: &BoxConfig, host: &HostFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for list in config.blocklists.iter().map(|list| &list.zone) {
        // The list's own servers are asked: a provider's resolver is refused by them, and its answer means nothing.
        let Some(direct) = authority(resolver, list).await else { continue };
        for address in host.addresses() {
            let name = format!("{}.{list}.", reversed(address));
            let Ok(answer) = direct.lookup(name, RecordType::A).await else { continue };
            let codes = answer.answers().iter().filter_map(|record| match &record.data {
                RData::A(code) => Some(code.0),
                _ => None,
            });
            // 127.255.255.x are errors of the query, not listings (Spamhaus, “Using our public mirrors”).
            let listed = codes.into_iter().find(|code| code.octets()[0] == 127 && code.octets()[1] != 255);
            if let Some(code) = listed {
                findings.push(notice(format!(
                    "the address {address} is on the blocklist {list} ({code}); ask for its removal there, or ask your VPS \
                     provider for another address"
                )));
            }
        }
    }
    findings
}

/// A resolver that asks the own servers of a list, without recursion. A list may be a part of a larger zone.
async fn authority(resolver: &TokioResolver, list: &Domain) -> Option<TokioResolver> {
    let mut zone = list.as_str();
    let name = loop {
        if let Some(name) = name_server(resolver, zone).await {
            break name;
        }
        zone = zone.split_once('.')?.1;
    };
    let address = resolver.lookup_ip(name).await.ok()?.iter().next()?;
    let (config, mut options) = base::names::config(SocketAddr::new(address, 53));
    options.recursion_desired = false;
    let provider = hickory_resolver::net::runtime::TokioRuntimeProvider::default();
    TokioResolver::builder_with_config(config, provider).with_options(options).build().ok()
}

async fn name_server(resolver: &TokioResolver, zone: &str) -> Option<Name> {
    let servers = resolver.lookup(format!("{zone}."), RecordType::NS).await.ok()?;
    servers.answers().iter().find_map(|record| match &record.data {
        RData::NS(name) => Some(name.0.clone()),
        _ => None,
    })
}

/// An address as blocklists want it: octets, or for IPv6 nibbles, in reverse (RFC 5782 §2.1 and §2.4).
fn reversed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.octets().iter().rev().map(u8::to_string).collect::<Vec<_>>().join("."),
        IpAddr::V6(v6) => {
            let nibbles = v6.octets().into_iter().flat_map(|octet| [octet >> 4, octet & 15]).collect::<Vec<_>>();
            nibbles.iter().rev().map(|nibble| format!("{nibble:x}")).collect::<Vec<_>>().join(".")
        }
    }
}

async fn pointers(resolver: &TokioResolver, config: &BoxConfig, host: &HostFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for address in host.addresses() {
        let names: Vec<String> = match resolver.reverse_lookup(address).await {
            Ok(found) => found.answers().iter().map(|record| record.data.to_string()).collect(),
            Err(_) => Vec::new(),
        };
        let right = names.iter().any(|name| name.trim_end_matches('.').eq_ignore_ascii_case(config.hostname.as_str()));
        if !right {
            let seen = names.first().map_or("nothing", |name| name.trim_end_matches('.'));
            findings.push(notice(format!(
                "the reverse DNS (PTR) of {address} says {seen}; set it to {} in your VPS provider's panel, or mail will be \
                 taken for spam",
                config.hostname
            )));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_is_reversed_by_nibbles() {
        assert_eq!(reversed("192.0.2.99".parse().unwrap()), "99.2.0.192");
        let reversed = reversed("2001:db8::1".parse().unwrap());
        assert_eq!(reversed, "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2");
    }

    #[test]
    fn an_old_system_and_a_wrong_clock_are_fatal() {
        assert!(distribution("ubuntu", "24.04").is_none() && distribution("debian", "13").is_none());
        assert!(distribution("ubuntu", "22.04").is_some_and(|finding| finding.fatal));
        assert!(clock(0).is_some_and(|finding| finding.fatal) && clock(EARLIEST + 1).is_none());
    }
}
