//! How much goes to each large provider, how it is taken, and how much is sensible today. The advice is pure.
//!
//! A provider trusts an address that it has seen for weeks with mail that its readers want. Their pages for senders say
//! the same: begin low, raise slowly, slow down when they put off (Google's "Email sender guidelines", Yahoo's "Sender
//! best practices"). The numbers are in `explain/providers.yaml`.

use crate::explain::{self, Provider};
use crate::limits;
use rusqlite::{Connection, params};
use std::collections::BTreeMap;
use wire::mta::{Advice, Answered, ProviderDay, ProviderVolume, Step, What};

pub const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS volume (provider TEXT NOT NULL, day INTEGER NOT NULL, sent INTEGER NOT NULL,
        put_off INTEGER NOT NULL, refused INTEGER NOT NULL, PRIMARY KEY (provider, day)) STRICT;
    CREATE TABLE IF NOT EXISTS answered (provider TEXT NOT NULL, day INTEGER NOT NULL, code INTEGER NOT NULL,
        status TEXT NOT NULL, words TEXT NOT NULL, count INTEGER NOT NULL,
        PRIMARY KEY (provider, day, code, status)) STRICT;";

/// Longest text of a reply that is kept.
const WORDS: usize = 300;

/// Counts a step, if it is a large provider's doing.
pub fn count(connection: &Connection, step: &Step) -> rusqlite::Result<()> {
    let column = match step.what {
        What::Sent => "sent",
        What::PutOff => "put_off",
        What::Failed => "refused",
        _ => return Ok(()),
    };
    let Some(provider) = step.server.as_deref().and_then(explain::provider) else { return Ok(()) };
    let day = day(step.at);
    let sql = format!(
        "INSERT INTO volume (provider, day, sent, put_off, refused) VALUES (?1, ?2, 0, 0, 0) ON CONFLICT DO NOTHING;
         UPDATE volume SET {column} = {column} + 1 WHERE provider = ?1 AND day = ?2"
    );
    for statement in sql.split(';') {
        connection.prepare_cached(statement)?.execute(params![provider.id, day])?;
    }
    if step.what == What::Sent {
        return Ok(());
    }
    let words: String = step.words.chars().take(WORDS).collect();
    connection
        .prepare_cached(
            "INSERT INTO answered (provider, day, code, status, words, count) VALUES (?1, ?2, ?3, ?4, ?5, 1)
             ON CONFLICT DO UPDATE SET count = count + 1",
        )?
        .execute(params![provider.id, day, step.code.unwrap_or(0), step.enhanced.clone().unwrap_or_default(), words])
        .map(drop)
}

pub fn purge(connection: &Connection, now: u64) -> rusqlite::Result<()> {
    let oldest = day(now.saturating_sub(limits::HISTORY_KEPT.as_secs()));
    connection.execute("DELETE FROM volume WHERE day < ?1", [oldest])?;
    connection.execute("DELETE FROM answered WHERE day < ?1", [oldest]).map(drop)
}

/// Every provider that got something lately, the busiest first.
pub fn report(connection: &Connection, now: u64) -> rusqlite::Result<Vec<ProviderVolume>> {
    let mut days: BTreeMap<String, Vec<ProviderDay>> = BTreeMap::new();
    let mut query =
        connection.prepare_cached("SELECT provider, day, sent, put_off, refused FROM volume ORDER BY day")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let at: i64 = row.get(1)?;
        let one = ProviderDay {
            day: start(at),
            sent: row.get::<_, u32>(2)?.into(),
            put_off: row.get::<_, u32>(3)?.into(),
            refused: row.get::<_, u32>(4)?.into(),
        };
        days.entry(row.get(0)?).or_default().push(one);
    }
    let mut volumes = Vec::new();
    for provider in explain::providers() {
        let Some(days) = days.remove(&provider.id) else { continue };
        let answered = answered(connection, provider, now)?;
        let advice = advise(provider, &days, start(day(now)));
        volumes.push(ProviderVolume { provider: provider.name.clone(), days, answered, advice });
    }
    volumes.sort_by_key(|it| std::cmp::Reverse(it.days.iter().map(|day| day.sent).sum::<u64>()));
    Ok(volumes)
}

/// What a provider said in the last week, the most frequent first.
fn answered(connection: &Connection, provider: &Provider, now: u64) -> rusqlite::Result<Vec<Answered>> {
    let sql = "SELECT code, status, words, sum(count) FROM answered WHERE provider = ?1 AND day >= ?2
               GROUP BY code, status ORDER BY 4 DESC LIMIT 20";
    let mut query = connection.prepare_cached(sql)?;
    let rows = query.query_map(params![provider.id, day(now) - 7], |row| {
        let (status, words): (String, String) = (row.get(1)?, row.get(2)?);
        let server = explain::server_of(provider);
        let meaning = explain::reply(server.as_deref(), &status, &words);
        Ok(Answered {
            code: row.get(0)?,
            means: meaning.map(|it| it.means.clone()),
            remedy: meaning.map(|it| it.remedy.clone()),
            status,
            words,
            count: row.get::<_, u32>(3)?.into(),
        })
    })?;
    rows.collect()
}

/// How much is sensible for a provider today. `days` are in order, `today` the start of today.
pub fn advise(provider: &Provider, days: &[ProviderDay], today: u64) -> Advice {
    let before: Vec<&ProviderDay> = days.iter().filter(|day| day.day < today).collect();
    let now = days.iter().find(|day| day.day == today);
    // A day on which more than one in ten was turned away says: not more than this.
    let went_well = |day: &ProviderDay| 10 * (day.put_off + day.refused) <= day.sent + day.put_off + day.refused;
    let recent = before.iter().rev().take_while(|day| today - day.day <= 14 * DAY);
    let best = recent.filter(|day| went_well(day)).map(|day| day.sent).max().unwrap_or(0);
    let most = (2 * best).clamp(provider.first_day, provider.enough);
    let sent = now.map_or(0, |day| day.sent);
    let troubled = now.is_some_and(|day| !went_well(day) && day.put_off + day.refused >= 3);
    let (sensible, words) = match () {
        () if troubled => (
            (most / 2).max(provider.first_day),
            "it turns mail away today: send it half of what it took before, for some days".to_owned(),
        ),
        () if most >= provider.enough => {
            (provider.enough, "it knows this box; there is nothing to hold back".to_owned())
        }
        () if best == 0 => (most, "it does not know this box yet: begin with readers who expect the mail".to_owned()),
        () => (most, "up to twice the best of the last two weeks' good days is sensible".to_owned()),
    };
    Advice { sensible_today: sensible, sent_today: sent, words }
}

const DAY: u64 = 86_400;

fn day(unix: u64) -> i64 {
    i64::try_from(unix / DAY).unwrap_or(i64::MAX)
}

fn start(day: i64) -> u64 {
    u64::try_from(day).unwrap_or(0).saturating_mul(DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(sent: &[(u64, u64)]) -> Vec<ProviderDay> {
        let day = |(number, (sent, put_off)): (usize, &(u64, u64))| ProviderDay {
            day: number as u64 * DAY,
            sent: *sent,
            put_off: *put_off,
            refused: 0,
        };
        sent.iter().enumerate().map(day).collect()
    }

    fn sensible(sent: &[(u64, u64)]) -> u64 {
        let google = explain::provider("mx.google.com").unwrap();
        advise(google, &days(sent), (sent.len() as u64 - 1) * DAY).sensible_today
    }

    #[test]
    fn a_new_address_begins_low_doubles_with_good_days_and_halves_when_it_is_turned_away() {
        assert_eq!(sensible(&[(0, 0)]), 20);
        assert_eq!(sensible(&[(20, 0), (0, 0)]), 40);
        assert_eq!(sensible(&[(100, 2), (0, 0)]), 200);
        assert_eq!(sensible(&[(100, 0), (500, 200), (0, 0)]), 200);
        assert_eq!(sensible(&[(100, 0), (10, 30)]), 100);
        assert_eq!(sensible(&[(5_000, 0), (0, 0)]), 2_000);
    }

    #[test]
    fn refusals_are_counted_by_provider_and_explained() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLES).unwrap();
        let now = 1_795_248_000;
        let step = |what, server: &str, words: &str| Step {
            at: now,
            server: Some(server.into()),
            code: Some(421),
            enhanced: Some("4.7.28".into()),
            ..Step::new(what, words)
        };
        let gmail = "alt1.gmail-smtp-in.l.google.com [192.0.2.1]";
        for it in [
            step(What::Sent, gmail, "ok"),
            step(What::PutOff, gmail, "421 4.7.28 unusual rate"),
            step(What::PutOff, gmail, "421 4.7.28 unusual rate"),
            step(What::Sent, "mx.example.net", "ok"),
        ] {
            count(&connection, &it).unwrap();
        }
        let report = report(&connection, now).unwrap();
        assert_eq!(report.len(), 1);
        assert_eq!((report[0].days[0].sent, report[0].days[0].put_off), (1, 2));
        assert_eq!(report[0].answered[0].count, 2);
        assert!(report[0].answered[0].means.as_ref().unwrap().contains("slows it down"));
    }
}
