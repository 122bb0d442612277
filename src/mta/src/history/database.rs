//! The tables of the history: one row for each message, one for each step of its way.

use super::{Event, volume};
use crate::limits;
use rusqlite::{Connection, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use wire::mta::{Arrival, ProviderVolume, Step, Trace, Traced};

/// `hay` is what a search looks through, in lower case. Steps may come before their message and outlive nothing.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS message (id TEXT PRIMARY KEY, at INTEGER NOT NULL, hay TEXT NOT NULL,
        arrival TEXT NOT NULL) STRICT;
    CREATE INDEX IF NOT EXISTS message_at ON message (at);
    CREATE TABLE IF NOT EXISTS step (message TEXT NOT NULL, at INTEGER NOT NULL, step TEXT NOT NULL) STRICT;
    CREATE INDEX IF NOT EXISTS step_message ON step (message);
    CREATE INDEX IF NOT EXISTS step_at ON step (at);";

#[derive(Debug)]
pub struct Database {
    connection: Connection,
}

impl Database {
    pub fn open(file: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(file)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // The last moments may be lost to a power cut; the file may not.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.execute_batch(TABLES)?;
        connection.execute_batch(volume::TABLES)?;
        Ok(Self { connection })
    }

    pub fn write(&mut self, events: impl Iterator<Item = Event>) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut arrived = transaction
                .prepare_cached("INSERT OR REPLACE INTO message (id, at, hay, arrival) VALUES (?, ?, ?, ?)")?;
            let mut happened = transaction.prepare_cached("INSERT INTO step (message, at, step) VALUES (?, ?, ?)")?;
            for event in events {
                match event {
                    Event::Arrived(arrival) => {
                        arrived.execute(params![arrival.id, seconds(arrival.at), hay(&arrival), json(&arrival)?])?
                    }
                    Event::Step(id, step) => {
                        volume::count(&transaction, &step)?;
                        happened.execute(params![id, seconds(step.at), json(&step)?])?
                    }
                };
            }
        }
        transaction.commit()
    }

    /// Forgets what is too old, and the oldest of what is too much.
    pub fn purge(&mut self, now: u64) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        let oldest = seconds(now.saturating_sub(limits::HISTORY_KEPT.as_secs()));
        let too_many = "SELECT at FROM message ORDER BY at DESC LIMIT 1 OFFSET ?1";
        let full = transaction.query_row(too_many, [limits::HISTORY_MESSAGES], |row| row.get(0));
        let before = oldest.max(full.unwrap_or(0));
        transaction.execute("DELETE FROM message WHERE at < ?1", [before])?;
        transaction.execute("DELETE FROM step WHERE at < ?1 AND message NOT IN (SELECT id FROM message)", [before])?;
        volume::purge(&transaction, now)?;
        transaction.commit()
    }

    pub fn volume(&self, now: u64) -> rusqlite::Result<Vec<ProviderVolume>> {
        volume::report(&self.connection, now)
    }

    pub fn search(&self, ask: &Trace) -> rusqlite::Result<Vec<Traced>> {
        let words: Vec<String> = ask.words.iter().map(|word| word.to_lowercase()).collect();
        let (since, until) = (seconds(ask.since.unwrap_or(0)), seconds(ask.until.unwrap_or(u64::MAX)));
        let sql = "SELECT arrival, hay FROM message WHERE at BETWEEN ?1 AND ?2 ORDER BY at DESC, id DESC";
        let mut query = self.connection.prepare_cached(sql)?;
        let mut rows = query.query(params![since, until])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let hay: String = row.get(1)?;
            if words.iter().all(|word| hay.contains(word.as_str())) {
                let arrival: Arrival = read(row, 0)?;
                let steps = self.steps(&arrival.id)?;
                found.push(Traced { arrival, steps });
            }
            if found.len() >= limits::HISTORY_SHOWN.min(ask.limit as usize) {
                break;
            }
        }
        Ok(found)
    }

    fn steps(&self, id: &str) -> rusqlite::Result<Vec<Step>> {
        let mut query =
            self.connection.prepare_cached("SELECT step FROM step WHERE message = ?1 ORDER BY at, rowid")?;
        query.query_map([id], |row| read(row, 0))?.collect()
    }
}

/// Everything that a person may remember of a message.
fn hay(arrival: &Arrival) -> String {
    let mut text = format!("{} {}", arrival.id, base::time::readable(arrival.at));
    let mut add = |more: &dyn std::fmt::Display| text.push_str(&format!(" {more}"));
    arrival.client.iter().for_each(|it| add(it));
    arrival.helo.iter().for_each(|it| add(it));
    arrival.account.iter().for_each(|it| add(it));
    arrival.sender.iter().for_each(|it| add(it));
    arrival.recipients.iter().for_each(|it| add(it));
    arrival.subject.iter().for_each(|it| add(it));
    arrival.message_id.iter().for_each(|it| add(it));
    text.to_lowercase()
}

fn json(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn read<T: DeserializeOwned>(row: &Row, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}

fn seconds(unix: u64) -> i64 {
    i64::try_from(unix).unwrap_or(i64::MAX)
}
