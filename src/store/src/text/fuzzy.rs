//! Fuzzy search (RFC 6203): words that are spelled a little differently, and how well a message fits.

use super::limits::{FUZZY_CANDIDATES, FUZZY_EXPANSION, FUZZY_FOUND};
use super::search::Query;
use super::vocabulary::{expand, token, trigrams};
use super::words::{Step, needle};
use rusqlite::{Connection, params};

/// A message that was found, and how well it fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scored {
    pub id: i64,
    /// 1 to 100 (RFC 6203 §4).
    pub relevancy: u8,
}

/// The messages that hold for each word of the needle one that is like it, by FTS5's bm25.
pub fn fuzzy(connection: &Connection, query: &Query) -> rusqlite::Result<Option<Vec<Scored>>> {
    let steps = needle(&query.needle);
    if steps.is_empty() {
        return Ok(None);
    }
    let mut clauses = Vec::new();
    for step in &steps {
        let words = alike(connection, step)?;
        if words.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let tokens: Vec<String> = words.iter().map(|word| format!("\"{}\"", token(*word))).collect();
        clauses.push(format!("({})", tokens.join(" OR ")));
    }
    let expression = format!("{}({})", query.scope.columns(), clauses.join(" AND "));
    let sql = "SELECT rowid, rank FROM message WHERE message MATCH ?1 ORDER BY rank, rowid DESC LIMIT ?2";
    let mut found = connection.prepare_cached(sql)?;
    let rows = found.query_map(params![expression, FUZZY_FOUND as i64], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let found: Vec<(i64, f64)> = rows.collect::<rusqlite::Result<_>>()?;
    // bm25 is the smaller, the better; the best of this answer is 100.
    let best = found.first().map_or(-1.0, |(_, rank)| rank.min(-f64::MIN_POSITIVE));
    let relevancy = |rank: f64| (100.0 * rank / best).round().clamp(1.0, 100.0) as u8;
    Ok(Some(found.into_iter().map(|(id, rank)| Scored { id, relevancy: relevancy(rank) }).collect()))
}

/// The words like that of a step: the word itself, then those that hold it or are spelled almost like it.
fn alike(connection: &Connection, step: &Step) -> rusqlite::Result<Vec<i64>> {
    let (Step::Is(word) | Step::Begins(word) | Step::Ends(word) | Step::Contains(word)) = step;
    let mut words = expand(connection, &Step::Is(word.clone()))?;
    for (number, _) in misspelled(connection, word)? {
        if !words.contains(&number) {
            words.push(number);
        }
    }
    let within = match step {
        Step::Is(_) => Vec::new(),
        _ => expand(connection, &Step::Contains(word.clone()))?,
    };
    for number in within {
        if words.len() >= FUZZY_EXPANSION {
            break;
        }
        if !words.contains(&number) {
            words.push(number);
        }
    }
    words.truncate(FUZZY_EXPANSION);
    Ok(words)
}

/// Words within one slip of the pen, or two in a long word; fewest slips first. Short words have no near ones: with one
/// slip they are other words.
fn misspelled(connection: &Connection, word: &str) -> rusqlite::Result<Vec<(i64, usize)>> {
    let length = word.chars().count();
    let slips = match length {
        0..=3 => return Ok(Vec::new()),
        4..=7 => 1,
        _ => 2,
    };
    let Some(trigrams) = trigrams(word) else { return Ok(Vec::new()) };
    let sql = "SELECT word.id, word.text FROM part_of_word CROSS JOIN word ON word.id = part_of_word.rowid
               WHERE part_of_word MATCH ?1 AND length(word.text) BETWEEN ?2 AND ?3 LIMIT ?4";
    let mut query = connection.prepare_cached(sql)?;
    let bounds = params![
        trigrams.join(" OR "),
        length.saturating_sub(slips) as i64,
        (length + slips) as i64,
        FUZZY_CANDIDATES as i64
    ];
    let mut near = Vec::new();
    let mut rows = query.query(bounds)?;
    while let Some(row) = rows.next()? {
        let distance = distance(word, row.get_ref(1)?.as_str().unwrap_or_default(), slips);
        if let Some(distance) = distance {
            near.push((row.get(0)?, distance));
        }
    }
    near.sort_unstable_by_key(|(number, distance)| (*distance, *number));
    near.truncate(FUZZY_EXPANSION / 2);
    Ok(near)
}

/// Letters to insert, drop, change or swap with their neighbour, if no more than `most` (optimal string alignment).
fn distance(a: &str, b: &str, most: usize) -> Option<usize> {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, other) in b.iter().enumerate() {
            let mut least = (row[j] + usize::from(letter != other)).min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && *letter == b[j - 1] && a[i - 1] == *other {
                least = least.min(before[j - 1] + 1);
            }
            next.push(least);
        }
        if next.iter().min().is_none_or(|least| *least > most) {
            return None;
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().filter(|distance| *distance <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_pen_are_counted() {
        for (a, b, slips) in [
            ("invoice", "invoice", Some(0)),
            ("invoice", "invocie", Some(1)),
            ("invoice", "invoce", Some(1)),
            ("invoice", "inwoiice", Some(2)),
            ("invoice", "voice", Some(2)),
            ("invoice", "notice", None),
            ("", "ab", Some(2)),
        ] {
            assert_eq!(distance(a, b, 2), slips, "{a} {b}");
            assert_eq!(distance(b, a, 2), slips, "{b} {a}");
        }
    }
}
