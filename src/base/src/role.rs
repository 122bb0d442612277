//! The processes of a box, each with its own system user.

use serde::{Deserialize, Serialize};

/// Who a process is. `Owner` is root at the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Directory,
    Mailbox,
    Mta,
    Filter,
    Dns,
    Web,
    Certs,
    Checks,
    Backup,
    Owner,
}

impl Role {
    /// The roles that run all the time, in the order in which they start.
    pub const DAEMONS: [Role; 6] = [Role::Directory, Role::Filter, Role::Mailbox, Role::Mta, Role::Dns, Role::Web];
    /// The roles that a timer starts.
    pub const TIMED: [Role; 3] = [Role::Certs, Role::Checks, Role::Backup];

    pub fn name(self) -> &'static str {
        match self {
            Role::Directory => "directory",
            Role::Mailbox => "mailbox",
            Role::Mta => "mta",
            Role::Filter => "filter",
            Role::Dns => "dns",
            Role::Web => "web",
            Role::Certs => "certs",
            Role::Checks => "checks",
            Role::Backup => "backup",
            Role::Owner => "owner",
        }
    }

    /// The system user the role runs as on a live machine.
    pub fn user(self) -> String {
        match self {
            Role::Owner => "root".to_owned(),
            role => format!("ms-{}", role.name()),
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Role::DAEMONS
            .into_iter()
            .chain(Role::TIMED)
            .find(|role| role.name() == text)
            .ok_or_else(|| format!("there is no role “{text}”"))
    }
}
