//! MAIL and RCPT: who sends, and who may receive.

use super::{Kind, Next, Session, not_now, out_of_order, too_large};
use crate::limits;
use crate::proto::Reply;
use crate::proto::command::MailFrom;
use crate::proto::path;
use base::Address;
use wire::directory::Resolution;
use wire::mailbox::Room;

/// A transaction as it grows.
#[derive(Debug, Clone)]
pub struct Envelope {
    pub sender: Option<Address>,
    /// Octets, as the client announced them (RFC 1870).
    pub size: Option<u64>,
    /// Each once.
    pub recipients: Vec<Addressee>,
}

/// A recipient that was taken, and whether it is one of this box.
#[derive(Debug, Clone)]
pub struct Addressee {
    pub address: Address,
    pub local: bool,
}

impl Session {
    pub(super) async fn mail(&mut self, mail: MailFrom) -> Reply {
        if let Some(refusal) = self.may_begin() {
            return refusal;
        }
        if mail.size.is_some_and(|size| size > limits::MESSAGE as u64) {
            return too_large();
        }
        if let (Some(account), Some(sender)) = (&self.account, &mail.sender) {
            match self.house.neighbours.may_send(account, sender).await {
                Ok(true) => {}
                Ok(false) => {
                    return Reply::new(553, "5.7.1", format!("{account} may not send as {sender}"));
                }
                Err(error) => return not_now(&error),
            }
        }
        // A stranger who claims one of our own domains is for the filter to judge: SPF and DMARC tell.
        self.envelope = Some(Envelope { sender: mail.sender, size: mail.size, recipients: Vec::new() });
        Reply::new(250, "2.1.0", "sender ok")
    }

    fn may_begin(&self) -> Option<Reply> {
        match self.kind {
            _ if self.hello.is_none() => Some(out_of_order("EHLO or HELO comes first")),
            _ if self.envelope.is_some() => Some(out_of_order("one message at a time")),
            Kind::Submission if self.tls.is_none() => Some(Reply::new(530, "5.7.0", "STARTTLS comes first")),
            Kind::Submission if self.account.is_none() => Some(Reply::new(530, "5.7.0", "log in first")),
            _ => None,
        }
    }

    pub(super) async fn rcpt(&mut self, recipient: path::Recipient) -> Next {
        let Some(envelope) = &self.envelope else { return Next::Say(out_of_order("MAIL comes first")) };
        let Some(address) = recipient.address(&self.house.home) else {
            return Next::Say(Reply::new(553, "5.1.3", "this is not an address"));
        };
        if envelope.recipients.iter().any(|known| known.address == address) {
            return Next::Say(Reply::new(250, "2.1.5", "recipient ok"));
        }
        if envelope.recipients.len() >= limits::RECIPIENTS {
            return Next::Say(Reply::new(452, "4.5.3", "too many recipients; send another copy to the rest"));
        }
        let local = match self.house.neighbours.resolve(&address).await {
            Ok(Resolution::Accounts(accounts)) => {
                if let Some(reply) = self.no_room(&accounts).await {
                    return Next::Say(reply);
                }
                true
            }
            Ok(Resolution::Elsewhere) if self.account.is_some() => false,
            Ok(Resolution::Elsewhere) => {
                tracing::info!("{} wanted to relay to {address}", self.client);
                return Next::Say(Reply::new(
                    550,
                    "5.7.1",
                    format!("{address} is not of this server; relaying denied"),
                ));
            }
            Ok(Resolution::Unknown) => return self.unknown_recipient(&address).await,
            Err(error) => return Next::Say(not_now(&error)),
        };
        if let Some(envelope) = &mut self.envelope {
            envelope.recipients.push(Addressee { address, local });
        }
        Next::Say(Reply::new(250, "2.1.5", "recipient ok"))
    }

    /// The refusal for a recipient whose mailbox has no room (RFC 5321 §4.2.3, RFC 3463 §3.3): for now where nothing
    /// fits any more, for good where only this message is too large. An alias of several is for the queue to sort out.
    async fn no_room(&self, accounts: &[Address]) -> Option<Reply> {
        let [account] = accounts else { return None };
        let size = self.envelope.as_ref().and_then(|envelope| envelope.size).unwrap_or(0);
        match self.house.neighbours.room_for(account, size).await {
            Room::Enough => None,
            Room::Full { words, even_for_small_mail: true } => Some(Reply::new(452, "4.2.2", words)),
            Room::Full { words, .. } => Some(Reply::new(552, "5.2.2", format!("{words}: this message does not fit"))),
        }
    }

    /// Each further wrong guess takes longer, and after some the connection ends.
    async fn unknown_recipient(&mut self, address: &Address) -> Next {
        let reply = Reply::new(550, "5.1.1", format!("there is no mailbox {address} here"));
        if self.account.is_some() {
            return Next::Say(reply);
        }
        let pause = limits::UNKNOWN_RECIPIENT_PAUSE.saturating_mul(u32::try_from(self.counts.unknown).unwrap_or(0));
        tokio::time::sleep(pause.min(limits::LONGEST_PAUSE)).await;
        self.counts.unknown += 1;
        if self.counts.unknown >= limits::UNKNOWN_RECIPIENTS {
            tracing::info!("{} asked for {} unknown recipients; closing", self.client, self.counts.unknown);
            return Next::Close(Reply::new(421, "4.7.0", format!("too many unknown recipients, {address} among them")));
        }
        Next::Say(reply)
    }
}
