//! Writing archives: tar inside zstd inside age, in one stream, never a plain byte on the disk.

use crate::{BackupError, key, walk};
use base::{Address, BoxConfig, Paths, durable};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Version of the layout inside; see docs/backup-format.md.
pub const FORMAT: u32 = 1;
/// The first entry of an archive.
pub const MANIFEST: &str = "mailstead-backup.json";
const ENDING: &str = ".tar.zst.age";
/// zstd's own default: mail shrinks to a half, at a few hundred megabytes a second.
const LEVEL: i32 = 3;
/// Passes over the mail until nothing is found that a pass before missed. Mail that keeps moving for that long is
/// archived where it was seen.
const MAX_PASSES: u32 = 5;

/// One archive in the local folder.
#[derive(Debug, Clone, Serialize)]
pub struct Archive {
    pub file: PathBuf,
    /// Seconds since 1970.
    pub time: u64,
    pub bytes: u64,
}

/// What an archive says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub version: String,
    pub hostname: String,
    pub time: u64,
    pub accounts: Vec<Address>,
}

/// The archives, oldest first.
pub fn list(paths: &Paths) -> Result<Vec<Archive>, BackupError> {
    let folder = paths.backups();
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(BackupError::file(&folder, error)),
    };
    let archive = |entry: std::fs::DirEntry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let ours = name.starts_with("mailstead-") && name.ends_with(ENDING);
        let meta = entry.metadata().ok().filter(|_| ours)?;
        let time = meta.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_secs();
        Some(Archive { file: entry.path(), time, bytes: meta.len() })
    };
    let mut archives: Vec<Archive> = entries.filter_map(Result::ok).filter_map(archive).collect();
    archives.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(archives)
}

/// Writes an archive of what the snapshots and the files say now.
pub fn write(paths: &Paths, config: &BoxConfig, accounts: &[Address]) -> Result<PathBuf, BackupError> {
    let now = base::time::now_unix();
    let stamp: String = base::time::readable(now).chars().filter(char::is_ascii_digit).collect();
    let folder = paths.backups();
    let target = folder.join(format!("mailstead-{stamp}{ENDING}"));
    let unfinished = folder.join(".unfinished.new");
    durable::remove(&unfinished).map_err(|error| BackupError::file(&unfinished, error))?;
    let manifest = Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        hostname: config.hostname.to_string(),
        time: now,
        accounts: accounts.to_vec(),
    };
    fill(paths, &unfinished, &manifest)?;
    durable::rename(&unfinished, &target).map_err(|error| BackupError::file(&target, error))?;
    prune(paths, usize::from(config.backups_kept.max(1)))?;
    Ok(target)
}

fn fill(paths: &Paths, target: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let failed = |error| BackupError::file(target, error);
    let file = File::options().write(true).create_new(true).mode(0o600).open(target).map_err(failed)?;
    let recipient = key::recipient(paths)?;
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient))
        .map_err(|error| BackupError::Key(error.to_string()))?;
    let encrypted = encryptor.wrap_output(BufWriter::new(file)).map_err(failed)?;
    let compressed = zstd::Encoder::new(encrypted, LEVEL).map_err(failed)?;
    let mut tar = tar::Builder::new(compressed);
    let text = serde_json::to_vec_pretty(manifest).map_err(|error| failed(error.into()))?;
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o600);
    tar.append_data(&mut header, MANIFEST, text.as_slice()).map_err(failed)?;
    contents(paths, &mut tar)?;
    let compressed = tar.into_inner().map_err(failed)?;
    let encrypted = compressed.finish().map_err(failed)?;
    let mut buffered = encrypted.finish().map_err(failed)?;
    buffered.flush().map_err(failed)?;
    buffered.into_inner().map_err(|error| failed(error.into_error()))?.sync_all().map_err(failed)
}

fn contents(paths: &Paths, tar: &mut tar::Builder<impl Write>) -> Result<(), BackupError> {
    append(paths, tar, &paths.box_yaml())?;
    let mut archived = HashSet::new();
    for pass in 0..MAX_PASSES {
        let before = archived.len();
        for name in walk::FOLDERS {
            for entry in walk::entries(&paths.state().join(name))? {
                let identity = walk::identity(&entry);
                if !archived.contains(&identity) && append(paths, tar, &entry)? {
                    archived.insert(identity);
                }
            }
        }
        if pass > 0 && archived.len() == before {
            break;
        }
    }
    Ok(())
}

/// Adds a file or a folder under its path below the root; `false` when it has vanished (or moved: the next pass finds it).
fn append(paths: &Paths, tar: &mut tar::Builder<impl Write>, path: &Path) -> Result<bool, BackupError> {
    let failed = |error| BackupError::file(path, error);
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    let below = path.strip_prefix(paths.root()).map_err(|error| failed(std::io::Error::other(error)))?;
    if file.metadata().map_err(failed)?.is_dir() {
        tar.append_dir(below, path).map_err(failed)?;
        return Ok(true);
    }
    let name = below.to_string_lossy();
    let name = name.strip_suffix(walk::SNAPSHOT).unwrap_or(&name);
    tar.append_file(name, &mut file).map_err(failed)?;
    Ok(true)
}

/// Drops the oldest archives, so that the newest `kept` remain.
fn prune(paths: &Paths, kept: usize) -> Result<(), BackupError> {
    let archives = list(paths)?;
    for archive in archives.iter().take(archives.len().saturating_sub(kept)) {
        durable::remove(&archive.file).map_err(|error| BackupError::file(&archive.file, error))?;
        tracing::info!("dropped {}", archive.file.display());
    }
    Ok(())
}
