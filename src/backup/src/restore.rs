//! From an archive back to files. Safe to repeat: until it is finished a mark says so.

use crate::archive::{FORMAT, MANIFEST, Manifest};
use crate::{BackupError, key};
use base::{BoxConfig, Paths, Role, Secret, durable};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Component, Path, PathBuf};

/// What an archive may write to, below the root.
const ALLOWED: [&str; 2] = ["etc/mailstead", "var/lib/mailstead"];

/// Whose the restored folders are.
pub fn owners() -> [(Role, &'static str); 7] {
    [
        (Role::Directory, "/var/lib/mailstead/directory"),
        (Role::Mailbox, "/var/lib/mailstead/mail"),
        (Role::Mta, "/var/lib/mailstead/queue"),
        (Role::Filter, "/var/lib/mailstead/filter"),
        (Role::Dns, "/var/lib/mailstead/dns"),
        (Role::Certs, "/var/lib/mailstead/certs"),
        (Role::Certs, "/var/lib/mailstead/tls"),
    ]
}

fn mark(paths: &Paths) -> PathBuf {
    paths.journal().join("restoring")
}

/// Whether a restore was begun and not finished.
pub fn is_restoring(paths: &Paths) -> bool {
    mark(paths).exists()
}

/// Says that the restore is finished: files are in place and belong to their users.
pub fn restored(paths: &Paths) -> Result<(), BackupError> {
    durable::remove(&mark(paths)).map_err(|error| BackupError::file(&mark(paths), error))
}

/// Unpacks an archive below the root; nothing is written unless the key opens it. Call [`restored`] at the end.
pub fn restore(paths: &Paths, archive: &Path, secret: &Secret) -> Result<BoxConfig, BackupError> {
    let identity = key::parse(secret.expose())?;
    let mut tar = tar::Archive::new(open(archive, &identity)?);
    let bad = |why: &dyn std::fmt::Display| BackupError::NotABackup(archive.to_owned(), why.to_string());
    let mut entries = tar.entries().map_err(|error| bad(&error))?;
    let first = entries.next().ok_or_else(|| bad(&"it is empty"))?.map_err(|error| bad(&error))?;
    let manifest = manifest(first).map_err(|why| bad(&why))?;
    if !is_restoring(paths) && paths.directory_db().exists() {
        let words = "there is a box here already; restore on a fresh machine".to_owned();
        return Err(BackupError::Refused(words));
    }
    durable::create_dir_all(&paths.journal(), 0o700).map_err(|error| BackupError::file(&paths.journal(), error))?;
    durable::write(&mark(paths), b"", 0o600).map_err(|error| BackupError::file(&mark(paths), error))?;
    tracing::info!("restoring {} of {}", manifest.hostname, base::time::readable(manifest.time));
    for entry in entries {
        let mut entry = entry.map_err(|error| bad(&error))?;
        let target = target(paths, &entry).map_err(|why| bad(&why))?;
        let is_folder = entry.header().entry_type().is_dir();
        if let Some(folder) = if is_folder { Some(target.as_path()) } else { target.parent() } {
            durable::create_dir_all(folder, 0o700).map_err(|error| BackupError::file(folder, error))?;
        }
        if is_folder {
            continue;
        }
        entry.set_preserve_permissions(true);
        entry.unpack(&target).map_err(|error| BackupError::file(&target, error))?;
    }
    key::keep(paths, secret)?;
    key::create_key(paths)?;
    // One sync for all of it, before the mark is taken away.
    nix::unistd::sync();
    Ok(BoxConfig::load(paths)?)
}

pub(crate) fn open(archive: &Path, identity: &age::x25519::Identity) -> Result<impl Read, BackupError> {
    let file = File::open(archive).map_err(|error| BackupError::file(archive, error))?;
    let locked = |why: &dyn std::fmt::Display| BackupError::Locked(archive.to_owned(), why.to_string());
    let decryptor = age::Decryptor::new_buffered(BufReader::new(file)).map_err(|error| locked(&error))?;
    let plain = decryptor.decrypt(std::iter::once(identity as &dyn age::Identity)).map_err(|error| locked(&error))?;
    zstd::Decoder::new(plain).map_err(|error| BackupError::file(archive, error))
}

pub(crate) fn manifest(mut entry: tar::Entry<'_, impl Read>) -> Result<Manifest, String> {
    if entry.path().map_err(|error| error.to_string())? != Path::new(MANIFEST) {
        return Err("its first entry is not the manifest".to_owned());
    }
    let mut text = String::new();
    entry.by_ref().take(1 << 20).read_to_string(&mut text).map_err(|error| error.to_string())?;
    let manifest: Manifest = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    if manifest.format > FORMAT {
        return Err(format!("it was made by a newer release ({}); install that one first", manifest.version));
    }
    Ok(manifest)
}

/// Where an entry goes. Only plain files and folders, only below the box's own folders.
pub(crate) fn target(paths: &Paths, entry: &tar::Entry<'_, impl Read>) -> Result<PathBuf, String> {
    let path = entry.path().map_err(|error| error.to_string())?;
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    let allowed = ALLOWED.iter().any(|folder| path.starts_with(folder));
    let kind = entry.header().entry_type();
    if !plain || !allowed || !(kind.is_file() || kind.is_dir()) {
        return Err(format!("it holds {}, which does not belong there", path.display()));
    }
    Ok(paths.root().join(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive;
    use base::{Address, DnsMode, Domain};

    fn a_box() -> (tempfile::TempDir, Paths, BoxConfig) {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        let owner = Address::parse("ann@example.org").unwrap();
        let config = BoxConfig::new(owner.clone(), Domain::parse("box.example.org").unwrap(), DnsMode::Box);
        for folder in [
            paths.etc(),
            paths.backups(),
            paths.state().join("directory"),
            paths.account(&owner).join("Maildir/cur"),
            paths.account(&owner).join("Maildir/.Empty/cur"),
        ] {
            std::fs::create_dir_all(folder).unwrap();
        }
        config.save(&paths).unwrap();
        crate::create_key(&paths).unwrap();
        std::fs::write(paths.account(&owner).join("Maildir/cur/1.2.box:2,S"), b"Subject: kept\r\n\r\n").unwrap();
        std::fs::write(paths.state().join("directory/box.db"), b"live").unwrap();
        std::fs::write(paths.state().join("directory/box.db.snapshot"), b"copy").unwrap();
        (dir, paths, config)
    }

    #[test]
    fn what_was_backed_up_comes_back_and_standard_tools_open_it() {
        let (_dir, paths, config) = a_box();
        let archive = archive::write(&paths, &config, &[]).unwrap();
        let fresh = tempfile::tempdir().unwrap();
        let there = Paths::under(fresh.path());
        let restored = restore(&there, &archive, &crate::recovery_key(&paths).unwrap()).unwrap();
        assert_eq!(restored, config);
        assert!(is_restoring(&there));
        let message = there.account(&config.email).join("Maildir/cur/1.2.box:2,S");
        assert_eq!(std::fs::read(message).unwrap(), b"Subject: kept\r\n\r\n");
        assert_eq!(std::fs::read(there.directory_db()).unwrap(), b"copy");
        assert!(there.account(&config.email).join("Maildir/.Empty/cur").is_dir());
    }

    #[test]
    fn another_key_opens_nothing_and_changes_nothing() {
        let (_dir, paths, config) = a_box();
        let archive = archive::write(&paths, &config, &[]).unwrap();
        let (_other, others, _) = a_box();
        let fresh = tempfile::tempdir().unwrap();
        let there = Paths::under(fresh.path());
        let refused = restore(&there, &archive, &crate::recovery_key(&others).unwrap()).unwrap_err();
        assert!(matches!(refused, BackupError::Locked(..)), "{refused}");
        assert_eq!(std::fs::read_dir(fresh.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_box_that_is_in_use_is_not_overwritten() {
        let (_dir, paths, config) = a_box();
        let archive = archive::write(&paths, &config, &[]).unwrap();
        let refused = restore(&paths, &archive, &crate::recovery_key(&paths).unwrap()).unwrap_err();
        assert!(refused.to_string().contains("already"), "{refused}");
    }

    #[test]
    fn old_archives_make_room_for_new_ones() {
        let (_dir, paths, mut config) = a_box();
        config.backups_kept = 2;
        for day in 1..=4 {
            std::fs::write(paths.backups().join(format!("mailstead-2026010{day}000000.tar.zst.age")), b"x").unwrap();
        }
        let newest = archive::write(&paths, &config, &[]).unwrap();
        let left = archive::list(&paths).unwrap();
        assert_eq!(left.len(), 2);
        assert_eq!(left[1].file, newest);
    }
}
