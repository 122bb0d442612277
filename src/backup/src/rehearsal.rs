//! The rehearsal of a restore: the newest archive is opened with the recovery key and read to its end, and nothing is
//! written but that it was done. A backup that was never opened is only a hope.

use crate::archive::Manifest;
use crate::restore::{manifest, open, target};
use crate::{BackupError, key};
use base::{Paths, Secret, durable};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What came of the last one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rehearsal {
    /// Seconds since 1970.
    pub at: u64,
    pub archive: String,
    /// What is in it, or why it is of no use.
    pub outcome: Result<Contents, String>,
}

/// What an archive holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// When it was made, in seconds since 1970.
    pub made: u64,
    pub accounts: u64,
    pub files: u64,
    pub bytes: u64,
}

/// Where the last one is kept.
fn file(paths: &Paths) -> PathBuf {
    paths.journal().join("rehearsal.json")
}

/// The last one, if there was any.
pub fn last(paths: &Paths) -> Option<Rehearsal> {
    serde_json::from_slice(&std::fs::read(file(paths)).ok()?).ok()
}

/// Opens an archive, the newest if none is named, and keeps what came of it.
pub fn rehearse(paths: &Paths, archive: Option<&Path>) -> Result<Rehearsal, BackupError> {
    let newest = || crate::list(paths).map(|all| all.into_iter().max_by_key(|one| one.time).map(|one| one.file));
    let none = || BackupError::Refused("there is no backup yet; make one: mailstead backup now".to_owned());
    let archive = archive.map_or_else(newest, |named| Ok(Some(named.to_owned())))?.ok_or_else(none)?;
    let outcome =
        key::recovery_key(paths).and_then(|key| read(paths, &archive, &key)).map_err(|error| error.to_string());
    let name = archive.file_name().unwrap_or(archive.as_os_str()).to_string_lossy().into_owned();
    let rehearsal = Rehearsal { at: base::time::now_unix(), archive: name, outcome };
    let text = serde_json::to_vec_pretty(&rehearsal).unwrap_or_default();
    durable::create_dir_all(&paths.journal(), 0o700).map_err(|error| BackupError::file(&paths.journal(), error))?;
    durable::write(&file(paths), &text, 0o600).map_err(|error| BackupError::file(&file(paths), error))?;
    Ok(rehearsal)
}

/// Reads all of it, as a restore would: each part of age is authenticated, each entry has to be one that belongs there.
fn read(paths: &Paths, archive: &Path, key: &Secret) -> Result<Contents, BackupError> {
    let bad = |why: &dyn std::fmt::Display| BackupError::NotABackup(archive.to_owned(), why.to_string());
    let identity = key::parse(key.expose())?;
    let mut tar = tar::Archive::new(open(archive, &identity)?);
    let mut entries = tar.entries().map_err(|error| bad(&error))?;
    let first = entries.next().ok_or_else(|| bad(&"it is empty"))?.map_err(|error| bad(&error))?;
    let Manifest { time, accounts, .. } = manifest(first).map_err(|why| bad(&why))?;
    let mut contents = Contents { made: time, accounts: accounts.len() as u64, files: 0, bytes: 0 };
    let mut needed = vec![paths.box_yaml(), paths.directory_db()];
    for entry in entries {
        let mut entry = entry.map_err(|error| bad(&error))?;
        let goes_to = target(paths, &entry).map_err(|why| bad(&why))?;
        let bytes = std::io::copy(&mut entry, &mut std::io::sink()).map_err(|error| bad(&error))?;
        contents.files += u64::from(entry.header().entry_type().is_file());
        contents.bytes += bytes;
        needed.retain(|path| *path != goes_to);
    }
    match needed.first() {
        Some(missing) => Err(bad(&format!("it lacks {}", missing.display()))),
        None => Ok(contents),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{BoxConfig, DnsMode};

    fn a_box(folder: &Path) -> Paths {
        let paths = Paths::under(folder);
        let config =
            BoxConfig::new("ann@example.org".parse().unwrap(), "box.example.org".parse().unwrap(), DnsMode::Box);
        std::fs::create_dir_all(paths.directory_db().parent().unwrap()).unwrap();
        std::fs::create_dir_all(paths.backups()).unwrap();
        std::fs::create_dir_all(paths.box_yaml().parent().unwrap()).unwrap();
        config.save(&paths).unwrap();
        let snapshot = format!("{}.snapshot", paths.directory_db().display());
        std::fs::write(snapshot, b"a database").unwrap();
        crate::create_key(&paths).unwrap();
        paths
    }

    #[test]
    fn an_archive_that_opens_is_counted_and_a_cut_one_is_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let paths = a_box(dir.path());
        assert!(matches!(rehearse(&paths, None), Err(BackupError::Refused(_))));
        let config = BoxConfig::load(&paths).unwrap();
        let archive = crate::archive::write(&paths, &config, &["ann@example.org".parse().unwrap()]).unwrap();
        let done = rehearse(&paths, None).unwrap();
        assert_eq!(last(&paths), Some(done.clone()));
        let contents = done.outcome.unwrap();
        assert!(contents.accounts == 1 && contents.files >= 2 && contents.bytes > 0, "{contents:?}");

        let whole = std::fs::read(&archive).unwrap();
        std::fs::write(&archive, &whole[..whole.len() - 40]).unwrap();
        assert!(rehearse(&paths, None).unwrap().outcome.is_err());
        std::fs::write(&archive, &whole).unwrap();
        std::fs::remove_file(paths.recovery_key()).unwrap();
        crate::create_key(&paths).unwrap();
        assert!(rehearse(&paths, None).unwrap().outcome.unwrap_err().contains("cannot be opened with this key"));
    }
}
