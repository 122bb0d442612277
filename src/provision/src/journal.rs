//! What was done: `journal/steps.jsonl`, with the former content of changed files beside it, and which inputs each
//! unit was last started with (`journal/started.json`).

use crate::ProvisionError;
use base::{Paths, durable};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

/// The journal is cut to its newer half when it has grown to this many bytes.
const MAX_BYTES: u64 = 4 << 20;

/// The inputs with which units were last started, by unit.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Started(BTreeMap<String, String>);

impl Started {
    pub fn load(paths: &Paths) -> Self {
        // An unreadable record only means that units are restarted once more.
        std::fs::read(file(paths)).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    pub fn digest(&self, unit: &str) -> Option<&String> {
        self.0.get(unit)
    }

    /// Remembers, durably, that a unit runs with these inputs.
    pub fn record(&mut self, paths: &Paths, unit: &str, digest: &str) -> Result<(), ProvisionError> {
        self.0.insert(unit.to_owned(), digest.to_owned());
        let file = file(paths);
        let text = serde_json::to_vec_pretty(&self.0).map_err(|error| ProvisionError::file(&file, error.into()))?;
        durable::write(&file, &text, 0o600).map_err(|error| ProvisionError::file(&file, error))
    }
}

fn file(paths: &Paths) -> PathBuf {
    paths.journal().join("started.json")
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    stage: &'a str,
    step: &'a str,
    outcome: &'a str,
}

/// Appends one line. Holds no secrets: steps are told by what they change, not by content.
pub fn write(paths: &Paths, stage: &str, step: &str, outcome: &str) -> Result<(), ProvisionError> {
    let path = paths.journal().join("steps.jsonl");
    let failed = |error| ProvisionError::file(&path, error);
    durable::create_dir_all(&paths.journal(), 0o700).map_err(failed)?;
    shorten(&path).map_err(failed)?;
    let line = Line { time: base::time::readable(base::time::now_unix()), stage, step, outcome };
    let mut text = serde_json::to_string(&line).map_err(|error| failed(error.into()))?;
    text.push('\n');
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

/// Keeps the former content of a file that is about to be changed, newest only.
pub fn keep(paths: &Paths, path: &str, former: &[u8]) -> Result<(), ProvisionError> {
    let name = path.trim_start_matches('/').replace('/', "%");
    let target = paths.journal().join("former").join(name);
    let folder = paths.journal().join("former");
    durable::create_dir_all(&folder, 0o700).map_err(|error| ProvisionError::file(&folder, error))?;
    durable::write(&target, former, 0o600).map_err(|error| ProvisionError::file(&target, error))
}

fn shorten(path: &std::path::Path) -> std::io::Result<()> {
    let Ok(meta) = std::fs::metadata(path) else { return Ok(()) };
    if meta.len() < MAX_BYTES {
        return Ok(());
    }
    let text = std::fs::read_to_string(path)?;
    let lines: Vec<&str> = text.lines().collect();
    let newer = lines[lines.len() / 2..].join("\n") + "\n";
    durable::write(path, newer.as_bytes(), 0o600)
}
