//! The host: what is there, and the few ways to change it. The live machine, or a folder that stands for one.

use crate::ProvisionError;
use base::{Paths, durable};
use nix::unistd::{Gid, Group, Uid, User};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

type Outcome<T> = Result<T, ProvisionError>;

/// Longest output of a command that goes into an error message.
const MAX_OUTPUT: usize = 4_000;

/// What is known of a file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    /// The permission bits.
    pub mode: u32,
    pub owner: String,
    pub group: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
    /// With where it points.
    Link(String),
}

/// What systemd says of a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitState {
    pub enabled: bool,
    pub active: bool,
}

/// A machine as the plan sees it. Paths are absolute, as on a live machine.
pub trait Host {
    fn paths(&self) -> &Paths;
    /// Which of these packages are installed.
    fn installed(&self, packages: &[String]) -> Outcome<BTreeSet<String>>;
    fn install(&self, packages: &[String], told: &mut dyn FnMut(&str)) -> Outcome<()>;
    fn user_exists(&self, name: &str) -> Outcome<bool>;
    fn add_user(&self, name: &str) -> Outcome<()>;
    /// The members of a group; `None` when there is no such group.
    fn members(&self, group: &str) -> Outcome<Option<BTreeSet<String>>>;
    fn add_group(&self, name: &str) -> Outcome<()>;
    fn add_member(&self, group: &str, user: &str) -> Outcome<()>;
    /// The states of units, by name.
    fn units(&self, names: &[String]) -> Outcome<BTreeMap<String, UnitState>>;
    /// `systemctl` with these arguments.
    fn systemctl(&self, arguments: &[&str]) -> Outcome<()>;
    /// Runs this program itself as a user, e.g. to make a key that only that user may read.
    fn run_self(&self, user: &str, arguments: &[&str]) -> Outcome<()>;
    /// Runs a command of the machine.
    fn run(&self, command: &[&str]) -> Outcome<()>;
    /// Whether ownership of files can be set and is worth comparing.
    fn owns_files(&self) -> bool;

    fn entry(&self, path: &str) -> Outcome<Option<Entry>> {
        let on_host = self.paths().on_host(path);
        let meta = match std::fs::symlink_metadata(&on_host) {
            Ok(meta) => meta,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => return Ok(None),
            Err(error) => return Err(ProvisionError::file(&on_host, error)),
        };
        let kind = if meta.is_symlink() {
            let target = std::fs::read_link(&on_host).map_err(|error| ProvisionError::file(&on_host, error))?;
            Kind::Link(target.to_string_lossy().into_owned())
        } else if meta.is_dir() {
            Kind::Folder
        } else {
            Kind::File
        };
        let (owner, group) =
            if self.owns_files() { (user_name(meta.uid()), group_name(meta.gid())) } else { Default::default() };
        Ok(Some(Entry { kind, mode: meta.permissions().mode() & 0o7777, owner, group }))
    }

    fn read(&self, path: &str) -> Outcome<Option<Vec<u8>>> {
        let on_host = self.paths().on_host(path);
        match std::fs::read(&on_host) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ProvisionError::file(&on_host, error)),
        }
    }

    fn write(&self, path: &str, bytes: &[u8], mode: u32) -> Outcome<()> {
        let on_host = self.paths().on_host(path);
        if let Some(folder) = on_host.parent() {
            durable::create_dir_all(folder, 0o755).map_err(|error| ProvisionError::file(folder, error))?;
        }
        // Set-up runs once at a time, and is the only one to write these files.
        durable::clear_unfinished(&on_host)
            .and_then(|()| durable::write(&on_host, bytes, mode))
            .map_err(|error| ProvisionError::file(&on_host, error))
    }

    fn make_folder(&self, path: &str, mode: u32) -> Outcome<()> {
        let on_host = self.paths().on_host(path);
        durable::create_dir_all(&on_host, 0o755)
            .and_then(|()| std::fs::set_permissions(&on_host, std::fs::Permissions::from_mode(mode)))
            .map_err(|error| ProvisionError::file(&on_host, error))
    }

    /// Sets owner and group; a no-op where [`Host::owns_files`] is false.
    fn own(&self, path: &str, owner: &str, group: &str) -> Outcome<()> {
        if !self.owns_files() {
            return Ok(());
        }
        let on_host = self.paths().on_host(path);
        let (uid, gid) = (user_id(owner)?, group_id(group)?);
        std::os::unix::fs::chown(&on_host, Some(uid.as_raw()), Some(gid.as_raw()))
            .map_err(|error| ProvisionError::file(&on_host, error))
    }

    /// Makes or replaces a symbolic link, atomically.
    fn link(&self, path: &str, target: &str) -> Outcome<()> {
        let on_host = self.paths().on_host(path);
        let fresh = on_host.with_extension("new-link");
        let file = |error| ProvisionError::file(&on_host, error);
        if let Some(folder) = on_host.parent() {
            durable::create_dir_all(folder, 0o755).map_err(file)?;
        }
        durable::remove(&fresh).map_err(file)?;
        std::os::unix::fs::symlink(target, &fresh).map_err(file)?;
        durable::rename(&fresh, &on_host).map_err(file)
    }
}

/// The machine that this program runs on, as root.
pub struct Live {
    paths: Paths,
}

impl Default for Live {
    fn default() -> Self {
        Self { paths: Paths::live() }
    }
}

impl Host for Live {
    fn paths(&self) -> &Paths {
        &self.paths
    }

    fn installed(&self, packages: &[String]) -> Outcome<BTreeSet<String>> {
        crate::packages::installed(packages)
    }

    fn install(&self, packages: &[String], told: &mut dyn FnMut(&str)) -> Outcome<()> {
        crate::packages::install(packages, told)
    }

    fn user_exists(&self, name: &str) -> Outcome<bool> {
        let found = User::from_name(name).map_err(|errno| ProvisionError::Command("getpwnam".into(), errno.into()))?;
        Ok(found.is_some())
    }

    fn add_user(&self, name: &str) -> Outcome<()> {
        run(
            &["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"],
            &["--shell", "/usr/sbin/nologin", name],
        )
    }

    fn members(&self, group: &str) -> Outcome<Option<BTreeSet<String>>> {
        let found =
            Group::from_name(group).map_err(|errno| ProvisionError::Command("getgrnam".into(), errno.into()))?;
        Ok(found.map(|group| group.mem.into_iter().collect()))
    }

    fn add_group(&self, name: &str) -> Outcome<()> {
        run(&["groupadd", "--system", name], &[])
    }

    fn add_member(&self, group: &str, user: &str) -> Outcome<()> {
        run(&["usermod", "--append", "--groups", group, user], &[])
    }

    fn units(&self, names: &[String]) -> Outcome<BTreeMap<String, UnitState>> {
        let mut command = Command::new("systemctl");
        command.args(["show", "--property=Id,ActiveState,UnitFileState", "--"]).args(names);
        let output = capture(&mut command)?;
        let mut states = BTreeMap::new();
        for (name, block) in names.iter().zip(output.split("\n\n")) {
            let value = |key: &str| block.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            let enabled = matches!(value("UnitFileState="), "enabled" | "alias" | "static" | "enabled-runtime");
            let active = matches!(value("ActiveState="), "active" | "reloading" | "activating");
            states.insert(name.clone(), UnitState { enabled, active });
        }
        Ok(states)
    }

    fn systemctl(&self, arguments: &[&str]) -> Outcome<()> {
        run(&["systemctl"], arguments)
    }

    fn run_self(&self, user: &str, arguments: &[&str]) -> Outcome<()> {
        let program = own_program()?;
        if user == "root" {
            return run(&[&program], arguments);
        }
        run(&["runuser", "-u", user, "--", &program], arguments)
    }

    fn run(&self, command: &[&str]) -> Outcome<()> {
        run(command, &[])
    }

    fn owns_files(&self) -> bool {
        true
    }
}

/// A folder that stands for a machine: files are real, packages, users and units are not there and not missed.
pub struct Folder {
    paths: Paths,
}

impl Folder {
    pub fn new(root: &Path) -> Self {
        Self { paths: Paths::under(root) }
    }
}

impl Host for Folder {
    fn paths(&self) -> &Paths {
        &self.paths
    }

    fn installed(&self, packages: &[String]) -> Outcome<BTreeSet<String>> {
        Ok(packages.iter().cloned().collect())
    }

    fn install(&self, _packages: &[String], _told: &mut dyn FnMut(&str)) -> Outcome<()> {
        Ok(())
    }

    fn user_exists(&self, _name: &str) -> Outcome<bool> {
        Ok(true)
    }

    fn add_user(&self, _name: &str) -> Outcome<()> {
        Ok(())
    }

    fn members(&self, _group: &str) -> Outcome<Option<BTreeSet<String>>> {
        Ok(None)
    }

    fn add_group(&self, _name: &str) -> Outcome<()> {
        Ok(())
    }

    fn add_member(&self, _group: &str, _user: &str) -> Outcome<()> {
        Ok(())
    }

    fn units(&self, names: &[String]) -> Outcome<BTreeMap<String, UnitState>> {
        Ok(names.iter().map(|name| (name.clone(), UnitState { enabled: true, active: true })).collect())
    }

    fn systemctl(&self, _arguments: &[&str]) -> Outcome<()> {
        Ok(())
    }

    fn run_self(&self, _user: &str, arguments: &[&str]) -> Outcome<()> {
        let program = own_program()?;
        let root = self.paths.root().to_string_lossy().into_owned();
        run(&[&program, "--box", &root], arguments)
    }

    fn run(&self, _command: &[&str]) -> Outcome<()> {
        Ok(())
    }

    fn owns_files(&self) -> bool {
        false
    }
}

fn own_program() -> Outcome<String> {
    let path = std::env::current_exe().map_err(|error| ProvisionError::Command("this program".into(), error))?;
    Ok(path.to_string_lossy().into_owned())
}

/// Runs a command to its end; its output is told only if it fails.
pub fn run(command: &[&str], more: &[&str]) -> Outcome<()> {
    let words: Vec<&str> = command.iter().chain(more).copied().collect();
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    capture(Command::new(program).args(arguments)).map(drop)
}

/// Runs this program itself as a user, with `input` on its standard input: what must stand in no file and no argument.
pub fn feed_self(user: &str, arguments: &[&str], input: &[u8]) -> Outcome<()> {
    let program = own_program()?;
    let failed = |error| ProvisionError::Command(program.clone(), error);
    let mut child = Command::new("runuser")
        .args(["-u", user, "--", &program])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    // One that ends before it has read all says why.
    let fed = child.stdin.take().map_or(Ok(()), |mut stdin| std::io::Write::write_all(&mut stdin, input));
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return fed.map_err(failed);
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(ProvisionError::Failed { command: arguments.join(" "), status: output.status.to_string(), output: words })
}

/// Runs a command to its end and returns what it printed.
pub fn capture(command: &mut Command) -> Outcome<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let shown = std::iter::once(name.clone())
        .chain(command.get_args().map(|argument| argument.to_string_lossy().into_owned()))
        .collect::<Vec<_>>()
        .join(" ");
    let output = command.stdin(Stdio::null()).output().map_err(|error| ProvisionError::Command(name, error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let mut words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if words.is_empty() {
        words = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    }
    let start = words.char_indices().rev().nth(MAX_OUTPUT).map_or(0, |(index, _)| index);
    Err(ProvisionError::Failed { command: shown, status: output.status.to_string(), output: words[start..].to_owned() })
}

fn user_name(uid: u32) -> String {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

fn group_name(gid: u32) -> String {
    Group::from_gid(Gid::from_raw(gid)).ok().flatten().map_or_else(|| gid.to_string(), |group| group.name)
}

fn user_id(name: &str) -> Outcome<Uid> {
    let found = User::from_name(name).map_err(|errno| ProvisionError::Command("getpwnam".into(), errno.into()))?;
    found.map(|user| user.uid).ok_or_else(|| ProvisionError::Refused(format!("there is no user {name}")))
}

fn group_id(name: &str) -> Outcome<Gid> {
    let found = Group::from_name(name).map_err(|errno| ProvisionError::Command("getgrnam".into(), errno.into()))?;
    found.map(|group| group.gid).ok_or_else(|| ProvisionError::Refused(format!("there is no group {name}")))
}

/// Whether this process is root.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Asks a process to end (SIGTERM); one that is gone already is fine.
pub fn terminate(pid: u32) {
    if let Ok(pid) = i32::try_from(pid) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
    }
}
