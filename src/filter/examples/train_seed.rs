//! Makes `assets/spam-seed.bin` from a corpus of raw messages, and tells how well it judges what it was not shown.
//!
//!     cargo run --release -p filter --example train_seed -- CORPUS assets/spam-seed.bin
//!
//! CORPUS is a folder whose subfolders hold one message in each file; those whose name begins with `spam` are spam.

use filter::{Weights, tokens::tokens};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

type Sample = (BTreeSet<String>, bool);
const PASSES: u32 = 12;
/// Words of fewer messages than this say more of those messages than of spam.
const MIN_MESSAGES: u32 = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(corpus), Some(out)) = (arguments.next(), arguments.next()) else {
        return Err("usage: train_seed CORPUS OUT".into());
    };
    let mut samples = read(&corpus)?;
    // A fixed order that mixes spam and ham, so that the result can be made again.
    samples.sort_by_key(|(name, _)| name.bytes().fold(7_u32, |hash, b| hash.wrapping_mul(31).wrapping_add(b.into())));
    let samples: Vec<Sample> = samples.into_iter().map(|(_, sample)| sample).collect();
    let (shown, held_back) = samples.split_at(samples.len() * 4 / 5);
    report(&train(shown), held_back);
    std::fs::write(out, train(&samples).to_bytes())?;
    Ok(())
}

fn read(corpus: &Path) -> std::io::Result<Vec<(String, Sample)>> {
    let mut samples = Vec::new();
    for folder in std::fs::read_dir(corpus)? {
        let folder = folder?;
        let spam = folder.file_name().to_string_lossy().starts_with("spam");
        for file in std::fs::read_dir(folder.path())? {
            let file = file?;
            let name = file.file_name().to_string_lossy().into_owned();
            samples.push((name, (tokens(&std::fs::read(file.path())?), spam)));
        }
    }
    Ok(samples)
}

fn train(samples: &[Sample]) -> Weights {
    let samples = without_rare_words(samples);
    let mut weights = Weights::zero();
    for pass in 0..PASSES {
        let rate = 1.0 / (1.0 + pass as f32);
        for (tokens, spam) in &samples {
            weights.step(tokens, *spam, rate);
        }
    }
    weights
}

fn without_rare_words(samples: &[Sample]) -> Vec<Sample> {
    let mut messages = BTreeMap::<&str, u32>::new();
    for token in samples.iter().flat_map(|(tokens, _)| tokens) {
        *messages.entry(token).or_default() += 1;
    }
    let common = |token: &&String| messages.get(token.as_str()).is_some_and(|count| *count >= MIN_MESSAGES);
    samples.iter().map(|(tokens, spam)| (tokens.iter().filter(common).cloned().collect(), *spam)).collect()
}

fn report(weights: &Weights, samples: &[Sample]) {
    let (mut caught, mut spam, mut wrong, mut ham) = (0, 0, 0, 0);
    for (tokens, is_spam) in samples {
        let judged = weights.probability(tokens) > 0.9;
        match is_spam {
            true => (spam, caught) = (spam + 1, caught + i32::from(judged)),
            false => (ham, wrong) = (ham + 1, wrong + i32::from(judged)),
        }
    }
    println!("of {spam} held-back spam {caught} were caught; of {ham} held-back ham {wrong} were taken for spam");
}
