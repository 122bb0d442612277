//! Files of the box that are not as their roles need them: mail of a wrong owner, and programs that run though their file
//! was replaced.

use base::Paths;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Most folders of mail that are looked into, and most files that are named.
const MOST_FOLDERS: usize = 20_000;
const MOST_NAMED: usize = 20;

/// What lies in the accounts' mail and belongs to somebody else than the folder of all mail does; such mail cannot be
/// read, moved or removed. Folders are looked at, and in each its first file.
pub fn foreign_mail(paths: &Paths) -> Result<Vec<String>, String> {
    let top = paths.mail();
    let owner = match std::fs::metadata(&top) {
        Ok(meta) => meta.uid(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {error}", top.display())),
    };
    let (mut foreign, mut folders, mut looked) = (Vec::new(), vec![top], 0);
    while let Some(folder) = folders.pop() {
        looked += 1;
        if looked > MOST_FOLDERS || foreign.len() >= MOST_NAMED {
            break;
        }
        let mut has_file = false;
        for entry in entries(&folder) {
            let Ok(meta) = std::fs::symlink_metadata(&entry) else { continue };
            if meta.is_dir() {
                folders.push(entry.clone());
            } else if std::mem::replace(&mut has_file, true) {
                continue;
            }
            if meta.uid() != owner && foreign.len() < MOST_NAMED {
                foreign.push(entry.display().to_string());
            }
        }
    }
    foreign.sort();
    Ok(foreign)
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// The roles whose running program is not the file that is installed: they miss what an upgrade has brought.
pub fn outdated(procfs: &Path) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    for entry in entries(procfs) {
        // Processes come and go while they are looked at.
        let Ok(program) = std::fs::read_link(entry.join("exe")) else { continue };
        let name = program.to_string_lossy().into_owned();
        let is_ours = name.strip_suffix(" (deleted)").is_some_and(|name| name.ends_with("/mailstead"));
        let Some(role) = std::fs::read(entry.join("cmdline")).ok().filter(|_| is_ours).and_then(|line| role(&line))
        else {
            continue;
        };
        found.push(role);
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// `mailstead run ROLE`, with a zero octet behind each word.
fn role(command: &[u8]) -> Option<String> {
    let words: Vec<&str> = std::str::from_utf8(command).ok()?.split('\0').collect();
    let place = words.iter().position(|word| *word == "run")?;
    words.get(place + 1).filter(|role| !role.is_empty()).map(|role| (*role).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_of_the_folders_own_user_is_no_stranger() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        assert_eq!(foreign_mail(&paths), Ok(Vec::new()), "no mail yet");
        let folder = paths.mail().join("example.org/ann/Maildir/cur");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("1"), b"x").unwrap();
        assert_eq!(foreign_mail(&paths), Ok(Vec::new()));
    }

    #[test]
    fn a_role_that_runs_a_replaced_program_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let process = |number: &str, program: &str, command: &[u8]| {
            let folder = dir.path().join(number);
            std::fs::create_dir(&folder).unwrap();
            std::os::unix::fs::symlink(program, folder.join("exe")).unwrap();
            std::fs::write(folder.join("cmdline"), command).unwrap();
        };
        process("1", "/opt/mailstead/current/mailstead (deleted)", b"/opt/mailstead/current/mailstead\0run\0mta\0");
        process("2", "/opt/mailstead/current/mailstead", b"mailstead\0run\0dns\0");
        process("3", "/usr/bin/other (deleted)", b"other\0run\0x\0");
        process("4", "/opt/mailstead/current/mailstead (deleted)", b"mailstead\0status\0");
        assert_eq!(outdated(dir.path()), Ok(vec!["mta".to_owned()]));
    }
}
