//! What is held against a stranger before the filter reads the mail: the order of decisions as data.
//!
//! [`STAGES`] names every stage in the order in which they come, says what it asks, and what it may answer. Each is a
//! pure function over [`Evidence`], or a question that the session puts to a neighbour. A stage passes, notes something
//! (which the filter adds to its score), puts off or refuses; each with its reason in words.
//!
//! Invariant: nothing is concluded from a question that was not answered.

pub mod blocklist;
pub mod greylist;
pub mod guest;
pub mod known;
pub mod lookups;
pub mod network;
pub mod sending;

use crate::limits;
use crate::message::trace;
use crate::proto::Reply;
use crate::session::replies;
use base::Domain;
use guest::{Found, Reverse};
use std::net::IpAddr;
use wire::filter::Reason;

/// When a stage has its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    Connect,
    Greeting,
    /// At MAIL, so that a client may introduce itself anew inside TLS.
    Hello,
    /// At RCPT, when the look-ups that began at connect have to be there.
    Recipient,
    /// When the message is here.
    Message,
}

/// What a stage says.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    Pass,
    Note(Reason),
    Defer(Reply),
    Refuse(Reply),
}

/// How a stage comes to its answer.
#[derive(Clone, Copy)]
pub enum Rule {
    Pure(fn(&Evidence<'_>) -> Decision),
    /// The session asks this neighbour.
    Asks(#[cfg_attr(not(test), allow(dead_code))] &'static str),
}

/// One stage.
#[derive(Clone, Copy)]
pub struct Stage {
    pub name: &'static str,
    pub moment: Moment,
    pub rule: Rule,
}

/// Whether there is a place for a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Place {
    #[default]
    Free,
    /// The box, the address or its network has as many as it may.
    Taken,
    /// The network has opened too many in the last minute.
    TooFast,
}

/// What is known so far.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    pub client: IpAddr,
    pub place: Place,
    /// Whether the client spoke before the greeting.
    pub early: bool,
    pub helo: &'a str,
    /// The box's own name and addresses.
    pub own_name: &'a Domain,
    pub own_addresses: &'a [IpAddr],
    pub found: &'a Found,
}

/// All stages, in their order.
pub const STAGES: [Stage; 13] = [
    stage("places", Moment::Connect, Rule::Pure(places)),
    stage("early talker", Moment::Greeting, Rule::Pure(early)),
    stage("a name that lies", Moment::Hello, Rule::Pure(lies)),
    stage("a name that is none", Moment::Recipient, Rule::Pure(odd_name)),
    stage("reverse DNS", Moment::Recipient, Rule::Pure(reverse)),
    stage("blocklists", Moment::Recipient, Rule::Pure(listed)),
    stage("weak blocklists", Moment::Recipient, Rule::Pure(weakly_listed)),
    stage("the recipient", Moment::Recipient, Rule::Asks("the directory: does the mailbox exist")),
    stage("its room", Moment::Recipient, Rule::Asks("the mailbox: does the announced size fit")),
    stage("form", Moment::Message, Rule::Asks("message::check: header, loops, disk")),
    stage("verdict", Moment::Message, Rule::Asks("the filter, which is given the notes")),
    stage("greylist", Moment::Message, Rule::Asks("greylist: only what looks odd")),
    stage("storing", Moment::Message, Rule::Asks("the mailbox, by LMTP")),
];

const fn stage(name: &'static str, moment: Moment, rule: Rule) -> Stage {
    Stage { name, moment, rule }
}

/// Has the pure stages of a moment decide: their notes, or the first that stands against the client.
pub fn decide(moment: Moment, evidence: &Evidence<'_>) -> Result<Vec<Reason>, Reply> {
    let mut notes = Vec::new();
    for stage in STAGES.iter().filter(|stage| stage.moment == moment) {
        let Rule::Pure(rule) = stage.rule else { continue };
        match rule(evidence) {
            Decision::Pass => {}
            Decision::Note(reason) => notes.push(reason),
            Decision::Defer(reply) | Decision::Refuse(reply) => {
                tracing::info!("{}: {}: {}", evidence.client, stage.name, reply.words());
                return Err(reply);
            }
        }
    }
    Ok(notes)
}

fn note(rule: &str, score: f32, words: impl Into<String>) -> Decision {
    Decision::Note(Reason { rule: rule.to_owned(), score, words: words.into() })
}

fn places(it: &Evidence<'_>) -> Decision {
    match it.place {
        Place::Free => Decision::Pass,
        Place::Taken => Decision::Defer(replies::TOO_MANY_CONNECTIONS.reply()),
        Place::TooFast => Decision::Defer(replies::TOO_FAST.reply()),
    }
}

/// RFC 5321 §4.3.1.
fn early(it: &Evidence<'_>) -> Decision {
    if it.early { Decision::Refuse(replies::TALKS_EARLY.reply()) } else { Decision::Pass }
}

/// Nobody else is this server.
fn lies(it: &Evidence<'_>) -> Decision {
    let own_name = it.helo.trim_end_matches('.').eq_ignore_ascii_case(it.own_name.as_str());
    let own_address = it.own_addresses.iter().any(|address| it.helo.eq_ignore_ascii_case(&trace::literal(*address)));
    if (own_name || own_address) && !it.own_addresses.contains(&it.client) {
        return Decision::Refuse(replies::LIES_IN_HELLO.with(&[&it.helo]));
    }
    Decision::Pass
}

/// RFC 5321 §4.1.4: a name that cannot be verified is no reason to refuse.
fn odd_name(it: &Evidence<'_>) -> Decision {
    match it.helo {
        helo if helo.starts_with('[') || !helo.contains('.') => {
            note("odd-helo", 0.5, "the sending server does not greet with a name")
        }
        _ => Decision::Pass,
    }
}

fn reverse(it: &Evidence<'_>) -> Decision {
    match it.found.reverse {
        Reverse::Missing => {
            note("no-reverse-dns", 1.5, "the sending server's address has no name that leads back to it")
        }
        Reverse::Confirmed | Reverse::Unknown => Decision::Pass,
    }
}

fn listed(it: &Evidence<'_>) -> Decision {
    match it.found.listings.iter().find(|listing| !listing.weak) {
        Some(listing) => Decision::Refuse(replies::LISTED.with(&[&listing.words(it.client)])),
        None => Decision::Pass,
    }
}

fn weakly_listed(it: &Evidence<'_>) -> Decision {
    match it.found.listings.iter().find(|listing| listing.weak) {
        Some(listing) => note("blocklist", limits::WEAK_LIST_SCORE, listing.words(it.client)),
        None => Decision::Pass,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(change: impl FnOnce(&mut Evidence<'_>), ask: impl FnOnce(&Evidence<'_>) -> T) -> T {
        let own_name = Domain::parse("box.example.org").unwrap();
        let own_addresses = [IpAddr::from([192, 0, 2, 1])];
        let found = Found::default();
        let mut evidence = Evidence {
            client: IpAddr::from([198, 51, 100, 7]),
            place: Place::Free,
            early: false,
            helo: "mx.example.net",
            own_name: &own_name,
            own_addresses: &own_addresses,
            found: &found,
        };
        change(&mut evidence);
        ask(&evidence)
    }

    #[test]
    fn the_stages_stand_in_the_order_in_which_they_come() {
        assert!(STAGES.windows(2).all(|two| two[0].moment <= two[1].moment));
        assert!(STAGES.iter().all(|stage| !matches!(stage.rule, Rule::Asks(""))));
    }

    #[test]
    fn who_claims_to_be_this_server_is_refused() {
        for helo in ["Box.example.org", "box.example.org.", "[192.0.2.1]"] {
            let decided = with(|it| it.helo = helo, |it| decide(Moment::Hello, it));
            assert_eq!(decided.unwrap_err().code, 550, "{helo}");
        }
        assert_eq!(with(|_| (), |it| decide(Moment::Hello, it)), Ok(Vec::new()));
    }

    #[test]
    fn what_is_odd_is_noted_and_what_is_not_known_is_not() {
        let notes = with(|it| it.helo = "[198.51.100.7]", |it| decide(Moment::Recipient, it)).unwrap();
        assert_eq!(notes.iter().map(|note| note.rule.as_str()).collect::<Vec<_>>(), ["odd-helo"]);
        let found = Found { reverse: Reverse::Missing, ..Found::default() };
        let own = Domain::parse("box.example.org").unwrap();
        let evidence = Evidence {
            client: IpAddr::from([198, 51, 100, 7]),
            place: Place::Free,
            early: false,
            helo: "mx.example.net",
            own_name: &own,
            own_addresses: &[],
            found: &found,
        };
        assert_eq!(decide(Moment::Recipient, &evidence).unwrap()[0].rule, "no-reverse-dns");
    }

    #[test]
    fn too_many_and_too_fast_are_told_apart() {
        let taken = with(|it| it.place = Place::Taken, |it| decide(Moment::Connect, it)).unwrap_err();
        let fast = with(|it| it.place = Place::TooFast, |it| decide(Moment::Connect, it)).unwrap_err();
        assert!(taken.code == 421 && fast.code == 421 && taken != fast);
    }
}
