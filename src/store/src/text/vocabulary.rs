//! Words and their numbers: giving a new word its number, and finding the words that a needle's word stands for.

use super::limits::REMEMBERED_WORDS;
use super::words::Step;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;

/// The numbers of common words, so that they need not be looked up for each message.
#[derive(Debug, Default)]
pub struct Remembered(HashMap<String, i64>);

impl Remembered {
    /// What a transaction that was rolled back has numbered is forgotten.
    pub fn forget(&mut self) {
        self.0.clear();
    }

    /// The number of a word, which is new if need be.
    pub fn number(&mut self, connection: &Connection, word: &str) -> rusqlite::Result<i64> {
        if let Some(number) = self.0.get(word) {
            return Ok(*number);
        }
        let number = match lookup(connection, word)? {
            Some(number) => number,
            None => add(connection, word)?,
        };
        if self.0.len() >= REMEMBERED_WORDS {
            self.0.clear();
        }
        self.0.insert(word.to_owned(), number);
        Ok(number)
    }
}

fn add(connection: &Connection, word: &str) -> rusqlite::Result<i64> {
    connection.prepare_cached("INSERT INTO word (text) VALUES (?1)")?.execute([word])?;
    let number = connection.last_insert_rowid();
    if word.chars().nth(2).is_some() {
        let sql = "INSERT INTO part_of_word (rowid, text) VALUES (?1, ?2)";
        connection.prepare_cached(sql)?.execute(params![number, word])?;
    }
    Ok(number)
}

fn lookup(connection: &Connection, word: &str) -> rusqlite::Result<Option<i64>> {
    connection.prepare_cached("SELECT id FROM word WHERE text = ?1")?.query_row([word], |row| row.get(0)).optional()
}

/// The numbers of the words that one step of a needle stands for, ascending: common ones come first.
pub fn expand(connection: &Connection, step: &Step) -> rusqlite::Result<Vec<i64>> {
    let mut words = match step {
        Step::Is(word) => lookup(connection, word)?.into_iter().collect(),
        Step::Begins(word) => beginning(connection, word)?,
        Step::Ends(word) => holding(connection, word, "substr(text, -length(?1)) = ?1")?,
        Step::Contains(word) => holding(connection, word, "instr(text, ?1) > 0")?,
    };
    words.sort_unstable();
    Ok(words)
}

/// The index on the words' text is in the order of their bytes, where all that begin alike stand together.
fn beginning(connection: &Connection, word: &str) -> rusqlite::Result<Vec<i64>> {
    let end = format!("{word}\u{10ffff}");
    let sql = "SELECT id FROM word WHERE text >= ?1 AND text < ?2";
    connection.prepare_cached(sql)?.query_map([word, &end], |row| row.get(0))?.collect()
}

fn holding(connection: &Connection, word: &str, condition: &str) -> rusqlite::Result<Vec<i64>> {
    match trigrams(word) {
        Some(trigrams) => {
            let all = trigrams.join(" AND ");
            // The words of a trigram's list are few; the cross join keeps SQLite from scanning the other way round.
            let sql = format!(
                "SELECT word.id FROM part_of_word CROSS JOIN word ON word.id = part_of_word.rowid
                 WHERE part_of_word MATCH ?2 AND {}",
                condition.replace("text", "word.text")
            );
            connection.prepare_cached(&sql)?.query_map([word, &all], |row| row.get(0))?.collect()
        }
        None => {
            let sql = format!("SELECT id FROM word WHERE {condition}");
            connection.prepare_cached(&sql)?.query_map([word], |row| row.get(0))?.collect()
        }
    }
}

/// Each three characters in a row, quoted for FTS5. Words hold letters, digits and their signs, never a quote.
pub fn trigrams(word: &str) -> Option<Vec<String>> {
    let letters: Vec<char> = word.chars().collect();
    let trigrams: Vec<String> =
        letters.windows(3).map(|three| format!("\"{}\"", three.iter().collect::<String>())).collect();
    (!trigrams.is_empty()).then_some(trigrams)
}

/// A word's number as the index writes it.
pub fn write_token(number: i64, out: &mut String) {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut digits = [0_u8; 13];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = DIGITS[(rest % 36) as usize];
        rest /= 36;
        if rest == 0 {
            break;
        }
    }
    out.extend(digits[at..].iter().map(|digit| char::from(*digit)));
}

pub fn token(number: i64) -> String {
    let mut text = String::new();
    write_token(number, &mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_base_36() {
        for number in [1, 35, 36, 1_000_000, i64::MAX] {
            assert_eq!(i64::from_str_radix(&token(number), 36), Ok(number));
        }
    }
}
