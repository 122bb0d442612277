//! Measures the full-text index: time and size of indexing, and how long searches take.
//!
//!     cargo run -p store --release --example text_bench -- CORPUS [MESSAGES]
//!
//! CORPUS is a folder of messages, one to a file, with folders below it. With MESSAGES greater than there are files, the
//! corpus is used again and again, each time with one word in sixteen changed, so that the vocabulary grows as it does
//! with real mail.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use store::text::extract::Extract;
use store::text::{Query, Scope, TextIndex, index_batch};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let corpus = PathBuf::from(arguments.next().ok_or("which folder of messages?")?);
    let mut files = Vec::new();
    collect(&corpus, &mut files)?;
    files.sort();
    let wanted = match arguments.next() {
        Some(number) => number.parse()?,
        None => files.len(),
    };
    let dir = std::env::temp_dir().join(format!("text-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let outcome = measure(&dir, &files, wanted);
    std::fs::remove_dir_all(&dir)?;
    outcome
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => collect(&entry.path(), files)?,
            false => files.push(entry.path()),
        }
    }
    Ok(())
}

fn measure(dir: &Path, files: &[PathBuf], wanted: usize) -> Result<(), Box<dyn std::error::Error>> {
    let mut index = TextIndex::open(dir)?;
    let (mut raw, mut text, mut making, mut reading) = (0_u64, 0_u64, Duration::ZERO, Duration::ZERO);
    // The newest first, as an account does when it makes its index anew.
    let ids: Vec<i64> = (1..=wanted as i64).rev().collect();
    let mut rest = ids.as_slice();
    let begun = Instant::now();
    while !rest.is_empty() {
        let batch = index_batch(&mut index, rest, |id| {
            let start = Instant::now();
            let message = message(files, id as usize - 1)?;
            making += start.elapsed();
            raw += message.len() as u64;
            let start = Instant::now();
            text += Extract::of(&message).texts.iter().map(|(_, text)| text.len() as u64).sum::<u64>();
            reading += start.elapsed();
            Ok(Some(message))
        })?;
        rest = &rest[batch.looked_at..];
    }
    let spent = begun.elapsed() - making - reading;
    let size = index.size_bytes();
    println!("{wanted} messages, {} MiB, of which text {} MiB", raw >> 20, text >> 20);
    println!("indexing {} µs a message, of which extraction {} µs", per(spent, wanted), per(reading, wanted));
    println!("index {} MiB: {} % of the text, {} % of the mail", size >> 20, size * 100 / text, size * 100 / raw);
    searches(&index)?;
    let (start, mut steps) = (Instant::now(), 1);
    while index.tidy()? {
        steps += 1;
    }
    let size = index.size_bytes();
    println!("tidied in {steps} steps of {} ms: {} MiB", per(start.elapsed(), steps) / 1000, size >> 20);
    searches(&index)
}

fn searches(index: &TextIndex) -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::stdout().lock();
    for (scope, needle) in [
        (Scope::Any, "invoice"),
        (Scope::Any, "linux"),
        (Scope::Body, "linux kernel"),
        (Scope::Body, "click here to unsub"),
        (Scope::Subject, "razor"),
        (Scope::From, "yahoo.com"),
        (Scope::From, "ann@example.org"),
        (Scope::Any, "thank you"),
        (Scope::Any, "the"),
        (Scope::Any, "ing"),
        (Scope::Any, "of the"),
        (Scope::Any, "xq"),
        (Scope::Any, "e"),
        (Scope::Any, "zzznothing"),
    ] {
        let query = Query { scope, needle: needle.to_owned() };
        index.search(&query)?;
        let start = Instant::now();
        let found = index.search(&query)?.unwrap_or_default();
        let took = start.elapsed();
        writeln!(out, "{scope:?} {needle:?}: {} found in {:.1} ms", found.len(), took.as_secs_f64() * 1e3)?;
    }
    for needle in ["linxu", "unsubscribe"] {
        let query = Query { scope: Scope::Any, needle: needle.to_owned() };
        let start = Instant::now();
        let found = index.fuzzy(&query)?.unwrap_or_default();
        writeln!(out, "fuzzy {needle:?}: {} found in {:.1} ms", found.len(), start.elapsed().as_secs_f64() * 1e3)?;
    }
    Ok(())
}

fn per(time: Duration, messages: usize) -> u128 {
    time.as_micros() / messages.max(1) as u128
}

/// The file of a round, from the second round on with some words changed.
fn message(files: &[PathBuf], number: usize) -> std::io::Result<Vec<u8>> {
    let (round, file) = (number / files.len(), number % files.len());
    let bytes = std::fs::read(&files[file])?;
    if round == 0 {
        return Ok(bytes);
    }
    let body = bytes.windows(2).position(|two| two == b"\n\n").unwrap_or(bytes.len());
    let (head, body) = bytes.split_at(body);
    let mut changed = head.to_vec();
    for word in body.split_inclusive(|byte| *byte == b' ') {
        changed.extend_from_slice(word);
        let sum: usize = word.iter().map(|byte| *byte as usize).sum();
        if word.len() > 4 && sum % 16 == round % 16 {
            changed.pop();
            changed.extend_from_slice(format!("{round} ").as_bytes());
        }
    }
    Ok(changed)
}
