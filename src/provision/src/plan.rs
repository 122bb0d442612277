//! The plan: everything that a box is to have, as data. Pure; nothing here looks at the machine.

mod demo;
mod files;
mod units;
mod web;

use crate::ProvisionError;
use base::{BoxConfig, HostFacts, Paths, Role};

/// The stages of set-up, in order. Each has a bar of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    Packages,
    Users,
    Keys,
    Files,
    Firewall,
    Resolver,
    Services,
}

impl Stage {
    pub const ALL: [Stage; 7] =
        [Stage::Packages, Stage::Users, Stage::Keys, Stage::Files, Stage::Firewall, Stage::Resolver, Stage::Services];

    pub fn title(self) -> &'static str {
        match self {
            Stage::Packages => "packages",
            Stage::Users => "users and folders",
            Stage::Keys => "keys",
            Stage::Files => "configuration",
            Stage::Firewall => "firewall",
            Stage::Resolver => "resolver",
            Stage::Services => "services",
        }
    }
}

/// One thing that is to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    Package(String),
    User(String),
    Group {
        name: String,
        members: Vec<String>,
    },
    Folder {
        path: String,
        owner: String,
        group: String,
        mode: u32,
    },
    File {
        path: String,
        content: String,
        mode: u32,
    },
    Link {
        path: String,
        target: String,
    },
    /// Made once by this program itself, run as `user` with `arguments`, when `path` is not there.
    Made {
        path: String,
        user: String,
        arguments: Vec<String>,
        what: String,
    },
    /// Enabled and running, and (re)started or reloaded when one of its inputs changed.
    Unit {
        name: String,
        inputs: Vec<String>,
        on_change: OnChange,
    },
    /// Stopped and not enabled, where the machine has it.
    UnitOff {
        name: String,
    },
}

/// What a running unit needs to see changed inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnChange {
    Restart,
    Reload,
    /// It is not a process: a timer or a watch; starting it again is enough.
    Start,
}

/// The whole of it, stage by stage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub items: Vec<(Stage, Item)>,
}

/// What the plan follows from.
#[derive(Debug, Clone)]
pub struct PlanFacts {
    pub config: BoxConfig,
    pub host: HostFacts,
    pub paths: Paths,
    /// The release that is to run.
    pub version: String,
    /// The ports on which sshd listens.
    pub ssh_ports: Vec<u16>,
    /// The MTA-STS policy, from the dns room.
    pub mta_sts_policy: String,
    /// Whether the machine runs another time keeper than systemd-timesyncd.
    pub other_time_keeper: bool,
}

impl Plan {
    fn add(&mut self, stage: Stage, item: Item) {
        self.items.push((stage, item));
    }

    fn file(&mut self, stage: Stage, path: &str, content: String) {
        self.add(stage, Item::File { path: path.to_owned(), content, mode: 0o644 });
    }

    /// The content of a file of this plan, for those that depend on it.
    pub fn content(&self, wanted: &str) -> Option<&str> {
        self.items.iter().find_map(|(_, item)| match item {
            Item::File { path, content, .. } if path == wanted => Some(content.as_str()),
            Item::Link { path, target } if path == wanted => Some(target.as_str()),
            _ => None,
        })
    }
}

/// The plan for a live machine.
pub fn live(facts: &PlanFacts) -> Result<Plan, ProvisionError> {
    let mut plan = Plan::default();
    packages(facts, &mut plan);
    users(&mut plan);
    keys(&mut plan);
    files::add(facts, &mut plan)?;
    units::add(facts, &mut plan)?;
    Ok(plan)
}

/// The plan for a demo: the same folders, keys and files, below one folder, without packages, users or units.
pub fn demo(facts: &PlanFacts) -> Result<Plan, ProvisionError> {
    demo::plan(facts)
}

fn packages(facts: &PlanFacts, plan: &mut Plan) {
    let time_keeper = (!facts.other_time_keeper).then_some("systemd-timesyncd");
    let names = ["nginx", "nsd", "unbound", "dns-root-data", "nftables", "unattended-upgrades", "ca-certificates"];
    for name in names.into_iter().chain(time_keeper) {
        plan.add(Stage::Packages, Item::Package(name.to_owned()));
    }
}

/// Who may read the certificate's key.
const TLS_GROUP: &str = "ms-tls";

fn users(plan: &mut Plan) {
    for role in Role::DAEMONS.into_iter().chain(Role::TIMED) {
        plan.add(Stage::Users, Item::User(role.user()));
    }
    let members = [Role::Certs, Role::Mailbox, Role::Mta].map(Role::user).into();
    plan.add(Stage::Users, Item::Group { name: TLS_GROUP.to_owned(), members });
    folders(plan);
}

/// The folders of `base::Paths`, each with who owns it.
fn folders(plan: &mut Plan) {
    let root = |path: &str, mode| (path.to_owned(), "root".to_owned(), "root".to_owned(), mode);
    let of = |role: Role, path: &str, mode| (path.to_owned(), role.user(), role.user(), mode);
    let all = [
        root("/etc/mailstead", 0o755),
        root("/var/lib/mailstead", 0o755),
        root("/var/lib/mailstead/journal", 0o700),
        root("/var/lib/mailstead/www", 0o755),
        root("/var/www", 0o755),
        root("/var/log/mailstead", 0o750),
        of(Role::Directory, "/var/lib/mailstead/directory", 0o700),
        of(Role::Mailbox, "/var/lib/mailstead/mail", 0o700),
        of(Role::Mta, "/var/lib/mailstead/queue", 0o700),
        of(Role::Filter, "/var/lib/mailstead/filter", 0o700),
        of(Role::Dns, "/var/lib/mailstead/dns", 0o700),
        of(Role::Dns, "/var/lib/mailstead/zones", 0o755),
        of(Role::Certs, "/var/lib/mailstead/certs", 0o700),
        of(Role::Certs, "/var/lib/mailstead/acme", 0o755),
        of(Role::Checks, "/var/lib/mailstead/checks", 0o755),
        of(Role::Web, "/var/lib/mailstead/web", 0o700),
        of(Role::Backup, "/var/backups/mailstead", 0o700),
        ("/var/lib/mailstead/tls".to_owned(), Role::Certs.user(), TLS_GROUP.to_owned(), 0o2755),
        // The keys of secondaries: what is written there belongs to NSD's group.
        ("/var/lib/mailstead/nsd".to_owned(), Role::Dns.user(), "nsd".to_owned(), 0o2750),
        of(Role::Certs, "/var/lib/mailstead/tls/profiles", 0o755),
    ];
    for (path, owner, group, mode) in all {
        plan.add(Stage::Users, Item::Folder { path, owner, group, mode });
    }
}

fn keys(plan: &mut Plan) {
    let made = |path: &str, user: &str, arguments: &[&str], what: &str| Item::Made {
        path: path.to_owned(),
        user: user.to_owned(),
        arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
        what: what.to_owned(),
    };
    let certificate = made(
        "/var/lib/mailstead/tls/pair.pem",
        &Role::Certs.user(),
        &["run", "certs", "--initial"],
        "the TLS key, with a certificate of its own until one is issued",
    );
    plan.add(Stage::Keys, certificate);
    let recovery = made("/etc/mailstead/recovery.pub", "root", &["backup", "key", "--create"], "the recovery key");
    plan.add(Stage::Keys, recovery);
}
