//! Files that are there after a power cut, or were never there.
//!
//! *Atomic*: a reader sees the old content or the new, never a part. *Durable*: when a function here returns `Ok`,
//! the bytes and the directory entry are on the disk. Renames are made durable by syncing the directory, which
//! `rename(2)` alone does not do.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Replaces `path` by `bytes`, atomically and durably, with the permission bits `mode`.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let dir = parent(path)?;
    let temporary = temporary_name(path);
    let written = write_new(&temporary, bytes, mode).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // The rename did not happen, so the half-made file is ours to remove; its removal failing changes nothing.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    sync_dir(dir)
}

/// Removes what writes of `path` left beside it when they were killed before their rename. Only for a caller that nobody
/// else writes `path` beside, since a write that is going on cannot be told from one that was killed.
pub fn clear_unfinished(path: &Path) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    for entry in fs::read_dir(parent(path)?)? {
        let entry = entry?;
        if is_unfinished(&entry.file_name().to_string_lossy(), &name) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Creates `path` with `bytes` and syncs the file (not its directory). Fails if it exists.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    // The mode given to open(2) is cut by the umask; what was asked for is what shall be.
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    file.sync_all()
}

/// Renames durably; `from` and `to` may lie in different directories of one file system.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    let (source, target) = (parent(from)?, parent(to)?);
    sync_dir(target)?;
    if source != target {
        sync_dir(source)?;
    }
    Ok(())
}

/// Removes a file durably; that it was not there is success.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_dir(parent(path)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Creates a directory and its missing parents durably.
pub fn create_dir_all(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let dir = parent(path)?;
    create_dir_all(dir, mode)?;
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => sync_dir(dir),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Syncs a directory, so that names created, renamed or removed in it survive a power cut.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn parent(path: &Path) -> io::Result<&Path> {
    match path.parent() {
        Some(dir) if dir.as_os_str().is_empty() => Ok(Path::new(".")),
        Some(dir) => Ok(dir),
        None => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} has no parent directory", path.display()))),
    }
}

fn temporary_name(path: &Path) -> PathBuf {
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.{count}.new", std::process::id()));
    path.with_file_name(name)
}

/// Whether a file is what [`temporary_name`] makes of `name`: `.NAME.PROCESS.COUNT.new`.
fn is_unfinished(file: &str, name: &str) -> bool {
    let numbers =
        file.strip_prefix('.').and_then(|rest| rest.strip_prefix(name)).and_then(|rest| rest.strip_suffix(".new"));
    let parts = numbers.and_then(|rest| rest.strip_prefix('.')).and_then(|rest| rest.split_once('.'));
    let number = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    parts.is_some_and(|(process, count)| number(process) && number(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_replaced_file_has_the_new_content_and_mode_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        write(&path, b"one", 0o600).unwrap();
        write(&path, b"two", 0o640).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_write_left_is_cleared_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.service");
        fs::write(temporary_name(&path), b"half").unwrap();
        let others =
            [".a.service.new", ".a.service.1.new", ".a.service.1.x.new", "a.service.1.2.new", ".ab.service.1.2.new"];
        others.iter().for_each(|name| fs::write(dir.path().join(name), b"").unwrap());
        clear_unfinished(&path).unwrap();
        let left: std::collections::BTreeSet<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, others.iter().map(Into::into).collect());
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a-directory");
        create_dir_all(&path.join("deep/er"), 0o700).unwrap();
        assert!(write(&path, b"x", 0o600).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
