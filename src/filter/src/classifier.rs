//! A logistic classifier over hashed words: weights trained beforehand ship with the program, and what the readers of
//! this box move into or out of Junk corrects them.
//!
//! The shipped weights (`assets/spam-seed.bin`) are made by `cargo run -p filter --example train_seed -- CORPUS OUT`:
//! [`BUCKETS`] little-endian 16-bit fixed-point numbers (thousandths). Corrections are kept in
//! `spam.db`, one row for each bucket that differs.

use rusqlite::Connection;
use std::collections::BTreeSet;
use std::path::Path;
use wire::filter::Lessons;

/// Buckets that words are hashed into.
pub const BUCKETS: usize = 1 << 15;
const SEED: &[u8; BUCKETS * 2] = include_bytes!("../../../assets/spam-seed.bin");
/// What is thought of a message of unknown words (as log odds): that it is wanted.
const PRIOR: f32 = -1.5;
const THOUSANDTHS: f32 = 1000.0;
/// Step of a correction; a message is repeated until it is on the right side, at most [`MAX_STEPS`] times.
const RATE: f32 = 0.5;
const MAX_STEPS: u32 = 8;

/// The weights alone, without a place to keep them.
pub struct Weights(Vec<f32>);

impl Weights {
    /// All zero: where training starts.
    pub fn zero() -> Self {
        Self(vec![0.0; BUCKETS])
    }

    /// The shipped ones.
    pub fn seed() -> Self {
        Self(SEED.as_chunks::<2>().0.iter().map(|bytes| f32::from(i16::from_le_bytes(*bytes)) / THOUSANDTHS).collect())
    }

    /// In the form of the asset.
    pub fn to_bytes(&self) -> Vec<u8> {
        let limit = f32::from(i16::MAX) / THOUSANDTHS;
        let fixed = |weight: &f32| (weight.clamp(-limit, limit) * THOUSANDTHS).round() as i16;
        self.0.iter().flat_map(|weight| fixed(weight).to_le_bytes()).collect()
    }

    /// How likely a message with these tokens is spam, from 0 to 1.
    pub fn probability(&self, tokens: &BTreeSet<String>) -> f32 {
        self.probability_of(&buckets(tokens))
    }

    /// One step towards the truth; returns the buckets that moved.
    pub fn step(&mut self, tokens: &BTreeSet<String>, spam: bool, rate: f32) -> Vec<usize> {
        let touched = buckets(tokens);
        let wanted = if spam { 1.0 } else { 0.0 };
        let change = rate * (wanted - self.probability_of(&touched)) * scale(touched.len());
        for bucket in &touched {
            self.0[*bucket] += change;
        }
        touched
    }

    /// No word says more than `most`, so that one alone decides nothing about a short message.
    pub fn bound(&mut self, most: f32) {
        self.0.iter_mut().for_each(|weight| *weight = weight.clamp(-most, most));
    }

    fn probability_of(&self, touched: &[usize]) -> f32 {
        let sum: f32 = touched.iter().map(|bucket| self.0[*bucket]).sum();
        1.0 / (1.0 + (-PRIOR - sum * scale(touched.len())).exp())
    }
}

/// Long messages have more words, not more weight.
fn scale(tokens: usize) -> f32 {
    4.0 / (tokens.max(16) as f32).sqrt()
}

/// FNV-1a, which stays the same across versions, unlike the standard library's hash.
fn bucket(token: &str) -> usize {
    let hash = token
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    (hash ^ (hash >> 32)) as usize % BUCKETS
}

fn buckets(tokens: &BTreeSet<String>) -> Vec<usize> {
    let mut touched: Vec<usize> = tokens.iter().map(|token| bucket(token)).collect();
    touched.sort_unstable();
    touched.dedup();
    touched
}

/// The weights of this box, and the database that keeps its corrections.
pub struct Classifier {
    weights: Weights,
    database: Connection,
}

impl Classifier {
    pub fn open(file: &Path) -> rusqlite::Result<Self> {
        let database = Connection::open(file)?;
        database.pragma_update(None, "journal_mode", "WAL")?;
        database.execute_batch(
            "CREATE TABLE IF NOT EXISTS correction (bucket INTEGER PRIMARY KEY, weight REAL NOT NULL) STRICT;
             CREATE TABLE IF NOT EXISTS learned (spam INTEGER PRIMARY KEY, messages INTEGER NOT NULL) STRICT;",
        )?;
        let mut weights = Weights::seed();
        let mut query = database.prepare("SELECT bucket, weight FROM correction")?;
        let rows = query.query_map([], |row| Ok((row.get::<_, u32>(0)?, row.get::<_, f32>(1)?)))?;
        for row in rows {
            let (bucket, weight) = row?;
            if let Some(place) = weights.0.get_mut(bucket as usize) {
                *place = weight;
            }
        }
        drop(query);
        Ok(Self { weights, database })
    }

    pub fn probability(&self, tokens: &BTreeSet<String>) -> f32 {
        self.weights.probability(tokens)
    }

    /// Corrects the weights until this message is judged right, and keeps them.
    pub fn learn(&mut self, tokens: &BTreeSet<String>, spam: bool) -> rusqlite::Result<()> {
        let mut touched = Vec::new();
        for _ in 0..MAX_STEPS {
            touched = self.weights.step(tokens, spam, RATE);
            let probability = self.weights.probability(tokens);
            if (spam && probability > 0.9) || (!spam && probability < 0.1) {
                break;
            }
        }
        let transaction = self.database.transaction()?;
        {
            let mut keep = transaction.prepare("INSERT OR REPLACE INTO correction (bucket, weight) VALUES (?1, ?2)")?;
            for bucket in touched {
                keep.execute((u32::try_from(bucket).unwrap_or(u32::MAX), self.weights.0[bucket]))?;
            }
        }
        let count = "INSERT INTO learned VALUES (?1, 1) ON CONFLICT (spam) DO UPDATE SET messages = messages + 1";
        transaction.execute(count, [spam])?;
        transaction.commit()
    }

    /// How many messages the corrections come from.
    pub fn lessons(&self) -> rusqlite::Result<Lessons> {
        let mut lessons = Lessons::default();
        let mut query = self.database.prepare_cached("SELECT spam, messages FROM learned")?;
        let rows = query.query_map([], |row| Ok((row.get::<_, bool>(0)?, row.get::<_, i64>(1)?)))?;
        for row in rows {
            let (spam, messages) = row?;
            let of = if spam { &mut lessons.junk } else { &mut lessons.wanted };
            *of = u64::try_from(messages).unwrap_or(0);
        }
        Ok(lessons)
    }

    /// Forgets all corrections; returns from how many messages they came.
    pub fn forget(&mut self) -> rusqlite::Result<Lessons> {
        let lessons = self.lessons()?;
        let transaction = self.database.transaction()?;
        transaction.execute_batch("DELETE FROM correction; DELETE FROM learned")?;
        transaction.commit()?;
        self.weights = Weights::seed();
        Ok(lessons)
    }

    /// A consistent copy into `file`, which must not exist.
    pub fn copy_to(&self, file: &Path) -> rusqlite::Result<()> {
        self.database.backup("main", file, None::<fn(rusqlite::backup::Progress)>)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(words: &str) -> BTreeSet<String> {
        words.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn what_a_reader_teaches_is_known_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("spam.db");
        let message = tokens("weekly gardening letter about roses and tulips");
        let mut classifier = Classifier::open(&file).unwrap();
        classifier.learn(&message, true).unwrap();
        let taught = classifier.probability(&message);
        drop(classifier);
        let mut classifier = Classifier::open(&file).unwrap();
        assert!((classifier.probability(&message) - taught).abs() < 1e-4 && taught > 0.5);
        for _ in 0..3 {
            classifier.learn(&message, false).unwrap();
        }
        assert!(classifier.probability(&message) < 0.5);
        assert_eq!(classifier.lessons().unwrap(), Lessons { junk: 1, wanted: 3 });
    }

    #[test]
    fn what_is_forgotten_is_so_at_once_and_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("spam.db");
        let message = tokens("weekly gardening letter about roses and tulips");
        let shipped = Weights::seed().probability(&message);
        let mut classifier = Classifier::open(&file).unwrap();
        classifier.learn(&message, true).unwrap();
        assert_eq!(classifier.forget().unwrap(), Lessons { junk: 1, wanted: 0 });
        assert_eq!(classifier.probability(&message), shipped);
        let classifier = Classifier::open(&file).unwrap();
        assert_eq!(classifier.probability(&message), shipped);
        assert_eq!(classifier.lessons().unwrap(), Lessons::default());
    }

    #[test]
    fn the_shipped_weights_know_spam_from_a_letter() {
        let weights = Weights::seed();
        let spam =
            "s:free s:money click here unsubscribe guaranteed offer limited viagra credit cash cards risk-free income";
        let letter = "s:meeting tomorrow thanks wrote patch kernel discuss think the attached minutes project regards";
        assert!(weights.probability(&tokens(spam)) > 0.9, "{}", weights.probability(&tokens(spam)));
        assert!(weights.probability(&tokens(letter)) < 0.3, "{}", weights.probability(&tokens(letter)));
    }

    #[test]
    fn a_short_letter_of_today_is_not_taken_for_spam() {
        let weights = Weights::seed();
        for (kind, body) in [
            ("text/plain", "Hello.\r\n"),
            ("text/plain", "See you at ten. Thanks!\r\n"),
            (
                "text/html",
                "<html><body><p>Hello Ann,</p><p>here is the invoice.</p><img src=\"https://cdn.example.net/a.png\"></body></html>\r\n",
            ),
            ("text/html", "<div dir=\"ltr\">Your code is 123456. It is valid for ten minutes.</div>\r\n"),
        ] {
            let raw = format!("Subject: hello there\r\nContent-Type: {kind}\r\n\r\n{body}");
            let probability = weights.probability(&crate::tokens::tokens(raw.as_bytes()));
            assert!(probability < 0.75, "{probability}: {raw}");
        }
    }
}
