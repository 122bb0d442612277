//! What set-up found out about the host and every role may know.

use crate::paths::Paths;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The host as the world sees it. Written by set-up to `host.json`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostFacts {
    /// The public IPv4 address, if there is one.
    pub ipv4: Option<Ipv4Addr>,
    /// The public IPv6 address, if there is one.
    pub ipv6: Option<Ipv6Addr>,
    /// The addresses of the host's own interfaces that the name server binds (they differ behind NAT).
    pub bind: Vec<std::net::IpAddr>,
    /// ssh host keys, as `algorithm base64`, for SSHFP records.
    pub ssh_host_keys: Vec<String>,
}

impl HostFacts {
    /// Reads `host.json`.
    pub fn load(paths: &Paths) -> std::io::Result<Self> {
        let text = std::fs::read(paths.host_facts())?;
        serde_json::from_slice(&text).map_err(std::io::Error::other)
    }

    pub fn addresses(&self) -> impl Iterator<Item = std::net::IpAddr> {
        self.ipv4.map(Into::into).into_iter().chain(self.ipv6.map(Into::into))
    }
}
