//! Makes `assets/spam-seed.bin` from a corpus of raw messages, and tells how well it judges what it was not shown.
//!
//!     cargo run --release -p filter --example train_seed -- CORPUS assets/spam-seed.bin
//!
//! CORPUS is a folder whose subfolders hold one message in each file; those whose name begins with `spam` are spam.

use filter::{Weights, tokens::tokens};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

type Sample = (BTreeSet<String>, bool);
/// A message's name, its tokens with what it is, and its tokens when it is cut short.
type Read = (String, (Sample, BTreeSet<String>));
/// The most that one word may say, in log odds. Of 100, 2, 1.5, 1 and 0.7 this was the largest with which no held-back ham
/// was taken for spam, whole or cut short.
const MOST: f32 = 1.0;
/// Octets of a short message's body.
const SHORT: usize = 200;
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
    let (samples, short): (Vec<Sample>, Vec<BTreeSet<String>>) = samples.into_iter().map(|(_, it)| it).unzip();
    let (shown, held_back) = samples.split_at(samples.len() * 4 / 5);
    let weights = train(shown);
    report("held-back", &weights, held_back);
    let short: Vec<Sample> =
        samples.iter().zip(&short).skip(shown.len()).map(|((_, spam), short)| (short.clone(), *spam)).collect();
    report("held-back and cut to its first lines", &weights, &short);
    std::fs::write(out, train(&samples).to_bytes())?;
    Ok(())
}

fn read(corpus: &Path) -> std::io::Result<Vec<Read>> {
    let mut samples = Vec::new();
    for folder in std::fs::read_dir(corpus)? {
        let folder = folder?;
        let spam = folder.file_name().to_string_lossy().starts_with("spam");
        for file in std::fs::read_dir(folder.path())? {
            let file = file?;
            let name = file.file_name().to_string_lossy().into_owned();
            let raw = std::fs::read(file.path())?;
            samples.push((name, ((tokens(&raw), spam), tokens(&shortened(&raw)))));
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
        weights.bound(MOST);
    }
    weights
}

/// The message as if its writer had said no more than a line or two.
fn shortened(raw: &[u8]) -> Vec<u8> {
    let body = raw.windows(2).position(|two| two == b"\n\n").map_or(raw.len(), |at| at + 2);
    raw[..raw.len().min(body + SHORT)].to_vec()
}

/// What a corpus of 2002 cannot teach: that mail is written in HTML, and where its links lead.
fn is_of_its_time(token: &str) -> bool {
    ["html:", "host:", "top:"].iter().any(|kind| token.starts_with(kind))
}

fn without_rare_words(samples: &[Sample]) -> Vec<Sample> {
    let mut messages = BTreeMap::<&str, u32>::new();
    for token in samples.iter().flat_map(|(tokens, _)| tokens) {
        *messages.entry(token).or_default() += 1;
    }
    let common = |token: &&String| {
        !is_of_its_time(token) && messages.get(token.as_str()).is_some_and(|count| *count >= MIN_MESSAGES)
    };
    samples.iter().map(|(tokens, spam)| (tokens.iter().filter(common).cloned().collect(), *spam)).collect()
}

fn report(what: &str, weights: &Weights, samples: &[Sample]) {
    let (mut caught, mut spam, mut wrong, mut ham) = (0, 0, 0, 0);
    for (tokens, is_spam) in samples {
        let judged = weights.probability(tokens) > 0.9;
        match is_spam {
            true => (spam, caught) = (spam + 1, caught + i32::from(judged)),
            false => (ham, wrong) = (ham + 1, wrong + i32::from(judged)),
        }
    }
    println!("of {spam} spam, {what}, {caught} were caught; of {ham} ham {wrong} were taken for spam");
}
