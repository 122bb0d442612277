//! Whether files that hold secrets can be read by their owners alone.

use base::Paths;
use serde::{Deserialize, Serialize};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file that too many can read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    pub path: String,
    /// `0644`.
    pub mode: String,
    /// `0640`.
    pub wanted: String,
}

/// How many files of one folder are looked at; there are a few for each domain.
const MOST: usize = 2000;

/// What may not be open to others, and the bits that nobody but the owner (or its group) may have.
fn places(paths: &Paths) -> Vec<(PathBuf, u32)> {
    vec![
        (paths.tls().join("key.pem"), 0o640),
        (paths.tls().join("pair.pem"), 0o640),
        (paths.on_host("/etc/mailstead/recovery.key"), 0o600),
        (paths.certs(), 0o700),
        (paths.filter(), 0o750),
        (paths.dns(), 0o750),
        (paths.directory_db(), 0o640),
        (paths.queue(), 0o750),
        (paths.mail(), 0o750),
        (paths.backups(), 0o750),
    ]
}

pub fn look(paths: &Paths) -> Result<Vec<Open>, String> {
    let mut open = Vec::new();
    for (path, most) in places(paths) {
        judge(&path, most, &mut open);
        // What lies in a folder that others cannot enter is closed to them, whatever its own mode.
        if is_entered_by_others(&path) {
            files(&path).filter(|file| is_key(file)).for_each(|file| judge(&file, 0o640, &mut open));
        }
    }
    Ok(open)
}

fn is_entered_by_others(folder: &Path) -> bool {
    std::fs::metadata(folder).is_ok_and(|meta| meta.is_dir() && meta.mode() & 0o001 != 0)
}

fn files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_file()).take(MOST)
}

fn is_key(file: &Path) -> bool {
    file.extension().is_some_and(|ending| ending == "private" || ending == "key" || ending == "db")
}

fn judge(path: &Path, most: u32, open: &mut Vec<Open>) {
    let Ok(meta) = std::fs::metadata(path) else { return };
    let mode = meta.mode() & 0o7777;
    if mode & 0o777 & !most & 0o077 != 0 {
        open.push(Open {
            path: path.display().to_string(),
            mode: format!("{mode:04o}"),
            wanted: format!("{:04o}", mode & 0o7700 | most & 0o077 & mode),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_that_everybody_can_read_is_found_and_what_it_should_be_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        std::fs::create_dir_all(paths.tls()).unwrap();
        let key = paths.tls().join("key.pem");
        std::fs::write(&key, "x").unwrap();
        let set = |mode| {
            std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
            look(&paths).unwrap()
        };
        assert_eq!(set(0o640), []);
        let found = set(0o644);
        assert_eq!((found[0].mode.as_str(), found[0].wanted.as_str()), ("0644", "0640"));
        assert_eq!(set(0o600), []);
    }
}
