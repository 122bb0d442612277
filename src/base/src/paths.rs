//! Where everything lies on disk, below one root: `/` on a live box, a folder in a demo.

use crate::address::Address;
use std::path::{Path, PathBuf};

/// The layout of a box. Pure: nothing here touches the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    root: PathBuf,
}

impl Paths {
    pub fn live() -> Self {
        Self::under("/")
    }

    pub fn under(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn is_live(&self) -> bool {
        self.root == Path::new("/")
    }

    /// A path of the machine (`/etc/nginx/…`) as it lies below this root.
    pub fn on_host(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }

    pub fn etc(&self) -> PathBuf {
        self.on_host("/etc/mailstead")
    }

    /// The owner's answers.
    pub fn box_yaml(&self) -> PathBuf {
        self.etc().join("box.yaml")
    }

    /// What set-up found out about the host: addresses and ssh host keys.
    pub fn host_facts(&self) -> PathBuf {
        self.etc().join("host.json")
    }

    /// The age identity that opens the backups; readable by root alone.
    pub fn recovery_key(&self) -> PathBuf {
        self.etc().join("recovery.key")
    }

    /// The age recipient that backups are encrypted to.
    pub fn recovery_recipient(&self) -> PathBuf {
        self.etc().join("recovery.pub")
    }

    pub fn state(&self) -> PathBuf {
        self.on_host("/var/lib/mailstead")
    }

    /// The directory role's database.
    pub fn directory_db(&self) -> PathBuf {
        self.state().join("directory/box.db")
    }

    /// Every account's mail.
    pub fn mail(&self) -> PathBuf {
        self.state().join("mail")
    }

    /// One account's folder: `mail/<domain>/<local>`. Local parts are made safe as file names.
    pub fn account(&self, account: &Address) -> PathBuf {
        self.mail().join(account.domain().as_str()).join(file_name(account.local()))
    }

    pub fn queue(&self) -> PathBuf {
        self.state().join("queue")
    }

    /// DKIM keys and learned spam data.
    pub fn filter(&self) -> PathBuf {
        self.state().join("filter")
    }

    /// Zone keys.
    pub fn dns(&self) -> PathBuf {
        self.state().join("dns")
    }

    /// Signed zones for NSD to read.
    pub fn zones(&self) -> PathBuf {
        self.state().join("zones")
    }

    /// Who may fetch the zones, with their keys: written by the dns role, readable by NSD's group.
    pub fn nsd(&self) -> PathBuf {
        self.state().join("nsd")
    }

    /// The ACME account.
    pub fn certs(&self) -> PathBuf {
        self.state().join("certs")
    }

    /// The certificate in use. Everybody may read `chain.pem`, the group `ms-tls` also [`Paths::tls_pair`] and `key.pem`.
    pub fn tls(&self) -> PathBuf {
        self.state().join("tls")
    }

    /// What is served: the chain and its key in one file, so that both are replaced together.
    pub fn tls_pair(&self) -> PathBuf {
        self.tls().join("pair.pem")
    }

    /// The public key's digest (SHA-256, hexadecimal) of a key that comes next, for a TLSA record ahead of its use.
    pub fn next_spki(&self) -> PathBuf {
        self.tls().join("next.spki")
    }

    /// The same of the key that was served before, until nobody can have seen a server with it any more.
    pub fn previous_spki(&self) -> PathBuf {
        self.tls().join("previous.spki")
    }

    /// The URI of the account at each authority, one a line (RFC 8657 §3).
    pub fn account_uri(&self) -> PathBuf {
        self.tls().join("account-uri")
    }

    /// Configuration profiles for Apple's devices, signed; one file for each domain.
    pub fn profiles(&self) -> PathBuf {
        self.tls().join("profiles")
    }

    /// HTTP-01 challenge answers, served by nginx.
    pub fn acme_challenges(&self) -> PathBuf {
        self.state().join("acme")
    }

    /// Latest results of the status checks and their history.
    pub fn checks(&self) -> PathBuf {
        self.state().join("checks")
    }

    pub fn web(&self) -> PathBuf {
        self.state().join("web")
    }

    /// What the panel writes to have the checks run: a mark that systemd watches.
    pub fn look_again(&self) -> PathBuf {
        self.web().join("look-again")
    }

    /// The journal of applied steps.
    pub fn journal(&self) -> PathBuf {
        self.state().join("journal")
    }

    /// The local folder of backup archives.
    pub fn backups(&self) -> PathBuf {
        self.on_host("/var/backups/mailstead")
    }

    pub fn log(&self) -> PathBuf {
        self.on_host("/var/log/mailstead")
    }

    pub fn run(&self) -> PathBuf {
        self.on_host("/run/mailstead")
    }

    /// The socket of a door, e.g. `socket("directory")`. Each role's sockets lie in a folder that it owns.
    pub fn socket(&self, role: crate::Role, name: &str) -> PathBuf {
        self.run().join(role.name()).join(format!("{name}.sock"))
    }
}

/// A local part as a file name: `/`, `.` at the start, `%` and control characters are percent-encoded.
fn file_name(local: &str) -> String {
    let mut out = String::with_capacity(local.len());
    for (index, byte) in local.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || b"-_+=~".contains(&byte) || (byte == b'.' && index > 0);
        if plain {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02x}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_local_part_escapes_its_folder() {
        for local in ["..", "a/b", "/etc", ".hidden", "%2e"] {
            let name = file_name(local);
            assert!(!name.contains('/') && !name.starts_with('.'), "{local} became {name}");
        }
    }

    #[test]
    fn a_demo_keeps_everything_below_its_folder() {
        let paths = Paths::under("/tmp/box");
        assert_eq!(paths.box_yaml(), Path::new("/tmp/box/etc/mailstead/box.yaml"));
        assert_eq!(Paths::live().box_yaml(), Path::new("/etc/mailstead/box.yaml"));
    }
}
