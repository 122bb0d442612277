//! What only root can find out, gathered by `mailstead facts` just before the checks run and handed over as a file.
//! Nothing in it is secret.

mod files;
mod listening;
mod packages;
mod people;
mod secrets;
mod units;

pub use listening::Socket;
pub use packages::Packages;
pub use people::People;
pub use secrets::Open;
pub use units::Unit;

use crate::ChecksError;
use crate::limits::COMMAND_SECONDS;
use base::Paths;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// What root saw. A part that could not be looked at is an `Err` with the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReport {
    /// Seconds since 1970.
    pub collected: u64,
    pub firewall: Result<Firewall, String>,
    pub ssh: Result<Ssh, String>,
    pub backups: Result<Backups, String>,
    pub updates: Result<Updates, String>,
    /// The units that checks ask about, and every other that has failed.
    pub units: Result<Vec<Unit>, String>,
    /// What can be reached from outside, the firewall aside.
    pub sockets: Result<Vec<Socket>, String>,
    /// Secrets that too many can read.
    pub open_secrets: Result<Vec<Open>, String>,
    pub packages: Result<Packages, String>,
    pub people: Result<People, String>,
    /// Mail that belongs to a wrong user, by path.
    pub foreign_mail: Result<Vec<String>, String>,
    /// Roles that still run a program that was replaced.
    pub outdated: Result<Vec<String>, String>,
    /// What differs from the plan, in words.
    pub differences: Result<Vec<String>, String>,
    pub renewal: Result<Renewal, String>,
    /// `None` before the first.
    pub rehearsal: Result<Option<Rehearsal>, String>,
}

/// What this room knows nothing of, and whoever runs the checks finds out for it.
#[derive(Debug, Clone)]
pub struct Told {
    pub differences: Result<Vec<String>, String>,
    pub renewal: Result<Renewal, String>,
    pub rehearsal: Result<Option<Rehearsal>, String>,
}

/// The last time that a backup was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rehearsal {
    /// Seconds since 1970.
    pub at: u64,
    pub archive: String,
    /// What was found in it, or why it is of no use, in words.
    pub outcome: Result<String, String>,
}

/// What comes next for the certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    /// When it is renewed, in seconds since 1970; `None` for one that the box does not renew.
    pub at: Option<u64>,
    /// Whether its authority has suggested the time (RFC 9773).
    pub by_authority: bool,
    /// What the last run met, in words.
    pub last: String,
    pub failures: Vec<NameFailure>,
}

/// A name that the authority refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameFailure {
    pub name: String,
    /// In a row.
    pub count: u32,
    pub why: String,
    /// When it is asked for again, in seconds since 1970.
    pub again: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firewall {
    /// Whether the box's own table is loaded.
    pub loaded: bool,
    /// Whether what it does not allow is dropped.
    pub drops_the_rest: bool,
    /// The ports that it lets in: `25/tcp`.
    pub lets_in: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ssh {
    pub installed: bool,
    /// Whether a password, by whichever method, logs in.
    pub passwords: bool,
    /// Whether root may log in with a password.
    pub root_password: bool,
    pub ports: Vec<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backups {
    pub count: u64,
    pub newest: Option<Archive>,
    /// Octets of the archives before the newest, in the middle (the median).
    pub usual_bytes: Option<u64>,
    /// When the oldest was made, in seconds since 1970.
    pub oldest: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    pub name: String,
    /// Seconds since 1970.
    pub made: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Updates {
    pub pending: u64,
    pub security: u64,
    /// When the package lists were last fetched, seconds since 1970.
    pub lists_fetched: u64,
    /// When packages were last changed; with `lists_fetched` it tells whether the counts are still right.
    pub packages_changed: u64,
}

impl HostReport {
    /// Closed to all but the checks: it says which users have no password, and which services fail.
    fn folder(paths: &Paths) -> PathBuf {
        paths.run().join("facts")
    }

    pub fn file(paths: &Paths) -> PathBuf {
        Self::folder(paths).join("facts.json")
    }

    /// The last report, if there is one that can be read.
    pub fn load(paths: &Paths) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(Self::file(paths)).ok()?).ok()
    }
}

/// Looks at the machine. Needs root on a live one; in a demo only the backups are looked at.
pub fn look(paths: &Paths, told: Told) -> HostReport {
    let not_in_a_demo = || "a demo leaves the machine alone".to_owned();
    let live = paths.is_live();
    let previous = HostReport::load(paths).and_then(|report| report.updates.ok());
    HostReport {
        collected: base::time::now_unix(),
        firewall: if live { firewall() } else { Err(not_in_a_demo()) },
        ssh: if live { ssh() } else { Err(not_in_a_demo()) },
        backups: backups(&paths.backups()),
        updates: if live { updates(previous) } else { Err(not_in_a_demo()) },
        units: if live { units::look(&crate::text::units()) } else { Err(not_in_a_demo()) },
        sockets: if live { listening::look() } else { Err(not_in_a_demo()) },
        open_secrets: secrets::look(paths),
        packages: if live { packages::look() } else { Err(not_in_a_demo()) },
        people: if live {
            people::look(Path::new("/etc/passwd"), Path::new("/etc/shadow"))
        } else {
            Err(not_in_a_demo())
        },
        foreign_mail: files::foreign_mail(paths),
        outdated: if live {
            files::outdated(Path::new("/proc"), Path::new("/opt/mailstead"))
        } else {
            Err(not_in_a_demo())
        },
        differences: told.differences,
        renewal: told.renewal,
        rehearsal: told.rehearsal,
    }
}

/// Looks, and writes the report for the checks to read.
pub fn collect(paths: &Paths, told: Told) -> Result<(), ChecksError> {
    let file = HostReport::file(paths);
    let folder = HostReport::folder(paths);
    base::durable::create_dir_all(&paths.run(), 0o755)
        .and_then(|()| base::durable::create_dir_all(&folder, 0o750))
        .and_then(|()| if paths.is_live() { of_the_checks(&folder) } else { Ok(()) })
        .map_err(ChecksError::write(folder.clone()))?;
    let text = serde_json::to_vec_pretty(&look(paths, told)).unwrap_or_default();
    base::durable::write(&file, &text, 0o644).map_err(ChecksError::write(file))
}

fn of_the_checks(folder: &Path) -> std::io::Result<()> {
    let group = nix::unistd::Group::from_name(&base::Role::Checks.user())?;
    std::os::unix::fs::chown(folder, None, group.map(|group| group.gid.as_raw()))
}

/// Runs a command with a limit; its standard output, or why there is none.
fn said(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("timeout")
        .arg(COMMAND_SECONDS.to_string())
        .arg(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|error| format!("{program} cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} failed: {}", why.lines().next().unwrap_or("it said nothing")))
}

fn firewall() -> Result<Firewall, String> {
    match said("nft", &["list", "ruleset"]) {
        Ok(rules) => Ok(read_firewall(&rules)),
        Err(why) => Err(why),
    }
}

fn read_firewall(rules: &str) -> Firewall {
    let Some((_, table)) = rules.split_once("table inet mailstead {") else {
        return Firewall { loaded: false, drops_the_rest: false, lets_in: Vec::new() };
    };
    // The table ends at the first brace in the first column.
    let table = table.split_once("\n}").map_or(table, |(table, _)| table);
    let drops = table.lines().any(|line| line.contains("hook input") && line.contains("policy drop"));
    Firewall { loaded: true, drops_the_rest: drops, lets_in: table.lines().flat_map(lets_in).collect() }
}

/// The ports of a rule `tcp dport { 25, 80 } accept` or `udp dport 53 accept`.
fn lets_in(rule: &str) -> Vec<String> {
    let rule = rule.trim();
    let Some((protocol, rest)) = rule.split_once(" dport ") else { return Vec::new() };
    let (true, Some(ports)) = (matches!(protocol, "tcp" | "udp"), rest.strip_suffix(" accept")) else {
        return Vec::new();
    };
    let ports = ports.trim_matches(['{', '}', ' ']).split(',').map(str::trim);
    ports.filter(|port| port.parse::<u16>().is_ok()).map(|port| format!("{port}/{protocol}")).collect()
}

fn ssh() -> Result<Ssh, String> {
    let daemon = "/usr/sbin/sshd";
    if !Path::new(daemon).exists() {
        return Ok(Ssh { installed: false, passwords: false, root_password: false, ports: Vec::new() });
    }
    // sshd refuses to test itself without the folder that its unit makes.
    if let Err(error) = std::fs::create_dir_all("/run/sshd") {
        return Err(format!("/run/sshd cannot be made: {error}"));
    }
    said(daemon, &["-T"]).map(|settings| read_ssh(&settings))
}

/// Reads what `sshd -T` prints: the settings in force, one to a line, in lower case.
fn read_ssh(settings: &str) -> Ssh {
    let is_on = |wanted: &str| settings.lines().any(|line| line.trim() == format!("{wanted} yes"));
    let passwords = is_on("passwordauthentication") || (is_on("kbdinteractiveauthentication") && is_on("usepam"));
    let ports = settings.lines().filter_map(|line| line.strip_prefix("port ")?.trim().parse().ok()).collect();
    Ssh { installed: true, passwords, root_password: passwords && is_on("permitrootlogin"), ports }
}

/// What lies in the folder of archives; one that is not there yet has none.
pub fn backups(folder: &Path) -> Result<Backups, String> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Backups { count: 0, newest: None, usual_bytes: None, oldest: None });
        }
        Err(error) => return Err(format!("{} cannot be read: {error}", folder.display())),
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(meta) = entry.metadata() else { continue };
        // A name that begins with a dot is an archive that is still being written.
        if meta.is_file() && !name.starts_with('.') && name.ends_with(".age") {
            let modified = meta.modified().ok();
            found.push((modified, Archive { name, made: seconds(modified), bytes: meta.len() }));
        }
    }
    // By the file's own time, not by its second: two archives can be of one second.
    found.sort_by_key(|(modified, _)| *modified);
    let mut found: Vec<Archive> = found.into_iter().map(|(_, archive)| archive).collect();
    let oldest = found.first().map(|archive| archive.made);
    let (count, newest) = (found.len() as u64, found.pop());
    let mut sizes: Vec<u64> = found.iter().map(|archive| archive.bytes).collect();
    sizes.sort_unstable();
    Ok(Backups { count, newest, usual_bytes: sizes.get(sizes.len() / 2).copied(), oldest })
}

fn seconds(time: Option<SystemTime>) -> u64 {
    time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_secs())
}

fn modified(path: &str) -> u64 {
    seconds(std::fs::metadata(path).and_then(|meta| meta.modified()).ok())
}

/// Counting takes apt a second, so it is done only when something changed.
fn updates(previous: Option<Updates>) -> Result<Updates, String> {
    let stamp = "/var/lib/apt/periodic/update-success-stamp";
    let lists_fetched = modified(stamp).max(modified("/var/lib/apt/lists/partial")).max(modified("/var/lib/apt/lists"));
    let packages_changed = modified("/var/lib/dpkg/status");
    let unchanged = |old: &Updates| old.lists_fetched == lists_fetched && old.packages_changed == packages_changed;
    if let Some(previous) = previous.filter(unchanged) {
        return Ok(previous);
    }
    let plan = said("apt-get", &["-s", "-q", "-o", "Debug::NoLocking=1", "dist-upgrade"])?;
    let (pending, security) = count_updates(&plan);
    Ok(Updates { pending, security, lists_fetched, packages_changed })
}

/// Counts `Inst` lines of a simulated upgrade, and those that come from a security archive.
fn count_updates(plan: &str) -> (u64, u64) {
    let lines = || plan.lines().filter(|line| line.starts_with("Inst "));
    let security = lines().filter(|line| line.contains("-security") || line.contains("Debian-Security"));
    (lines().count() as u64, security.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_firewall_is_ours_only_with_our_table_that_drops_the_rest() {
        let ours = "table inet mailstead {\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\t}\n}\n";
        let none = Vec::new();
        assert_eq!(read_firewall(ours), Firewall { loaded: true, drops_the_rest: true, lets_in: none.clone() });
        let open = ours.replace("policy drop", "policy accept");
        let others = format!("{open}table inet other {{\n\ttype filter hook input priority 0; policy drop;\n}}\n");
        assert_eq!(read_firewall(&others), Firewall { loaded: true, drops_the_rest: false, lets_in: none });
        let rules = ours.replace(
            "\t}\n}",
            "\t\ttcp dport { 22, 25 } accept\n\t\tudp dport 53 accept\n\t\ttcp dport 80 drop\n\t}\n}",
        );
        assert_eq!(read_firewall(&rules).lets_in, ["22/tcp", "25/tcp", "53/udp"]);
        assert!(!read_firewall("").loaded);
    }

    #[test]
    fn ssh_takes_passwords_also_by_the_keyboard_interactive_way() {
        let keys = "port 22\nport 2222\npasswordauthentication no\nkbdinteractiveauthentication no\nusepam yes\n";
        assert_eq!(
            read_ssh(keys),
            Ssh { installed: true, passwords: false, root_password: false, ports: vec![22, 2222] }
        );
        let root = keys.replace("passwordauthentication no", "passwordauthentication yes") + "permitrootlogin yes\n";
        assert!(read_ssh(&root).root_password && !read_ssh(&format!("{keys}permitrootlogin yes\n")).root_password);
        assert!(read_ssh(&keys.replace("passwordauthentication no", "passwordauthentication yes")).passwords);
        assert!(read_ssh(&keys.replace("interactiveauthentication no", "interactiveauthentication yes")).passwords);
    }

    #[test]
    fn security_updates_are_told_from_others() {
        let plan = "Inst openssl [3.0.1] (3.0.2 Ubuntu:24.04/noble-security [amd64])\n\
                    Inst vim [9] (10 Ubuntu:24.04/noble-updates [amd64])\nConf vim\n";
        assert_eq!(count_updates(plan), (2, 1));
    }

    #[test]
    fn the_newest_finished_archive_counts_and_an_unfinished_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(backups(&dir.path().join("not-there")).unwrap().count, 0);
        for name in ["box-1.tar.zst.age", "box-2.tar.zst.age", ".box-3.tar.zst.age", "notes.txt"] {
            std::fs::write(dir.path().join(name), b"x").unwrap();
        }
        for (name, milliseconds) in [("box-1.tar.zst.age", 1_000_000_000_100), ("box-2.tar.zst.age", 1_000_000_000_700)]
        {
            let time = UNIX_EPOCH + std::time::Duration::from_millis(milliseconds);
            std::fs::File::open(dir.path().join(name)).unwrap().set_modified(time).unwrap();
        }
        let found = backups(dir.path()).unwrap();
        assert_eq!((found.count, found.newest.unwrap().name.as_str()), (2, "box-2.tar.zst.age"));
    }

    #[test]
    fn a_demo_reports_its_backups_and_leaves_the_machine_alone() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        collect(
            &paths,
            Told { differences: Err("not looked".into()), renewal: Err("not looked".into()), rehearsal: Ok(None) },
        )
        .unwrap();
        let report = HostReport::load(&paths).unwrap();
        assert!(report.backups.is_ok() && report.firewall.is_err() && report.ssh.is_err());
    }
}
