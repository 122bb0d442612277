//! `mailstead relay`: sending mail through another server.

use crate::commands::user::tell;
use crate::output::say;
use crate::{commands, converge, output};
use anyhow::Context;
use base::{Domain, Paths, Secret};
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::str::FromStr;
use wire::Client;
use wire::directory::{self, RelayScope, RelayTls};
use wire::mta::TestRelay;

/// Send mail through another server (a relay or smart host): all of it, that of one domain, or that to one domain.
///
/// SCOPE is `everything`, `from:example.org` (mail whose sender is of that domain) or `to:example.net` (mail for
/// recipients there). For each message the most particular counts: where it goes, then whom it is from, then everything.
/// TLS with a certificate for the relay's name is always demanded.
#[derive(Args)]
pub struct Relay {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Set the relay for a scope, or change it. It is tried first: connection, TLS, login.
    ///
    /// Examples: mailstead relay set everything smtp.example.net --login ann --spf _spf.example.net;
    /// mailstead relay set to:example.com 'mx.example.net:587' --tls starttls
    Set {
        /// everything, from:DOMAIN, or to:DOMAIN.
        scope: Scope,
        /// The relay's name, with its port if that is not 465 (587 with --tls starttls).
        server: Server,
        /// Who to log in as. The password is asked for, or read from the first line of standard input.
        #[arg(long)]
        login: Option<String>,
        #[arg(long, value_enum, default_value = "implicit")]
        tls: Tls,
        /// The name that the relay's provider wants in your SPF records (“include:…”); the zones follow.
        #[arg(long, value_name = "NAME")]
        spf: Option<String>,
        /// Save it without trying it.
        #[arg(long)]
        untested: bool,
    },
    /// List every relay.
    List {
        /// Print JSON: a list of {"scope", "host", "port", "tls", "login", "spf"}.
        #[arg(long)]
        json: bool,
    },
    /// Try the relay of a scope: connection, TLS, login. No mail is sent.
    Test { scope: Scope },
    /// Remove the relay of a scope.
    Remove { scope: Scope },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tls {
    /// From the first octet, as on port 465.
    Implicit,
    /// After STARTTLS, as on port 587.
    Starttls,
}

/// What is printed as JSON. Never the password.
#[derive(Serialize)]
struct Shown {
    scope: String,
    host: Domain,
    port: u16,
    tls: RelayTls,
    login: Option<String>,
    spf: Option<String>,
}

impl Relay {
    pub async fn run(self, paths: Paths) -> anyhow::Result<ExitCode> {
        commands::require_root(&paths)?;
        let config = commands::config(&paths)?;
        let client = Client::new(paths.clone());
        match self.command {
            Command::Set { scope: Scope(scope), server, login, tls, spf, untested } => {
                let password = login.as_deref().map(password).transpose()?;
                let spf = spf.map(|name| name.strip_prefix("include:").unwrap_or(&name).to_owned());
                let (port, tls) = match tls {
                    Tls::Implicit => (server.port.unwrap_or(465), RelayTls::Implicit),
                    Tls::Starttls => (server.port.unwrap_or(587), RelayTls::Starttls),
                };
                let relay = directory::Relay { scope, host: server.host, port, tls, login, password, spf };
                if !untested {
                    let tried = client.ask(&TestRelay { relay: relay.clone() }).await;
                    tried.context("nothing was saved (--untested saves it all the same)")?;
                }
                let told = format!("{} goes through {} within a minute.", in_words(&relay.scope), relay.host);
                let without_spf = relay.spf.is_none();
                client.ask(&directory::SetRelay { relay }).await?;
                say!("{told}");
                if without_spf {
                    say!(
                        "If the relay's provider names an SPF record to include, add it with --spf, or mail may be refused."
                    );
                }
                tell(converge::follow(&paths, &config).await);
            }
            Command::List { json } => list(&client, json).await?,
            Command::Test { scope: Scope(scope) } => {
                let relays = client.ask(&directory::Relays {}).await?;
                let relay = relays.into_iter().find(|relay| relay.scope == scope);
                let relay = relay.with_context(|| format!("there is no relay for {scope}"))?;
                client.ask(&TestRelay { relay: relay.clone() }).await?;
                say!(
                    "{} answers, speaks TLS{}.",
                    relay.host,
                    if relay.login.is_some() { " and takes the login" } else { "" }
                );
            }
            Command::Remove { scope: Scope(scope) } => {
                client.ask(&directory::RemoveRelay { scope: scope.clone() }).await?;
                say!("The relay for {scope} is removed.");
                tell(converge::follow(&paths, &config).await);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn list(client: &Client, json: bool) -> anyhow::Result<()> {
    let relays = client.ask(&directory::Relays {}).await?;
    let shown = relays.into_iter().map(|relay| Shown {
        scope: relay.scope.to_string(),
        host: relay.host,
        port: relay.port,
        tls: relay.tls,
        login: relay.login,
        spf: relay.spf,
    });
    let shown: Vec<Shown> = shown.collect();
    if json {
        return output::json(&shown);
    }
    if shown.is_empty() {
        say!("There is no relay: the box delivers mail itself.");
    }
    let row = |it: &Shown| {
        let tls = if it.tls == RelayTls::Implicit { "TLS" } else { "STARTTLS" };
        let login = it.login.as_deref().unwrap_or("(no login)").to_owned();
        let spf = it.spf.as_ref().map(|name| format!("SPF include:{name}")).unwrap_or_default();
        vec![it.scope.clone(), format!("{}:{}", it.host, it.port), tls.to_owned(), login, spf]
    };
    output::table(&shown.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

/// From the terminal, or from the first line of standard input. Never from an argument, which every user could see.
fn password(login: &str) -> anyhow::Result<Secret> {
    if std::io::stdin().is_terminal() {
        let prompt = format!("Password of {login} at the relay");
        return Ok(Secret::new(dialoguer::Password::new().with_prompt(prompt).interact()?));
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("standard input")?;
    let line = line.trim_end_matches(['\r', '\n']);
    anyhow::ensure!(!line.is_empty(), "standard input has no password in its first line");
    Ok(Secret::new(line))
}

fn in_words(scope: &RelayScope) -> String {
    match scope {
        RelayScope::Everything => "All mail for elsewhere".to_owned(),
        RelayScope::From(domain) => format!("Mail from {domain}"),
        RelayScope::To(domain) => format!("Mail to {domain}"),
    }
}

/// A scope as it is typed.
#[derive(Debug, Clone, PartialEq)]
struct Scope(RelayScope);

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let domain = |name: &str| Domain::parse(name).map_err(|error| error.to_string());
        match text.split_once(':') {
            None if text == "everything" => Ok(Self(RelayScope::Everything)),
            Some(("from", name)) => Ok(Self(RelayScope::From(domain(name)?))),
            Some(("to", name)) => Ok(Self(RelayScope::To(domain(name)?))),
            _ => Err("a scope is everything, from:DOMAIN or to:DOMAIN".to_owned()),
        }
    }
}

/// A server as it is typed.
#[derive(Debug, Clone, PartialEq)]
struct Server {
    host: Domain,
    port: Option<u16>,
}

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port.parse().map_err(|_| format!("“{port}” is not a port"))?)),
            None => (text, None),
        };
        Ok(Self { host: Domain::parse(host).map_err(|error| error.to_string())?, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_and_servers_are_read_as_people_write_them() {
        let domain = |name| Domain::parse(name).unwrap();
        assert_eq!("everything".parse(), Ok(Scope(RelayScope::Everything)));
        assert_eq!("from:Example.org".parse(), Ok(Scope(RelayScope::From(domain("example.org")))));
        assert_eq!("to:example.net".parse(), Ok(Scope(RelayScope::To(domain("example.net")))));
        for wrong in ["", "all", "from:", "to:a_b.example", "example.org"] {
            assert!(wrong.parse::<Scope>().is_err(), "{wrong}");
        }
        assert_eq!("smtp.example.net".parse(), Ok(Server { host: domain("smtp.example.net"), port: None }));
        assert_eq!("smtp.example.net:587".parse(), Ok(Server { host: domain("smtp.example.net"), port: Some(587) }));
        assert!("smtp.example.net:x".parse::<Server>().is_err() && "192.0.2.1".parse::<Server>().is_err());
    }
}
