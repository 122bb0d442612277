//! What a run has found so far, for whoever watches: `checks/run.jsonl`. The first line says how many results there will
//! be; then each is a line, as it comes.
//!
//! The file is worth nothing once the run is over: nothing is synced, it goes with this value, and a fault here fails no
//! run. A run that is killed leaves the file; whoever reads it takes one that has not grown for some time for left.

use base::Paths;
use serde::Serialize;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use wire::status::{CheckResult, RunBegun};

pub struct Running {
    path: PathBuf,
    file: Option<File>,
}

impl Running {
    pub fn begin(paths: &Paths, checks: usize, now: u64) -> Self {
        let path = paths.checks().join("run.jsonl");
        let begun = base::durable::create_dir_all(&paths.checks(), 0o755).and_then(|()| create(&path));
        let file = begun.inspect_err(|error| tracing::warn!("{}: {error}", path.display())).ok();
        let mut running = Self { path, file };
        running.write(&RunBegun { began: now, checks });
        running
    }

    pub fn tell(&mut self, result: &CheckResult) {
        self.write(result);
    }

    fn write(&mut self, value: &impl Serialize) {
        let Some(file) = &mut self.file else { return };
        let written = serde_json::to_vec(value).map_err(io::Error::other).and_then(|mut line| {
            line.push(b'\n');
            file.write_all(&line)
        });
        if let Err(error) = written {
            tracing::warn!("what the run finds cannot be shown as it comes: {}: {error}", self.path.display());
            self.file = None;
        }
    }
}

/// A new file: one that a killed run left, or that another run still writes, is not this one's.
fn create(path: &PathBuf) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = File::options().append(true).create_new(true).mode(0o644).open(path)?;
    // Whatever the process' mask is, the panel reads it.
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    Ok(file)
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may be gone with another run, and then there is nothing to do.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::tests::result;
    use std::os::unix::fs::PermissionsExt;
    use wire::status::State;

    #[test]
    fn each_result_is_a_line_as_it_comes_and_the_file_goes_with_the_run() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        std::fs::create_dir_all(paths.checks()).unwrap();
        let path = paths.checks().join("run.jsonl");
        std::fs::write(&path, "{\"began\":1,\"checks\":9}\nleft by a run that was killed").unwrap();
        let mut running = Running::begin(&paths, 2, 7);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"began\":7,\"checks\":2}\n");
        running.tell(&result("spf", State::Ok, 7));
        let text = std::fs::read_to_string(&path).unwrap();
        let told: CheckResult = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(told, result("spf", State::Ok, 7));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        drop(running);
        assert!(!path.exists());
    }

    #[test]
    fn where_nothing_can_be_written_the_run_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path().join("file"));
        std::fs::write(dir.path().join("file"), "in the way").unwrap();
        Running::begin(&paths, 2, 7).tell(&result("spf", State::Ok, 7));
    }
}
