//! Where a box listens and whom it asks: the well-known ports on a live machine, high ports on loopback in a demo.

use crate::address::Domain;
use crate::config::BoxConfig;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

/// Where the figures for Prometheus are: outside of the range that it gives to exporters (9100 to 9999), and below the ports
/// that the kernel hands out itself.
const METRICS_PORT: u16 = 19_725;

/// Every socket address that a role binds or asks. Derived from `box.yaml` alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    pub smtp: Listen,
    pub submission: Listen,
    pub submissions: Listen,
    pub imaps: Listen,
    pub pop3s: Listen,
    pub managesieve: Listen,
    pub http: Listen,
    pub https: Listen,
    /// The authoritative name server.
    pub dns: Listen,
    /// The figures for Prometheus.
    pub metrics: Listen,
    /// The validating resolver that every role asks.
    pub resolver: SocketAddr,
    /// The port on which other people's mail servers listen: 25, but for demos and tests.
    pub remote_smtp_port: u16,
}

/// A port, on every address of the machine or on loopback alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    pub port: u16,
    pub loopback_only: bool,
}

impl Listen {
    /// Binds for IPv6 and IPv4 at once where the machine has both, else for IPv4. Non-blocking, for tokio.
    pub fn bind(self) -> io::Result<TcpListener> {
        let listener = if self.loopback_only {
            TcpListener::bind((Ipv4Addr::LOCALHOST, self.port))?
        } else {
            TcpListener::bind((Ipv6Addr::UNSPECIFIED, self.port))
                .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, self.port)))?
        };
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// An address by which this machine itself reaches the port.
    pub fn local(self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.port)
    }
}

impl Endpoints {
    pub fn of(config: &BoxConfig) -> Self {
        let demo = config.demo.as_ref();
        // In a demo port N of the world is base_port + a fixed offset, so that a URL can be guessed.
        let listen = |port: u16, offset: u16| match demo {
            Some(demo) => Listen { port: demo.base_port.saturating_add(offset), loopback_only: true },
            None => Listen { port, loopback_only: false },
        };
        let own_resolver = listen(53, 10).local();
        Self {
            smtp: listen(25, 0),
            submission: listen(587, 1),
            submissions: listen(465, 2),
            imaps: listen(993, 3),
            pop3s: listen(995, 4),
            managesieve: listen(4190, 5),
            http: listen(80, 6),
            https: listen(443, 7),
            dns: listen(53, 8),
            metrics: Listen { loopback_only: true, ..listen(METRICS_PORT, 9) },
            resolver: demo.and_then(|demo| demo.resolver).unwrap_or(own_resolver),
            remote_smtp_port: demo.map_or(25, |demo| demo.remote_smtp_port),
        }
    }

    /// The box's web server as others name it.
    pub fn site(&self, hostname: &Domain) -> String {
        match self.https.port {
            443 => format!("https://{hostname}"),
            port => format!("https://{hostname}:{port}"),
        }
    }
}

/// The client's address in the form that rules compare: an IPv4 client of a dual-stack socket is IPv4.
pub fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}
