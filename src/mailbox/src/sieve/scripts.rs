//! The scripts of one account, as files: `sieve/<name>.sieve`, and `sieve/active` that holds the active one's name.
//!
//! Every change is durable when it returns. The box's own rule is listed among them as [`OWN_RULE`], and cannot be
//! changed: it always runs, before any script.

use crate::limits;
use base::durable;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use store::Account;

/// The name under which the box's own rule is shown.
pub const OWN_RULE: &str = "mailstead-junk";
/// What the box's own rule comes to. It is not run from this text.
pub const OWN_RULE_TEXT: &str = "\
# This rule is the box's own. It always runs first and cannot be changed here; it is shown so that you know of it.
# Mail that the spam filter holds for junk goes to the Junk folder, and your scripts are not run on it: nothing is
# answered to its sender and nothing is forwarded. Move a message out of Junk, or into it, and the filter learns.
require [\"fileinto\", \"special-use\"];
if header :matches \"X-Mailstead-Verdict\" \"junk*\" {
    fileinto :specialuse \"\\\\Junk\" \"Junk\";
    stop;
}
";

/// A script's name, fit to be a file's (RFC 5804 §1.6).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScriptName(String);

/// Why something was not done to the scripts.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    #[error("a script's name is 1 to 128 characters without control characters")]
    BadName,
    #[error("the name has too many characters that a file's name cannot have")]
    NameTooLong,
    #[error("“{OWN_RULE}” is the box's own rule; it cannot be changed")]
    OwnRule,
    #[error("there is no script “{0}”")]
    None(String),
    #[error("there is a script “{0}” already")]
    Exists(String),
    #[error("the script is active; choose another one first, or none")]
    Active,
    #[error("an account may have {} scripts", limits::SIEVE_SCRIPTS)]
    TooMany,
    #[error("a script may have {} octets", limits::SIEVE_SCRIPT)]
    TooLarge,
    #[error("{path}: {source}", path = path.display())]
    Io { path: PathBuf, source: io::Error },
}

type Done<T> = Result<T, ScriptError>;

impl ScriptName {
    pub fn parse(text: &str) -> Done<Self> {
        let odd = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        if text.is_empty() || text.chars().count() > 128 || text.chars().any(odd) {
            return Err(ScriptError::BadName);
        }
        let name = Self(text.to_owned());
        // 255 octets is what Linux file systems take; the rest is for the temporary name of durable::write.
        if name.file().len() > 210 { Err(ScriptError::NameTooLong) } else { Ok(name) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The file's name: `/`, `%` and a dot at the beginning are percent-encoded.
    fn file(&self) -> String {
        let mut out = String::with_capacity(self.0.len() + 6);
        for (index, c) in self.0.char_indices() {
            match c {
                '/' => out.push_str("%2f"),
                '%' => out.push_str("%25"),
                '.' if index == 0 => out.push_str("%2e"),
                c => out.push(c),
            }
        }
        out + ".sieve"
    }

    fn of_file(file: &str) -> Option<Self> {
        let stem = file.strip_suffix(".sieve").filter(|stem| !stem.starts_with('.'))?;
        let name = stem.replace("%2f", "/").replace("%2e", ".").replace("%25", "%");
        Self::parse(&name).ok().filter(|name| name.file() == file)
    }
}

/// The scripts of an account. Callers see to it that one thing at a time is changed.
pub struct Scripts {
    dir: PathBuf,
}

impl Scripts {
    pub fn of(account: &Account) -> Self {
        Self::in_dir(account.dir().join("sieve"))
    }

    pub fn in_dir(dir: PathBuf) -> Self {
        Self { dir }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The owner's scripts, by name. Files whose names are none are not shown.
    pub fn names(&self) -> Done<Vec<ScriptName>> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.failed(&self.dir)(error)),
        };
        let files = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<ScriptName> = files.filter_map(|file| ScriptName::of_file(&file)).collect();
        names.sort();
        Ok(names)
    }

    /// The active script's name. One that is named but not there is none.
    pub fn active(&self) -> Done<Option<ScriptName>> {
        let path = self.dir.join("active");
        match fs::read_to_string(&path) {
            Ok(text) => {
                Ok(ScriptName::parse(text.trim_end_matches('\n')).ok().filter(|name| self.path(name).is_file()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(&path)(error)),
        }
    }

    pub fn read(&self, name: &ScriptName) -> Done<Vec<u8>> {
        if name.as_str() == OWN_RULE {
            return Ok(OWN_RULE_TEXT.replace('\n', "\r\n").into_bytes());
        }
        let path = self.path(name);
        fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ScriptError::None(name.0.clone()),
            _ => self.failed(&path)(error),
        })
    }

    /// RFC 5804 §2.5: whether a script of that size would be taken.
    pub fn have_space(&self, name: &ScriptName, octets: usize) -> Done<()> {
        changeable(name)?;
        if octets > limits::SIEVE_SCRIPT {
            return Err(ScriptError::TooLarge);
        }
        let names = self.names()?;
        if names.len() >= limits::SIEVE_SCRIPTS && !names.contains(name) {
            return Err(ScriptError::TooMany);
        }
        Ok(())
    }

    /// Stores a script, which the caller has checked.
    pub fn put(&self, name: &ScriptName, text: &[u8]) -> Done<()> {
        self.have_space(name, text.len())?;
        durable::create_dir_all(&self.dir, 0o700).map_err(self.failed(&self.dir))?;
        self.write(&self.path(name), text)
    }

    /// Makes a script the active one, or none.
    pub fn set_active(&self, name: Option<&ScriptName>) -> Done<()> {
        let path = self.dir.join("active");
        match name {
            None => durable_remove(&path).map_err(self.failed(&path)),
            Some(name) => {
                changeable(name)?;
                self.must_exist(name)?;
                self.write(&path, format!("{}\n", name.0).as_bytes())
            }
        }
    }

    pub fn delete(&self, name: &ScriptName) -> Done<()> {
        changeable(name)?;
        self.must_exist(name)?;
        if self.active()?.as_ref() == Some(name) {
            return Err(ScriptError::Active);
        }
        let path = self.path(name);
        durable::remove(&path).map_err(self.failed(&path))
    }

    /// RFC 5804 §2.11.1: an active script stays active. A crash on the way leaves it under both names at worst.
    pub fn rename(&self, from: &ScriptName, to: &ScriptName) -> Done<()> {
        changeable(from)?;
        changeable(to)?;
        self.must_exist(from)?;
        if self.path(to).exists() {
            return Err(ScriptError::Exists(to.0.clone()));
        }
        let (old, new) = (self.path(from), self.path(to));
        if self.active()?.as_ref() != Some(from) {
            return durable::rename(&old, &new).map_err(self.failed(&old));
        }
        let text = self.read(from)?;
        self.write(&new, &text)?;
        self.set_active(Some(to))?;
        durable::remove(&old).map_err(self.failed(&old))
    }

    fn must_exist(&self, name: &ScriptName) -> Done<()> {
        if self.path(name).is_file() { Ok(()) } else { Err(ScriptError::None(name.0.clone())) }
    }

    fn path(&self, name: &ScriptName) -> PathBuf {
        self.dir.join(name.file())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Done<()> {
        durable::write(path, bytes, 0o600).map_err(self.failed(path))
    }

    fn failed(&self, path: &Path) -> impl FnOnce(io::Error) -> ScriptError + use<> {
        let path = path.to_owned();
        move |source| ScriptError::Io { path, source }
    }
}

fn changeable(name: &ScriptName) -> Done<()> {
    if name.as_str() == OWN_RULE { Err(ScriptError::OwnRule) } else { Ok(()) }
}

/// [`durable::remove`], where a directory that is not there is success too.
fn durable_remove(path: &Path) -> io::Result<()> {
    if path.exists() { durable::remove(path) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> ScriptName {
        ScriptName::parse(text).unwrap()
    }

    fn empty() -> (tempfile::TempDir, Scripts) {
        let dir = tempfile::tempdir().unwrap();
        let scripts = Scripts::in_dir(dir.path().join("sieve"));
        (dir, scripts)
    }

    #[test]
    fn an_active_script_survives_its_renaming_and_cannot_be_deleted() {
        let (_dir, scripts) = empty();
        assert!(scripts.active().unwrap().is_none() && scripts.names().unwrap().is_empty());
        scripts.set_active(None).unwrap();
        scripts.put(&name("a/../b"), b"keep;").unwrap();
        scripts.set_active(Some(&name("a/../b"))).unwrap();
        scripts.rename(&name("a/../b"), &name(".c")).unwrap();
        assert_eq!(scripts.names().unwrap(), [name(".c")]);
        assert_eq!(scripts.active().unwrap(), Some(name(".c")));
        assert_eq!(scripts.read(&name(".c")).unwrap(), b"keep;");
        assert!(matches!(scripts.delete(&name(".c")), Err(ScriptError::Active)));
        scripts.set_active(None).unwrap();
        scripts.delete(&name(".c")).unwrap();
        assert!(matches!(scripts.delete(&name(".c")), Err(ScriptError::None(_))));
        assert!(matches!(scripts.set_active(Some(&name("x"))), Err(ScriptError::None(_))));
    }

    #[test]
    fn the_number_and_size_of_scripts_are_bounded_and_the_own_rule_stays() {
        let (_dir, scripts) = empty();
        for count in 0..limits::SIEVE_SCRIPTS {
            scripts.put(&name(&count.to_string()), b"").unwrap();
        }
        assert!(matches!(scripts.put(&name("x"), b""), Err(ScriptError::TooMany)));
        assert!(matches!(scripts.have_space(&name("1"), limits::SIEVE_SCRIPT + 1), Err(ScriptError::TooLarge)));
        assert!(matches!(scripts.put(&name(OWN_RULE), b""), Err(ScriptError::OwnRule)));
        assert!(matches!(scripts.rename(&name("1"), &name(OWN_RULE)), Err(ScriptError::OwnRule)));
        assert!(matches!(scripts.rename(&name("1"), &name("2")), Err(ScriptError::Exists(_))));
    }

    proptest! {
        #[test]
        fn any_name_is_refused_or_found_again_by_its_file(text in "[./%a-fé2\u{0}\u{85}]{0,140}") {
            if let Ok(name) = ScriptName::parse(&text) {
                let file = name.file();
                prop_assert!(!file.contains('/') && !file.starts_with('.') && file.len() <= 255);
                prop_assert_eq!(ScriptName::of_file(&file), Some(name));
            }
        }
    }
}
