//! The three questions, asked at the start, checked as typed, each with a default where there is a sensible one.

use crate::ProvisionError;
use base::{Address, BoxConfig, DnsMode, Domain};
use dialoguer::{Input, Select, theme::ColorfulTheme};
use std::io::IsTerminal;

/// What was given by flag or environment; the rest is asked.
#[derive(Debug, Clone, Default)]
pub struct Given {
    pub email: Option<String>,
    pub hostname: Option<String>,
    pub dns: Option<DnsMode>,
    /// Take every default without asking.
    pub yes: bool,
}

/// The three answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    pub email: Address,
    pub hostname: Domain,
    pub dns: DnsMode,
}

impl Answers {
    /// Takes what was given, and asks for the rest on the terminal. `guess` is a domain the machine may belong to.
    pub fn gather(given: &Given, guess: Option<&Domain>) -> Result<Self, ProvisionError> {
        let asking = std::io::stdin().is_terminal() && std::io::stderr().is_terminal() && !given.yes;
        // Everything that was given is checked before anything is asked.
        let email = given.email.as_deref().map(email).transpose()?;
        let hostname = given.hostname.as_deref().map(hostname).transpose()?;
        let email = match email {
            Some(email) => email,
            None if asking => ask_email(guess)?,
            None => return Err(unanswered("--email ADDRESS", "MAILSTEAD_EMAIL")),
        };
        let default = email.domain().prefixed("box").map_err(refused)?;
        let hostname = match hostname {
            Some(hostname) => hostname,
            None if asking => ask_hostname(&default)?,
            None if given.yes => default,
            None => return Err(unanswered("--hostname NAME", "MAILSTEAD_HOSTNAME")),
        };
        let dns = match given.dns {
            Some(dns) => dns,
            None if asking => ask_dns(&email)?,
            None if given.yes => DnsMode::Box,
            None => return Err(unanswered("--dns box|external", "MAILSTEAD_DNS")),
        };
        if hostname == *email.domain() {
            let words =
                format!("{hostname} cannot be both the mail domain and the box's own name; take box.{hostname}");
            return Err(ProvisionError::Refused(words));
        }
        Ok(Self { email, hostname, dns })
    }

    /// The answers as a fresh `box.yaml`.
    pub fn into_config(self) -> BoxConfig {
        BoxConfig::new(self.email, self.hostname, self.dns)
    }
}

/// Refuses flags that contradict what an existing box was set up with.
pub fn agree(config: &BoxConfig, given: &Given) -> Result<(), ProvisionError> {
    let differs = |what: &str, is: &dyn std::fmt::Display, asked: &dyn std::fmt::Display| {
        let words = format!(
            "this box was set up with {what} {is}, not {asked}; to change it edit /etc/mailstead/box.yaml and run: \
             mailstead apply"
        );
        Err(ProvisionError::Refused(words))
    };
    match (&given.email, &given.hostname) {
        (Some(asked), _) if email(asked)?.account() != config.email.account() => differs("email", &config.email, asked),
        (_, Some(asked)) if hostname(asked)? != config.hostname => differs("hostname", &config.hostname, asked),
        _ => Ok(()),
    }
}

fn email(text: &str) -> Result<Address, ProvisionError> {
    let address = Address::parse(text.trim()).map_err(refused)?;
    if !address.domain().is_dotted() {
        return Err(ProvisionError::Refused(format!("“{text}” is not an email address: its domain has no dot")));
    }
    Ok(address.account())
}

fn hostname(text: &str) -> Result<Domain, ProvisionError> {
    let name = Domain::parse(text.trim())
        .map_err(|error| ProvisionError::Refused(format!("the hostname is not right: {error}")))?;
    if !name.is_dotted() {
        let words = format!("“{text}” is not a full hostname: it has no dot; it should look like box.example.com");
        return Err(ProvisionError::Refused(words));
    }
    Ok(name)
}

fn refused(error: base::NameError) -> ProvisionError {
    ProvisionError::Refused(error.to_string())
}

fn unanswered(flag: &str, variable: &str) -> ProvisionError {
    ProvisionError::Refused(format!(
        "there is no terminal to ask on; answer with {flag} (or {variable} in the environment)"
    ))
}

fn failed(error: dialoguer::Error) -> ProvisionError {
    ProvisionError::Refused(format!("the question was not answered: {error}"))
}

fn ask_email(guess: Option<&Domain>) -> Result<Address, ProvisionError> {
    let theme = ColorfulTheme::default();
    let mut question = Input::<String>::with_theme(&theme)
        .with_prompt("Your email address (the first mailbox, and where reports go)")
        .validate_with(|text: &String| email(text).map(drop).map_err(|error| error.to_string()));
    if let Some(domain) = guess {
        question = question.default(format!("me@{domain}"));
    }
    email(&question.interact_text().map_err(failed)?)
}

fn ask_hostname(default: &Domain) -> Result<Domain, ProvisionError> {
    let text = Input::<String>::with_theme(&ColorfulTheme::default())
        .with_prompt("The hostname of this box")
        .default(default.to_string())
        .validate_with(|text: &String| hostname(text).map(drop).map_err(|error| error.to_string()))
        .interact_text()
        .map_err(failed)?;
    hostname(&text)
}

fn ask_dns(email: &Address) -> Result<DnsMode, ProvisionError> {
    let choices = ["this box (everything is kept right by itself)", "another provider (you enter the records there)"];
    let chosen = Select::with_theme(&ColorfulTheme::default())
        .with_prompt(format!("Who answers for the DNS of {}", email.domain()))
        .items(choices)
        .default(0)
        .interact()
        .map_err(failed)?;
    Ok(if chosen == 0 { DnsMode::Box } else { DnsMode::External })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(email: &str, hostname: &str) -> Given {
        Given { email: Some(email.into()), hostname: Some(hostname.into()), dns: Some(DnsMode::Box), yes: true }
    }

    #[test]
    fn mistakes_are_told_in_one_sentence() {
        for (mistake, words) in [
            (given("ann", "box.example.org"), "it has no @"),
            (given("ann@localhost", "box.example.org"), "no dot"),
            (given("ann@example.org", "box"), "no dot"),
            (given("ann@example.org", "example.org"), "both the mail domain"),
        ] {
            let told = Answers::gather(&mistake, None).unwrap_err().to_string();
            assert!(told.contains(words) && !told.contains('\n'), "{told}");
        }
    }

    #[test]
    fn one_address_is_answer_enough_for_those_who_take_the_defaults() {
        let given = Given { email: Some("Ann@Example.org".into()), yes: true, ..Given::default() };
        let answers = Answers::gather(&given, None).unwrap();
        assert_eq!(answers.email.to_string(), "ann@example.org");
        assert_eq!(answers.hostname.as_str(), "box.example.org");
    }

    #[test]
    fn without_terminal_and_answer_the_flag_is_named() {
        let told = Answers::gather(&Given { yes: true, ..Given::default() }, None).unwrap_err().to_string();
        assert!(told.contains("--email"), "{told}");
    }

    #[test]
    fn a_box_keeps_its_answers() {
        let config = Answers::gather(&given("ann@example.org", "box.example.org"), None).unwrap().into_config();
        assert!(agree(&config, &given("ann@example.org", "box.example.org")).is_ok());
        let told = agree(&config, &given("ann@example.org", "mail.example.org")).unwrap_err().to_string();
        assert!(told.contains("box.yaml"), "{told}");
    }
}
