//! Compares the full-text index with the plain way: every needle is looked for in every message's text.
//!
//!     cargo run -p store --release --example text_check -- CORPUS [NEEDLES]
//!
//! CORPUS is a folder of messages, one to a file, with folders below it. Needles are pieces of the messages' own texts, of
//! every length, beginning and ending anywhere.

use rand::Rng;
use std::path::{Path, PathBuf};
use store::text::extract::{Extract, Place};
use store::text::{Query, Scope, TextIndex, index_batch, words};

const SCOPES: [Scope; 9] = [
    Scope::Any,
    Scope::Headers,
    Scope::Body,
    Scope::From,
    Scope::To,
    Scope::Cc,
    Scope::Bcc,
    Scope::Subject,
    Scope::AttachmentName,
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let corpus = PathBuf::from(arguments.next().ok_or("which folder of messages?")?);
    let needles: usize = arguments.next().map_or(Ok(300), |number| number.parse())?;
    let mut files = Vec::new();
    collect(&corpus, &mut files)?;
    files.sort();
    let dir = std::env::temp_dir().join(format!("text-check-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let outcome = check(&dir, &files, needles);
    std::fs::remove_dir_all(&dir)?;
    let (compared, differences) = outcome?;
    println!("{} messages, {compared} needles, {differences} differences", files.len());
    if differences > 0 { Err("the index and the messages differ".into()) } else { Ok(()) }
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

fn check(dir: &Path, files: &[PathBuf], needles: usize) -> Result<(usize, usize), Box<dyn std::error::Error>> {
    let mut index = TextIndex::open(dir)?;
    let mut texts = Vec::new();
    let ids: Vec<i64> = (1..=files.len() as i64).collect();
    let mut rest = ids.as_slice();
    while !rest.is_empty() {
        let batch = index_batch(&mut index, rest, |id| {
            let message = std::fs::read(&files[id as usize - 1])?;
            let extracted = Extract::of(&message).texts;
            texts.push(extracted.into_iter().map(|(place, text)| (place, flat(&text))).collect::<Vec<_>>());
            Ok(Some(message))
        })?;
        rest = &rest[batch.looked_at..];
    }
    let mut rng = rand::rng();
    let (mut compared, mut differences) = (0, 0);
    while compared < needles {
        let Some(needle) = draw(&texts, &mut rng) else { continue };
        let scope = SCOPES[compared % SCOPES.len()];
        compared += 1;
        let found = index.search(&Query { scope, needle: needle.clone() })?.unwrap_or_default();
        let wanted = flat(&needle);
        let holding: Vec<i64> =
            (1..).zip(&texts).filter(|(_, text)| holds(text, scope, &wanted)).map(|(id, _)| id).collect();
        if found != holding && !wanted.is_empty() {
            differences += 1;
            println!("{scope:?} {needle:?}: {} found, {} hold it", found.len(), holding.len());
        }
    }
    Ok((compared, differences))
}

fn holds(texts: &[(Place, String)], scope: Scope, needle: &str) -> bool {
    texts.iter().any(|(place, text)| scope.includes(*place) && text.contains(needle))
}

/// A piece of some text: of one to forty characters, none of whose words is too long to be compared as a whole.
fn draw(texts: &[Vec<(Place, String)>], rng: &mut impl Rng) -> Option<String> {
    let message = &texts[rng.random_range(0..texts.len())];
    let (_, text) = message.get(rng.random_range(0..message.len().max(1)))?;
    let length = text.chars().count();
    let start = rng.random_range(0..length.max(1));
    let needle: String = text.chars().skip(start).take(rng.random_range(1..=40)).collect();
    let short = |word: &str| word.chars().count() <= store::text::limits::NEEDLE_WORD;
    (needle.split(' ').all(short) && !needle.trim().is_empty()).then(|| needle.trim().to_owned())
}

fn flat(text: &str) -> String {
    let mut folded = String::new();
    words::fold(text, &mut folded);
    words::separated(&folded)
}
