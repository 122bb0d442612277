//! What there is to find out about the machine: addresses, ssh, the distribution.

use crate::host::capture;
use base::{BoxConfig, Domain, HostFacts};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;

/// Looks at the interfaces and at sshd's keys. Addresses given in `box.yaml` (a host behind NAT) come first.
pub fn host_facts(config: Option<&BoxConfig>) -> HostFacts {
    let own = interface_addresses();
    let v4 = own.iter().find_map(|address| match address {
        IpAddr::V4(v4) if is_public_v4(*v4) => Some(*v4),
        _ => None,
    });
    let v6 = own.iter().find_map(|address| match address {
        IpAddr::V6(v6) if is_public_v6(*v6) => Some(*v6),
        _ => None,
    });
    let mut bind: Vec<IpAddr> =
        own.into_iter().filter(|address| !address.is_loopback() && !is_link_local(*address)).collect();
    bind.sort();
    bind.dedup();
    HostFacts {
        ipv4: config.and_then(|config| config.ipv4).or(v4),
        ipv6: config.and_then(|config| config.ipv6).or(v6),
        bind,
        ssh_host_keys: ssh_host_keys(),
    }
}

fn interface_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let addresses = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    });
    addresses.collect()
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    // 100.64.0.0/10 is carrier-grade NAT (RFC 6598).
    let shared = a == 100 && (64..128).contains(&b);
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || shared
        || a == 0)
}

/// Global unicast is 2000::/3 (RFC 4291 §2.4); temporary addresses cannot be told from stable ones here.
fn is_public_v6(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xe000 == 0x2000
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn ssh_host_keys() -> Vec<String> {
    let names = ["ecdsa", "ed25519", "rsa"].map(|kind| format!("/etc/ssh/ssh_host_{kind}_key.pub"));
    let line = |path: &String| {
        let text = std::fs::read_to_string(path).ok()?;
        let mut words = text.split_whitespace();
        Some(format!("{} {}", words.next()?, words.next()?))
    };
    names.iter().filter_map(line).collect()
}

/// The ports on which sshd listens; 22 when there is none or it does not tell.
pub fn ssh_ports() -> Vec<u16> {
    let config = capture(Command::new("sshd").arg("-T")).or_else(|_| capture(Command::new("/usr/sbin/sshd").arg("-T")));
    let ports: Vec<u16> =
        config.unwrap_or_default().lines().filter_map(|line| line.strip_prefix("port ")?.trim().parse().ok()).collect();
    if ports.is_empty() { vec![22] } else { ports }
}

/// Whether another time keeper than systemd-timesyncd is installed.
pub fn other_time_keeper() -> bool {
    ["/usr/sbin/chronyd", "/usr/sbin/ntpd"].iter().any(|path| std::path::Path::new(path).exists())
}

/// The distribution: `ID` and `VERSION_ID` of os-release(5).
pub fn distribution() -> (String, String) {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        line.map(|value| value.trim_matches('"').to_owned()).unwrap_or_default()
    };
    (value("ID="), value("VERSION_ID="))
}

/// The domain that the machine's own name suggests, if it has a full one.
pub fn guess_domain() -> Option<Domain> {
    let name = capture(Command::new("hostname").arg("--fqdn")).ok()?;
    let name = Domain::parse(name.trim()).ok()?;
    let (_, parent) = name.as_str().split_once('.')?;
    Domain::parse(parent).ok().filter(Domain::is_dotted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_the_world_can_reach_are_public() {
        assert!(is_public_v4("45.90.101.10".parse().unwrap()));
        for private in ["10.0.0.1", "172.20.1.1", "192.168.1.1", "100.64.0.1", "127.0.0.1", "169.254.1.1"] {
            assert!(!is_public_v4(private.parse().unwrap()), "{private}");
        }
        assert!(is_public_v6("2a0d:5600:101::10".parse().unwrap()));
        assert!(!is_public_v6("fd00::1".parse().unwrap()) && !is_public_v6("fe80::1".parse().unwrap()));
    }
}
