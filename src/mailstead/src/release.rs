//! Which release this is: the folder it was installed into tells, since that is what the signature was checked for.

use std::path::{Path, PathBuf};

/// Where releases are installed.
pub const RELEASES: &str = "/opt/mailstead/releases";

/// The version: that of the release folder, else that of the build.
pub fn version() -> String {
    installed().unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned())
}

/// The version of the release folder that this program runs from, if it runs from one.
pub fn installed() -> Option<String> {
    of_path(&program()?)
}

/// This program's file, links resolved.
pub fn program() -> Option<PathBuf> {
    std::fs::canonicalize(std::env::current_exe().ok()?).ok()
}

fn of_path(program: &Path) -> Option<String> {
    let folder = program.parent()?;
    (folder.parent()? == Path::new(RELEASES)).then(|| folder.file_name()?.to_str().map(str::to_owned))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_folder_names_the_version() {
        assert_eq!(of_path(Path::new("/opt/mailstead/releases/1.2.3/mailstead")).as_deref(), Some("1.2.3"));
        assert_eq!(of_path(Path::new("/home/me/target/debug/mailstead")), None);
    }
}
