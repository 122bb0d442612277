//! What is held against a stranger on port 25, stage by stage (see [`crate::policy`]).

use super::envelope::Envelope;
use super::{Kind, Session, replies};
use crate::message::{Message, submitted};
use crate::policy::greylist::{self, Candidate};
use crate::policy::guest::{Found, Guest};
use crate::policy::{self, Evidence, Moment, Place};
use crate::proto::Reply;
use base::{Address, Domain};
use std::sync::Arc;
use wire::filter::{Reason, Verdict};

impl Session {
    fn is_stranger(&self) -> bool {
        self.kind == Kind::Inbound && self.house.is_stranger(self.client)
    }

    fn evidence<'a>(&'a self, found: &'a Found) -> Evidence<'a> {
        Evidence {
            client: self.client,
            place: Place::Free,
            early: false,
            helo: self.hello.as_ref().map(|hello| hello.name.as_str()).unwrap_or_default(),
            own_name: &self.house.hostname,
            own_addresses: &self.house.own_addresses,
            found,
        }
    }

    /// Whether there is a place for the connection.
    pub fn place(&self, place: Place) -> Result<(), Reply> {
        let found = Found::default();
        policy::decide(Moment::Connect, &Evidence { place, ..self.evidence(&found) }).map(drop)
    }

    /// The client is connected; what the DNS knows of it is asked from now on.
    pub fn arrived(&mut self, early: bool) -> Result<(), Reply> {
        let found = Found::default();
        if let Err(refusal) = policy::decide(Moment::Greeting, &Evidence { early, ..self.evidence(&found) }) {
            self.note(&refusal, None);
            return Err(refusal);
        }
        if self.is_stranger() {
            let (lookups, lists) = (Arc::clone(&self.house.tuning.lookups), self.house.blocklists.clone());
            self.guest = Guest::begin(lookups, lists, self.client);
        }
        Ok(())
    }

    /// The stages at MAIL.
    pub(super) fn introduced(&self) -> Result<(), Reply> {
        if !self.is_stranger() {
            return Ok(());
        }
        policy::decide(Moment::Hello, &self.evidence(&Found::default())).map(drop)
    }

    /// The pure stages at RCPT. Postmaster and abuse hear everybody: by them a listed server's owner asks for help
    /// (RFC 5321 §4.5.1, RFC 2142 §2).
    pub(super) async fn welcome(&mut self, recipient: &Address) -> Result<(), Reply> {
        if !self.is_stranger() {
            return Ok(());
        }
        let found = self.guest.found().await.clone();
        let helps = matches!(recipient.account().local(), "postmaster" | "abuse");
        match policy::decide(Moment::Recipient, &self.evidence(&found)) {
            Err(refusal) if !helps => Err(refusal),
            _ => Ok(()),
        }
    }

    /// What was noted, for the filter.
    pub(super) async fn notes(&mut self) -> Vec<Reason> {
        if !self.is_stranger() {
            return Vec::new();
        }
        let mut found = self.guest.found().await.clone();
        // What would have been refused, but for the recipient, counts as odd.
        found.listings.iter_mut().for_each(|listing| listing.weak = true);
        policy::decide(Moment::Recipient, &self.evidence(&found)).unwrap_or_default()
    }

    /// Asks what looks odd to come again.
    pub(super) async fn greylisted(&mut self, envelope: &Envelope, verdict: &Verdict, bytes: &[u8]) -> Option<Reply> {
        let found = if self.is_stranger() { self.guest.found().await.clone() } else { return None };
        let (known, recipient) = (self.house.known.as_ref()?, envelope.recipients.first()?);
        let author = authenticated(verdict, bytes);
        let candidate = Candidate {
            client: self.client,
            sender: envelope.sender.as_ref(),
            recipient: &recipient.address,
            found: &found,
            score: verdict.score,
            authenticated: author.as_ref(),
        };
        let seconds = greylist::decide(known, &candidate, self.house.now())?;
        Some(replies::GREYLISTED.with(&[&seconds.div_ceil(60)]))
    }
}

/// The author's domain, where the filter found that the message is really from there.
fn authenticated(verdict: &Verdict, bytes: &[u8]) -> Option<Domain> {
    verdict.reasons.iter().find(|reason| reason.rule == "authenticated")?;
    let head = bytes.get(..crate::message::check(bytes).ok()?)?;
    let message = Message { head: head.to_vec(), body: Vec::new() };
    submitted::authors(&message).ok()?.first().map(|author| author.domain().clone())
}
