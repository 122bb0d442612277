//! The probes: each looks at one thing and says what it found. Settings come from the check's file.
//!
//! Every probe is in two halves: one that asks, and a pure one that judges the answers.

pub mod accounts;
pub mod certificate;
pub mod delegation;
pub mod filter;
pub mod listeners;
pub mod machine;
pub mod mail;
pub mod openings;
pub mod packages;
pub mod peers;
pub mod people;
pub mod policies;
pub mod reach;
pub mod records;
pub mod release;
pub mod renewal;
pub mod reputation;
pub mod round_trip;
pub mod safety;
pub mod sending;
pub mod services;
pub mod storage;
pub mod system;
pub mod units;
pub mod web;
pub mod zone;

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
    /// No administrator enters the panel by the password alone.
    SecondFactors {},
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
    /// The zones' signatures are renewed in time.
    Signatures {
        least_days: u64,
    },
    /// NSEC3 as RFC 9276 wants it.
    Denial {},
    /// The name server looks nothing up for strangers.
    Recursion {},
    /// Zones are handed to nobody without a key.
    Transfers {},
    /// Other servers of the zones have what the box has.
    Secondaries {},
    /// Names with a token lead somewhere.
    Dynamic {},
    /// The public CAA records let the box's authority issue.
    Caa {},
    /// TLSA of the ports that mail programs use.
    TlsaOfClients {},
    /// The SPF record can be evaluated (RFC 7208 §4.6.4).
    SpfLookups {
        most: usize,
    },
    /// The system asks the box's own resolver.
    SystemResolver {},
    /// A rollover waits for the registrar.
    KeyRollover {},
    /// The DKIM keys are not older than this.
    DkimAge {
        oldest_days: u64,
    },
    /// A mail program finds its settings by itself.
    Program {
        program: web::Program,
    },
    /// The panel's pages are served with their headers.
    Headers {},
    /// One listener's certificate.
    ListenerCertificate {
        listener: listeners::Listener,
        least_days: i64,
    },
    /// No name is refused by the certificate authority.
    CertificateFailures {},
    /// The certificate's renewal is not overdue.
    CertificateOverdue {
        grace_days: u64,
    },
    /// Large providers do not turn much mail away.
    TurnedAway {
        how: sending::Turned,
        most_percent: u64,
        least: u64,
    },
    /// No provider gets more than is sensible.
    Volume {},
    /// No mail is kept back and forgotten.
    Held {
        oldest_days: u64,
    },
    Relays {},
    TlsReports {
        days: u64,
    },
    /// The box's own mail is authenticated, as others report it.
    Aligned {
        days: u64,
        most_percent: u64,
    },
    /// Mail servers are reached over IPv6.
    OverIpv6 {
        servers: Vec<Domain>,
    },
    /// Ports answer at the public address.
    PublicPorts {
        family: Family,
        ports: Vec<u16>,
    },
    /// Other boxes reach the ports.
    Peers {
        family: Family,
    },
    /// The certificate authority is reached.
    Authority {},
    /// Mail leaves from the box's own address.
    OwnAddress {
        family: Family,
        servers: Vec<Domain>,
    },
    BackupMx {},
    AliasTargets {},
    /// A message to the box itself.
    RoundTrip {},
    /// The filter knows a letter from spam.
    Samples {},
    /// A mailbox's files and index agree.
    MailStore {},
    /// Mail belongs to the mailbox service.
    MailOwners {},
    /// The disk can be written.
    Writable {},
    /// The disk is not full soon.
    Forecast {
        least_days: u64,
    },
    /// There is room for the next backup.
    BackupRoom {},
    /// A backup was opened lately.
    Rehearsal {
        oldest_days: u64,
    },
    /// No package is kept back.
    PackagesHeld {},
    /// Every package is installed whole.
    PackagesBroken {},
    /// Security updates come by themselves.
    AutomaticUpdates {},
    /// Every role runs the installed program.
    Outdated {},
    /// No newer release waits.
    Release {},
    /// No user has an empty password.
    EmptyPasswords {},
    /// Root is the only root.
    OtherRoots {},
    /// Swap is not nearly full.
    Swap {
        most_percent: u64,
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
            Probe::SecondFactors {} => accounts::second_factors(world).await,
            Probe::Aliases {} => accounts::aliases(world).await,
            Probe::Lists {} => accounts::lists(world).await,
            Probe::HeldPosts { oldest_days } => accounts::held_posts(world, *oldest_days).await,
            Probe::Brakes {} => accounts::brakes(world).await,
            Probe::Support { warn_days } => system::support(world, *warn_days),
            Probe::MachineName {} => system::name(world),
            Probe::Pressure { of, warn_percent } => system::pressure(*of, *warn_percent),
            Probe::OpenFiles { warn_percent } => system::open_files(*warn_percent),
            Probe::Space { at, least_megabytes } => system::space(world, at, *least_megabytes),
            Probe::Signatures { least_days } => zone::signatures(world, *least_days).await,
            Probe::Denial {} => zone::denial(world).await,
            Probe::Recursion {} => zone::recursion(world).await,
            Probe::Transfers {} => zone::transfers(world).await,
            Probe::Secondaries {} => zone::secondaries(world).await,
            Probe::Dynamic {} => zone::dynamic(world).await,
            Probe::Caa {} => certificate::caa(world).await,
            Probe::TlsaOfClients {} => certificate::tlsa_of_clients(world).await,
            Probe::SpfLookups { most } => records::spf_lookups(world, *most).await,
            Probe::SystemResolver {} => services::system_resolver(world),
            Probe::KeyRollover {} => delegation::rollover(world).await,
            Probe::DkimAge { oldest_days } => delegation::dkim_age(world, *oldest_days).await,
            Probe::Program { program } => web::program(world, *program).await,
            Probe::Headers {} => web::headers(world).await,
            Probe::ListenerCertificate { listener, least_days } => {
                certificate::listener(world, *listener, *least_days).await
            }
            Probe::CertificateFailures {} => renewal::failures(world),
            Probe::CertificateOverdue { grace_days } => renewal::overdue(world, *grace_days),
            Probe::TurnedAway { how, most_percent, least } => {
                sending::turned_away(world, *how, *most_percent, *least).await
            }
            Probe::Volume {} => sending::volume(world).await,
            Probe::Held { oldest_days } => sending::held(world, *oldest_days).await,
            Probe::Relays {} => sending::relays(world).await,
            Probe::TlsReports { days } => sending::tls_reports(world, *days).await,
            Probe::Aligned { days, most_percent } => sending::aligned(world, *days, *most_percent).await,
            Probe::OverIpv6 { servers } => reach::over_ipv6(world, servers).await,
            Probe::PublicPorts { family, ports } => reach::public_ports(world, *family, ports).await,
            Probe::Peers { family } => peers::look(world, *family).await,
            Probe::Authority {} => reach::authority(world).await,
            Probe::OwnAddress { family, servers } => reach::own_address(world, *family, servers).await,
            Probe::BackupMx {} => reach::backup_mx(world).await,
            Probe::AliasTargets {} => reach::alias_targets(world).await,
            Probe::Samples {} => filter::samples(world).await,
            Probe::RoundTrip {} => round_trip::look(world).await,
            Probe::MailStore {} => storage::mail(world).await,
            Probe::MailOwners {} => storage::owners(world),
            Probe::Writable {} => storage::writable(world),
            Probe::Forecast { least_days } => storage::forecast(world, *least_days),
            Probe::BackupRoom {} => storage::backup_room(world),
            Probe::Rehearsal { oldest_days } => storage::rehearsal(world, *oldest_days),
            Probe::PackagesHeld {} => packages::held(world),
            Probe::PackagesBroken {} => packages::broken(world),
            Probe::AutomaticUpdates {} => packages::automatic(world),
            Probe::Outdated {} => packages::outdated(world),
            Probe::Release {} => release::newest(world, env!("CARGO_PKG_VERSION")).await,
            Probe::EmptyPasswords {} => people::passwords(world),
            Probe::OtherRoots {} => people::roots(world),
            Probe::Swap { most_percent } => machine::swap(*most_percent),
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
