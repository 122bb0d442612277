//! The probes: each looks at one thing and says what it found. Settings come from the check's file.
//!
//! Every probe is in two halves: one that asks, and a pure one that judges the answers.

pub mod accounts;
pub mod certificate;
pub mod delegation;
pub mod listeners;
pub mod machine;
pub mod mail;
pub mod openings;
pub mod policies;
pub mod records;
pub mod reputation;
pub mod safety;
pub mod services;
pub mod system;
pub mod units;

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
    /// The newest archive is not much smaller than those before it.
    BackupSize {
        least_percent: u64,
    },
    /// A unit of systemd runs.
    Unit {
        unit: String,
    },
    /// A unit of systemd that comes to an end ended well.
    LastRun {
        unit: String,
    },
    /// A role is not started again and again.
    Restarts {
        role: Role,
        most: u64,
    },
    /// A role takes no more memory than this.
    RoleMemory {
        role: Role,
        most_megabytes: u64,
    },
    /// No unit of the machine has failed.
    FailedUnits {},
    /// The machine is as the plan has it.
    AsPlanned {},
    /// The firewall lets a port in.
    OpenPort {
        port: u16,
        #[serde(default = "tcp")]
        protocol: String,
    },
    /// The firewall lets in nothing else.
    NoOtherPort {},
    /// No other program listens.
    Strangers {},
    /// Secrets are closed to others.
    Secrets {},
    RootPassword {},
    Quotas {
        warn_percent: u64,
    },
    Aliases {},
    Lists {},
    HeldPosts {
        oldest_days: u64,
    },
    /// No account is kept from sending.
    Brakes {},
    /// The system gets security updates for so long at least.
    Support {
        warn_days: i64,
    },
    /// The machine calls itself what the box is called.
    MachineName {},
    /// Tasks did not wait for this long for the processor, memory or the disk.
    Pressure {
        of: system::Resource,
        warn_percent: u32,
    },
    /// Files that all programs together have open.
    OpenFiles {
        warn_percent: u64,
    },
    /// Space where something lies.
    Space {
        at: String,
        least_megabytes: u64,
    },
}

fn tcp() -> String {
    "tcp".to_owned()
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
            Probe::BackupSize { least_percent } => safety::backup_size(world, *least_percent),
            Probe::Unit { unit } => units::active(world, unit),
            Probe::LastRun { unit } => units::last_run(world, unit),
            Probe::Restarts { role, most } => units::restarts(world, *role, *most),
            Probe::RoleMemory { role, most_megabytes } => units::memory(world, *role, *most_megabytes),
            Probe::FailedUnits {} => units::none_failed(world),
            Probe::AsPlanned {} => safety::as_planned(world),
            Probe::OpenPort { port, protocol } => openings::lets_in(world, *port, protocol),
            Probe::NoOtherPort {} => openings::nothing_else(world),
            Probe::Strangers {} => openings::strangers(world),
            Probe::Secrets {} => openings::secrets(world),
            Probe::RootPassword {} => openings::root_password(world),
            Probe::Quotas { warn_percent } => accounts::quotas(world, *warn_percent).await,
            Probe::Aliases {} => accounts::aliases(world).await,
            Probe::Lists {} => accounts::lists(world).await,
            Probe::HeldPosts { oldest_days } => accounts::held_posts(world, *oldest_days).await,
            Probe::Brakes {} => accounts::brakes(world).await,
            Probe::Support { warn_days } => system::support(world, *warn_days),
            Probe::MachineName {} => system::name(world),
            Probe::Pressure { of, warn_percent } => system::pressure(*of, *warn_percent),
            Probe::OpenFiles { warn_percent } => system::open_files(*warn_percent),
            Probe::Space { at, least_megabytes } => system::space(world, at, *least_megabytes),
        }
    }

    /// The unit of systemd that the probe asks about, if it asks about one.
    pub fn unit(&self) -> Option<String> {
        match self {
            Probe::Unit { unit } | Probe::LastRun { unit } => Some(unit.clone()),
            Probe::Restarts { role, .. } | Probe::RoleMemory { role, .. } => Some(units::unit_of(*role).to_owned()),
            _ => None,
        }
    }
}
