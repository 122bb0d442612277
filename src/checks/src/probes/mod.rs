//! The probes: each looks at one thing and says what it found. Settings come from the check's file.
//!
//! Every probe is in two halves: one that asks, and a pure one that judges the answers.

pub mod certificate;
pub mod delegation;
pub mod listeners;
pub mod machine;
pub mod mail;
pub mod policies;
pub mod records;
pub mod reputation;
pub mod safety;
pub mod services;

use crate::finding::Finding;
use crate::world::World;
use base::{Domain, Role};
use serde::Deserialize;

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    Ipv4,
    Ipv6,
}

/// Which probe a check uses, and with what settings.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Probe {
    /// box.yaml and host.json can be read. (A box without them has no world to look at; see `check`.)
    Configuration {},
    /// A role answers at its door.
    Service {
        role: Role,
    },
    /// A port greets as it should.
    Listener {
        listener: listeners::Listener,
    },
    /// Port 80 leads to HTTPS.
    Http {},
    /// The resolver answers and validates.
    Resolver {},
    /// The name server answers for every zone, over UDP and TCP.
    NameServer {},
    /// postmaster@ and abuse@ of every domain are taken at port 25.
    Postmaster {},
    /// Port 25 refuses to pass strangers' mail on.
    Relay {},
    /// Nothing waits too long in the queue, nor too much.
    Queue {
        oldest_hours: u64,
        most: usize,
    },
    /// The owner has an account that administers.
    Accounts {},
    /// Records of one sort, as the public sees them.
    Records {
        which: records::Which,
    },
    /// TLSA matches the certificate on port 25.
    Tlsa {},
    /// The parent zone names this box's name servers.
    NameServers {},
    /// The resolver vouches for every zone.
    Dnssec {},
    /// The parent zone has each zone's DS.
    DelegationSigner {},
    /// The MTA-STS policy is fetched as a sender would.
    MtaStsPolicy {},
    CertificateTrusted {},
    CertificateDays {
        warn: i64,
        fail: i64,
    },
    CertificateNames {},
    CertificateEverywhere {},
    /// The address's name leads back to it.
    Ptr {
        family: Family,
    },
    /// The address is on none of the owner's lists.
    Blocklists {
        family: Family,
    },
    /// No domain of the box is on one of these lists.
    DomainBlocklists {
        lists: Vec<Domain>,
    },
    /// One of these servers of large providers answers on port 25.
    Outbound {
        servers: Vec<Domain>,
    },
    Disk {
        warn_percent: u64,
        fail_megabytes: u64,
    },
    Inodes {
        warn_percent: u64,
    },
    Memory {
        warn_percent: u64,
    },
    /// Load of fifteen minutes, per core.
    Load {
        most_per_core: u32,
    },
    Updates {
        lists_days: u64,
    },
    Reboot {},
    Clock {},
    Firewall {},
    SshPasswords {},
    BackupAge {
        oldest_hours: u64,
    },
}

impl Probe {
    pub async fn look(&self, world: &World) -> Finding {
        match self {
            Probe::Configuration {} => services::configuration(world),
            Probe::Service { role } => services::role(world, *role).await,
            Probe::Listener { listener } => listeners::look(world, *listener).await,
            Probe::Http {} => services::http(world).await,
            Probe::Resolver {} => services::resolver(world).await,
            Probe::NameServer {} => services::name_server(world).await,
            Probe::Postmaster {} => mail::postmaster(world).await,
            Probe::Relay {} => mail::relay(world).await,
            Probe::Queue { oldest_hours, most } => mail::queue(world, *oldest_hours, *most).await,
            Probe::Accounts {} => mail::accounts(world).await,
            Probe::Records { which } => records::look(world, *which).await,
            Probe::Tlsa {} => certificate::tlsa(world).await,
            Probe::NameServers {} => delegation::name_servers(world).await,
            Probe::Dnssec {} => delegation::dnssec(world).await,
            Probe::DelegationSigner {} => delegation::delegation_signer(world).await,
            Probe::MtaStsPolicy {} => policies::mta_sts(world).await,
            Probe::CertificateTrusted {} => certificate::trusted(world).await,
            Probe::CertificateDays { warn, fail } => certificate::days(world, *warn, *fail).await,
            Probe::CertificateNames {} => certificate::names(world).await,
            Probe::CertificateEverywhere {} => certificate::everywhere(world).await,
            Probe::Ptr { family } => reputation::ptr(world, *family).await,
            Probe::Blocklists { family } => reputation::blocklists(world, *family).await,
            Probe::DomainBlocklists { lists } => reputation::domain_blocklists(world, lists).await,
            Probe::Outbound { servers } => reputation::outbound(world, servers).await,
            Probe::Disk { warn_percent, fail_megabytes } => machine::disk(world, *warn_percent, *fail_megabytes),
            Probe::Inodes { warn_percent } => machine::inodes(world, *warn_percent),
            Probe::Memory { warn_percent } => machine::memory(*warn_percent),
            Probe::Load { most_per_core } => machine::load(*most_per_core),
            Probe::Updates { lists_days } => safety::updates(world, *lists_days),
            Probe::Reboot {} => safety::reboot(world),
            Probe::Clock {} => machine::clock().await,
            Probe::Firewall {} => safety::firewall(world),
            Probe::SshPasswords {} => safety::ssh_passwords(world),
            Probe::BackupAge { oldest_hours } => safety::backup_age(world, *oldest_hours),
        }
    }
}
