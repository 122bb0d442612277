//! Runs the transcripts in `tests/imap/*.session`, whose format `tests/imap/README.md` describes, over TLS sockets.

mod common;
mod transcript;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use transcript::Transcript;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/imap")
}

fn files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "session")).collect();
    files.sort();
    // One can be run alone: SESSION=idle cargo test -p mailbox --test sessions
    if let Ok(only) = std::env::var("SESSION") {
        files.retain(|path| path.to_string_lossy().contains(&only));
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transcript_goes_as_it_is_written() {
    let mut failures = Vec::new();
    let files = files();
    assert!(!files.is_empty());
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        match Transcript::parse(&text) {
            Err(why) => failures.push(format!("{name}: {why}")),
            Ok(transcript) => {
                let running = common::running().await;
                if let Err(why) = transcript.run(&running).await {
                    failures.push(format!("{name}: {why}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_capability_that_is_offered_has_a_transcript() {
    if std::env::var("SESSION").is_ok() {
        return;
    }
    let running = common::running().await;
    let mut imap = common::Imap::connect(&running).await;
    let mut offered = imap.ok("CAPABILITY").await[0].clone();
    imap.ok(&format!("LOGIN ann@example.org \"{}\"", common::PASSWORD)).await;
    offered.push_str(&imap.ok("CAPABILITY").await[0]);
    let mut shown = BTreeSet::new();
    // Exchanges whose answers have to be computed are tests of their own, in imap.rs.
    for path in files().into_iter().chain([Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/imap.rs")]) {
        let text = std::fs::read_to_string(path).unwrap();
        for line in text.lines().filter_map(|line| line.trim_start_matches("/// ").strip_prefix("# Shows: ")) {
            shown.extend(line.split([',', ' ']).filter(|word| !word.is_empty()).map(str::to_owned));
        }
    }
    let names = offered.split(' ').filter(|word| !matches!(*word, "*" | "CAPABILITY") && !word.contains('*'));
    let missing: BTreeSet<&str> =
        names.map(|name| if name.starts_with("APPENDLIMIT") { "APPENDLIMIT" } else { name }).collect();
    let missing: Vec<&str> = missing.into_iter().filter(|name| !shown.contains(*name)).collect();
    assert!(missing.is_empty(), "no transcript shows {missing:?}");
}
