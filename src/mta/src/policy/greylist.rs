//! Selective greylisting: only what looks odd is asked to come again; what fails here lets the mail pass.

use super::guest::{Found, Reverse};
use super::known::{Asked, Grey, Known};
use super::network;
use crate::limits;
use base::{Address, Domain};
use std::net::IpAddr;

/// A message that the filter would take.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    pub client: IpAddr,
    pub sender: Option<&'a Address>,
    pub recipient: &'a Address,
    pub found: &'a Found,
    pub score: f32,
    /// The author's domain, where the filter found the message to be really from there.
    pub authenticated: Option<&'a Domain>,
}

/// `Some(seconds)`: come again after so long. Notes the networks from which mail is taken.
pub fn decide(known: &Known, it: &Candidate<'_>, now: u64) -> Option<u64> {
    match ask(known, it, now) {
        Ok(wait) => wait,
        Err(error) => {
            tracing::warn!("what is known of others cannot be asked, so nothing is greylisted: {error}");
            None
        }
    }
}

fn ask(known: &Known, it: &Candidate<'_>, now: u64) -> Asked<Option<u64>> {
    let network = network::pool(it.client);
    let seen = known.is_network_known(network, now)?;
    // Mail that is poor itself speaks for nobody, even where it is taken because its sender is known.
    let mut speaks_for_it = it.score < limits::GREY_SCORE;
    if !seen && looks_odd(it) && !is_known(known, it)? {
        let sender = it.sender.map(ToString::to_string).unwrap_or_default().to_lowercase();
        match known.grey(network, &sender, it.recipient, now)? {
            Grey::Wait(seconds) => return Ok(Some(seconds)),
            Grey::Passed => speaks_for_it = true,
        }
    }
    if speaks_for_it {
        known.network_sent(network, now)?;
    }
    Ok(None)
}

/// Asked of networks that have not sent before.
fn looks_odd(it: &Candidate<'_>) -> bool {
    it.found.reverse == Reverse::Missing || !it.found.listings.is_empty() || it.score >= limits::GREY_SCORE
}

fn is_known(known: &Known, it: &Candidate<'_>) -> Asked<bool> {
    if let Some(sender) = it.sender
        && known.is_correspondent(sender)?
    {
        return Ok(true);
    }
    it.authenticated.map_or(Ok(false), |domain| known.is_domain_of_correspondents(domain))
}

#[cfg(test)]
mod tests {
    use super::super::known::tests::{address, store};
    use super::*;

    const NOW: u64 = 1_800_000_000;

    /// Whether a message has to wait.
    fn waits<'a>(known: &Known, change: impl FnOnce(&mut Candidate<'a>), at: u64) -> bool {
        // Tests may keep what they borrow for ever.
        let keep = |text: &str| -> &'static Address { Box::leak(Box::new(address(text))) };
        let mut it = Candidate {
            client: "192.0.2.9".parse().unwrap(),
            sender: Some(keep("joe@example.net")),
            recipient: keep("ann@example.org"),
            found: Box::leak(Box::new(Found { reverse: Reverse::Missing, ..Found::default() })),
            score: 0.0,
            authenticated: None,
        };
        change(&mut it);
        decide(known, &it, at).is_some()
    }

    #[test]
    fn only_what_looks_odd_waits() {
        let (_dir, known) = store();
        let plain = Found { reverse: Reverse::Confirmed, ..Found::default() };
        let unsure = Found::default();
        assert!(!waits(&known, |it| it.found = &plain, NOW), "a server in order passes");
        let (_dir, known) = store();
        assert!(!waits(&known, |it| it.found = &unsure, NOW), "no answer is held against nobody");
        let (_dir, known) = store();
        assert!(waits(&known, |_| (), NOW));
        assert!(waits(&known, |it| (it.found, it.score) = (&plain, limits::GREY_SCORE), NOW));
    }

    #[test]
    fn it_passes_when_it_comes_again_and_so_does_its_network_from_then_on() {
        let (_dir, known) = store();
        let later = NOW + limits::GREY_WAIT.as_secs();
        let other = address("bob@example.org");
        assert!(waits(&known, |_| (), NOW));
        assert!(waits(&known, |_| (), NOW + 10));
        // Another server of the same sender tries.
        assert!(!waits(&known, |it| it.client = "192.0.2.200".parse().unwrap(), later));
        assert!(!waits(&known, |it| it.recipient = &other, later));
        assert!(waits(&known, |it| it.client = "198.51.100.1".parse().unwrap(), later));
    }

    #[test]
    fn who_is_written_to_does_not_wait() {
        let (_dir, known) = store();
        known.wrote_to(&address("ann@example.org"), &[address("joe@example.net")], NOW).unwrap();
        assert!(!waits(&known, |_| (), NOW));
        let (stranger, domain) = (address("news@example.net"), Domain::parse("example.net").unwrap());
        let far = "203.0.113.1".parse().unwrap();
        assert!(waits(&known, |it| (it.sender, it.client) = (Some(&stranger), far), NOW), "a domain can be forged");
        assert!(!waits(
            &known,
            |it| (it.sender, it.client, it.authenticated) = (Some(&stranger), far, Some(&domain)),
            NOW
        ));
    }

    #[test]
    fn a_store_that_fails_lets_mail_pass() {
        let (_dir, known) = store();
        known.connection().execute_batch("DROP TABLE grey").unwrap();
        assert!(!waits(&known, |_| (), NOW));
    }

    #[test]
    fn poor_mail_of_somebody_known_does_not_make_its_network_known() {
        let (_dir, known) = store();
        let poor = |it: &mut Candidate<'_>| it.score = limits::GREY_SCORE;
        known.wrote_to(&address("ann@example.org"), &[address("joe@example.net")], NOW).unwrap();
        assert!(!waits(&known, poor, NOW));
        let stranger = |it: &mut Candidate<'_>| {
            it.score = limits::GREY_SCORE;
            it.sender = None;
        };
        assert!(waits(&known, stranger, NOW));
    }
}
