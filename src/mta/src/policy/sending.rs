//! How much an account may send, so that a stolen password does little harm before somebody notices: messages and new
//! recipients, by hour and by day.
//!
//! An account that goes beyond is braked: for an hour, or for a day, or until the owner lifts it. Both are on disk, so a
//! restart forgives nothing. Who is told of a brake is told once.

use super::known::{Asked, Known, key};
use crate::limits;
use base::{Address, time};
use rusqlite::{OptionalExtension, Transaction, params};
use wire::mta::{AccountSending, Brake};

/// What was counted of an account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Use {
    messages_hour: u64,
    messages_day: u64,
    recipients_day: u64,
    new_hour: u64,
    new_day: u64,
}

/// Whether an account may send a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum May {
    Send,
    /// Braked. Whether this is new, so that somebody is to be told.
    Not {
        brake: Brake,
        fresh: bool,
    },
}

/// The words to who is braked.
pub fn words(brake: &Brake) -> String {
    format!(
        "{}; this account is braked until {} or until the owner of this server lifts it",
        brake.why,
        time::readable(brake.until)
    )
}

impl Known {
    /// Counts a message to these recipients, if the account may send it. `per_hour` is how many messages in an hour are
    /// not too much.
    pub fn may_send(&self, account: &Address, recipients: &[Address], per_hour: u32, now: u64) -> Asked<May> {
        let name = account.to_string();
        self.change(|transaction| {
            if let Some(brake) = brake(transaction, &name, now)? {
                return Ok(May::Not { brake, fresh: false });
            }
            let fresh = count_new(transaction, &name, recipients)?;
            let mut used = used(transaction, &name, now)?;
            used.messages_hour += 1;
            used.messages_day += 1;
            used.recipients_day += recipients.len() as u64;
            used.new_hour += fresh;
            used.new_day += fresh;
            if let Some((why, lasts)) = too_much(&used, per_hour) {
                let until = now.saturating_add(lasts.as_secs());
                let sql = "INSERT OR REPLACE INTO brake (account, since, until, why, told) VALUES (?1, ?2, ?3, ?4, 0)";
                transaction.execute(sql, params![name, now.cast_signed(), until.cast_signed(), why])?;
                let brake = Brake { since: now, until, why };
                return Ok(May::Not { brake, fresh: true });
            }
            let sql = "INSERT INTO sent (account, at, recipients, fresh) VALUES (?1, ?2, ?3, ?4)";
            transaction.execute(sql, params![name, now.cast_signed(), recipients.len() as i64, fresh.cast_signed()])?;
            Ok(May::Send)
        })
    }

    /// Lifts an account's brake; what it sent before no longer counts. Tells whether it was braked.
    pub fn lift(&self, account: &Address, now: u64) -> Asked<bool> {
        self.change(|transaction| {
            let name = account.to_string();
            let sql = "DELETE FROM brake WHERE account = ?1 AND until > ?2";
            let braked = transaction.execute(sql, params![name, now.cast_signed()])? > 0;
            let sql = "INSERT OR REPLACE INTO lifted (account, at) VALUES (?1, ?2)";
            transaction.execute(sql, params![name, now.cast_signed()])?;
            transaction.execute("DELETE FROM sent WHERE account = ?1", [name])?;
            Ok(braked)
        })
    }

    /// Notes that a brake's letters are written, and says whether they had not been before.
    pub fn tell_once(&self, account: &Address) -> Asked<bool> {
        let sql = "UPDATE brake SET told = 1 WHERE account = ?1 AND told = 0";
        Ok(self.connection().execute(sql, [account.to_string()])? > 0)
    }

    /// Takes the note back: the letters could not be sent, and the next try is to write them.
    pub fn was_not_told(&self, account: &Address) -> Asked<()> {
        self.connection().execute("UPDATE brake SET told = 0 WHERE account = ?1", [account.to_string()]).map(drop)
    }

    /// What every account has sent in the last day, and which are braked.
    pub fn sending(&self, now: u64) -> Asked<Vec<AccountSending>> {
        self.change(|transaction| {
            let day = now.saturating_sub(limits::DAY.as_secs()).cast_signed();
            let sql =
                "SELECT account FROM sent WHERE at > ?1 UNION SELECT account FROM brake WHERE until > ?2 ORDER BY 1";
            let mut query = transaction.prepare(sql)?;
            let names = query.query_map(params![day, now.cast_signed()], |row| row.get::<_, String>(0))?;
            let names: Vec<String> = names.collect::<Asked<_>>()?;
            let mut all = Vec::with_capacity(names.len());
            for name in names {
                let Ok(account) = Address::parse(&name) else { continue };
                let used = used(transaction, &name, now)?;
                all.push(AccountSending {
                    account,
                    messages_hour: used.messages_hour,
                    messages_day: used.messages_day,
                    recipients_day: used.recipients_day,
                    new_recipients_hour: used.new_hour,
                    new_recipients_day: used.new_day,
                    brake: brake(transaction, &name, now)?,
                });
            }
            Ok(all)
        })
    }
}

fn brake(transaction: &Transaction<'_>, account: &str, now: u64) -> Asked<Option<Brake>> {
    let sql = "SELECT since, until, why FROM brake WHERE account = ?1 AND until > ?2";
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Brake {
            since: row.get::<_, i64>(0)?.cast_unsigned(),
            until: row.get::<_, i64>(1)?.cast_unsigned(),
            why: row.get(2)?,
        })
    };
    transaction.query_row(sql, params![account, now.cast_signed()], read).optional()
}

/// How many of the recipients the account has not written to before.
fn count_new(transaction: &Transaction<'_>, account: &str, recipients: &[Address]) -> Asked<u64> {
    let mut query = transaction.prepare_cached("SELECT 1 FROM correspondent WHERE account = ?1 AND address = ?2")?;
    let mut fresh = 0;
    for to in recipients {
        fresh += u64::from(!query.exists(params![account, key(to)])?);
    }
    Ok(fresh)
}

fn used(transaction: &Transaction<'_>, account: &str, now: u64) -> Asked<Use> {
    let since = |age: std::time::Duration| now.saturating_sub(age.as_secs()).cast_signed();
    let sql = "SELECT count(*) FILTER (WHERE at > ?2), count(*), coalesce(sum(recipients), 0),
            coalesce(sum(fresh) FILTER (WHERE at > ?2), 0), coalesce(sum(fresh), 0)
        FROM sent WHERE account = ?1 AND at > ?3";
    let number = |row: &rusqlite::Row<'_>, at| row.get::<_, i64>(at).map(i64::cast_unsigned);
    transaction.prepare_cached(sql)?.query_row(params![account, since(limits::HOUR), since(limits::DAY)], |row| {
        Ok(Use {
            messages_hour: number(row, 0)?,
            messages_day: number(row, 1)?,
            recipients_day: number(row, 2)?,
            new_hour: number(row, 3)?,
            new_day: number(row, 4)?,
        })
    })
}

/// What goes beyond, in words, and how long the brake lasts.
fn too_much(used: &Use, per_hour: u32) -> Option<(String, std::time::Duration)> {
    let (hour, day) = (limits::HOUR, limits::DAY);
    let bounds = [
        (used.messages_day, limits::MESSAGES_PER_DAY, "messages within a day", day),
        (used.recipients_day, limits::RECIPIENTS_PER_DAY, "recipients within a day", day),
        (used.new_day, limits::NEW_RECIPIENTS_PER_DAY, "new recipients within a day", day),
        (used.messages_hour, per_hour, "messages within an hour", hour),
        (used.new_hour, limits::NEW_RECIPIENTS_PER_HOUR, "new recipients within an hour", hour),
    ];
    let (_, most, what, lasts) = bounds.into_iter().find(|(count, most, ..)| *count > u64::from(*most))?;
    Some((format!("more than {most} {what}"), lasts))
}

#[cfg(test)]
mod tests {
    use super::super::known::tests::{address, store};
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn send(known: &Known, account: &str, to: &str, at: u64) -> May {
        known.may_send(&address(account), &[address(to)], limits::MESSAGES_PER_HOUR, at).unwrap()
    }

    #[test]
    fn an_account_that_sends_too_much_is_braked_and_others_are_not() {
        let (dir, known) = store();
        let (ann, bob) = ("ann@example.org", "bob@example.org");
        known.wrote_to(&address(ann), &[address("joe@example.net")], NOW).unwrap();
        let sent = (0..1_000).filter(|_| send(&known, ann, "joe@example.net", NOW) == May::Send).count();
        assert_eq!(sent, limits::MESSAGES_PER_HOUR as usize);
        assert_eq!(send(&known, bob, "joe@example.net", NOW), May::Send);
        // A restart forgives nothing.
        drop(known);
        let known = Known::open(dir.path()).unwrap();
        let May::Not { brake, fresh } = send(&known, ann, "joe@example.net", NOW + 60) else { panic!("not braked") };
        assert!(!fresh && words(&brake).starts_with("more than 300 messages within an hour"), "{}", words(&brake));
        assert_eq!(send(&known, ann, "joe@example.net", NOW + 3_601), May::Send);
    }

    #[test]
    fn strangers_count_for_more_than_friends() {
        let (_dir, known) = store();
        let ann = "ann@example.org";
        let sent = (0..1_000).filter(|n| send(&known, ann, &format!("x{n}@example.net"), NOW) == May::Send).count();
        assert_eq!(sent, limits::NEW_RECIPIENTS_PER_HOUR as usize);
    }

    #[test]
    fn a_brake_is_lifted_at_once_and_told_once() {
        let (_dir, known) = store();
        let ann = address("ann@example.org");
        let many: Vec<_> =
            (0..=limits::NEW_RECIPIENTS_PER_HOUR).map(|n| address(&format!("x{n}@example.net"))).collect();
        assert!(matches!(
            known.may_send(&ann, &many, limits::MESSAGES_PER_HOUR, NOW).unwrap(),
            May::Not { fresh: true, .. }
        ));
        assert!(known.tell_once(&ann).unwrap() && !known.tell_once(&ann).unwrap());
        assert!(known.sending(NOW).unwrap()[0].brake.is_some());
        assert!(known.lift(&ann, NOW).unwrap() && !known.lift(&ann, NOW).unwrap());
        assert_eq!(known.may_send(&ann, &many[..2], limits::MESSAGES_PER_HOUR, NOW).unwrap(), May::Send);
        let use_of_ann = &known.sending(NOW).unwrap()[0];
        assert_eq!((use_of_ann.messages_hour, use_of_ann.new_recipients_day), (1, 2));
    }

    #[test]
    fn a_slow_thief_is_met_by_the_bound_of_the_day() {
        let (_dir, known) = store();
        let mut braked = None;
        for n in 0..2_000u64 {
            if let May::Not { brake, .. } = send(&known, "ann@example.org", &format!("x{n}@example.net"), NOW + n * 43)
            {
                braked = Some(brake);
                break;
            }
        }
        let brake = braked.unwrap();
        assert!(brake.why.contains("within a day") && brake.until - brake.since == 86_400, "{brake:?}");
    }
}
