//! What the MTA asks of its neighbours, in its own words.

use crate::list::Tokens;
use crate::message::Message;
use crate::srs::Srs;
use base::{Address, Domain, Paths};
use std::net::IpAddr;
use std::sync::Arc;
use wire::directory::{
    Authenticate, Bounced, ListOf, Login, MailingList, MaySend, Member, Members, NoteBounce, Resolution, Resolve,
    ScramChallenge, ScramLogin, ScramOffered, ScramParameters, ScramVerify, SendingOf, Service, Subscribe, Unsubscribe,
};
use wire::filter::{Judge, Seal, Sign, TakeReport, TakenReport, Verdict};
use wire::mailbox::{Room, RoomFor};
use wire::{Client, WireError};

/// The directory and the filter. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Neighbours {
    client: Client,
    /// Senders of forwarded mail: rewritten, and told again.
    pub srs: Arc<Srs>,
    /// What makes the addresses of lists safe.
    pub tokens: Arc<Tokens>,
}

impl Neighbours {
    pub fn new(paths: &Paths, srs: Srs, tokens: Tokens) -> Self {
        Self { client: Client::new(paths.clone()), srs: Arc::new(srs), tokens: Arc::new(tokens) }
    }

    pub async fn resolve(&self, address: &Address) -> Result<Resolution, WireError> {
        self.client.ask(&Resolve { address: address.clone() }).await
    }

    /// Whether a message of so many octets fits into the mailbox. One that cannot be asked is taken to have room: it is
    /// asked again when the message is there, and nothing is acknowledged before it has it.
    pub async fn room_for(&self, account: &Address, bytes: u64) -> Room {
        match self.client.ask(&RoomFor { account: account.clone(), bytes }).await {
            Ok(room) => room,
            Err(error) => {
                tracing::warn!("whether {account} has room is not known: {error}");
                Room::Enough
            }
        }
    }

    /// Whether the address's domain is one of ours.
    pub async fn is_local(&self, address: &Address) -> Result<bool, WireError> {
        Ok(!matches!(self.resolve(address).await?, Resolution::Elsewhere | Resolution::BackupFor(_)))
    }

    pub async fn log_in(&self, login: String, password: base::Secret, client: IpAddr) -> Result<Login, WireError> {
        self.client.ask(&Authenticate { login, password, service: Service::Submission, client }).await
    }

    /// Whether SCRAM can be offered. A directory that does not answer is met again at the login.
    pub async fn scram_offered(&self) -> bool {
        self.client.ask(&ScramOffered {}).await.unwrap_or(false)
    }

    pub async fn scram_challenge(&self, login: String, client: IpAddr) -> Result<ScramParameters, WireError> {
        self.client.ask(&ScramChallenge { login, client }).await
    }

    pub async fn scram_verify(
        &self,
        login: String,
        auth_message: String,
        client_proof: Vec<u8>,
        client: IpAddr,
    ) -> Result<ScramLogin, WireError> {
        let service = Service::Submission;
        self.client.ask(&ScramVerify { login, auth_message, client_proof, service, client }).await
    }

    /// For how many seconds an account's mail is kept back.
    pub async fn undo_window(&self, account: &Address) -> Result<u32, WireError> {
        Ok(self.client.ask(&SendingOf { account: account.clone() }).await?.undo_seconds)
    }

    pub async fn may_send(&self, account: &Address, sender: &Address) -> Result<bool, WireError> {
        self.client.ask(&MaySend { account: account.clone(), sender: sender.clone() }).await
    }

    /// Which mail goes through relays.
    pub async fn relays(&self) -> Result<Vec<wire::directory::Relay>, WireError> {
        self.client.ask(&wire::directory::Relays {}).await
    }

    /// The filter's view of a stranger's message.
    pub async fn judge(&self, question: &Judge, message: &[u8]) -> Result<Verdict, WireError> {
        self.client.ask_with_body(question, message).await.map(|(verdict, _)| verdict)
    }

    /// A list by any of its addresses; `None` when there is none.
    pub async fn list_of(&self, address: &Address) -> Result<Option<MailingList>, WireError> {
        match self.client.ask(&ListOf { address: address.clone() }).await {
            Ok(list) => Ok(Some(list)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub async fn members(&self, list: &Address) -> Result<Vec<Member>, WireError> {
        self.client.ask(&Members { list: list.clone() }).await
    }

    pub async fn subscribe(&self, list: &Address, member: &Address) -> Result<bool, WireError> {
        self.client.ask(&Subscribe { list: list.clone(), member: member.clone() }).await
    }

    pub async fn unsubscribe(&self, list: &Address, member: &Address) -> Result<bool, WireError> {
        self.client.ask(&Unsubscribe { list: list.clone(), member: member.clone() }).await
    }

    pub async fn note_bounce(&self, list: &Address, member: &Address) -> Result<Bounced, WireError> {
        self.client.ask(&NoteBounce { list: list.clone(), member: member.clone() }).await
    }

    /// The ARC fields for a message that is passed on by an address of `domain`. `received` is the message as it came in,
    /// where it was changed since.
    pub async fn seal(&self, domain: &Domain, message: &Message, received: &[u8]) -> Result<String, WireError> {
        let mut bytes = received.to_vec();
        bytes.extend_from_slice(&message.head);
        bytes.extend_from_slice(&message.body);
        let ask = Seal { domain: domain.clone(), as_received: received.len() as u64 };
        Ok(self.client.ask_with_body(&ask, &bytes).await?.0.headers)
    }

    /// Gives the filter a report of another server about our mail.
    pub async fn take_report(&self, authenticated: bool, message: &Message) -> Result<TakenReport, WireError> {
        let bytes = message.clone().into_bytes();
        Ok(self.client.ask_with_body(&TakeReport { authenticated }, &bytes).await?.0)
    }

    /// The signature fields for a message from `domain`.
    pub async fn sign(&self, domain: &Domain, message: &Message) -> Result<String, WireError> {
        let bytes = message.clone().into_bytes();
        let signed = self.client.ask_with_body(&Sign { domain: domain.clone() }, &bytes).await?.0;
        Ok(signed.headers)
    }
}
