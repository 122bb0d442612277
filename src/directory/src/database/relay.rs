//! Relays: at most one for the whole box, for each sender's domain and for each destination.
//!
//! The password has to be said to the relay, so it is kept as it is, in a file that this role alone can read. It never
//! goes into the audit log, and only the MTA is ever given it.

use super::{Database, Outcome};
use crate::limits::{MAX_RELAY_LOGIN, MAX_RELAYS};
use base::{Domain, Secret};
use rusqlite::params;
use wire::directory::{Relay, RelayScope, RelayTls};
use wire::{Kind, Refusal};

/// A relay's key in the table.
fn key(scope: &RelayScope) -> (&'static str, &str) {
    match scope {
        RelayScope::Everything => ("everything", ""),
        RelayScope::From(domain) => ("from", domain.as_str()),
        RelayScope::To(domain) => ("to", domain.as_str()),
    }
}

fn in_words(scope: &RelayScope) -> String {
    match scope {
        RelayScope::Everything => "all mail".to_owned(),
        RelayScope::From(domain) => format!("mail from {domain}"),
        RelayScope::To(domain) => format!("mail to {domain}"),
    }
}

type Row = (String, String, String, u16, String, Option<String>, Option<String>, Option<String>);

impl Database {
    /// Sets the relay for a scope, or changes it.
    pub fn set_relay(&mut self, relay: &Relay) -> Outcome<()> {
        check(relay)?;
        let existing = self.relays()?;
        if existing.len() >= MAX_RELAYS && !existing.iter().any(|other| other.scope == relay.scope) {
            return Err(Refusal::new(Kind::Invalid, format!("there are {MAX_RELAYS} relays already")));
        }
        let (kind, name) = key(&relay.scope);
        let tls = match relay.tls {
            RelayTls::Implicit => "implicit",
            RelayTls::Starttls => "starttls",
        };
        let password = relay.password.as_ref().map(Secret::expose);
        let what = format!("{} goes through the relay {}:{}", in_words(&relay.scope), relay.host, relay.port);
        self.change(&what, |transaction| {
            let sql = "INSERT OR REPLACE INTO relay (kind, name, host, port, tls, login, password, spf)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            let host = relay.host.as_str();
            transaction
                .execute(sql, params![kind, name, host, relay.port, tls, relay.login, password, relay.spf])
                .map(drop)
        })
    }

    pub fn remove_relay(&mut self, scope: &RelayScope) -> Outcome<()> {
        if !self.relays()?.iter().any(|relay| relay.scope == *scope) {
            let words = format!("there is no relay for {}; see: mailstead relay list", in_words(scope));
            return Err(Refusal::new(Kind::NotFound, words));
        }
        let (kind, name) = key(scope);
        self.change(&format!("{} goes through no relay", in_words(scope)), |transaction| {
            transaction.execute("DELETE FROM relay WHERE kind = ?1 AND name = ?2", params![kind, name]).map(drop)
        })
    }

    /// The one for all mail first, then those by sender, then those by destination. With passwords.
    pub fn relays(&self) -> Outcome<Vec<Relay>> {
        let sql = "SELECT kind, name, host, port, tls, login, password, spf FROM relay
                   ORDER BY kind = 'to', kind = 'from', name";
        let mut query = self.connection.prepare_cached(sql).map_err(Refusal::internal)?;
        let rows = query.query_map([], |row| {
            let text = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
            Ok((text.0, text.1, text.2, text.3, text.4, row.get(5)?, row.get(6)?, row.get(7)?))
        });
        rows.map_err(Refusal::internal)?.map(|row| read(row.map_err(Refusal::internal)?)).collect()
    }
}

fn read((kind, name, host, port, tls, login, password, spf): Row) -> Outcome<Relay> {
    let domain = |name: &str| Domain::parse(name).map_err(Refusal::internal);
    let scope = match kind.as_str() {
        "from" => RelayScope::From(domain(&name)?),
        "to" => RelayScope::To(domain(&name)?),
        _ => RelayScope::Everything,
    };
    let tls = if tls == "implicit" { RelayTls::Implicit } else { RelayTls::Starttls };
    Ok(Relay { scope, host: domain(&host)?, port, tls, login, password: password.map(Secret::new), spf })
}

/// What could never work, or would break the line that it is said in.
fn check(relay: &Relay) -> Outcome<()> {
    let invalid = |words: &str| Err(Refusal::new(Kind::Invalid, words));
    if relay.port == 0 {
        return invalid("port 0 is none");
    }
    if relay.spf.as_deref().is_some_and(|name| !is_spf_name(name)) {
        return invalid("an SPF name is a domain name such as _spf.example.net");
    }
    match (&relay.login, &relay.password) {
        (None, None) => Ok(()),
        (Some(login), Some(password)) => {
            let good = |text: &str| (1..=MAX_RELAY_LOGIN).contains(&text.len()) && !text.chars().any(char::is_control);
            match good(login) && good(password.expose()) {
                true => Ok(()),
                false => invalid("login and password have 1 to 255 octets each, and no control characters"),
            }
        }
        _ => invalid("a login has a password, and a password has a login"),
    }
}

/// A name that can stand behind `include:` (RFC 7208 §5.2): letters, digits, hyphens, underscores and dots, no macros.
fn is_spf_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    name.len() <= base::address::MAX_DOMAIN && name.contains('.') && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Address;

    fn relay(scope: RelayScope) -> Relay {
        Relay {
            scope,
            host: Domain::parse("smtp.example.net").unwrap(),
            port: 465,
            tls: RelayTls::Implicit,
            login: Some("ann".into()),
            password: Some(Secret::new("hunter2")),
            spf: Some("_spf.example.net".into()),
        }
    }

    #[test]
    fn relays_are_set_changed_listed_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("box.db");
        let mut database = Database::open(&file, Address::parse("ann@example.org").unwrap()).unwrap();
        let to = RelayScope::To(Domain::parse("example.com").unwrap());
        database.set_relay(&relay(to.clone())).unwrap();
        database.set_relay(&relay(RelayScope::Everything)).unwrap();
        let changed = Relay { port: 587, tls: RelayTls::Starttls, login: None, password: None, ..relay(to.clone()) };
        database.set_relay(&changed).unwrap();
        let all = database.relays().unwrap();
        let shown: Vec<_> = all.iter().map(|relay| (relay.scope.clone(), relay.port, relay.tls)).collect();
        assert_eq!(shown, [(RelayScope::Everything, 465, RelayTls::Implicit), (to.clone(), 587, RelayTls::Starttls)]);
        assert_eq!(all[0].password.as_ref().unwrap().expose(), "hunter2");
        database.remove_relay(&to).unwrap();
        assert!(database.remove_relay(&to).unwrap_err().to_string().contains("mailstead relay list"));
    }

    #[test]
    fn a_login_without_a_password_or_with_a_line_break_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("box.db");
        let mut database = Database::open(&file, Address::parse("ann@example.org").unwrap()).unwrap();
        let good = relay(RelayScope::Everything);
        for wrong in [
            Relay { password: None, ..good.clone() },
            Relay { login: Some("ann\r\nQUIT".into()), ..good.clone() },
            Relay { password: Some(Secret::new("")), ..good.clone() },
            Relay { spf: Some("_spf.example.net ~all".into()), ..good.clone() },
            Relay { port: 0, ..good },
        ] {
            database.set_relay(&wrong).unwrap_err();
        }
        assert!(database.relays().unwrap().is_empty());
    }
}
