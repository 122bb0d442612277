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
        // Messages lie by the ten thousand in these, and no folders; one of them tells.
        let only_messages = matches!(folder.file_name().and_then(|name| name.to_str()), Some("cur" | "new"));
        let mut has_file = false;
        for entry in entries(&folder) {
            if only_messages && has_file {
                break;
            }
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

/// The roles whose running program is not the file that is installed below `home`: they miss what an upgrade has brought.
pub fn outdated(procfs: &Path, home: &Path) -> Result<Vec<String>, String> {
    let current = home.join("current/mailstead");
    let installed = current.canonicalize().map_err(|error| format!("{}: {error}", current.display()))?;
    let mut found = Vec::new();
    for entry in entries(procfs) {
        // Processes come and go while they are looked at.
        let Ok(program) = std::fs::read_link(entry.join("exe")) else { continue };
        // Of a file that was replaced the kernel says “… (deleted)”; one of an earlier release lies beside.
        if program == installed || !program.starts_with(home) {
            continue;
        }
        found.extend(std::fs::read(entry.join("cmdline")).ok().and_then(|line| role(&line)));
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
    fn a_role_that_runs_a_replaced_program_or_an_earlier_release_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (home, procfs) = (dir.path().canonicalize().unwrap().join("opt"), dir.path().join("proc"));
        assert!(outdated(&procfs, &home).is_err(), "nothing is installed");
        for version in ["1", "2"] {
            std::fs::create_dir_all(home.join("releases").join(version)).unwrap();
            std::fs::write(home.join("releases").join(version).join("mailstead"), b"").unwrap();
        }
        std::os::unix::fs::symlink("releases/2", home.join("current")).unwrap();
        let releases = home.join("releases").display().to_string();
        let process = |number: &str, program: &str, command: &[u8]| {
            let folder = procfs.join(number);
            std::fs::create_dir_all(&folder).unwrap();
            std::os::unix::fs::symlink(program, folder.join("exe")).unwrap();
            std::fs::write(folder.join("cmdline"), command).unwrap();
        };
        process("1", &format!("{releases}/2/mailstead (deleted)"), b"mailstead\0run\0mta\0");
        process("2", &format!("{releases}/2/mailstead"), b"mailstead\0run\0dns\0");
        process("3", &format!("{releases}/1/mailstead"), b"mailstead\0run\0web\0");
        process("4", "/usr/bin/other (deleted)", b"other\0run\0x\0");
        process("5", &format!("{releases}/1/mailstead"), b"mailstead\0status\0");
        assert_eq!(outdated(&procfs, &home), Ok(vec!["mta".to_owned(), "web".to_owned()]));
    }
}
