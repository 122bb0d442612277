//! Mailing lists and their members.

use super::{Database, Outcome, count, now, plain, seconds};
use crate::limits::{
    BOUNCE_DAYS, BOUNCES_FORGOTTEN, MAX_LIST_LOCAL, MAX_LIST_MEMBERS, MAX_LIST_MODERATORS, MAX_LIST_NAME,
};
use base::Address;
use rusqlite::{OptionalExtension, params};
use wire::directory::{AliasName, Bounced, MailingList, Member, Posting};
use wire::{Kind, Refusal};

const DAY: i64 = 24 * 3600;

impl Database {
    pub(super) fn is_list(&self, address: &Address) -> Outcome<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM list WHERE address = ?1)";
        let mut query = self.connection.prepare_cached(sql).map_err(Refusal::internal)?;
        query.query_row([address.to_string()], |row| row.get(0)).map_err(Refusal::internal)
    }

    /// Adds a list, or changes one; its members stay.
    pub fn set_list(&mut self, address: &Address, name: &str, posting: Posting, moderators: &[Address]) -> Outcome<()> {
        let list = plain(address)?;
        self.list_name_is_free(&list)?;
        let name = name.trim();
        let length = name.chars().count();
        if length == 0 || length > MAX_LIST_NAME || name.chars().any(|c| c.is_control() || "<>\"@".contains(c)) {
            let words = format!("a list's name has 1 to {MAX_LIST_NAME} characters, and none of < > \" @");
            return Err(Refusal::new(Kind::Invalid, words));
        }
        if list.local().len() > MAX_LIST_LOCAL {
            let words = format!("{list}: what stands before the @ of a list has {MAX_LIST_LOCAL} characters at most");
            return Err(Refusal::new(Kind::Invalid, words));
        }
        if moderators.is_empty() || moderators.len() > MAX_LIST_MODERATORS || moderators.contains(&list) {
            let words = format!("a list has between one and {MAX_LIST_MODERATORS} moderators, and is none itself");
            return Err(Refusal::new(Kind::Invalid, words));
        }
        let (key, kind) = (list.to_string(), kind(posting));
        self.change(&format!("list {list} set"), |transaction| {
            let sql = "INSERT INTO list (address, name, created, posting) VALUES (?1, ?2, ?3, ?4)
                       ON CONFLICT (address) DO UPDATE SET name = ?2, posting = ?4";
            transaction.execute(sql, params![key, name, now(), kind])?;
            transaction.execute("DELETE FROM list_moderator WHERE list = ?1", [&key])?;
            for (place, moderator) in (0_i64..).zip(moderators) {
                let sql = "INSERT OR IGNORE INTO list_moderator (list, place, address) VALUES (?1, ?2, ?3)";
                transaction.execute(sql, params![key, place, moderator.to_string()])?;
            }
            Ok(())
        })
    }

    fn list_name_is_free(&self, list: &Address) -> Outcome<()> {
        let words = match () {
            () if self.hash(list)?.is_some() => format!("{list} is an account"),
            () if !self.targets(&AliasName::Address(list.clone()))?.is_empty() => {
                format!("{list} is an alias; remove it first: mailstead alias remove {list}")
            }
            () => return Ok(()),
        };
        Err(Refusal::new(Kind::Conflict, words))
    }

    pub fn remove_list(&mut self, address: &Address) -> Outcome<()> {
        let list = self.list_of(address)?.address;
        self.change(&format!("list {list} removed"), |transaction| {
            transaction.execute("DELETE FROM list WHERE address = ?1", [list.to_string()]).map(drop)
        })
    }

    pub fn lists(&self) -> Outcome<Vec<MailingList>> {
        let lists = self.addresses("SELECT address FROM list ORDER BY address", params![])?;
        lists.iter().map(|list| self.list_of(list)).collect()
    }

    pub fn list_of(&self, address: &Address) -> Outcome<MailingList> {
        let list = address.account();
        let key = list.to_string();
        let sql = "SELECT name, created, posting FROM list WHERE address = ?1";
        let row = self.connection.query_row(sql, [&key], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?))
        });
        let Some((name, created, posting)) = row.optional().map_err(Refusal::internal)? else {
            let words = format!("there is no list {list}; see: mailstead list list");
            return Err(Refusal::new(Kind::NotFound, words));
        };
        let moderators = "SELECT address FROM list_moderator WHERE list = ?1 ORDER BY place";
        let members = "SELECT count(*) FROM list_member WHERE list = ?1 AND NOT suspended";
        Ok(MailingList {
            name,
            posting: posting_of(&posting),
            moderators: self.addresses(moderators, params![key])?,
            created: seconds(created),
            members: count(&self.connection, members, [&key])?,
            address: list,
        })
    }

    pub fn members(&self, list: &Address) -> Outcome<Vec<Member>> {
        let list = self.list_of(list)?.address;
        let sql = "SELECT address, joined, bounces, suspended FROM list_member WHERE list = ?1 ORDER BY address";
        let mut query = self.connection.prepare_cached(sql).map_err(Refusal::internal)?;
        let rows = query.query_map([list.to_string()], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get(2)?, row.get(3)?))
        });
        rows.map_err(Refusal::internal)?
            .map(|row| {
                let (address, joined, bounces, suspended) = row.map_err(Refusal::internal)?;
                let address = Address::parse(&address).map_err(Refusal::internal)?;
                Ok(Member { address, joined: seconds(joined), bounces, suspended })
            })
            .collect()
    }

    /// Adds a member, or ends its suspension.
    pub fn subscribe(&mut self, list: &Address, member: &Address) -> Outcome<bool> {
        let list = self.list_of(list)?.address;
        let member = canonical(member)?;
        if self.is_list(&member)? {
            return Err(Refusal::new(Kind::Invalid, format!("{member} is a list; a list cannot be a member")));
        }
        let active = self.members(&list)?.iter().any(|known| known.address == member && !known.suspended);
        if active {
            return Ok(false);
        }
        let members = "SELECT count(*) FROM list_member WHERE list = ?1";
        if count(&self.connection, members, [list.to_string()])? >= MAX_LIST_MEMBERS {
            return Err(Refusal::new(
                Kind::Conflict,
                format!("{list} has {MAX_LIST_MEMBERS} members, and takes no more"),
            ));
        }
        self.change(&format!("{member} joined the list {list}"), |transaction| {
            let sql = "INSERT INTO list_member (list, address, joined) VALUES (?1, ?2, ?3)
                       ON CONFLICT (list, address) DO UPDATE SET suspended = 0, bounces = 0, last_bounce = NULL";
            transaction.execute(sql, params![list.to_string(), member.to_string(), now()]).map(drop)
        })?;
        Ok(true)
    }

    pub fn unsubscribe(&mut self, list: &Address, member: &Address) -> Outcome<bool> {
        let list = self.list_of(list)?.address;
        let member = canonical(member)?;
        if !self.members(&list)?.iter().any(|known| known.address == member) {
            return Ok(false);
        }
        self.change(&format!("{member} left the list {list}"), |transaction| {
            let sql = "DELETE FROM list_member WHERE list = ?1 AND address = ?2";
            transaction.execute(sql, [list.to_string(), member.to_string()]).map(drop)
        })?;
        Ok(true)
    }

    /// Counts a bounce, one for each day at most, and suspends the member on whose mail too many came back.
    pub fn note_bounce(&mut self, list: &Address, member: &Address) -> Outcome<Bounced> {
        let list = self.list_of(list)?.address.to_string();
        let member = canonical(member)?.to_string();
        let sql = "SELECT bounces, last_bounce FROM list_member WHERE list = ?1 AND address = ?2 AND NOT suspended";
        let row = self.connection.query_row(sql, [&list, &member], |row| Ok((row.get::<_, u32>(0)?, row.get(1)?)));
        let Some((bounces, last)): Option<(u32, Option<i64>)> = row.optional().map_err(Refusal::internal)? else {
            return Ok(Bounced::Nothing);
        };
        let now = now();
        let bounces = match last {
            Some(last) if last / DAY == now / DAY => return Ok(Bounced::Noted),
            Some(last) if now.saturating_sub(last) < BOUNCES_FORGOTTEN.as_secs().cast_signed() => bounces + 1,
            _ => 1,
        };
        let suspended = bounces >= BOUNCE_DAYS;
        let what = if suspended { "suspended from" } else { "bounced on" };
        self.change(&format!("{member} {what} the list {list}"), |transaction| {
            let sql = "UPDATE list_member SET bounces = ?3, last_bounce = ?4, suspended = ?5
                       WHERE list = ?1 AND address = ?2";
            transaction.execute(sql, params![list, member, bounces, now, suspended]).map(drop)
        })?;
        Ok(if suspended { Bounced::Suspended } else { Bounced::Noted })
    }
}

/// A member's address in the form in which it is kept: lower case, since people write their own name in many ways; the
/// tag stays, since a member may sort the list's mail by it.
fn canonical(member: &Address) -> Outcome<Address> {
    Address::new(&member.local().to_ascii_lowercase(), member.domain().clone()).map_err(Refusal::internal)
}

fn kind(posting: Posting) -> &'static str {
    match posting {
        Posting::Open => "open",
        Posting::Members => "members",
        Posting::Moderated => "moderated",
    }
}

fn posting_of(kind: &str) -> Posting {
    match kind {
        "open" => Posting::Open,
        "members" => Posting::Members,
        _ => Posting::Moderated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn a_member_whose_mail_comes_back_on_five_days_is_suspended_until_joining_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("box.db");
        let (list, joe) = (address("club@example.org"), address("Joe@example.net"));
        let mut database = Database::open(&file, address("ann@example.org")).unwrap();
        database.set_list(&list, "The club", Posting::Members, &[address("ann@example.org")]).unwrap();
        assert!(database.subscribe(&list, &joe).unwrap());
        let a_day_passes = |days: i64| {
            let sql = "UPDATE list_member SET last_bounce = last_bounce - ?1";
            rusqlite::Connection::open(&file).unwrap().execute(sql, [days * DAY]).unwrap();
        };
        for _ in 1..BOUNCE_DAYS {
            assert_eq!(database.note_bounce(&list, &joe).unwrap(), Bounced::Noted);
            assert_eq!(database.note_bounce(&list, &joe).unwrap(), Bounced::Noted);
            a_day_passes(1);
        }
        assert_eq!(database.list_of(&list).unwrap().members, 1);
        assert_eq!(database.note_bounce(&list, &address("joe@example.net")).unwrap(), Bounced::Suspended);
        assert_eq!(database.note_bounce(&list, &joe).unwrap(), Bounced::Nothing);
        assert_eq!(database.list_of(&list).unwrap().members, 0);
        assert!(database.subscribe(&list, &joe).unwrap());
        database.note_bounce(&list, &joe).unwrap();
        a_day_passes(31);
        database.note_bounce(&list, &joe).unwrap();
        assert_eq!(database.members(&list).unwrap()[0].bounces, 1, "a quiet month forgets");
    }
}
